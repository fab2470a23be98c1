"""The unsettled deliveries of one destination, in lane order: from memory where they were just queued, else read.

A lane is *caught up* while everything past its cursor has been offered from memory. The first offer that does not fit
ends that, and the lane is read from the store until a read finds its end and nothing was offered meanwhile (DESIGN §6,
Reading).
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from idsync.model.delivery import Delivery, Place
from idsync.model.destination import Lane, Level
from idsync.model.plan import LaneCursor
from idsync.ports import Lanes

PARKED_PAGE = 500
"""Parked rows read at a time."""
LOW_PART = 2
"""What is not `live` fills one in so many parts of the memory: however slow the endpoint, what is `live` goes first."""


class DeliverLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds one destination's deliveries in memory."""

    memory_max: int = 4_000
    page_max: int = 500
    window_max: int = 100
    """Unsettled events of one key in memory; the rest of the key is parked as `behind`, so that the lane moves on."""
    response_bytes_max: int = 4_096


class _Lane:
    """One lane in memory: its cursor, and which of the deliveries taken from it are settled."""

    __slots__ = (
        "after",
        "done",
        "generation",
        "has_missed",
        "id",
        "is_caught_up",
        "is_low",
        "is_resumed",
        "order",
        "position",
        "settled",
    )

    def __init__(self, lane: Lane, position: Place) -> None:
        self.id = lane.id
        self.generation = lane.generation
        self.is_low = lane.level is not Level.LIVE
        self.after = position
        self.settled = position
        self.position = position
        self.order: deque[Place] = deque()
        self.done: set[int] = set()
        self.is_caught_up = False
        self.has_missed = False
        self.is_resumed = True
        """Whether what is read may be settled or parked already, by an owner before us: so until it is caught up."""

    def take(self, place: Place) -> None:
        self.order.append(place)
        self.after = place

    def settle(self, delivery: int) -> None:
        """Mark one; `settled` is the place up to which nothing is open any more."""
        if not self.order or self.order[0][1] != delivery:
            self.done.add(delivery)
            return
        self.settled = self.order.popleft()
        while self.order and self.order[0][1] in self.done:
            self.settled = self.order.popleft()
            self.done.discard(self.settled[1])


