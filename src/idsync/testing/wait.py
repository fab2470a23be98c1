"""Waiting for something to become true, with a bound: tests watch, they do not sleep and hope."""

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.01


async def until(check: Callable[[], object] | Callable[[], Awaitable[object]], within_s: float = 20.0) -> None:
    """Return as soon as the check holds.

    Args:
        check: looked at every 10 ms; plain or asynchronous.
        within_s: seconds after which it is an error that it does not hold.

    Raises:
        TimeoutError: it did not become true; the message names the check.
    """
    deadline = time.monotonic() + within_s
    while True:
        found = check()
        if await found if isinstance(found, Awaitable) else found:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{check!r} did not hold within {within_s} s")
        await asyncio.sleep(POLL_S)
