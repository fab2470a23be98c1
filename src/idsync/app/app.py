"""The App: every part of the line, wired to each other, not running yet."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from idsync.app.endpoints import Endpoints
from idsync.app.endpoints.wiring import targets_of
from idsync.app.limits import ingest_limits
from idsync.app.peers import Peer
from idsync.app.replays import Replays, past_of
from idsync.app.stops import Stops
from idsync.config import Settings
from idsync.model.delivery import Delivery, Parked
from idsync.model.destination import Destination, Lane
from idsync.model.event import Arrival, Receipt
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.plan import Command, CommandName, Committed, Plan
from idsync.model.values import PeerName
from idsync.pipeline.apply import TargetDeliverer
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.ingest import Asker, Ingest, Submission
from idsync.pipeline.operate import Commander
from idsync.pipeline.parts.announce import Fields, announcement
from idsync.pipeline.parts.routes import Routes, endpoint_name
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.wake import wait_for
from idsync.pipeline.reread import Releaser, Rereader
from idsync.pipeline.ticks import News, Ticker
from idsync.ports import Clock, Sender, Store
from idsync.telemetry import Counters, Log

UNSEALED: Final = (
    "server.secret_key is not set: the secrets of endpoints are kept unencrypted in the store. Give it 32 random bytes"
    " in base64, as `openssl rand -base64 32` prints them."
)


class Part(Protocol):
    """What a loop of the worker runs."""

    async def tick(self) -> float:
        """Do a bounded piece of work; return the seconds until the next look, 0 for at once."""
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be work, at the latest after `timeout_s` seconds."""
        ...


class LoopHealth(msgspec.Struct, frozen=True):
    """One loop, as `/healthz` shows it."""

    name: str
    is_alive: bool
    detail: str = ""


