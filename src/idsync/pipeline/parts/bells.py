"""The doorbells of one Target: which subjects are to be looked at, and what became of every delivery that rang.

A subject is written once however often it rang. Its deliveries are settled together: the newest with the outcome, the
others as superseded by it; a subject that could not be written is parked as one row.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec

from idsync.model.delivery import Attempt, Delivery, Outcome, Parked, ParkedState, Place
from idsync.model.destination import Lane
from idsync.model.values import Instant, Subject
from idsync.pipeline.parts.feed import PARKED_PAGE, DeliverLimits, Feed
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.tenure import Tenure
from idsync.policy.retry import RetryPolicy, next_delay_s
from idsync.ports import Clock, ParkedFilter, Store
from idsync.telemetry import Counters

Bell = list[Delivery]
"""The deliveries that rang for one subject; empty for one that is only due to be tried again."""

UNSETTLED = frozenset({Outcome.FAILED, Outcome.REFUSED})


class Bells:
    """Everything one peer is still to be brought. Owned by its deliverer."""

    def __init__(  # noqa: PLR0913  # the composition root names each part once
        self,
        name: str,
        lanes: Sequence[tuple[Lane, Place]],
        *,
        store: Store,
        settler: Settler,
        tenure: Tenure,
        clock: Clock,
        counters: Counters,
        limits: DeliverLimits,
        retry: RetryPolicy,
    ) -> None:
        """Wire it; `start` loads what was parked."""
        self.name = name
        self._store = store
        self._clock = clock
        self._counters = counters
        self._retry = retry
        self._feed = Feed(
            store,
            lanes,
            memory_max=limits.memory_max,
            page_max=limits.page_max,
            is_ordered=store.has_one_writer,
        )
        self._ringing: dict[Subject, Bell] = {}
        self._parked: dict[Subject, Parked] = {}
        self._due: list[tuple[Instant, int, Subject]] = []
        self._settler = settler
        self._book = settler.open(self._feed, lambda: None, tenure.fences)

    async def start(self) -> None:
        """Load the subjects that are parked."""
        after = 0
        while rows := await self._store.parked(
            ParkedFilter(destination=self.name, state=ParkedState.PARKED, lanes=self._feed.lanes, after=after),
            PARKED_PAGE,
        ):
            for row in rows:
                self._keep(row)
            after = rows[-1].id

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery that was just committed; one that does not fit is read from the store later."""
        if self._feed.offer(delivery):
            self._ring(delivery)

    def ring(self) -> None:
        """Another process may have queued something, or put it into its order."""
        self._feed.ring()

    def owns(self, lane: int) -> bool:
        """Whether a lane's parked rows are this one's."""
        return lane in self._feed.lanes

    def close(self) -> None:
        """Leave the lanes as they were written last: another process goes on from there."""
        self._settler.close(self._book)

    async def fetch(self) -> None:
        """Read what does not come from memory."""
        if self._feed.is_behind:
            for delivery in await self._feed.fetch():
                self._ring(delivery)

    def take(self, limit: int) -> dict[Subject, Bell]:
        """Take some of the subjects that ring or are due; whoever takes them settles them or puts them back."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            _, row_id, subject = heappop(self._due)
            row = self._parked.get(subject)
            if row is not None and row.id == row_id:
                self._ringing.setdefault(subject, [])
        return {subject: self._ringing.pop(subject) for subject in list(self._ringing)[:limit]}

    def put_back(self, bells: dict[Subject, Bell]) -> None:
        """Leave subjects for later: nothing became of them, and no attempt was made."""
        for subject, bell in bells.items():
            self._ringing[subject] = bell + self._ringing.pop(subject, [])

    def next_due_s(self) -> float:
        """Seconds until the next parked subject is due, at most 1."""
        if not self._due:
            return 1.0
        return min(1.0, max(0.0, (self._due[0][0] - self._clock.now()) / 1000))

    def settle(
        self,
        subject: Subject,
        bell: Bell,
        outcome: Outcome,
        error: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Record what became of a subject: for every delivery that rang for it, and for the row it was parked as."""
        parked, item = self._take_newest(subject, bell)
        self._counters.add("idsync_deliveries_total", f"{self.name}:{outcome}")
        if item is None:
            return
        number = (parked.attempts if parked is not None else 0) + 1
        attempt = self._attempt(item, outcome, number, error)
        if outcome in UNSETTLED:
            row = self._waiting(item, parked, number, error or outcome, retry_after_s)
            self._book.record(attempt, parked=row)
            if row.state is ParkedState.PARKED:
                self._keep(row)
        else:
            self._book.record(attempt, unparked=item.id if isinstance(item, Parked) else None)

    def rest(self, subject: Subject, bell: Bell, reason: str, until: Instant) -> bool:
        """Park a subject untried until a moment; say whether it did not rest for that reason already.

        A rest is no attempt, and tries are counted anew after it: it must not bring a subject nearer to its death.
        """
        parked, item = self._take_newest(subject, bell)
        if item is None:
            return False
        row = self._parked_row(item, parked, attempts=0, reason=reason, retry_at=until)
        self._book.park(row)
        self._keep(row)
        return parked is None or parked.reason != reason

    def _take_newest(self, subject: Subject, bell: Bell) -> tuple[Parked | None, Delivery | Parked | None]:
        """Take a subject's parked row, and the newest of everything that waits for it; the others are superseded."""
        parked = self._parked.pop(subject, None)
        for delivery in bell:
            self._feed.settle(delivery.lane, delivery.id)
        rung: list[Delivery | Parked] = [*([parked] if parked is not None else []), *bell]
        for item in rung[:-1]:
            superseded = self._attempt(item, Outcome.SUPERSEDED, 0, None)
            self._book.record(superseded, unparked=item.id if isinstance(item, Parked) else None)
        return parked, rung[-1] if rung else None

    def requeue(self, row: Parked) -> None:
        """Carry out an operator's command: try a dead row's subject again."""
        now = self._clock.now()
        revived = msgspec.structs.replace(row, state=ParkedState.PARKED, retry_at=now, attempts=0, first_at=now)
        self._book.park(revived)
        self._keep(revived)

    def _ring(self, delivery: Delivery) -> None:
        self._ringing.setdefault(delivery.subject, []).append(delivery)

    def _keep(self, row: Parked) -> None:
        """Keep a subject's parked row: one for each subject, the newest."""
        older = self._parked.get(row.subject)
        if older is not None and older.id != row.id:
            self._book.unpark(min(older, row, key=lambda one: one.id).id)
            row = max(older, row, key=lambda one: one.id)
        self._parked[row.subject] = row
        heappush(self._due, (row.retry_at if row.retry_at is not None else self._clock.now(), row.id, row.subject))

    def _waiting(
        self, item: Delivery | Parked, parked: Parked | None, number: int, reason: str, retry_after_s: float | None
    ) -> Parked:
        """Park what failed until its next try; for ever after the last one."""
        row = self._parked_row(item, parked, attempts=number, reason=reason, retry_at=None)
        now = self._clock.now()
        delay_s = next_delay_s(self._retry, number, (now - row.first_at) / 1000, self._clock.spread(), retry_after_s)
        if delay_s is None:
            return msgspec.structs.replace(row, state=ParkedState.DEAD)
        return msgspec.structs.replace(row, retry_at=Instant(now + round(delay_s * 1000)))

    def _parked_row(
        self, item: Delivery | Parked, parked: Parked | None, *, attempts: int, reason: str, retry_at: Instant | None
    ) -> Parked:
        now = self._clock.now()
        was_tried = parked is not None and parked.attempts > 0
        return Parked(
            id=item.id,
            destination=self.name,
            lane=item.lane,
            subject=item.subject,
            event=item.event,
            version=item.version,
            event_id=item.event_id,
            event_type=item.event_type,
            body=b"",
            reason=reason,
            attempts=attempts,
            retry_at=retry_at,
            state=ParkedState.PARKED,
            parked_at=parked.parked_at if parked is not None else now,
            first_at=parked.first_at if was_tried and parked is not None else now,
            trace=item.trace,
        )

    def _attempt(self, item: Delivery | Parked, outcome: Outcome, number: int, error: str | None) -> Attempt:
        return Attempt(
            delivery=item.id,
            event=item.event,
            destination=self.name,
            subject=item.subject,
            number=number,
            at=self._clock.now(),
            outcome=outcome,
            error=error,
            trace=item.trace,
        )
