"""A small world around the line: peers with users who edit, delete and come back, and a network that cannot be trusted.

A history is a list of moves, each four small numbers, so that Hypothesis can shrink it and a seed can make it. Whatever
a history does, `World.calm` lets everything arrive and be written; after that the oracles must hold.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from idsync.model.event import Observation
from idsync.model.mapping import Mapping
from idsync.model.values import EntityId, ExternalId, PeerName, Value
from idsync.testing.peer import FakePeer, Habits
from tests.properties.line import INTENT_LIFE_MS, KIND, Flight, Line, Look, Time

EMAILS = ("a@x.io", "b@x.io", "c@x.io")
TEXTS: tuple[Value, ...] = ("ada", "Ada Lovelace", " bo ", "É", "cy", "", None)
FLAGS: tuple[Value, ...] = (True, False)
ROUNDS_MAX = 30
PASSES_MAX = 40
"""Bounds that only a line that never comes to rest can reach."""

T = TypeVar("T")
Move = tuple[int, int, int, int]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One peer of a world: what it is, and how its events travel."""

    habits: Habits = Habits()
    is_ordered: bool = True
    """Whether its events come in their order, none lost, as an outbox gives them."""
    is_lossy: bool = False
    """Whether events may be lost on the way, as a hook loses them."""
    is_readable: bool = True
    """Whether it can be looked at; else its events are all there is, and nothing is written."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same through a history."""

    mapping: Mapping
    services: dict[PeerName, Service]


