"""A replay on a real store, driven by hand; run as a program it carries the running jobs out, until it is killed."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from idsync.app import SystemClock
from idsync.app.replays import Replay, Replays
from idsync.model.delivery import FIRST_PLACE, Attempt, Delivery, Outcome, Parked, ParkedState
from idsync.model.destination import Destination, DestinationKind, Level
from idsync.model.event import Event, Verdict
from idsync.model.plan import Committed, InboxRow, LaneCursor, LaneRow, Plan
from idsync.model.replay import ReplayRequest, Span
from idsync.model.values import Instant, PeerName, Subject
from idsync.pipeline.ingest import Ingest, IngestLimits, Submission
from idsync.pipeline.parts.routes import Routes
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.replay import Replayer
from idsync.pipeline.ticks import TICK
from idsync.ports import Clock, Store
from idsync.stores import postgres, sqlite
from idsync.telemetry import Counters, Log
from idsync.testing.clock import START, FakeClock

AUDIT = "endpoint:audit"
DESTINATIONS = [
    Destination(name=AUDIT, kind=DestinationKind.ENDPOINT, lanes=2),
    Destination(name="endpoint:other", kind=DestinationKind.ENDPOINT, lanes=2),
    Destination(name="endpoint:operator", kind=DestinationKind.ENDPOINT, lanes=2, is_operational=True),
]
ALWAYS = (Span(since=Instant(0)),)
"""An endpoint that was always enabled and takes everything."""
DISABLED = (Span(since=Instant(0), until=START, is_enabled=False), Span(since=START))
"""One that was enabled when the clock began."""


@dataclass
class Rig:
    """What a replay needs, and what it has queued."""

    store: Store
    clock: Clock
    epoch: int
    routes: Routes
    ingest: Ingest
    past: dict[str, Sequence[Span]] = field(default_factory=lambda: {"audit": DISABLED})
    offered: list[Delivery] = field(default_factory=list)

    async def past_of(self, name: str) -> Sequence[Span]:
        """Answer for the registry of endpoints."""
        return self.past.get(name, ())

    @property
    def replays(self) -> Replays:
        """The service."""
        return Replays(self.store, self.past_of, self.clock)

    def replayer(self) -> Replayer:
        """One that begins: it knows nothing but what the store says."""
        return Replayer(
            self.store,
            self.past_of,
            routes=lambda: self.routes,
            submit=self.submit,
            on_committed=self.note,
            asked=asyncio.Event(),
            tenure=Tenure(self.clock),
            clock=self.clock,
            epoch=self.epoch,
            counters=Counters(),
            log=Log(least="error"),
        )

    def note(self, plan: Plan, committed: Committed, deliveries: Sequence[Delivery]) -> None:
        """Take what the deliver side is offered."""
        self.offered += deliveries

    async def submit(self, submission: Submission) -> None:
        """Ingest how a replay ended."""
        task = asyncio.ensure_future(self.ingest.submit(submission))
        await asyncio.sleep(0)
        await self.ingest.tick()
        await task

    async def begin(self, request: ReplayRequest) -> Replay:
        """Begin a replay that can be carried out."""
        found = await self.replays.start(request)
        assert isinstance(found, Replay), found
        return found

    async def show(self, replay: Replay) -> Replay:
        """Look at one again."""
        found = await self.replays.get(replay.job.id)
        assert isinstance(found, Replay)
        return found

    async def accept(self, count: int, *, at: int = START - 60_000, first: int = 1, **others: object) -> list[int]:
        """Accept events that nothing is queued of, a millisecond apart; give their sequences."""
        rows = tuple(
            msgspec.structs.replace(_row(number, Instant(at + number - first)), **others)
            for number in range(first, first + count)
        )
        return list((await self.commit(Plan(epoch=0, inbox=rows))).inbox)

    async def commit(self, plan: Plan) -> Committed:
        """Write a plan that must be written."""
        result = await self.store.commit(msgspec.structs.replace(plan, epoch=self.epoch, at=self.clock.now()))
        assert isinstance(result, Committed), result
        return result

    async def deliver(self, seq: int, outcome: Outcome | None, *, destination: str = AUDIT) -> int:
        """Queue an event as ingest had; with an outcome, its only try ends so, and a failed one is dead."""
        subject = Subject(f"user/{seq}")
        lane = self.routes.lane_for(destination, subject)
        (id_,) = (await self.commit(Plan(epoch=0, deliveries=(LaneRow(lane, subject, 1, seq=seq),)))).deliveries
        if outcome is not None:
            dead = (_dead(id_, destination, lane, seq),) if outcome is Outcome.FAILED else ()
            tries = (_tried(id_, destination, seq, outcome),)
            await self.commit(Plan(epoch=0, attempts=tries, parked=dead, progress={lane: (0, id_)}))
        return id_

    async def queued(self) -> list[str]:
        """Say what stands in the endpoint's bulk lanes, in the order in which it was queued."""
        lanes = self.routes.lanes[AUDIT, Level.BULK]
        epochs = await self.store.lease("rig", [TICK], 60.0)
        await self.store.tick(epochs[TICK])
        page = await self.store.read([LaneCursor(lane, FIRST_PLACE) for lane in lanes], 10_000)
        return [one.event_id for one in sorted(page.deliveries, key=lambda one: one.id)]

    async def announced(self) -> list[Event]:
        """Say which events of the service itself went out."""
        entries = await self.store.recent(0, 10_000)
        ours = [one.row for one in entries if one.row.peer == "idsync"]
        return [msgspec.json.decode(one.body, type=Event) for one in ours]


