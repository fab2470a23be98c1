"""Ingest on a real store in memory, with a clock that stands still."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from idsync.model.delivery import Delivery
from idsync.model.destination import Destination, DestinationKind
from idsync.model.event import Arrival, Event, Observation, Op, Receipt, Version
from idsync.model.mapping import FieldRule, Mapping, PeerView, Rule
from idsync.model.plan import Committed, Plan
from idsync.model.values import ExternalId, PeerName, Subject, Value, instant_text
from idsync.pipeline.ingest import Ingest, IngestLimits, Submission
from idsync.pipeline.parts.routes import Routes
from idsync.stores.sqlite import SqliteStore, open_store
from idsync.telemetry import Counters
from idsync.testing.clock import FakeClock

AUTH, APP = PeerName("auth"), PeerName("app")
FIELDS = frozenset({"email", "email_verified", "name"})
MAPPING = Mapping(
    kind="user",
    peers={AUTH: PeerView(reads=FIELDS, writes=FIELDS), APP: PeerView(reads=FIELDS, writes=FIELDS)},
    rules={"email": FieldRule(Rule.OWNER, AUTH, "mail"), "email_verified": FieldRule(Rule.OWNER, AUTH, "mail")},
    lifecycle_owner=AUTH,
)
DESTINATIONS = [
    Destination(name="endpoint:audit", kind=DestinationKind.ENDPOINT, lanes=2, events=("user.*",)),
    Destination(name="peer:auth", kind=DestinationKind.TARGET, lanes=2),
    Destination(name="peer:app", kind=DestinationKind.TARGET, lanes=2),
]


@dataclass
class Door:
    """Ingest, driven by hand: what goes in, what came out."""

    store: SqliteStore
    clock: FakeClock
    ingest: Ingest
    queued: list[Delivery] = field(default_factory=list)
    count: int = 0
    epoch: int = 0
    destination: Destination = DESTINATIONS[0]

    async def take(self, *arrivals: Arrival) -> list[Receipt]:
        """Ingest some arrivals as one submission."""
        return await self.submit(Submission(arrivals=arrivals))

    async def submit(self, submission: Submission) -> list[Receipt]:
        """Ingest a submission: one tick takes whatever waits."""
        waiting = self.ingest.submit(submission)
        task = asyncio.ensure_future(waiting)
        await self.clock.settle()
        await self.ingest.tick()
        return await task

    def seen(  # the parts of an observation
        self,
        peer: PeerName,
        identity: str,
        op: Op,
        fields: dict[str, Value] | None = None,
        *,
        number: int | None = None,
        link: str | None = None,
    ) -> Arrival:
        """What a peer's outbox says of one identity; the row's number is its version."""
        self.count += 1
        number = self.count if number is None else number
        observation = Observation(
            peer=peer,
            kind="user",
            external_id=ExternalId(identity),
            op=op,
            fields=fields or {},
            link_id=ExternalId(link) if link is not None else None,
            version=Version(peer, "g", number),
            event_at=self.clock.now(),
            received_at=self.clock.now(),
            event_id=f"g:{number}",
        )
        return Arrival(
            peer=peer,
            id=observation.event_id,
            type=f"user.{op}",
            subject=Subject(f"user/{identity}"),
            received_at=self.clock.now(),
            observation=observation,
        )

    def event(self, identity: str, subject: str = "order/1") -> Arrival:
        """An event that is only passed on."""
        event = Event(
            id=identity,
            type="user.poked",
            source="shop",
            subject=Subject(subject),
            timestamp=instant_text(self.clock.now()),
            data=msgspec.Raw(b'{"n":1}'),
        )
        return Arrival(
            peer=PeerName("key:shop"),
            id=identity,
            type=event.type,
            subject=event.subject,
            received_at=self.clock.now(),
            event=event,
        )


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """A door that nobody went through yet."""
    async with open_door() as opened:
        yield opened


@asynccontextmanager
async def open_door() -> AsyncIterator[Door]:
    """Open a door, for whoever needs more than one in a test."""
    store = await open_store(":memory:")
    epoch = await store.start()
    lanes = await store.open(DESTINATIONS)
    clock, queued = FakeClock(), list[Delivery]()

    async def stay() -> None:
        """Nobody changes the routes here."""

    def note(plan: Plan, committed: Committed, deliveries: Sequence[Delivery]) -> None:
        assert len(committed.inbox) == len(plan.inbox)
        queued.extend(deliveries)

    ingest = Ingest(
        store,
        Routes.of({"user": MAPPING}, DESTINATIONS, [lane for lane, _ in lanes]),
        clock,
        epoch,
        limits=IngestLimits(deletes_max=3, queue_max=1_000),
        counters=Counters(),
        on_committed=note,
        catch_up=stay,
    )
    yield Door(store, clock, ingest, queued, epoch=epoch)
    await store.close()
