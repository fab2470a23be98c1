"""Settle: what became of many deliveries, in one group commit per flush (DESIGN §1).

Attempts, lane positions and parked rows of one moment are written together, so a lane never passes a delivery whose
result or parked row is not there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from idsync import crash
from idsync.errors import StoreFenced
from idsync.model.delivery import Attempt, Parked
from idsync.model.plan import Committed, Fenced, Plan, Redo
from idsync.pipeline.parts.feed import Feed
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Clock, Inbox


@dataclass(slots=True)
class _Pending:
    attempts: list[Attempt] = field(default_factory=list)
    parked: dict[int, Parked] = field(default_factory=dict)
    unparked: dict[int, None] = field(default_factory=dict)
    commands: list[int] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.attempts or self.parked or self.unparked or self.commands)


class Settler:
    """Collects results from every deliverer of the process and writes them together."""

    def __init__(self, store: Inbox, clock: Clock, epoch: int, *, linger_s: float = 0.02, full_at: int = 256) -> None:
        """Wire it; nothing runs yet.

        Args:
            store: where plans are committed.
            clock: time.
            epoch: this process's epoch, carried by every settle.
            linger_s: seconds a result may wait for others, 0 to 1.
            full_at: results after which a flush does not wait any longer.
        """
        self._store = store
        self._clock = clock
        self._epoch = epoch
        self._linger_s = linger_s
        self._full_at = full_at
        self._pending = _Pending()
        self._since: float | None = None
        self._unwritten: Plan | None = None
        self._begun = 0
        self.flushed = 0
        """The number of the last flush that is durable."""
        self._feeds: list[Feed] = []
        self._listeners: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()

    def attach(self, feed: Feed, on_flushed: Callable[[], None]) -> None:
        """Carry this feed's positions from now on, and call back after each flush."""
        self._feeds.append(feed)
        self._listeners.append(on_flushed)

    def record(self, attempt: Attempt, *, parked: Parked | None = None, unparked: int | None = None) -> None:
        """Add one try; with it the parked row that it made or moved, or the parked row that it ended."""
        self._pending.attempts.append(attempt)
        if parked is not None:
            self.park(parked)
        if unparked is not None:
            self.unpark(unparked)
        self._note()

    def park(self, parked: Parked) -> None:
        """Insert or replace a parked row that no try of its own stands behind."""
        self._pending.unparked.pop(parked.id, None)
        self._pending.parked[parked.id] = parked
        self._note()

    def unpark(self, delivery: int) -> None:
        """End a parked row."""
        self._pending.parked.pop(delivery, None)
        self._pending.unparked[delivery] = None
        self._note()

    def finish(self, command: int) -> None:
        """End an operator's command."""
        self._pending.commands.append(command)
        self._note()

    def next_flush(self) -> int:
        """The number of the flush that will have written everything recorded so far."""
        return self._begun + (0 if self._pending.is_empty else 1)

    def _note(self) -> None:
        if self._since is None:
            self._since = self._clock.monotonic()
            self._wake.set()
        elif len(self._pending.attempts) == self._full_at:
            self._wake.set()

    async def tick(self) -> float:
        """Flush if it is time; return the seconds until it will be."""
        self._wake.clear()
        if self._since is None and self._unwritten is None:
            return 1.0
        left_s = (self._since or 0.0) + self._linger_s - self._clock.monotonic()
        if left_s > 0 and len(self._pending.attempts) < self._full_at:
            return left_s
        await self.flush()
        return self._linger_s if self._since is not None else 1.0

    async def wait(self, timeout_s: float) -> None:
        """Return when a flush begins to fill or is full, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    async def flush(self) -> None:
        """Write what was collected, now; one flush at a time, whoever asks.

        Raises:
            StoreError: it was not written; the same plan is tried first by the next flush.
        """
        async with self._turn:
            await self._flush()

    async def _flush(self) -> None:
        if self._unwritten is None:
            self._unwritten = self._collect()
        if self._unwritten is None:
            return
        crash.point("park.before_commit" if self._unwritten.parked else "settle.before_commit")
        match await self._store.commit(self._unwritten):
            case Committed():
                self._unwritten = None
                self.flushed = self._begun
                crash.point("settle.after_commit")
            case Redo() | Fenced():
                raise StoreFenced
        for listen in self._listeners:
            listen()

    def _collect(self) -> Plan | None:
        pending = self._pending
        self._pending, self._since = _Pending(), None
        if pending.is_empty:
            return None
        self._begun += 1
        return Plan(
            epoch=self._epoch,
            attempts=tuple(pending.attempts),
            progress={lane: position for feed in self._feeds for lane, position in feed.take_progress().items()},
            parked=tuple(pending.parked.values()),
            unparked=tuple(pending.unparked),
            commands_done=tuple(pending.commands),
            at=self._clock.now(),
        )
