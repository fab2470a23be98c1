"""How the line's loops sleep: until something happens, but never long (a lost wake-up costs a second)."""

import asyncio


async def wait_for(wake: asyncio.Event, timeout_s: float) -> None:
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
