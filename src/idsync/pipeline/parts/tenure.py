"""How long this process may work on something: the leases it stands on, and until when they certainly hold.

The store's clock decides who has a lease; here counts only how long ago we asked. Whoever was stopped for a while and
wakes up finds his tenure over before he has sent anything, and whatever he settles is fenced (DESIGN §6, Ownership).
"""

from collections.abc import Mapping
from math import inf

from idsync.ports import Clock


class Tenure:
    """The leases of one part of the line. `Ownership` prolongs it; the part asks before everything that others see."""

    def __init__(self, clock: Clock, fences: Mapping[str, int] | None = None, ends_at: float = inf) -> None:
        """Begin.

        Args:
            clock: its monotonic time measures the tenure.
            fences: lease → epoch; empty where one process has the store for itself.
            ends_at: monotonic seconds at which it is over unless it is prolonged.
        """
        self._clock = clock
        self.fences = dict(fences) if fences is not None else {}
        self.ends_at = ends_at

    def allows(self, takes_s: float) -> bool:
        """Whether something that takes so long is over before somebody else may begin with the same."""
        return self._clock.monotonic() + takes_s < self.ends_at
