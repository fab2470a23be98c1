"""How long this process may work on something: the leases it stands on, and until when they certainly hold.

The store's clock decides who has a lease; here counts only how long ago we asked. Whoever was stopped for a while and
wakes up finds his tenure over before he has sent anything, and whatever he settles is fenced (DESIGN §6, Ownership).
"""

from collections.abc import Mapping
from math import inf
from typing import Final

from idsync.ports import Clock

SPARE: Final = 3
"""The last part of a tenure, in which nothing is begun that may last as long: one in three."""


class Tenure:
    """The leases of one part of the line. `Ownership` prolongs it; the part asks before everything that others see."""

    def __init__(
        self, clock: Clock, fences: Mapping[str, int] | None = None, ends_at: float = inf, ttl_s: float = inf
    ) -> None:
        """Begin.

        Args:
            clock: its monotonic time measures the tenure.
            fences: lease → epoch; empty where one process has the store for itself.
            ends_at: monotonic seconds at which it is over unless it is prolonged.
            ttl_s: how long it lasts from each time that it is prolonged.
        """
        self._clock = clock
        self.fences = dict(fences) if fences is not None else {}
        self.ends_at = ends_at
        self._spare_s = ttl_s / SPARE

    def allows(self, takes_s: float) -> bool:
        """Whether something that takes so long is over before somebody else may begin with the same.

        What takes longer than a part of the tenure may be begun all the same: it is aborted where the tenure ends.
        """
        return self._clock.monotonic() + min(takes_s, self._spare_s) < self.ends_at
