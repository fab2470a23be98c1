"""The App: every part of the line, wired to each other, not running yet."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from idsync.app.clock import SystemClock
from idsync.app.endpoints import destinations_of, endpoint_of, read_secrets, retry_of
from idsync.app.peers import Peer, mappings_of, open_peers
from idsync.app.stores import open_store
from idsync.config import Settings
from idsync.errors import ConfigError
from idsync.model.delivery import Delivery
from idsync.model.destination import Lane
from idsync.model.event import Arrival, Receipt
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.plan import Command, CommandName, Committed, Plan
from idsync.model.values import PeerName
from idsync.pipeline.apply import TargetDeliverer
from idsync.pipeline.capture import Relay
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.ingest import Ingest, IngestLimits, Submission
from idsync.pipeline.operate import Commander, Janitor
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.pipeline.parts.routes import Routes, endpoint_name, target_name
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.wake import wait_for
from idsync.pipeline.reread import Releaser, Rereader
from idsync.policy.oscillation import OscillationPolicy
from idsync.ports import Clock, Sender, Store
from idsync.senders.aiohttp_sender import AiohttpSender
from idsync.telemetry import Counters, Log
from idsync.wire.address import parse_networks
from idsync.wire.signing import Secret


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
        routes: Routes,
        peers: Mapping[PeerName, Peer],
        sender: Sender,
        generated_secrets: Mapping[str, str],
    ) -> None:
        """Keep the parts; `build` wires the line over them."""
        self.settings = settings
        self.store = store
        self.clock = clock
        self.counters = counters
        self.log = log
        self.epoch = epoch
        self.peers = peers
        self.sender = sender
        self.generated_secrets = generated_secrets
        self.is_ready = False
        self.health: Callable[[], Sequence[LoopHealth]] = tuple
        self.endpoints: dict[str, EndpointDeliverer] = {}
        self.targets: dict[str, TargetDeliverer] = {}
        self.arrived = asyncio.Event()
        """Set at each commit of events: whoever follows the inbox waits for it and takes a new one."""
        self.ingest = Ingest(
            store,
            routes,
            clock,
            epoch,
            limits=_ingest_limits(settings),
            counters=counters,
            on_committed=self._spread,
        )
        self.settler = Settler(
            store,
            clock,
            epoch,
            linger_s=settings.delivery.flush_ms / 1000,
            full_at=settings.delivery.flush_batch_max,
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
        self.janitor = Janitor(store, clock, counters)
        self.relays = self._make_relays()

    @property
    def mappings(self) -> Mapping[str, KindMapping]:
        """The rules of every synced kind."""
        return self.ingest.routes.mappings

    def own(self, deliverer: EndpointDeliverer | TargetDeliverer, lanes: Sequence[int]) -> None:
        """Give a deliverer its lanes: new deliveries of them are handed to it from memory."""
        for lane in lanes:
            self._by_lane[lane] = deliverer
        if isinstance(deliverer, EndpointDeliverer):
            self.endpoints[deliverer.name] = deliverer
        else:
            self.targets[deliverer.name] = deliverer

    def parts(self) -> list[tuple[str, Part]]:
        """Every loop, by name, in the order in which they are started."""
        parts: list[tuple[str, Part]] = [
            ("ingest", self.ingest),
            ("settle", self.settler),
            ("reread", self.rereader),
            ("release", self.releaser),
            ("commands", self.commander),
            ("retention", self.janitor),
        ]
        parts += [(f"deliver {name}", one) for name, one in self.endpoints.items()]
        parts += [(f"deliver {name}", target) for name, target in self.targets.items()]
        parts += [(f"capture {relay.peer}", relay) for relay in self.relays]
        return parts

    async def start(self) -> None:
        """Load what was parked and where reading goes on."""
        for endpoint in self.endpoints.values():
            await endpoint.start()
        for target in self.targets.values():
            await target.start()
        for relay in self.relays:
            await relay.start()

    async def submit(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Ingest arrivals from an edge; return their receipts once they are durable.

        Raises:
            StoreBusy: too many wait; nothing was taken.
            StoreError: the store failed; send again.
        """
        return await self.ingest.submit(Submission(arrivals=arrivals))

    async def requeue(
        self, deliveries: Sequence[int] = (), waiting: Sequence[int] = (), destination: str | None = None
    ) -> int:
        """Ask the owners to try dead deliveries or waiting arrivals again; return the command's id."""
        command = Command(
            id=0,
            name=CommandName.REQUEUE,
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

    async def finish(self, grace_s: float) -> None:
        """Begin no further request, and let those under way end, at most `grace_s` seconds."""
        for deliverer in self.endpoints.values():
            deliverer.drain()
        deadline = self.clock.monotonic() + grace_s
        while self.clock.monotonic() < deadline and any(one.sending for one in self.endpoints.values()):
            await self.clock.sleep(0.02)

    async def close(self) -> None:
        """Close connections and the store."""
        await self.sender.close()
        for peer in self.peers.values():
            await peer.close()
        await self.store.close()

    def _make_relays(self) -> list[Relay]:
        """One for each peer that has an outbox."""
        return [
            Relay(
                name,
                peer.source,
                registry=self.store,
                submit=self.ingest.submit,
                clock=self.clock,
                counters=self.counters,
                log=self.log,
                rows_max=self.settings.capture.batch_rows_max,
            )
            for name, peer in self.peers.items()
            if peer.source is not None
        ]

    def owner_of(self, destination: str) -> EndpointDeliverer | TargetDeliverer | None:
        """Whoever owns a destination's parked rows; None where it is disabled or no longer configured."""
        return self.endpoints.get(destination) or self.targets.get(destination)

    def _spread(self, plan: Plan, committed: Committed, deliveries: Sequence[Delivery]) -> None:
        """Tell everybody whom a commit concerns."""
        for delivery in deliveries:
            owner = self._by_lane.get(delivery.lane)
            if owner is not None:
                owner.offer(delivery)
        if plan.rereads:
            self.rereader.ring()
        if committed.released:
            self.releaser.ring()
        if plan.inbox or plan.settles:
            arrived, self.arrived = self.arrived, asyncio.Event()
            arrived.set()


async def open_app(
    settings: Settings, *, log: Log | None = None, clock: Clock | None = None, sender: Sender | None = None
) -> App:
    """Open the store and the peers and wire the line.

    Args:
        settings: merged and checked.
        log: where the service's own life is written; standard error if None.
        clock: time, randomness and ids; the machine's if None.
        sender: HTTP out; the reference sender if None.

    Raises:
        ConfigError: the settings name a connector, store or dialect that this version has not.
        StoreError: the store cannot be opened.
        PeerError: a peer's database does not fit its configuration.
    """
    log = log if log is not None else _log_of(settings)
    clock = clock if clock is not None else SystemClock()
    counters = Counters()
    check_version(settings)
    peers = await open_peers(settings, clock)
    try:
        store = await open_store(settings)
    except BaseException:
        for peer in peers.values():
            await peer.close()
        raise
    epoch = await store.start()
    mappings = mappings_of(settings, peers)
    secrets, generated = await read_secrets(settings, store)
    destinations = destinations_of(settings, peers, mappings)
    lanes = await store.open(destinations)
    app = App(
        settings,
        store=store,
        clock=clock,
        counters=counters,
        log=log,
        epoch=epoch,
        routes=Routes.of(mappings, destinations, [lane for lane, _ in lanes]),
        peers=peers,
        sender=sender
        if sender is not None
        else AiohttpSender(clock, allowed=parse_networks(settings.delivery.allow_cidrs)),
        generated_secrets=generated,
    )
    _own_endpoints(app, lanes, secrets)
    _own_targets(app, lanes)
    return app


def _own_endpoints(app: App, lanes: Sequence[tuple[Lane, int]], secrets: Mapping[str, tuple[Secret, ...]]) -> None:
    """Make a deliverer for each enabled endpoint; a disabled one is not read and costs nothing."""
    for name, one in app.settings.endpoints.items():
        mine = [(lane, position) for lane, position in lanes if lane.destination == endpoint_name(name)]
        if one.enabled:
            deliverer = EndpointDeliverer(
                endpoint_of(name, one, app.settings, secrets[name]),
                mine,
                store=app.store,
                sender=app.sender,
                settler=app.settler,
                clock=app.clock,
                counters=app.counters,
                limits=_deliver_limits(app.settings),
            )
            app.own(deliverer, [lane.id for lane, _ in mine])


def _own_targets(app: App, lanes: Sequence[tuple[Lane, int]]) -> None:
    """Make a deliverer for each peer that is written to."""
    for name, peer in app.peers.items():
        mine = [(lane, position) for lane, position in lanes if lane.destination == target_name(name)]
        if mine and peer.target is not None:
            deliverer = TargetDeliverer(
                name,
                peer.target,
                app.mappings,
                mine,
                store=app.store,
                submit=app.ingest.submit,
                settler=app.settler,
                clock=app.clock,
                counters=app.counters,
                log=app.log,
                epoch=app.epoch,
                limits=_deliver_limits(app.settings),
                retry=retry_of(app.settings),
                oscillation=_oscillation_of(app.settings),
            )
            app.own(deliverer, [lane.id for lane, _ in mine])


def check_version(settings: Settings) -> None:
    """Refuse what the configuration can say and this version cannot do: a setting without an effect would be a lie.

    Raises:
        ConfigError: every such setting.
    """
    asked = [
        ("engine.url", bool(settings.engine.url.reveal()), "; deliveries are carried by this process"),
        ("nats.publish", settings.nats.publish, "; events leave by webhook"),
        *((f"endpoints.{name}.rate", one.rate is not None, "") for name, one in settings.endpoints.items()),
    ]
    problems = [f"{key}: is not in this version{instead}" for key, is_set, instead in asked if is_set]
    if problems:
        raise ConfigError(*problems)


def _log_of(settings: Settings) -> Log:
    form = settings.log.format
    return Log(least=settings.log.level, is_json=form == "json" or (form == "auto" and not sys.stderr.isatty()))


def _ingest_limits(settings: Settings) -> IngestLimits:
    return IngestLimits(
        batch_max=settings.ingest.batch_events_max,
        queue_max=settings.ingest.queue_events_max,
        deletes_max=settings.ingest.max_deletes_per_minute,
    )


def _deliver_limits(settings: Settings) -> DeliverLimits:
    return DeliverLimits(
        page_max=settings.delivery.read_batch_max,
        window_max=settings.delivery.window_max,
        response_bytes_max=settings.delivery.response_bytes_max,
    )


def _oscillation_of(settings: Settings) -> OscillationPolicy:
    flapping = settings.delivery.flapping
    return OscillationPolicy(
        same_max=flapping.same_writes_max,
        all_max=flapping.all_writes_max,
        window_ms=round(flapping.window_s * 1000),
    )
