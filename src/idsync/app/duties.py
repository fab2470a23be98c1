"""Duties: what one process of several on a store has to do at a time; made when it becomes its, ended when it goes.

Where one process owns the store it has all of them, from its start to its end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from idsync.app.app import App, Part
from idsync.app.endpoints import endpoint_of
from idsync.app.limits import deliver_limits, oscillation_of, retry_of
from idsync.model.delivery import Place
from idsync.model.destination import Destination, DestinationKind, Lane
from idsync.model.values import PeerName
from idsync.pipeline.apply import TargetDeliverer
from idsync.pipeline.capture import Relay
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.operate import Janitor
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.ticks import TICK, Ticker

REREAD: Final = "reread"
RELEASE: Final = "release"
RETENTION: Final = "retention"
CAPTURE: Final = "capture "
DELIVER: Final = "deliver "


@dataclass(frozen=True, slots=True)
class Duty:
    """One duty while this process has it."""

    name: str
    tenure: Tenure
    part: Part
    """Its loop."""

    @property
    def deliverer(self) -> EndpointDeliverer | TargetDeliverer | None:
        """Whoever delivers, if that is what it is about."""
        return self.part if isinstance(self.part, EndpointDeliverer | TargetDeliverer) else None


class Duties:
    """Every duty of the configured line, and how each is begun and ended."""

    def __init__(self, app: App) -> None:
        """Know what there is to do; nothing is begun. A disabled destination is not read and costs nothing."""
        self._app = app
        self._destinations = {one.name: one for one in app.destinations if one.is_enabled}
        self.leases: dict[str, list[str]] = {name: [name] for name in (REREAD, RELEASE, RETENTION)}
        """Duty → the leases it stands on."""
        if not app.store.has_one_writer:
            self.leases[TICK] = [TICK]
        for peer_name, peer in app.peers.items():
            if peer.source is not None:
                self.leases[f"{CAPTURE}{peer_name}"] = [f"source:{peer_name}"]
        self.whole: set[str] = set()
        """Duties that are one worker's alone: deliveries to what has lanes of several generations."""
        self._know(app.lanes)

    async def look(self) -> None:
        """Find out which lanes there are by now: whoever was configured with another number has opened others."""
        self._know([lane for lane, _ in await self._app.store.open(_as_they_are(self._destinations.values()))])

    def _know(self, lanes: Sequence[Lane]) -> None:
        self.whole.clear()
        for name in self._destinations:
            its = [lane for lane in lanes if lane.destination == name]
            self.leases[f"{DELIVER}{name}"] = [lease_of(lane.id) for lane in its]
            if len({lane.generation for lane in its}) > 1:
                self.whole.add(f"{DELIVER}{name}")

    async def begin(self, name: str, tenure: Tenure) -> Duty:
        """Make a duty's part, ready to run; where its lanes are read on from is asked now."""
        if name.startswith(DELIVER):
            return await self._deliver(name, tenure)
        if name.startswith(CAPTURE):
            return await self._capture(name, tenure)
        return Duty(name, tenure, self._plain(name, tenure))

    def end(self, duty: Duty) -> None:
        """Forget a duty; what it wrote last is where its next owner begins."""
        deliverer = duty.deliverer
        if deliverer is not None:
            deliverer.close()
            self._app.disown(deliverer)
        if isinstance(duty.part, Ticker):
            self._app.ticker = None

    def _plain(self, name: str, tenure: Tenure) -> Part:
        app = self._app
        match name:
            case "reread":
                return app.rereader
            case "release":
                return app.releaser
            case "retention":
                return Janitor(app.store, app.clock, app.counters)
            case _:
                app.ticker = Ticker(app.store, tenure, app.ring_deliverers)
                return app.ticker

    async def _capture(self, name: str, tenure: Tenure) -> Duty:
        app, peer = self._app, PeerName(name.removeprefix(CAPTURE))
        source = app.peers[peer].source
        if source is None:
            raise LookupError(f"peer {peer} has no outbox")
        relay = Relay(
            peer,
            source,
            tenure=tenure,
            registry=app.store,
            submit=app.ingest.submit,
            clock=app.clock,
            counters=app.counters,
            log=app.log,
            rows_max=app.settings.capture.batch_rows_max,
        )
        await relay.start()
        return Duty(name, tenure, relay)

    async def _deliver(self, name: str, tenure: Tenure) -> Duty:
        app, destination = self._app, self._destinations[name.removeprefix(DELIVER)]
        opened = await app.store.open(_as_they_are([destination]))
        is_whole = app.store.has_one_writer
        lanes = [(lane, place) for lane, place in opened if is_whole or lease_of(lane.id) in tenure.fences]
        deliverer: EndpointDeliverer | TargetDeliverer
        if destination.kind is DestinationKind.ENDPOINT:
            deliverer = self._to_endpoint(destination.name.partition(":")[2], lanes, tenure)
        else:
            deliverer = self._to_peer(PeerName(destination.name.partition(":")[2]), lanes, tenure)
        app.own(deliverer, [lane.id for lane, _ in lanes])
        await deliverer.start()
        return Duty(name, tenure, deliverer)

    def _to_endpoint(self, name: str, lanes: Sequence[tuple[Lane, Place]], tenure: Tenure) -> EndpointDeliverer:
        app = self._app
        return EndpointDeliverer(
            endpoint_of(name, app.settings.endpoints[name], app.settings, app.secrets[name]),
            lanes,
            tenure=tenure,
            store=app.store,
            sender=app.sender,
            settler=app.settler,
            clock=app.clock,
            counters=app.counters,
            limits=deliver_limits(app.settings),
        )

    def _to_peer(self, name: PeerName, lanes: Sequence[tuple[Lane, Place]], tenure: Tenure) -> TargetDeliverer:
        app, target = self._app, self._app.peers[name].target
        if target is None:
            raise LookupError(f"peer {name} cannot be written to")
        return TargetDeliverer(
            name,
            target,
            app.mappings,
            lanes,
            tenure=tenure,
            store=app.store,
            submit=app.ingest.submit,
            settler=app.settler,
            clock=app.clock,
            counters=app.counters,
            log=app.log,
            epoch=app.epoch,
            limits=deliver_limits(app.settings),
            retry=retry_of(app.settings),
            oscillation=oscillation_of(app.settings),
        )


def _as_they_are(destinations: Iterable[Destination]) -> list[Destination]:
    """Ask for the lanes that there are, whatever number of them we are configured with."""
    return [msgspec.structs.replace(one, lanes=0) for one in destinations]


def lease_of(lane: int) -> str:
    """Name a lane's lease."""
    return f"lane:{lane}"
