"""How long this process may work on something: the leases it stands on, and until when they certainly hold.

The store's clock decides who has a lease; here counts only how long ago we asked. Whoever was stopped for a while and
wakes up finds his tenure over before he has sent anything, and whatever he settles is fenced (DESIGN §6, Ownership).
"""

import asyncio
from collections.abc import Coroutine, Mapping
from math import inf
from typing import Any, Final, TypeVar

from idsync.ports import Clock

SPARE: Final = 3
"""The last part of a tenure, in which nothing is begun that may last as long: one in three."""
T = TypeVar("T")


class Tenure:
    """The leases of one part of the line. `Ownership` prolongs it; the part asks before everything that others see."""

    def __init__(
        self, clock: Clock, fences: Mapping[str, int] | None = None, ends_at: float = inf, ttl_s: float = inf
    ) -> None:
        """Begin.

        Args:
            clock: its monotonic time measures the tenure.
            fences: lease → epoch; empty where one process has the store for itself.
            ends_at: monotonic seconds at which it is over unless it is prolonged before; once over it stays over.
            ttl_s: how long it lasts from each time that it is prolonged.
        """
        self._clock = clock
        self.fences = dict(fences) if fences is not None else {}
        self.ends_at = ends_at
        self.may_begin = True
        """False: what was begun may end, for the leases are kept so long."""
        self._spare_s = ttl_s / SPARE

    @property
    def left_s(self) -> float:
        """Seconds until it is over, unless it is prolonged; 0 once it is."""
        return max(0.0, self.ends_at - self._clock.monotonic())

    def allows(self, takes_s: float) -> bool:
        """Whether something that takes so long is over before somebody else may begin with the same.

        What takes longer than a part of the tenure may be begun all the same: it is aborted where the tenure ends.
        """
        if self.ends_at == inf:  # one process has the store for itself
            return self.may_begin
        return self.may_begin and self._clock.monotonic() + min(takes_s, self._spare_s) < self.ends_at

    async def until_over(self) -> None:
        """Return when it is over, however often it is prolonged before."""
        while (left_s := self.left_s) > 0:
            await self._clock.sleep(min(left_s, self._spare_s))

    async def abort_late(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry something out, and abort it where the tenure ends.

        Raises:
            TimeoutError: it was aborted; what became of it is not known.
        """
        if self.ends_at == inf:
            return await work
        doing, ending = asyncio.ensure_future(work), asyncio.ensure_future(self.until_over())
        try:
            await asyncio.wait([doing, ending], return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise TimeoutError
            return doing.result()
        finally:
            doing.cancel()
            ending.cancel()
            await asyncio.gather(doing, ending, return_exceptions=True)