def _row(number: int, at: Instant) -> InboxRow:
    subject = Subject(f"user/{number}")
    return InboxRow(
        peer=PeerName("shop"),
        id=f"e{number}",
        type="user.updated",
        subject=subject,
        received_at=at,
        verdict=Verdict.APPLIED,
        event_id=f"e{number}",
        event_type="user.updated",
        event_subject=subject,
        version=1,
        body=b'{"n":%d}' % number,
    )


def _tried(id_: int, destination: str, seq: int, outcome: Outcome) -> Attempt:
    subject = Subject(f"user/{seq}")
    return Attempt(
        delivery=id_, event=seq, destination=destination, subject=subject, number=1, at=START, outcome=outcome
    )


def _dead(id_: int, destination: str, lane: int, seq: int, state: ParkedState = ParkedState.DEAD) -> Parked:
    return Parked(
        id=id_,
        destination=destination,
        lane=lane,
        subject=Subject(f"user/{seq}"),
        event=seq,
        version=1,
        event_id=f"e{seq}",
        event_type="user.updated",
        body=b"{}",
        reason="http_500",
        attempts=1,
        retry_at=None,
        state=state,
        parked_at=START,
        first_at=START,
    )


async def open_rig(where: str = ":memory:", clock: Clock | None = None) -> Rig:
    """Open a store, by the address of a database or as a file, and wire what stands on it; close it at the end."""
    store, clock = await _open_store(where), clock or FakeClock()
    epoch = await store.start()
    routes = Routes.of({}, DESTINATIONS, [lane for lane, _ in await store.open(DESTINATIONS)])

    async def stay() -> None:
        """Nobody changes the routes here."""

    ingest = Ingest(
        store,
        routes,
        clock,
        epoch,
        limits=IngestLimits(),
        counters=Counters(),
        on_committed=lambda plan, committed, deliveries: None,
        catch_up=stay,
    )
    return Rig(store, clock, epoch, routes, ingest)


async def _open_store(where: str) -> Store:
    return await (postgres.open_store(where) if where.startswith("postgresql://") else sqlite.open_store(where))


async def carry_out(where: str) -> None:
    """Carry out every job of a store, until none runs."""
    rig = await open_rig(where, SystemClock())
    replayer = rig.replayer()
    while any(one.progress.ended_at is None for one in await rig.replays.list()):
        await replayer.wait(await replayer.tick())
    await rig.store.close()


if __name__ == "__main__":
    asyncio.run(carry_out(sys.argv[1]))
