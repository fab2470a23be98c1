"""Ingest: accept, merge, dispatch, in one transaction (DESIGN §1.1).

Whatever waits is taken together: one load, one pure pass in memory, one group commit, and only then the answers. The
sender gets its receipt after the commit and before anything slow.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Protocol, assert_never

import msgspec

from idsync import crash
from idsync.errors import DataRefused, LeaseLost, StoreBusy, StoreError, StoreFenced
from idsync.model.delivery import Delivery
from idsync.model.entity import Entity
from idsync.model.event import Arrival, Observation, Receipt, Verdict
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.plan import Committed, Fenced, Plan, Position, Redo, Reread, Snapshot
from idsync.model.values import EntityId, Instant, Kind, PeerName
from idsync.pipeline.parts.draft import Draft, keys_of, unfit
from idsync.pipeline.parts.routes import Routes
from idsync.pipeline.parts.wake import wait_for
from idsync.policy.linking import Linked, New, Undecided, resolve
from idsync.policy.merge import merge
from idsync.ports import Clock, Store
from idsync.telemetry import Counters

REDO_MAX = 20
"""Passes of one batch before a moving key is called a fault: a pass fails only if another writer succeeded."""

UNREAD = Snapshot()
"""What events that are only passed on are merged with first, as if nothing were known of them: the commit finds out by
itself which are known. A repeated one costs a second pass, and a new one no look of its own. Only where there is one
writer; elsewhere every writer that meets a repeated one would undo a whole batch, while others wait for it."""

POISON = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)
"""What one arrival can do to the pure pass, by what it holds or by a fault of ours: it is found and parked."""

DECIDABLE = frozenset({"mass_delete", "delete_conflict"})
"""Reasons to park that an operator may overrule by letting the arrival pass."""


class IngestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds ingest."""

    batch_max: int = 1_000
    """Arrivals merged in one transaction."""
    queue_max: int = 20_000
    """Arrivals that may wait; beyond it senders are told to come again."""
    deletes_max: int = 100
    """Deletes taken from one peer in any minute; more are parked and an alarm is raised (DESIGN §4.6)."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """Arrivals that are ingested together, with what must commit with them."""

    arrivals: Sequence[Arrival] = ()
    peer: PeerName | None = None
    position: Position | None = None
    """How far `peer`'s outbox is read once these are ingested."""
    rereads: Sequence[Reread] = ()
    rereads_done: Sequence[Reread] = ()
    fences: Mapping[str, int] = {}
    """Lease → epoch: nothing of this is ingested once somebody else has taken one of them."""
    settings: Mapping[str, bytes | None] = {}
    """Values that the store keeps for the service from then on; None removes one."""


class Asker(Protocol):
    """Who is told once how a submission ended; a future is one. It must neither raise nor block."""

    def done(self) -> bool:
        """Whether it no longer wants to know."""
        ...

    def set_result(self, receipts: list[Receipt], /) -> None:
        """Its receipts, in order: they are durable."""
        ...

    def set_exception(self, error: StoreError, /) -> None:
        """The store failed; the sender must send again."""
        ...


@dataclass(slots=True)
class _Waiting:
    submission: Submission
    answer: Asker


