"""What only several processes on one store need: the order of what they commit together, and news of each other."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Store

TICK: Final = "tick"
"""The lease of the one process that gives deliveries their order."""
IDLE_S: Final = 0.5
"""A tick at least so often: a notice that was lost costs no more."""
NEWS_S: Final = 1.0


class Ticker:
    """Gives deliveries their place, again and again, as soon as something was committed."""

    def __init__(self, store: Store, tenure: Tenure, on_tick: Callable[[], None]) -> None:
        """Wire it.

        Args:
            store: where the deliveries are.
            tenure: the lease `tick`.
            on_tick: told that there is something to be read now; must not block.
        """
        self._store = store
        self._tenure = tenure
        self._on_tick = on_tick
        self._wake = asyncio.Event()

    def ring(self) -> None:
        """Something was queued."""
        self._wake.set()

    async def tick(self) -> float:
        """Make one tick; return the seconds until the next."""
        self._wake.clear()
        fences: Mapping[str, int] = self._tenure.fences
        if await self._store.tick(fences[TICK]):
            self._on_tick()
        return IDLE_S

    async def wait(self, timeout_s: float) -> None:
        """Return when something was queued, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)


class News:
    """Wakes every part of this process when another one has committed something."""

    def __init__(self, store: Store, on_news: Callable[[], None]) -> None:
        """Wire it; `on_news` must not block."""
        self._store = store
        self._on_news = on_news

    async def tick(self) -> float:
        """Wait for news, a second at most, and pass it on."""
        await self._store.wait(NEWS_S)
        self._on_news()
        return 0.0

    async def wait(self, timeout_s: float) -> None:
        """Return at once: `tick` waits."""
        del timeout_s