class App:
    """Everything one process needs, composed by `open_app`; the worker runs its parts, the edges call its verbs."""

    def __init__(  # noqa: PLR0913  # built in one place
        self,
        settings: Settings,
        *,
        store: Store,
        clock: Clock,
        counters: Counters,
        log: Log,
        epoch: int,
        mappings: dict[str, KindMapping],
        peers: Mapping[PeerName, Peer],
        sender: Sender,
        endpoints: Endpoints,
    ) -> None:
        """Keep the parts and wire the line over them; `open` finds out where things go to."""
        self.settings = settings
        self.store = store
        self.clock = clock
        self.counters, self.log = counters, log
        self.epoch = epoch
        self.peers = peers
        self.sender = sender
        self.endpoints = endpoints
        self.destinations: Sequence[Destination] = ()
        """Where things go to now, disabled endpoints included."""
        self.lanes: Sequence[Lane] = ()
        """Theirs."""
        self.generated_secrets: Mapping[str, str] = {}
        """Of endpoints, made at this start: shown once."""
        self.look_again: Callable[[], None] = _no_one
        """Called when there are other destinations than before: whoever shares out the work looks again."""
        self.is_ready = False
        self.health: Callable[[], Sequence[LoopHealth]] = tuple
        self.deliverers: dict[str, EndpointDeliverer | TargetDeliverer] = {}
        """Those that deliver in this process now, by destination."""
        self.ticker: Ticker | None = None
        self.arrived = asyncio.Event()
        """Set at each commit of events: whoever follows the inbox waits for it and takes a new one."""
        self.ingest = Ingest(
            store,
            Routes.of(mappings, [], []),
            clock,
            epoch,
            limits=ingest_limits(settings),
            counters=counters,
            on_committed=self.spread,
            catch_up=endpoints.look,
        )
        self.settler = Settler(
            store,
            clock,
            epoch,
            linger_s=settings.delivery.flush_ms / 1000,
            full_at=settings.delivery.flush_batch_max,
            announce=self.tell,
        )
        self._by_lane: dict[int, EndpointDeliverer | TargetDeliverer] = {}
        self.rereader = Rereader(
            {name: peer.reader for name, peer in peers.items() if peer.reader is not None},
            store=store,
            submit=self.ingest.submit,
            clock=clock,
            counters=counters,
            log=log,
        )
        self.releaser = Releaser(store, self.ingest.submit, clock)
        self.commander = Commander(store, self.owner_of, self.settler, clock, epoch)
        self.stops = Stops(endpoints, log)
        self.replays = Replays(store, partial(past_of, endpoints), clock)
        endpoints.join(self.ingest.submit, self._reroute)

    @property
    def mappings(self) -> Mapping[str, KindMapping]:
        """The rules of every synced kind."""
        return self.ingest.routes.mappings

    async def open(self) -> None:
        """Find out where things go to, before anything runs.

        Raises:
            ConfigError: an endpoint cannot be used as it is configured, or kept.
            StoreError: the store failed.
        """
        await self.endpoints.look()
        await self._reroute(frozenset())
        self.generated_secrets = await self.endpoints.line_up(self.ingest.ingest_alone)
        if self.endpoints.destinations() and not self.endpoints.is_sealed:
            self.settings = msgspec.structs.replace(self.settings, notes=(*self.settings.notes, UNSEALED))

    async def announce(self, kind: str, about: str, fields: Fields) -> None:
        """Tell whoever wants to hear of it what happens to idsync itself; see `parts.announce.announcement`.

        Raises:
            StoreError: the store failed; it may be told again.
        """
        await self.tell([announcement(kind, about, fields, self.clock.now())])

    async def tell(self, arrivals: Sequence[Arrival]) -> None:
        """Ingest what happens to idsync itself, if anybody wants to hear of it.

        Raises:
            StoreError: the store failed; it may be told again.
        """
        if self.ingest.routes.has_operational:
            await self.submit(arrivals)

    async def _reroute(self, changed: frozenset[str]) -> None:
        """Bring the line in step with the endpoints: lanes first, then whatever leads to them.

        Args:
            changed: the endpoints that are others than before, or do otherwise.
        """
        destinations = [*targets_of(self.settings, self.peers, self.mappings), *self.endpoints.destinations()]
        revision = None if self.store.has_one_writer else self.endpoints.revision
        known = {one.name for one in self.destinations}
        opened = await self.store.open([one for one in destinations if one.name not in known])
        names = {one.name for one in destinations}
        self.lanes = [lane for lane in self.lanes if lane.destination in names] + [lane for lane, _ in opened]
        self.destinations = destinations
        self.ingest.routes = Routes.of(dict(self.mappings), destinations, list(self.lanes), revision)
        for name in changed:
            self._adopt(name)
        self.look_again()

    def _adopt(self, name: str) -> None:
        """Let whoever delivers to an endpoint here go on with what it is now."""
        deliverer, endpoint = self.deliverers.get(endpoint_name(name)), self.endpoints.wired(name)
        if isinstance(deliverer, EndpointDeliverer) and endpoint is not None:
            deliverer.adopt(endpoint)
            deliverer.adopt_health(self.endpoints.health(name))

    def own(self, deliverer: EndpointDeliverer | TargetDeliverer, lanes: Sequence[int]) -> None:
        """Give a deliverer its lanes: new deliveries of them are handed to it from memory."""
        self.deliverers[deliverer.name] = deliverer
        self._by_lane |= dict.fromkeys(lanes, deliverer)

    def disown(self, deliverer: EndpointDeliverer | TargetDeliverer) -> None:
        """Take a deliverer's lanes away again."""
        self.deliverers = {name: one for name, one in self.deliverers.items() if one is not deliverer}
        self._by_lane = {lane: one for lane, one in self._by_lane.items() if one is not deliverer}

    def parts(self) -> list[tuple[str, Part]]:
        """The loops that every process has, by name; the others are duties."""
        parts: list[tuple[str, Part]] = [
            ("ingest", self.ingest),
            ("settle", self.settler),
            ("commands", self.commander),
            ("endpoints", self.endpoints),
            ("stops", self.stops),
        ]
        if not self.store.has_one_writer:
            parts.append(("news", News(self.store, self.ring)))
        return parts

    def ring(self) -> None:
        """Another process has committed something: whatever waits for work looks for it."""
        self.rereader.ring()
        self.releaser.ring()
        self.commander.ring()
        if self.ticker is not None:
            self.ticker.ring()
        self.ring_deliverers()
        self._tell()

    def ring_deliverers(self) -> None:
        """Deliveries have got their places."""
        for deliverer in self.deliverers.values():
            deliverer.ring()

    async def submit(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Ingest arrivals from an edge; return their receipts once they are durable.

        Raises:
            StoreBusy: too many wait; nothing was taken.
            StoreError: the store failed; send again.
        """
        return await self.ingest.submit(Submission(arrivals=arrivals))

    def submit_for(self, asker: Asker, arrivals: Sequence[Arrival]) -> None:
        """Ingest as `submit` does, but tell somebody who has no task to wait in.

        Raises:
            StoreBusy: too many wait; nothing was taken, and nobody is told.
        """
        self.ingest.submit_for(asker, Submission(arrivals=arrivals))

    async def ask(
        self,
        name: CommandName,
        *,
        deliveries: Sequence[int] = (),
        waiting: Sequence[int] = (),
        destination: str | None = None,
    ) -> int:
        """Ask the owners to try dead deliveries or waiting arrivals again, or to give up what nobody understands.

        Returns:
            The command's id.
        """
        command = Command(
            id=0,
            name=name,
            deliveries=tuple(deliveries),
            waiting=tuple(waiting),
            destination=destination,
            asked_at=self.clock.now(),
        )
        number = await self.store.ask(command)
        self.commander.ring()
        return number

    async def follow(self, timeout_s: float) -> None:
        """Return at the next commit of events, at the latest after `timeout_s` seconds."""
        await wait_for(self.arrived, timeout_s)

    async def close(self) -> None:
        """Close connections and the store."""
        await self.sender.close()
        for peer in self.peers.values():
            await peer.close()
        await self.store.close()

    def owner_of(self, row: Parked) -> EndpointDeliverer | TargetDeliverer | None:
        """Whoever owns a parked row here; None where another process does, or its destination is gone or disabled."""
        deliverer = self.deliverers.get(row.destination)
        is_here = deliverer is not None and (self.store.has_one_writer or deliverer.owns(row.lane))
        return deliverer if is_here else None

    def spread(self, plan: Plan, committed: Committed, deliveries: Sequence[Delivery]) -> None:
        """Tell everybody whom a commit concerns."""
        for delivery in deliveries:
            owner = self._by_lane.get(delivery.lane)
            if owner is not None:
                owner.offer(delivery)
        if deliveries and self.ticker is not None:
            self.ticker.ring()
        if plan.rereads:
            self.rereader.ring()
        if committed.released:
            self.releaser.ring()
        if plan.inbox or plan.settles:
            self._tell()

    def _tell(self) -> None:
        """Wake whoever follows the inbox."""
        arrived, self.arrived = self.arrived, asyncio.Event()
        arrived.set()


def _no_one() -> None:
    """Nobody has to look."""
