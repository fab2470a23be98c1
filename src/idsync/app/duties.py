"""Duties: what one process of several on a store has to do at a time; made when it becomes its, ended when it goes.

Where one process owns the store it has all of them, from its start to its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from idsync.app.app import App, Part
from idsync.app.limits import deliver_limits, oscillation_of, retry_of
from idsync.app.replays import past_of
from idsync.model.delivery import Place
from idsync.model.destination import Destination, DestinationKind, Lane
from idsync.model.values import PeerName
from idsync.pipeline.apply import TargetDeliverer
from idsync.pipeline.capture import Relay
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.ingest import Submission
from idsync.pipeline.operate import Janitor
from idsync.pipeline.parts.health import is_ailing
from idsync.pipeline.parts.routes import endpoint_name
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.replay import REPLAY, Replayer
from idsync.pipeline.skip import Skipper
from idsync.pipeline.ticks import TICK, Ticker

REREAD: Final = "reread"
RELEASE: Final = "release"
RETENTION: Final = "retention"
CAPTURE: Final = "capture "
DELIVER: Final = "deliver "
SKIP: Final = "skip "
ENDPOINTS: Final = endpoint_name("")


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

    @property
    def is_outdated(self) -> bool:
        """Whether it must be begun anew: what it is about changed in a way that it cannot follow."""
        return isinstance(self.part, EndpointDeliverer) and self.part.is_outdated


class Duties:
    """Every duty of the configured line, and how each is begun and ended."""

    def __init__(self, app: App) -> None:
        """Know what there is to do; nothing is begun. A disabled destination is not read and costs nothing."""
        self._app = app
        self.leases: dict[str, list[str]] = {name: [name] for name in (REREAD, RELEASE, RETENTION, REPLAY)}
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
        """Find out what there is to deliver to by now, and which lanes there are: others may have opened more."""
        lanes: Sequence[Lane] = ()
        if not self._app.store.has_one_writer:
            names = [*self._destinations(), *self._ending()]
            lanes = [lane for lane, _ in await self._app.store.open([_as_it_is(one) for one in names])]
        self._know(lanes)

    @property
    def abilities(self) -> frozenset[str]:
        """What this process can do: whatever is configured, and deliver to every endpoint that the store has."""
        return frozenset({self.ability(duty) for duty in self.leases} | {ENDPOINTS})

    def ability(self, duty: str) -> str:
        """What a worker must be able to do for a duty."""
        return ENDPOINTS if duty.startswith((f"{DELIVER}{ENDPOINTS}", SKIP)) else duty

    def _know(self, lanes: Sequence[Lane]) -> None:
        its: dict[str, list[Lane]] = {}
        for lane in lanes:
            its.setdefault(lane.destination, []).append(lane)
        plain = {duty: leases for duty, leases in self.leases.items() if not duty.startswith((DELIVER, SKIP))}
        destinations = self._destinations()
        deliver = {f"{DELIVER}{name}": its.get(name, []) for name in destinations}
        skip = {f"{SKIP}{name}": its.get(name, []) for name in self._ending()}
        work = (deliver | skip).items()
        self.leases = plain | {duty: [lease_of(lane.id) for lane in found] for duty, found in work}
        several = {duty for duty, found in work if len({one.generation for one in found}) > 1}
        single = {f"{DELIVER}{one.name}" for one in destinations.values() if self._needs_one_owner(one)}
        self.whole = several | single | skip.keys()

    def _needs_one_owner(self, destination: Destination) -> bool:
        """Whether an endpoint is one worker's alone: for what it is, or for how it does."""
        if destination.kind is not DestinationKind.ENDPOINT:
            return False
        health = self._app.endpoints.health(destination.name.removeprefix(ENDPOINTS))
        return destination.needs_one_owner or is_ailing(health, self._app.clock.now())

    def _destinations(self) -> dict[str, Destination]:
        """What is delivered to: a disabled destination is not read and costs nothing."""
        return {one.name: one for one in self._app.destinations if one.is_enabled}

    def _ending(self) -> list[str]:
        """The destinations of endpoints that were removed."""
        return [endpoint_name(name) for name in self._app.endpoints.ending()]

    async def begin(self, name: str, tenure: Tenure) -> Duty | None:
        """Make a duty's part, ready to run; where its lanes are read on from is asked now.

        None: its endpoint was disabled, removed or forgotten since the tenure was taken, which ends with the next look.
        """
        if name.startswith(SKIP):
            return await self._skip(name, tenure)
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
            case "replay":
                return self._replay(tenure)
            case _:
                app.ticker = Ticker(app.store, tenure, app.ring_deliverers)
                return app.ticker

    def _replay(self, tenure: Tenure) -> Replayer:
        app = self._app
        return Replayer(
            app.store,
            partial(past_of, app.endpoints),
            routes=lambda: app.ingest.routes,
            submit=app.ingest.submit,
            on_committed=app.spread,
            asked=app.replays.asked,
            tenure=tenure,
            clock=app.clock,
            epoch=app.epoch,
            counters=app.counters,
            log=app.log,
        )

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

    async def _deliver(self, name: str, tenure: Tenure) -> Duty | None:
        app, destination = self._app, self._destinations().get(name.removeprefix(DELIVER))
        if destination is None:
            return None
        lanes, is_whole = await self._lanes_of(destination.name, tenure)
        deliverer: EndpointDeliverer | TargetDeliverer | None
        if destination.kind is DestinationKind.ENDPOINT:
            deliverer = self._to_endpoint(destination.name.partition(":")[2], lanes, tenure, is_whole=is_whole)
        else:
            deliverer = self._to_peer(PeerName(destination.name.partition(":")[2]), lanes, tenure)
        if deliverer is None:
            return None
        app.own(deliverer, [lane.id for lane, _ in lanes])
        await deliverer.start()
        return Duty(name, tenure, deliverer)

    async def _skip(self, name: str, tenure: Tenure) -> Duty | None:
        app, destination = self._app, name.removeprefix(SKIP)
        lanes, _ = await self._lanes_of(destination, tenure)
        endpoint = destination.removeprefix(ENDPOINTS)
        removed_at = app.endpoints.ending().get(endpoint)
        if removed_at is None:
            return None
        skipper = Skipper(
            destination,
            lanes,
            removed_at=removed_at,
            tenure=tenure,
            store=app.store,
            clock=app.clock,
            epoch=app.epoch,
            settle_down=partial(app.ingest.submit, Submission()),
            on_empty=partial(app.endpoints.finish, endpoint),
        )
        return Duty(name, tenure, skipper)

    async def _lanes_of(self, destination: str, tenure: Tenure) -> tuple[list[tuple[Lane, Place]], bool]:
        """The lanes of a destination that are ours, with the place reached in each; and whether these are all."""
        opened = await self._app.store.open([_as_it_is(destination)])
        is_alone = self._app.store.has_one_writer
        ours = [(lane, place) for lane, place in opened if is_alone or lease_of(lane.id) in tenure.fences]
        return ours, len(ours) == len(opened)

    def _to_endpoint(
        self, name: str, lanes: Sequence[tuple[Lane, Place]], tenure: Tenure, *, is_whole: bool
    ) -> EndpointDeliverer | None:
        app, endpoint = self._app, self._app.endpoints.wired(name)
        if endpoint is None:
            return None
        return EndpointDeliverer(
            endpoint,
            lanes,
            tenure=tenure,
            store=app.store,
            sender=app.sender,
            settler=app.settler,
            clock=app.clock,
            counters=app.counters,
            limits=deliver_limits(app.settings),
            is_whole=is_whole,
            on_disable=app.stops.ask,
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
            retry=retry_of(app.settings.delivery.retry),
            oscillation=oscillation_of(app.settings),
        )


def _as_it_is(name: str) -> Destination:
    """Ask for the lanes that a destination has, whatever number of them we are configured with."""
    return Destination(name=name, kind=DestinationKind.ENDPOINT, lanes=0)


def lease_of(lane: int) -> str:
    """Name a lane's lease."""
    return f"lane:{lane}"
