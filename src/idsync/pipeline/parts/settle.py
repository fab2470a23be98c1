"""Settle: what became of many deliveries, in one group commit per flush (DESIGN §1).

Attempts, lane positions and parked rows of one moment are written together, so a lane never passes a delivery whose
result or parked row is not there. Each deliverer has a book of its own: where its lanes were taken by another process,
its book is closed unwritten, and the others are written without it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain

import msgspec

from idsync import crash
from idsync.errors import StoreFenced
from idsync.model.delivery import Attempt, Parked, Place
from idsync.model.event import Arrival
from idsync.model.plan import Committed, Fenced, Plan, Redo
from idsync.pipeline.parts.feed import Feed
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Clock, Inbox

NO_FENCES: Mapping[str, int] = {}
Announce = Callable[[Sequence[Arrival]], Awaitable[object]]


class _Page(msgspec.Struct):
    """What one book has to write. With many endpoints nearly every result has a page of its own: it is made fast."""

    book: "Book"
    attempts: list[Attempt] = []
    parked: dict[int, Parked] = {}
    unparked: dict[int, None] = {}
    progress: dict[int, Place] = {}
    settings: dict[str, bytes | None] = {}
    arrivals: list[Arrival] = []

    @property
    def is_empty(self) -> bool:
        return not (self.attempts or self.parked or self.unparked or self.settings)


class Book:
    """What one deliverer has to write; made by `Settler.open`."""

    def __init__(
        self, settler: "Settler", feed: Feed, fences: Mapping[str, int], on_flushed: Callable[[], None]
    ) -> None:
        """Begin with nothing."""
        self._settler = settler
        self._feed = feed
        self.fences = fences
        self.on_flushed = on_flushed
        self.is_closed = False
        """Whether nothing of it is written any more: its deliverer stopped, or its lanes were taken."""
        self._page = _Page(self)

    def record(self, attempt: Attempt, *, parked: Parked | None = None, unparked: int | None = None) -> None:
        """Add one try; with it the parked row that it made or moved, or the parked row that it ended."""
        self._page.attempts.append(attempt)
        self._settler.note(attempts=1)
        if parked is not None:
            self.park(parked)
        if unparked is not None:
            self.unpark(unparked)

    def park(self, parked: Parked) -> None:
        """Insert or replace a parked row that no try of its own stands behind."""
        self._page.unparked.pop(parked.id, None)
        self._page.parked[parked.id] = parked
        self._settler.note()

    def unpark(self, delivery: int) -> None:
        """End a parked row."""
        self._page.parked.pop(delivery, None)
        self._page.unparked[delivery] = None
        self._settler.note()

    def keep(self, settings: Mapping[str, bytes | None]) -> None:
        """Keep some values together with everything else that is recorded."""
        self._page.settings.update(settings)
        self._settler.note()

    def announce(self, arrival: Arrival) -> None:
        """Tell of something that is recorded now: it is ingested before that is written, and so never forgotten."""
        self._page.arrivals.append(arrival)

    def next_flush(self) -> int:
        """The number of the flush that will have written everything recorded so far.

        Until that is durable, and once afterwards, whoever opened the book is called back after each flush.
        """
        flush = self._settler.begun + (0 if self._page.is_empty else 1)
        self._settler.listen(self, flush)
        return flush

    @property
    def flushed(self) -> int:
        """The number of the last flush that is durable."""
        return self._settler.flushed

    def take_page(self) -> _Page | None:
        """Give what is to be written, with the places reached; None: nothing."""
        if self._page.is_empty and not self._feed.has_moved:
            return None
        page, self._page = self._page, _Page(self)
        page.progress = self._feed.take_progress()
        return None if page.is_empty and not page.progress else page


class Settler:
    """Collects results from every deliverer of the process and writes them together."""

    def __init__(  # the composition root names each part once
        self,
        store: Inbox,
        clock: Clock,
        epoch: int,
        *,
        linger_s: float = 0.02,
        full_at: int = 256,
        announce: Announce | None = None,
    ) -> None:
        """Wire it; nothing runs yet.

        Args:
            store: where plans are committed.
            clock: time.
            epoch: this process's epoch, carried by every settle.
            linger_s: seconds a result may wait for others, 0 to 1.
            full_at: results after which a flush does not wait any longer.
            announce: ingests what is told of results, before they are written; the same may be told again.
        """
        self._announce = announce
        self._store = store
        self._clock = clock
        self._epoch = epoch
        self._linger_s = linger_s
        self._full_at = full_at
        self._books: dict[Book, None] = {}
        self._listening: dict[Book, int] = {}
        """Those that wait for a flush, with its number. Most do not: waking them all costs more than sending."""
        self._commands: list[int] = []
        self._size = 0
        self._since: float | None = None
        self._unwritten: tuple[list[_Page], list[int]] | None = None
        self.begun = 0
        self.flushed = 0
        """The number of the last flush that is durable."""
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()

    def open(self, feed: Feed, on_flushed: Callable[[], None], fences: Mapping[str, int] = NO_FENCES) -> Book:
        """Carry a feed's positions from now on, under the leases of its lanes; call back as `Book.next_flush` says."""
        book = Book(self, feed, fences, on_flushed)
        self._books[book] = None
        return book

    def close(self, book: Book) -> None:
        """Write nothing more of a book: whoever owns its lanes next begins where it was flushed last."""
        book.is_closed = True
        self._books.pop(book, None)
        self._listening.pop(book, None)

    def listen(self, book: Book, flush: int) -> None:
        """Call a book's owner back after each flush until this one is durable."""
        self._listening[book] = max(flush, self._listening.get(book, 0))

    def finish(self, command: int) -> None:
        """End an operator's command."""
        self._commands.append(command)
        self.note()

    def note(self, attempts: int = 0) -> None:
        """Know that something is to be written."""
        self._size += attempts
        if self._since is None:
            self._since = self._clock.monotonic()
            self._wake.set()
        elif self._size == self._full_at:
            self._wake.set()

    async def tick(self) -> float:
        """Flush if it is time; return the seconds until it will be."""
        self._wake.clear()
        if self._since is None and self._unwritten is None:
            return 1.0
        left_s = (self._since or 0.0) + self._linger_s - self._clock.monotonic()
        if left_s > 0 and self._size < self._full_at:
            return left_s
        await self.flush()
        return self._linger_s if self._since is not None else 1.0

    async def wait(self, timeout_s: float) -> None:
        """Return when a flush begins to fill or is full, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    async def flush(self) -> None:
        """Write what was collected, now; one flush at a time, whoever asks.

        Raises:
            StoreError: it was not written, or the answer was lost; the next flush writes the same pages first, once.
        """
        async with self._turn:
            is_repeated = self._unwritten is not None
            if self._unwritten is None:
                self._unwritten = self._collect()
            if self._unwritten is None:
                return
            await self._write(*self._unwritten, is_repeated=is_repeated)
            self._unwritten = None
        for book, flush in list(self._listening.items()):
            if flush <= self.flushed:
                del self._listening[book]
            book.on_flushed()

    async def _write(self, pages: list[_Page], commands: list[int], *, is_repeated: bool) -> None:
        """Write some pages; without those whose lanes are somebody else's by now."""
        arrivals = [one for page in pages for one in page.arrivals]
        if arrivals and self._announce is not None:
            await self._announce(arrivals)
            crash.point("settle.announced")
        while pages or commands:
            plan = msgspec.structs.replace(self._plan(pages, commands), is_repeated=is_repeated)
            if plan.settings:
                crash.point("health.before_commit")
            crash.point("park.before_commit" if plan.parked else "settle.before_commit")
            match await self._store.commit(plan):
                case Committed():
                    break
                case Fenced(leases) if leases:
                    for page in [one for one in pages if not leases.isdisjoint(one.book.fences)]:
                        self.close(page.book)
                        pages.remove(page)
                case Redo() | Fenced():
                    raise StoreFenced
        self.flushed = self.begun
        crash.point("settle.after_commit")

    def _collect(self) -> tuple[list[_Page], list[int]] | None:
        pages = [page for book in self._books if (page := book.take_page()) is not None]
        commands, self._commands, self._since, self._size = self._commands, [], None, 0
        if not pages and not commands:
            return None
        self.begun += 1
        return pages, commands

    def _plan(self, pages: list[_Page], commands: list[int]) -> Plan:
        return Plan(
            epoch=self._epoch,
            fences={name: epoch for page in pages for name, epoch in page.book.fences.items()},
            attempts=tuple(chain.from_iterable(page.attempts for page in pages)),
            progress={lane: place for page in pages for lane, place in page.progress.items()},
            parked=tuple(one for page in pages for one in page.parked.values()),
            unparked=tuple(one for page in pages for one in page.unparked),
            commands_done=tuple(commands),
            settings={name: value for page in pages for name, value in page.settings.items()},
            at=self._clock.now(),
        )
