"""The real time, real randomness, real ids."""

import asyncio
import random
import time

import uuid_utils

from idsync.model.values import Instant


class SystemClock:
    """Implements `ports.Clock` with what the machine has."""

    def now(self) -> Instant:
        """Read the wall clock."""
        return Instant(time.time_ns() // 1_000_000)

    def monotonic(self) -> float:
        """Read the clock that never goes back."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Wait."""
        await asyncio.sleep(max(0.0, delay_s))

    def new_id(self) -> str:
        """Make a UUIDv7."""
        return str(uuid_utils.uuid7())

    def spread(self) -> float:
        """Draw a number in [-1, 1)."""
        return random.uniform(-1.0, 1.0)  # noqa: S311  # jitter, not a secret
