"""Where things go: the mapping of each kind, the destinations of each event type, the lane of each subject.

Built once by the composition root from the settings and the open lanes; read on the hot path, never written.
"""

from typing import Final

import msgspec

from idsync.model.destination import Destination, DestinationKind, Lane, Level, lane_number
from idsync.model.mapping import Mapping, PeerView
from idsync.model.values import PeerName, Subject
from idsync.policy.filter import matches

ROUTES_CACHED_MAX = 4_096
"""Event types whose endpoints are remembered; a sender of ever new types must not fill the memory."""


OPERATIONAL: Final = PeerName("idsync")
"""Whom operational events come from. No peer of the configuration and no publisher can have this name."""


def target_name(peer: str) -> str:
    """The destination that writes to a peer."""
    return f"peer:{peer}"


def endpoint_name(endpoint: str) -> str:
    """The destination that posts to a webhook endpoint."""
    return f"endpoint:{endpoint}"


class Routes(msgspec.Struct, frozen=True):
    """Everything that dispatch looks up."""

    mappings: dict[str, Mapping]
    destinations: dict[str, Destination]
    lanes: dict[tuple[str, Level], tuple[int, ...]]
    """(destination, level) → lane ids of the newest generation, by lane number."""
    cache: dict[tuple[str, bool], tuple[str, ...]] = {}
    ways: dict[tuple[str, bool], tuple[tuple[int, ...], ...]] = {}
    """What `lanes_for` remembers."""
    revision: bytes | None = None
    """The `REVISION` they were made from; None: nobody changes them but who reads them here."""

    @classmethod
    def of(
        cls,
        mappings: dict[str, Mapping],
        destinations: list[Destination],
        lanes: list[Lane],
        revision: bytes | None = None,
    ) -> "Routes":
        """Index the open lanes: only the newest generation of each destination takes new deliveries."""
        newest: dict[tuple[str, Level], tuple[int, list[Lane]]] = {}
        for lane in lanes:
            key = (lane.destination, lane.level)
            generation, members = newest.get(key, (-1, []))
            if lane.generation > generation:
                newest[key] = (lane.generation, [lane])
            elif lane.generation == generation:
                members.append(lane)
        table = {
            key: tuple(one.id for one in sorted(found, key=lambda one: one.number))
            for key, (_, found) in newest.items()
        }
        return cls(mappings, {one.name: one for one in destinations}, table, revision=revision)

    def mapping_of(self, kind: str, peer: PeerName) -> Mapping:
        """The kind's mapping; a kind that nobody syncs is still observed, and its events still go out."""
        found = self.mappings.get(kind)
        return found if found is not None else Mapping(kind, {peer: PeerView(reads=frozenset(), is_readable=False)})

    @property
    def has_operational(self) -> bool:
        """Whether anybody is to hear of what happens to idsync itself."""
        return any(one.is_operational for one in self.destinations.values())

    def endpoints_for(self, event_type: str, *, is_operational: bool = False) -> tuple[str, ...]:
        """Enabled endpoints that are to get a type, by destination name.

        Args:
            event_type: of the event.
            is_operational: whether it comes from idsync itself: then those that asked for that, else only the others.
        """
        found = self.cache.get((event_type, is_operational))
        if found is None:
            found = tuple(
                one.name
                for one in self.destinations.values()
                if one.kind is DestinationKind.ENDPOINT
                and one.is_enabled
                and one.is_operational is is_operational
                and matches(one.events, event_type)
            )
            if len(self.cache) < ROUTES_CACHED_MAX:
                self.cache[event_type, is_operational] = found
        return found

    def lanes_for(self, event_type: str, *, is_operational: bool) -> tuple[tuple[int, ...], ...]:
        """The lanes of every endpoint of `endpoints_for`, at its own level, by lane number."""
        found = self.ways.get((event_type, is_operational))
        if found is None:
            names = self.endpoints_for(event_type, is_operational=is_operational)
            found = tuple(self.lanes[name, self.destinations[name].level] for name in names)
            if len(self.ways) < ROUTES_CACHED_MAX:
                self.ways[event_type, is_operational] = found
        return found

    def lane_for(self, destination: str, subject: Subject, level: Level | None = None) -> int:
        """The lane that carries a subject to a destination, at its own level if none is given."""
        lanes = self.lanes[destination, level or self.destinations[destination].level]
        return lanes[lane_number(subject, len(lanes))]
