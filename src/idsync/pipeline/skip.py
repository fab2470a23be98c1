"""Skip: what is still queued for an endpoint that was removed is settled as skipped, and nothing of it is sent.

Only when all of it is settled may another endpoint have the name: it must not get what was meant for this one.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from idsync import crash
from idsync.errors import LeaseLost, StoreFenced
from idsync.model.delivery import Attempt, Delivery, Outcome, Parked, Place
from idsync.model.destination import Lane
from idsync.model.plan import Committed, Fenced, LaneCursor, Plan
from idsync.model.values import Instant
from idsync.pipeline.parts.tenure import Tenure
from idsync.ports import Clock, ParkedFilter, Store

PAGE: Final = 500
GRACE_MS: Final = 5_000
"""How long another process may still queue something, for it has not seen that the endpoint is gone."""
PAUSE_S: Final = 0.5
REASON: Final = "disabled"


class Skipper:
    """Empties all lanes of one destination. A loop of its own, under the leases of those lanes."""

    def __init__(  # noqa: PLR0913  # the composition root names each part once
        self,
        name: str,
        lanes: Sequence[tuple[Lane, Place]],
        *,
        removed_at: Instant,
        tenure: Tenure,
        store: Store,
        clock: Clock,
        epoch: int,
        settle_down: Callable[[], Awaitable[object]],
        on_empty: Callable[[], Awaitable[None]],
    ) -> None:
        """Wire it.

        Args:
            name: the destination.
            lanes: all its lanes, with the place reached in each.
            removed_at: when its endpoint was removed.
            tenure: the leases of the lanes.
            store: where they are.
            clock: time.
            epoch: this process's.
            settle_down: returns when this process has committed whatever it was to queue before.
            on_empty: called once, when nothing is left and nobody can queue anything more.
        """
        self._name = name
        self._places = {lane.id: place for lane, place in lanes}
        self._quiet_at = removed_at + (0 if store.has_one_writer else GRACE_MS)
        self._tenure = tenure
        self._store = store
        self._clock = clock
        self._epoch = epoch
        self._settle_down = settle_down
        self._on_empty = on_empty
        self._is_quiet = False
        self._is_done = False

    async def tick(self) -> float:
        """Settle a page of what is queued or parked; return the seconds until the next look."""
        if self._is_done:
            return PAUSE_S
        parked = await self._store.parked(ParkedFilter(destination=self._name, lanes=frozenset(self._places)), PAGE)
        cursors = [LaneCursor(lane, after) for lane, after in self._places.items()]
        page = await self._store.read(cursors, PAGE)
        if parked or page.deliveries:
            await self._settle(parked, page.deliveries)
            return 0.0
        if self._is_quiet:
            self._is_done = True
            await self._on_empty()
        elif self._clock.now() >= self._quiet_at:
            await self._settle_down()
            self._is_quiet = True
            return 0.0
        return PAUSE_S

    async def wait(self, timeout_s: float) -> None:
        """Wait: nothing rings."""
        await self._clock.sleep(timeout_s)

    async def _settle(self, parked: Sequence[Parked], queued: Sequence[Delivery]) -> None:
        places = dict(self._places)
        for one in queued:
            places[one.lane] = max(places[one.lane], one.place)
        plan = Plan(
            epoch=self._epoch,
            fences=dict(self._tenure.fences),
            attempts=(*map(self._attempt, parked), *map(self._attempt, queued)),
            progress={lane: place for lane, place in places.items() if place != self._places[lane]},
            unparked=tuple(one.id for one in parked),
            at=self._clock.now(),
        )
        crash.point("skip.before_commit")
        match await self._store.commit(plan):
            case Committed():
                self._places = places
            case Fenced(leases):
                raise LeaseLost(leases) if leases else StoreFenced
            case moved:
                raise AssertionError(f"a settle of {self._name} depends on nothing, but {moved} has moved")

    def _attempt(self, one: Parked | Delivery) -> Attempt:
        return Attempt(
            delivery=one.id,
            event=one.event,
            destination=self._name,
            subject=one.subject,
            number=(one.attempts if isinstance(one, Parked) else 0) + 1,
            at=self._clock.now(),
            outcome=Outcome.SKIPPED,
            error=REASON,
            trace=one.trace,
        )
