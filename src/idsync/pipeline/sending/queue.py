"""What is to be sent to one endpoint, in its order: what is ready, what waits for its time, what is parked behind it.

Nothing of a key overtakes anything of it. What is `live` goes before what is `bulk`; a key may have some of both. Every
row that is parked here is written by the next flush, with the position that passes it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

import msgspec

from idsync import crash
from idsync.model.delivery import Delivery, Parked, ParkedState, Place
from idsync.model.destination import Lane, Level
from idsync.model.values import Instant, Subject
from idsync.pipeline.parts.feed import PARKED_PAGE, DeliverLimits, Feed
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import Signal
from idsync.pipeline.sending.keys import Item, Key, KeyPhase
from idsync.pipeline.sending.rows import due_at, waiting_row
from idsync.ports import Clock, ParkedFilter, Store

IDLE_S: Final = 1.0
BULK_EVERY: Final = 8
"""Of so many requests one is for what is `bulk`, however much is `live`: it goes behind, and never starves."""


class Queue:
    """The deliveries of one endpoint that this process has in memory, and the way to those that it has not."""

    def __init__(  # noqa: PLR0913  # the deliverer names each part once
        self,
        destination: str,
        lanes: Sequence[tuple[Lane, Place]],
        *,
        is_ordered: bool,
        tenure: Tenure,
        store: Store,
        settler: Settler,
        clock: Clock,
        limits: DeliverLimits,
    ) -> None:
        """Wire it; `start` loads what was parked.

        Args:
            destination: whose deliveries these are.
            lanes: those that are ours, with the place reached in each.
            is_ordered: whether an identity is a key; else each delivery is one by itself, and holds up nobody.
            tenure: the leases of the lanes.
            store: where lanes and parked rows are read.
            settler: what writes what becomes of them.
            clock: time.
            limits: what bounds them in memory.
        """
        self._destination = destination
        self._store = store
        self._clock = clock
        self._window_max = limits.window_max
        self._is_ordered = is_ordered
        self.feed = Feed(
            store,
            lanes,
            memory_max=limits.memory_max,
            page_max=limits.page_max,
            is_ordered=store.has_one_writer,
        )
        self.keys: dict[Subject, Key] = {}
        self.live: deque[Subject] = deque()
        """The keys that are ready."""
        self.low: deque[Subject] = deque()
        """Those of them that go behind the others."""
        self._low_lanes = frozenset(lane.id for lane, _ in lanes if lane.level is not Level.LIVE)
        self._turn = 0
        self._due: list[tuple[Instant, int, Subject]] = []
        self._refill: dict[Subject, tuple[int, int]] = {}
        """Key to be refilled → the flush after which its rows can be read, and how many it had then."""
        self.wake = asyncio.Event()
        """Set when there may be something to read or to make due."""
        self.stirred = Signal()
        """Set when there may be something to send."""
        self.book = settler.open(self.feed, self.wake.set, tenure.fences)

    async def start(self) -> None:
        """Load the keys that are parked: only the first row of each stays in memory."""
        after = 0
        while rows := await self._store.parked(self._filter(after=after), PARKED_PAGE):
            for row in rows:
                name = self._key_of(row)
                key = self.keys.get(name)
                if key is None:
                    key = self.keys[name] = Key()
                    key.items.append(row)
                    key.phase = KeyPhase.WAITING
                    self._schedule(row)
                else:
                    key.spilled += 1
            after = rows[-1].id
        self.wake.set()

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery that was just committed; one that does not fit is read from the store later."""
        if self.feed.offer(delivery):
            self._enqueue(delivery)
        else:
            self.wake.set()

    async def tick(self, *, is_paused: bool) -> float:
        """Make due what is due, read what is behind; return the seconds until the next time of that.

        Args:
            is_paused: whether nothing is read, for nothing of it could be sent.
        """
        self._release_due()
        await self._refill_keys()
        self.feed.pause(is_paused=is_paused)
        if self.feed.is_behind:
            fetched = await self.feed.fetch()
            crash.point("deliver.read")
            for delivery in fetched:
                self._enqueue(delivery)
            if fetched:
                return 0.0
        if self.feed.is_full or self.feed.is_behind:
            # Results make room, open the gate, or empty the generation that a newer one waits for: be called back then.
            self.book.next_flush()
        return min(IDLE_S, max(0.0, (self._due[0][0] - self._clock.now()) / 1000)) if self._due else IDLE_S

    def take(self) -> Subject:
        """Take a key that is ready: what is `live` first, but for every eighth."""
        if not self.low:
            return self.live.popleft()
        self._turn += 1
        is_low = not self.live or self._turn % BULK_EVERY == 0
        return self.low.popleft() if is_low else self.live.popleft()

    def put_off(self, subject: Subject, item: Item) -> bool:
        """Park a key's first item where its time has not come, with what comes after it; say whether it was."""
        now, due = self._clock.now(), due_at(item)
        if due is None or due <= now:
            return False
        row = item if isinstance(item, Parked) else waiting_row(item, self._destination, now)
        if isinstance(item, Delivery):
            self.book.park(row)
            self.feed.settle(item.lane, item.id)
        self.hold(self.keys[subject], row)
        self._schedule(row)
        return True

    def hold(self, key: Key, row: Parked) -> None:
        """Let a key wait for its first item, with everything that comes after it."""
        self._park_all(key.hold(row))

    def go_on(self, subject: Subject, key: Key) -> None:
        """Do what the key's phase asks for next."""
        match key.phase:
            case KeyPhase.ACTIVE:
                self._push(subject, key.current.lane)
            case KeyPhase.WAITING:
                self._schedule(key.current)
            case KeyPhase.REFILLING:
                # Rows spilled just now are read only after the flush that writes them.
                self._refill[subject] = self.book.next_flush(), key.spilled
            case KeyPhase.EMPTY:
                del self.keys[subject]

    def requeue(self, row: Parked) -> None:
        """Carry out an operator's command: a dead row is tried again, before everything of its key that came later."""
        now, name = self._clock.now(), self._key_of(row)
        revived = msgspec.structs.replace(row, state=ParkedState.PARKED, retry_at=now, attempts=0, first_at=now)
        self.book.park(revived)
        key = self.keys.get(name)
        if key is None:
            key = self.keys[name] = Key()
        self._park_all(key.revive(revived))
        if key.phase is KeyPhase.WAITING and key.current.id == revived.id:
            self._schedule(revived)

    def _enqueue(self, delivery: Delivery) -> None:
        subject = delivery.subject if self._is_ordered else self._key_of(delivery)
        key = self.keys.get(subject)
        if key is None:
            key = self.keys[subject] = Key()
        is_idle = key.phase is KeyPhase.EMPTY
        if not key.add(delivery, self._window_max):
            self._park_all([delivery])
        elif is_idle:
            self._push(subject, delivery.lane)

    def _key_of(self, item: Item) -> Subject:
        return item.subject if self._is_ordered else Subject(str(item.id))

    def _park_all(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries off their lane: they wait in `parked`, behind an earlier one of their key."""
        for delivery in deliveries:
            self.book.park(waiting_row(delivery, self._destination, self._clock.now()))
            self.feed.settle(delivery.lane, delivery.id)

    def _push(self, subject: Subject, lane: int) -> None:
        (self.low if lane in self._low_lanes else self.live).append(subject)
        self.stirred.set()

    def _schedule(self, row: Item) -> None:
        at = due_at(row)
        heappush(self._due, (self._clock.now() if at is None else at, row.id, self._key_of(row)))
        self.wake.set()

    def _release_due(self) -> None:
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            _, row_id, subject = heappop(self._due)
            key = self.keys.get(subject)
            if key is not None and key.phase is KeyPhase.WAITING and key.current.id == row_id:
                key.wake()
                self._push(subject, key.current.lane)

    async def _refill_keys(self) -> None:
        """Bring the next parked rows of drained keys back into memory, oldest first."""
        for subject, (flush, spilled) in list(self._refill.items()):
            key = self.keys.get(subject)
            if flush > self.book.flushed:
                continue
            del self._refill[subject]
            if key is None or key.phase is not KeyPhase.REFILLING:
                continue
            key.refill(await self._store.parked(self._filter(subject=subject), self._window_max))
            if key.phase is KeyPhase.REFILLING:
                # Each of those rows was ended by somebody else (an operator): what was parked since is not written yet.
                key.spilled -= spilled
                key.settle()
            self.go_on(subject, key)

    def _filter(self, *, after: int = 0, subject: Subject | None = None) -> ParkedFilter:
        lanes, state = self.feed.lanes, ParkedState.PARKED
        return ParkedFilter(destination=self._destination, subject=subject, state=state, lanes=lanes, after=after)
