"""Time that passes only when a test says so; ids and jitter that are the same in every run."""

import asyncio
import random
import uuid
from heapq import heappop, heappush
from typing import Final

from idsync.model.values import Instant

START: Final = Instant(1_700_000_000_000)
"""2023-11-14T22:13:20Z: where every fake clock begins, unless it is told otherwise."""
SETTLE_TURNS: Final = 100
"""Turns of the event loop that woken tasks get before time moves on: no chain of wake-ups of ours is as long."""


class FakeClock:
    """A `Clock` whose time stands still until `advance`. Sleepers wake in the order of their time."""

    def __init__(self, now: Instant = START, seed: int = 0) -> None:
        """Begin.

        Args:
            now: the wall clock at first; the monotonic clock begins at 0.
            seed: what jitter and ids are drawn from.
        """
        self._start = now
        self._elapsed_ms = 0.0
        self._offset_ms = 0
        self._random = random.Random(seed)  # noqa: S311  # the same numbers in every run is the point
        self._count = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrival = asyncio.Event()

    def now(self) -> Instant:
        """The wall clock."""
        return Instant(self._start + self._offset_ms + int(self._elapsed_ms))

    def monotonic(self) -> float:
        """Seconds since the clock was made; `step` does not move it."""
        return self._elapsed_ms / 1000

    async def sleep(self, delay_s: float) -> None:
        """Wait until time was advanced by `delay_s` seconds; 0 or less only yields."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        woken = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self._elapsed_ms + delay_s * 1000, self._count, woken))
        self._arrival.set()
        await woken

    def new_id(self) -> str:
        """Make a UUIDv7 of the fake time; each sorts after the one before as long as time does not go back."""
        self._count += 1
        low = self._count << 40 | self._random.getrandbits(40)
        number = (
            (self.now() & (1 << 48) - 1) << 80 | 7 << 76 | (low >> 62 & 0xFFF) << 64 | 2 << 62 | low & (1 << 62) - 1
        )
        return str(uuid.UUID(int=number))

    def spread(self) -> float:
        """Draw a uniform random number in [-1, 1)."""
        return self._random.random() * 2 - 1

    @property
    def sleepers(self) -> int:
        """How many tasks sleep now."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, delay_s: float) -> None:
        """Let time pass: whoever is due wakes at its own moment and runs until it sleeps or waits again."""
        until_ms = self._elapsed_ms + delay_s * 1000
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until_ms:
            due_ms, _, woken = heappop(self._sleepers)
            self._elapsed_ms = max(self._elapsed_ms, due_ms)
            if not woken.done():
                woken.set_result(None)
                await self.settle()
        self._elapsed_ms = until_ms

    async def leap(self, delay_s: float) -> None:
        """Let time pass at once, as on a machine that slept: whoever was due meanwhile wakes late, and once."""
        self._elapsed_ms += delay_s * 1000
        await self.advance(0)

    def step(self, delta_s: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does; nobody wakes of it."""
        self._offset_ms += round(delta_s * 1000)

    async def settle(self) -> None:
        """Let every task that is ready run on, without letting time pass.

        What waits for a thread or a socket is not ready; wait for its own signal instead.
        """
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)

    async def wait_for_sleepers(self, count: int) -> None:
        """Return once at least `count` tasks sleep."""
        while self.sleepers < count:
            self._arrival.clear()
            await self._arrival.wait()
