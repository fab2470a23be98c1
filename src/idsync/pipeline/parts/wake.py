"""How the line's loops sleep: until something happens, but never long (a lost wake-up costs a second)."""

import asyncio
from typing import Protocol


class Signal:
    """An event that at most one task waits for: half of what `asyncio.Event` costs, which keeps a queue of them."""

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        """Whether it was set since it was cleared last."""
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits; with nobody there, the next one does not wait."""
        if self._is_set:
            return
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Let the next one wait."""
        self._is_set = False

    async def wait(self) -> None:
        """Return once it is set."""
        if not self._is_set:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


class Waking(Protocol):
    """What `wait_for` waits for: a `Signal` or an `asyncio.Event`."""

    def is_set(self) -> bool:
        """Whether there is nothing to wait for."""

    async def wait(self) -> object:
        """Return once it is set."""


async def wait_for(wake: Waking, timeout_s: float) -> None:
    """Return when the event is set, at the latest after `timeout_s` seconds; at once for 0 or less.

    The loop that waits clears the event before it looks for work, never after: what comes in between is not missed.
    """
    if timeout_s <= 0 or wake.is_set():
        return
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        return
