"""Time limits on the hot path: one timer for all of a length; `asyncio.timeout` makes and cancels one for each."""

import asyncio
from types import TracebackType
from typing import Final, Protocol, Self

PAUSE_S: Final = 0.05
"""How much later than its limit a block may end: what keeps the timer from being set for every single one."""


class Limited(Protocol):
    """What may take only so long."""

    def cut_off(self) -> None:
        """Its time is over; told once, and only between `begin` and `end`."""
        ...


class Deadlines:
    """The limits of one event loop. Lengths should be few: each is kept."""

    def __init__(self) -> None:
        self._watches: dict[float, Watch] = {}

    def within(self, limit_s: float) -> "Deadline":
        """Limit one block of a task: `with deadlines.within(5.0): ...` raises TimeoutError where it takes longer."""
        return Deadline(self.watch(limit_s))

    def watch(self, limit_s: float) -> "Watch":
        """Give the watch over everything that may take so long."""
        watch = self._watches.get(limit_s)
        if watch is None:
            watch = self._watches[limit_s] = Watch(limit_s)
        return watch


class Watch:
    """Everything of one length that is under way, in order of its ends, and the one timer that looks at it."""

    __slots__ = ("_is_running", "_limit_s", "_loop", "_open")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._open: dict[Limited, float] = {}
        self._is_running = False

    def begin(self, one: Limited) -> None:
        """Count from now."""
        self._open[one] = self._loop.time() + self._limit_s
        if not self._is_running:
            self._is_running = True
            self._loop.call_later(self._limit_s, self._look)

    def end(self, one: Limited) -> None:
        """Let it be; what is not watched is left alone."""
        self._open.pop(one, None)

    def cut_off_first(self) -> None:
        """Let whatever ends first end now."""
        first = next(iter(self._open))
        del self._open[first]
        first.cut_off()

    def __len__(self) -> int:
        return len(self._open)

    def _look(self) -> None:
        now = self._loop.time()
        while self._open:
            first = next(iter(self._open))
            left_s = self._open[first] - now
            if left_s > 0:
                self._loop.call_later(max(left_s, PAUSE_S), self._look)
                return
            self.cut_off_first()
        self._is_running = False


class Deadline:
    """One block, entered once."""

    __slots__ = ("_cancelling", "_is_over", "_task", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._is_over = False

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline cancels a task, and there is none here")
        self._cancelling = task.cancelling()
        self._watch.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.end(self)
        if not self._is_over or self._task is None:
            return
        # As asyncio.timeout does: a cancellation from elsewhere goes on, only our own becomes a time-out.
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def cut_off(self) -> None:
        """End the block as a time-out."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