@dataclass
class World:
    """The line, its peers, and what is under way between them."""

    setting: Setting
    line: Line
    peers: dict[PeerName, FakePeer]
    time: Time
    seen: dict[PeerName, int] = field(default_factory=dict)
    """How much of each peer's log is on the way or has arrived."""
    roads: dict[PeerName, list[Observation]] = field(default_factory=dict)
    zombies: list[Flight] = field(default_factory=list)
    """Requests whose sender is dead, still under way."""
    spoken: dict[str, list[Value]] = field(default_factory=dict)
    """Every value that a user ever gave a field, as his peer shows it."""
    shown: set[tuple[tuple[str, Value], ...]] = field(default_factory=set)
    """Every row as some user left it, sorted by field."""
    lost: dict[tuple[EntityId, PeerName], int] = field(default_factory=dict)
    """How many answers of writes to each link were lost."""
    tags: int = 0
    rounds: int = 0
    """Rounds that the last calm needed before nothing was written any more."""
    stuck: list[tuple[EntityId, PeerName]] = field(default_factory=list)
    """Writes that the peer refuses, whatever we do."""

    @classmethod
    def of(cls, setting: Setting) -> "World":
        """Make an empty world."""
        time = Time()
        peers = {name: FakePeer(name, time.now, one.habits) for name, one in setting.services.items()}
        line = Line(setting.mapping, peers, time)
        return cls(setting, line, peers, time, dict.fromkeys(peers, 0), {name: [] for name in peers})

    def play(self, moves: Iterable[Move]) -> "World":
        """Make a history."""
        for code, *choices in moves:
            self.time.advance(50)
            self.line.look_for_answers()
            _MOVES[code % len(_MOVES)](self, *choices)
            self._send()
        return self

    # --- moves of the users -------------------------------------------------------------------------------

    def create(self, which: int, email: int, more: int) -> None:
        """Somebody signs up at a peer."""
        peer = _pick(list(self.peers.values()), which)
        fields: dict[str, Value] = {"email": EMAILS[email % len(EMAILS)], "email_verified": more % 2 == 0}
        fields |= {"name": _pick(TEXTS, more // 2), **self._card()}
        self.note(peer, peer.create(KIND, fields))

    def edit(self, which: int, row: int, more: int) -> None:
        """Somebody changes one thing about himself."""
        if found := self._row(which, row):
            peer, external_id = found
            changes: tuple[dict[str, Value], ...] = (
                {"name": _pick(TEXTS, more // 8)},
                {"name": _pick(TEXTS, more // 8)},
                {"roles": [["admin"], [], ["author"]][more // 8 % 3]},
                {"email": _pick(EMAILS, more // 8)},
                {"email": _pick(EMAILS, more // 8), "email_verified": more // 8 % 2 == 0},
                {"banned": more // 8 % 2 == 0, "ban_reason": _pick(("spam", None), more // 8)},
                self._card(),
                dict([list(self._card().items())[more // 8 % 2]]),
            )
            peer.edit(KIND, external_id, changes[more % 8])
            self.note(peer, external_id)

    def delete(self, which: int, row: int, _: int) -> None:
        """Somebody is deleted at a peer."""
        if found := self._row(which, row):
            found[0].delete(KIND, found[1])

    def recreate(self, which: int, row: int, more: int) -> None:
        """Somebody deleted comes back with the same id, where the peer lets him."""
        peer = _pick(list(self.peers.values()), which)
        if peer.habits.gives_ids or not peer.habits.has_versions:
            return
        dead = sorted({one.external_id for one in peer.journal} - {external_id for _, external_id in peer.rows})
        if dead:
            external_id = _pick(dead, row)
            fields = {"email": _pick(EMAILS, more), "email_verified": more % 2 == 0, "name": "back", **self._card()}
            self.note(peer, peer.create(KIND, fields, external_id))

    def swap(self, which: int, row: int, other: int) -> None:
        """Two people at a peer swap their e-mails."""
        one, two = self._row(which, row), self._row(which, other)
        if one and two and one != two:
            peer = one[0]
            mails = [peer.rows[KIND, external_id].fields["email"] for _, external_id in (one, two)]
            for (_, external_id), email in zip((one, two), reversed(mails), strict=True):
                peer.edit(KIND, external_id, {"email": email})
                self.note(peer, external_id)

    # --- moves of the network and of ourselves ------------------------------------------------------------

    def deliver(self, which: int, index: int, more: int) -> None:
        """One event arrives; now and then it arrives a second time."""
        name = _pick(list(self.peers), which)
        if self.roads[name]:
            place = 0 if self.setting.services[name].is_ordered else index % len(self.roads[name])
            event = self.roads[name][place]
            if more % 8:
                del self.roads[name][place]
            self.line.accept(event)

    def repeat(self, which: int, index: int, _: int) -> None:
        """An event arrives again after the inbox has forgotten it: only its version is left to tell."""
        peer = _pick(list(self.peers.values()), which)
        if peer.log and self.setting.services[peer.name].is_readable:
            event = _pick(peer.log, index)[1]
            if (event.peer, event.event_id) in self.line.inbox:
                self.line.ingest(msgspec.structs.replace(event, received_at=self.time.now()))

    def lose(self, which: int, index: int, _: int) -> None:
        """One event never arrives."""
        name = _pick(list(self.peers), which)
        if self.roads[name] and self.setting.services[name].is_lossy:
            del self.roads[name][index % len(self.roads[name])]

    def depart(self, index: int, _: int, __: int) -> None:
        """One doorbell is answered."""
        flying = {(one.entity, one.peer) for one in self.line.flights}
        if free := [bell for bell in self.line.bells if bell not in flying]:
            self.line.depart(*_pick(free, index))

    def land(self, index: int, _: int, __: int) -> None:
        """One request arrives, perhaps one of a sender that is dead."""
        if waiting := [one for one in (*self.line.flights, *self.zombies) if one.result is None]:
            self.line.land(_pick(waiting, index))

    def confirm(self, index: int, _: int, __: int) -> None:
        """One answer arrives."""
        if answered := [one for one in self.line.flights if one.result is not None]:
            self.line.confirm(_pick(answered, index))

    def crash(self, index: int, _: int, __: int) -> None:
        """We die before one answer; its request may still be under way."""
        if self.line.flights:
            flight = _pick(self.line.flights, index)
            self.line.crash(flight)
            key = (flight.entity, flight.peer)
            self.lost[key] = self.lost.get(key, 0) + 1
            self.zombies.append(flight)

    def look(self, index: int, _: int, __: int) -> None:
        """A reread begins."""
        if self.line.rereads:
            self.line.look(*_pick(list(self.line.rereads), index))

    def report(self, index: int, _: int, __: int) -> None:
        """A reread ends, unless it shows what an event still on its way has to tell first."""
        if ripe := [look for look in self.line.looks if not self._is_early(look)]:
            self.line.report(_pick(ripe, index))

    def rest(self, _: int, __: int, more: int) -> None:
        """Nothing happens for a while; or for so long that no request can be under way any more."""
        self.time.advance(2 * INTENT_LIFE_MS if more % 4 == 0 else 1_000)

    # --- calm ---------------------------------------------------------------------------------------------

    def calm(self) -> "World":
        """Heal everything: what is under way arrives, what was lost is found by a sweep, what is due is written."""
        self.time.advance(2 * INTENT_LIFE_MS)
        self.zombies.clear()
        self._send()
        self.line.release()
        for flight in list(self.line.flights):
            self.line.confirm(flight)
        self.line.look_for_answers()
        self._arrive()
        self._sweep()
        for self.rounds in range(ROUNDS_MAX):
            self.line.look_for_answers()
            self._arrive()
            if not self._write_all():
                break
        else:
            raise AssertionError(f"still writing after {ROUNDS_MAX} rounds")
        return self

    def write_everything_again(self) -> None:
        """Ring every doorbell there could be, but where an answer of ours waits for a decision."""
        for entity in self.line.entities.values():
            for peer in self.peers:
                if not self.is_undecided(entity.id, peer):
                    self.line.bells[entity.id, peer] = None
        self._write_all()

    def is_undecided(self, entity: str, peer: PeerName) -> bool:
        """Whether what we wrote there for an entity has proved to be somebody else's too, and waits for an operator."""
        waiting = (one for one in self.line.waits.values() if one.peer == peer)
        return any((one.origin or "").startswith(f"{entity}:") for one in waiting)

    def _arrive(self) -> None:
        for _ in range(PASSES_MAX):
            for name in self.roads:
                self._empty(name)
            for look in list(self.line.looks):
                self.line.report(look)
            for peer, external_id in list(self.line.rereads):
                self.line.report(self.line.look(peer, external_id))
            self._send()
            self.line.release()
            if not self.line.rereads and not any(self.roads.values()):
                return
        raise AssertionError("observations do not come to an end")

    def _sweep(self) -> None:
        """Read every identity of the peers that lose events, as reconcile does."""
        for name, service in self.setting.services.items():
            if service.is_lossy:
                known = [external_id for peer, _, external_id in self.line.links if peer == name]
                there = [external_id for _, external_id in self.peers[name].rows]
                for external_id in dict.fromkeys([*known, *there]):
                    self.line.report(self.line.look(name, external_id))

    def _write_all(self) -> int:
        """Answer every doorbell until each is silent; return how many writes were carried out."""
        before = sum(len(peer.journal) for peer in self.peers.values())
        tries: dict[tuple[EntityId, PeerName], int] = {}
        self.stuck = []
        for _ in range(PASSES_MAX * 10):
            bells = [bell for bell in self.line.bells if bell not in self.stuck]
            if not bells:
                break
            bell = bells[0]
            tries[bell] = tries.get(bell, 0) + 1
            if tries[bell] > 4:
                self.stuck.append(bell)
                continue
            if flight := self.line.depart(*bell):
                self.line.land(flight)
                self.line.confirm(flight)
            self._send()
            for peer, external_id in list(self.line.rereads):
                look = self.line.look(peer, external_id)
                if self._is_early(look):
                    self._empty(peer)
                self.line.report(look)
        for bell in self.stuck:
            self.line.bells[bell] = None
        self._send()
        return sum(len(peer.journal) for peer in self.peers.values()) - before

    def _empty(self, name: PeerName) -> None:
        """Let everything arrive that is under way from one peer."""
        road, self.roads[name] = self.roads[name], []
        for event in road:
            self.line.accept(event)

    def _is_early(self, look: Look) -> bool:
        """Whether it shows a state whose events are still to come."""
        number = look.place.number if look.place is not None else 0
        is_captured = self.peers[look.peer].habits.has_origins
        coming = (one.version.number for one in self.roads[look.peer] if one.version is not None)
        return is_captured and any(one <= number for one in coming)

    # --- below --------------------------------------------------------------------------------------------

    def _send(self) -> None:
        for name, peer in self.peers.items():
            for _, event in peer.log[self.seen[name] :]:
                self.roads[name].append(event)
            self.seen[name] = len(peer.log)

    def _row(self, which: int, row: int) -> tuple[FakePeer, ExternalId] | None:
        peer = _pick(list(self.peers.values()), which)
        ids = sorted(external_id for _, external_id in peer.rows)
        return (peer, _pick(ids, row)) if ids else None

    def _card(self) -> dict[str, Value]:
        """Two coupled fields that show who wrote them together."""
        self.tags += 1
        return {"picture": f"p{self.tags}", "preferred_username": f"u{self.tags}"}

    def note(self, peer: FakePeer, external_id: ExternalId) -> None:
        """Remember what a user's row holds now: only that may ever be the truth."""
        image = peer.image(KIND, external_id)
        assert image is not None
        for name, value in image.fields.items():
            self.spoken.setdefault(name, []).append(value)
        self.shown.add(tuple(sorted((name, _frozen(value)) for name, value in image.fields.items())))


def _frozen(value: Value) -> Value:
    return ",".join(value) if isinstance(value, list) else value


def _pick(choices: Sequence[T], index: int) -> T:
    return choices[index % len(choices)]


_MOVES: tuple[Callable[[World, int, int, int], None], ...] = (
    *(World.create,) * 4,
    *(World.edit,) * 8,
    *(World.delete,) * 2,
    *(World.recreate,) * 2,
    World.swap,
    *(World.deliver,) * 10,
    World.repeat,
    World.lose,
    *(World.depart,) * 6,
    *(World.land,) * 6,
    *(World.confirm,) * 5,
    World.crash,
    *(World.look,) * 3,
    *(World.report,) * 3,
    World.rest,
)
