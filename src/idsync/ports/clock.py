"""Time, randomness and ids, as a port."""

from typing import Protocol

from idsync.model.values import Instant


class Clock(Protocol):
    """Time, randomness and ids: whatever a test must be able to fix."""

    def now(self) -> Instant:
        """The wall clock: what stamps, rows and signatures carry."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary point that never go back: what time-outs and leases are measured by."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait at least `delay_s` seconds; 0 or less only yields."""
        ...

    def new_id(self) -> str:
        """Make a UUIDv7: unique, and later ones sort after earlier ones."""
        ...

    def spread(self) -> float:
        """Draw a uniform random number in [-1, 1): jitter."""
        ...