class Feed:
    """All lanes of one destination. Owned by one deliverer; every method runs in the event loop."""

    def __init__(  # what bounds it, each named at the call
        self,
        store: Lanes,
        lanes: Sequence[tuple[Lane, Place]],
        *,
        memory_max: int,
        page_max: int,
        is_ordered: bool = True,
    ) -> None:
        """Start behind the settled positions.

        Args:
            store: where lanes are read.
            lanes: the destination's open lanes with their positions, older generations first.
            is_ordered: whether what is offered comes in the lane's order: only where one process commits.
            memory_max: deliveries held in memory at most, beyond which lanes fall back to the store; those that are not
                `live` have a part of it, so that they are never all that there is room for.
            page_max: deliveries read for one lane at a time.
        """
        self._store = store
        self._lanes = {lane.id: _Lane(lane, position) for lane, position in lanes}
        self._memory_max = memory_max
        self._room = memory_max
        self._low_room = max(1, memory_max // LOW_PART)
        self._page_max = page_max
        self._is_ordered = is_ordered
        self._moved: set[int] = set()
        self.size = 0
        """Deliveries in memory, not settled yet."""
        self._low_size = 0
        """Those of them that are not `live`."""

    def offer(self, delivery: Delivery) -> bool:
        """Take a delivery that was just committed, if its lane is caught up and there is room; say whether."""
        lane, place = self._lanes[delivery.lane], delivery.place
        if self._is_ordered and place <= lane.after:
            return False
        if self._is_ordered and lane.is_caught_up and self._has_room(lane):
            lane.take(place)
            self.size += 1
            self._low_size += lane.is_low
            return True
        lane.is_caught_up = False
        lane.has_missed = True
        return False

    def ring(self) -> None:
        """Another process may have queued something: every lane is to be read."""
        for lane in self._lanes.values():
            lane.is_caught_up = False
            lane.has_missed = True

    def pause(self, *, is_paused: bool) -> None:
        """Take nothing more into memory, while nothing of it could be sent; or go on."""
        self._room = 0 if is_paused else self._memory_max

    @property
    def lanes(self) -> frozenset[int]:
        """The lanes that are fed."""
        return frozenset(self._lanes)

    @property
    def is_full(self) -> bool:
        """Whether there is no room in memory for what would be read, or none for what is not `live`."""
        return self.size >= self._room or self._low_size >= self._low_room

    @property
    def has_moved(self) -> bool:
        """Whether some lane may have got further since `take_progress`."""
        return bool(self._moved)

    @property
    def is_behind(self) -> bool:
        """Whether some lane has to be read from the store, and there is room for what is found."""
        return any(not lane.is_caught_up and self._has_room(lane) for lane in self._lanes.values())

    def _has_room(self, lane: _Lane) -> bool:
        """Whether more of a lane may be taken; a page of several lanes may be more than there was room for."""
        if lane.is_low:
            return self.size < self._room and self._low_size < self._low_room
        return self.size < self._room or self.size - self._low_size < self._room - self._low_room

    async def fetch(self) -> list[Delivery]:
        """Read the lanes that are behind; take what the oldest generation that is not empty has.

        Only what still needs something is given: an owner before us may have been ahead of the place that it wrote, and
        what it settled is not sent again, nor what it parked taken for new.
        """
        while behind := self._behind():
            taken, passed = await self._read(behind)
            for delivery in taken:
                if delivery.id in passed:
                    self.settle(delivery.lane, delivery.id)
            rest = [delivery for delivery in taken if delivery.id not in passed]
            if rest or not taken or not self.is_behind:
                return rest
        return []

    async def _read(self, behind: Sequence[_Lane]) -> tuple[list[Delivery], frozenset[int]]:
        """Take a page of some lanes; give it, and which of it need nothing more."""
        for lane in behind:
            lane.has_missed = False
        cursors = [LaneCursor(lane.id, lane.after) for lane in behind]
        is_resumed = any(lane.is_resumed for lane in behind)
        page = await self._store.read(cursors, self._page_max, is_resumed=is_resumed)
        oldest = min((self._lanes[one.lane].generation for one in page.deliveries), default=behind[-1].generation)
        taken = [one for one in page.deliveries if self._lanes[one.lane].generation == oldest]
        for delivery in taken:
            self._lanes[delivery.lane].take(delivery.place)
            self._low_size += self._lanes[delivery.lane].is_low
        self.size += len(taken)
        for lane in behind:
            is_at_end = lane.generation <= oldest and lane.id not in page.more
            lane.is_caught_up = is_at_end and not lane.has_missed
            lane.is_resumed = lane.is_resumed and not is_at_end
        return taken, page.passed

    def _behind(self) -> list[_Lane]:
        """Lanes to read. A newer generation waits until the older one is empty, or one key could be in two lanes.

        It is seen to be empty in the very read that finds the newer: between two reads both may have got some.
        """
        together: list[_Lane] = []
        for generation in sorted({lane.generation for lane in self._lanes.values()}):
            members = [lane for lane in self._lanes.values() if lane.generation == generation]
            together += members
            if any(lane.order for lane in members):
                break
        if len({lane.generation for lane in together}) > 1:
            return together if any(not lane.is_caught_up for lane in together) else []
        return [lane for lane in together if not lane.is_caught_up and self._has_room(lane)]

    def settle(self, lane: int, delivery: int) -> None:
        """Mark one delivery as needing nothing more from its lane: settled, or parked by itself."""
        its = self._lanes[lane]
        its.settle(delivery)
        self._moved.add(lane)
        self.size -= 1
        self._low_size -= its.is_low

    def take_progress(self) -> dict[int, Place]:
        """The positions of the lanes that moved since the last call."""
        progress = {}
        for number in self._moved:
            lane = self._lanes[number]
            if lane.settled > lane.position:
                progress[number] = lane.position = lane.settled
        self._moved.clear()
        return progress