class Ingest:
    """The one door of the line. `submit` from anywhere in the loop; `run` is its single worker."""

    def __init__(  # noqa: PLR0913  # the composition root names each part once
        self,
        store: Store,
        routes: Routes,
        clock: Clock,
        epoch: int,
        *,
        limits: IngestLimits,
        counters: Counters,
        on_committed: Callable[[Plan, Committed, Sequence[Delivery]], None],
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        """Wire the door; nothing runs yet.

        Args:
            store: where plans are committed.
            routes: mappings, destinations, lanes.
            clock: time and ids.
            epoch: this process's epoch; a plan of a lost epoch is fenced.
            limits: bounds of batch and queue.
            counters: what is counted.
            on_committed: told of every plan after its commit, with its deliveries in commit order; must not block.
            catch_up: gives us the newest `routes`, for somebody else has changed where events go; must not wait for us.
        """
        self._store = store
        self.routes = routes
        self._clock = clock
        self._epoch = epoch
        self._limits = limits
        self._counters = counters
        self._on_committed = on_committed
        self._catch_up = catch_up
        self._queue: deque[_Waiting] = deque()
        self._depth = 0
        self._wake = asyncio.Event()
        self._deletes = _DeleteGuard(limits.deletes_max)

    async def submit(self, submission: Submission) -> list[Receipt]:
        """Ingest some arrivals; return their receipts, in order, once they are durable.

        Raises:
            StoreBusy: too many arrivals wait already; nothing of this submission was taken.
            StoreError: the store failed; the sender must send again.
        """
        answer: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        self.submit_for(answer, submission)
        return await answer

    def submit_for(self, asker: Asker, submission: Submission) -> None:
        """Ingest as `submit` does, but tell somebody who has no task to wait in; nobody is told of a StoreBusy."""
        size = len(submission.arrivals)
        if self._depth + size > self._limits.queue_max and self._depth:
            raise StoreBusy(f"{self._depth} events wait to be ingested; send again in a moment")
        self._queue.append(_Waiting(submission, asker))
        self._depth += size
        self._wake.set()

    async def ingest_alone(self, submission: Submission) -> list[Receipt]:
        """Ingest at once, while nothing runs that would take what is submitted: at the start.

        Raises:
            StoreError: the store failed.
        """
        return await self._commit([submission])

    async def tick(self) -> float:
        """Ingest what waits; return the seconds until the next look, at once if more waits."""
        self._wake.clear()
        batch = self._take()
        if not batch:
            return 1.0
        try:
            await self._ingest(batch)
        except StoreError as error:
            _fail(batch, error)
            raise
        except BaseException:
            _fail(batch, StoreError("ingest stopped before this event was stored; send it again"))
            raise
        return 0.0 if self._queue else 1.0

    async def wait(self, timeout_s: float) -> None:
        """Return when something waits, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].submission.arrivals) <= self._limits.batch_max):
            waiting = self._queue.popleft()
            size += len(waiting.submission.arrivals)
            batch.append(waiting)
        self._depth -= size
        return batch

    async def _ingest(self, batch: list[_Waiting]) -> None:
        """Commit a batch; if its data is refused, halve it until what fails alone is found, and park that."""
        try:
            receipts = await self._commit([waiting.submission for waiting in batch])
        except LeaseLost as error:
            lost = [one for one in batch if not error.leases.isdisjoint(one.submission.fences)]
            if not lost:
                raise
            _fail(lost, error)
            if rest := [one for one in batch if one not in lost]:
                await self._ingest(rest)
            return
        except DataRefused:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._ingest(batch[:middle])
                await self._ingest(batch[middle:])
                return
            receipts = await self._commit_split(batch[0].submission)
        _answer(batch, receipts)

    async def _commit_split(self, submission: Submission) -> list[Receipt]:
        """Ingest one refused submission piece by piece; what else must commit with it goes with the last piece."""
        arrivals = list(submission.arrivals)
        if len(arrivals) <= 1:
            parked = [unfit(arrival, "data_refused") for arrival in arrivals]
            return await self._commit([msgspec.structs.replace(submission, arrivals=parked)])
        middle = len(arrivals) // 2
        receipts: list[Receipt] = []
        last = msgspec.structs.replace(submission, arrivals=arrivals[middle:])
        for piece in (Submission(arrivals=arrivals[:middle]), last):
            try:
                receipts += await self._commit([piece])
            except DataRefused:
                receipts += await self._commit_split(piece)
        return receipts

    async def _commit(self, submissions: list[Submission]) -> list[Receipt]:
        arrivals = [arrival for one in submissions for arrival in one.arrivals]
        positions = {one.peer: one.position for one in submissions if one.peer is not None and one.position is not None}
        asked = [job for one in submissions for job in one.rereads]
        done = [job for one in submissions for job in one.rereads_done]
        fences = {name: epoch for one in submissions for name, epoch in one.fences.items()}
        settings = {name: value for one in submissions for name, value in one.settings.items()}
        is_guess = self._store.has_one_writer and all(one.observation is None for one in arrivals)
        for _ in range(REDO_MAX):
            snapshot = UNREAD if is_guess else await self._store.load(keys_of(arrivals, self.routes))
            is_guess = False
            crash.point("ingest.loaded")
            draft = Draft.of(snapshot, self.routes, self._epoch, self._clock.now())
            receipts = self._pass(draft, arrivals)
            plan = msgspec.structs.replace(draft.plan(positions, asked, done, fences, snapshot), settings=settings)
            crash.point("ingest.before_commit")
            match await self._store.commit(plan):
                case Committed() as committed:
                    crash.point("ingest.after_commit")
                    self._hand_over(plan, committed)
                    self._count(receipts)
                    return receipts
                case Redo(routes=has_moved):
                    if has_moved:
                        await self._catch_up()
                case Fenced(leases):
                    raise LeaseLost(leases) if leases else StoreFenced
        raise StoreError(f"a batch of {len(arrivals)} events met other writers {REDO_MAX} times; send again")

    def _pass(self, draft: Draft, arrivals: list[Arrival]) -> list[Receipt]:
        """Merge a batch in memory.

        Raises:
            DataRefused: some arrival breaks the pass; halving finds which.
        """
        try:
            return [self._accept(draft, arrival) for arrival in arrivals]
        except POISON as error:
            self._counters.add("idsync_poison_total", type(error).__name__)
            raise DataRefused(f"an event of {len(arrivals)} broke the merge: {type(error).__name__}") from error

    def _count(self, receipts: list[Receipt]) -> None:
        for verdict, run in groupby(receipts, attrgetter("verdict")):
            self._counters.add("idsync_events_total", verdict, len(list(run)))

    def _accept(self, draft: Draft, arrival: Arrival) -> Receipt:
        """Step one: is it known? Then merge it, pass it on, or park it."""
        known = known_as(draft, arrival)
        if known is not None:
            return Receipt(arrival.id, Verdict.DUPLICATE, known.reason, known.entity)
        if arrival.observation is not None:
            return self._merge(draft, arrival, arrival.observation)
        if arrival.event is not None:
            return draft.fan_out(arrival, arrival.event)
        return draft.park(arrival, arrival.refusal or "unreadable")

    def _merge(self, draft: Draft, arrival: Arrival, seen: Observation) -> Receipt:
        """Step two: whom does it speak of, and what does it change? Step three, dispatch, is in `Draft.apply`."""
        mapping = draft.routes.mapping_of(seen.kind, seen.peer)
        if seen.peer not in mapping.peers:
            # It could link itself to people, or claim their e-mails, without being asked to keep them equal.
            return draft.park(arrival, "peer_not_synced")
        match resolve(seen, draft.directory, mapping):
            case Undecided(reason, waits_for):
                return draft.park(arrival, reason, waits_for)
            case Linked(found):
                before = draft.directory.entities[found]
            case New():
                before = Entity(id=EntityId(self._clock.new_id()), kind=seen.kind, created_at=seen.received_at)
            case unknown:
                assert_never(unknown)
        if self._is_mass_delete(before, arrival, seen):
            return draft.park(arrival, "mass_delete", entity=before)
        outcome = merge(before, seen, _decided(mapping, arrival, seen))
        if outcome.verdict is Verdict.REREAD:
            return draft.ask_again(arrival, seen, before, outcome)
        if outcome.verdict is Verdict.PARKED:
            return draft.park(arrival, outcome.reason or "parked", entity=before)
        return draft.apply(arrival, seen, before, outcome, self._clock.new_id())

    def _is_mass_delete(self, entity: Entity, arrival: Arrival, seen: Observation) -> bool:
        if seen.kind == Kind.SESSION:
            # Sessions end by themselves, all day.
            return False
        if not seen.is_gone or seen.origin is not None or arrival.is_decided or not entity.link_at(seen.peer).is_live:
            return False
        return not self._deletes.admit(seen.peer, seen.event_id, seen.received_at)

    def _hand_over(self, plan: Plan, committed: Committed) -> None:
        """Give the new deliveries to the deliver side from memory: they are durable, nobody must read them again."""
        settled = {one.seq: one.row for one in plan.settles}
        deliveries = []
        for row, delivery_id in zip(plan.deliveries, committed.deliveries, strict=True):
            event = plan.inbox[row.row] if row.row is not None else settled.get(row.seq or 0)
            deliveries.append(
                Delivery(
                    id=delivery_id,
                    lane=row.lane,
                    subject=row.subject,
                    event=committed.inbox[row.row] if row.row is not None else row.seq or 0,
                    version=row.version,
                    event_id=(event.event_id or "") if event is not None else "",
                    event_type=(event.event_type or "") if event is not None else "",
                    body=event.body if event is not None else b"",
                    trace=event.trace if event is not None else None,
                    queued_at=plan.at,
                    not_before=event.not_before if event is not None else None,
                )
            )
        self._on_committed(plan, committed, deliveries)


def known_as(draft: Draft, arrival: Arrival) -> Receipt | None:
    """Find what this event was accepted as before; None: it is new, or parked and now tried again."""
    known = draft.known.get((arrival.peer, arrival.id))
    is_waiting = arrival.redo is not None and known is not None and known.verdict is Verdict.PARKED
    return None if is_waiting else known


def _decided(mapping: KindMapping, arrival: Arrival, seen: Observation) -> KindMapping:
    """An operator let a conflicting delete pass: this peer's delete counts for all, this once."""
    if not arrival.is_decided or not seen.is_gone:
        return mapping
    return msgspec.structs.replace(mapping, lifecycle_owner=seen.peer)


def _answer(batch: list[_Waiting], receipts: list[Receipt]) -> None:
    start = 0
    for waiting in batch:
        end = start + len(waiting.submission.arrivals)
        if not waiting.answer.done():
            waiting.answer.set_result(receipts[start:end])
        start = end


def _fail(batch: list[_Waiting], error: StoreError) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


class _DeleteGuard:
    """Counts one peer's deletes of the last minute; the same event counts once however often its batch is redone."""

    def __init__(self, deletes_max: int) -> None:
        self._max = deletes_max
        self._seen: dict[PeerName, dict[str, Instant]] = {}

    def admit(self, peer: PeerName, event_id: str, at: Instant) -> bool:
        recent = self._seen.setdefault(peer, {})
        for old in [one for one, since in recent.items() if since <= at - 60_000]:
            del recent[old]
        if event_id not in recent and len(recent) >= self._max:
            return False
        recent[event_id] = at
        return True
