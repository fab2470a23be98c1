"""The feed of one destination: nothing is taken twice, nothing is passed over, however memory and store take turns."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.model.delivery import FIRST_PLACE, Delivery
from idsync.model.destination import Lane, Level
from idsync.model.plan import LaneCursor, LanePage
from idsync.model.values import Subject
from idsync.pipeline.parts.feed import Feed


class Shelf:
    """The lanes of a store, as far as a feed reads them."""

    def __init__(self) -> None:
        self.rows: list[Delivery] = []
        self.passed: frozenset[int] = frozenset()
        """What an owner before us settled or parked."""
        self.was_resumed: list[bool] = []

    def put(self, number: int, lane: int) -> Delivery:
        """Commit one delivery."""
        self.rows.append(Delivery(id=number, lane=lane, subject=Subject(f"user/{number}"), event=number, version=1))
        return self.rows[-1]

    async def read(self, cursors: list[LaneCursor], limit: int, *, is_resumed: bool) -> LanePage:
        """Read as the port says."""
        self.was_resumed.append(is_resumed)
        found: list[Delivery] = []
        more = set()
        for cursor in cursors:
            rows = [one for one in self.rows if one.lane == cursor.lane and one.place > cursor.after]
            found += rows[:limit]
            if len(rows) > limit:
                more.add(cursor.lane)
        passed = self.passed & {one.id for one in found} if is_resumed else frozenset[int]()
        return LanePage(tuple(found), frozenset(more), passed)


def open_feed(shelf: Shelf, *, lanes: int = 2, memory_max: int = 6, generations: int = 1) -> Feed:
    """A feed that begins behind everything."""
    opened = [
        (
            Lane(
                id=1 + lane + generation * lanes, destination="e", generation=generation, level=Level.LIVE, number=lane
            ),
            FIRST_PLACE,
        )
        for generation in range(generations)
        for lane in range(lanes)
    ]
    return Feed(shelf, opened, memory_max=memory_max, page_max=2)  # type: ignore[arg-type]  # only `read` is called


async def test_a_feed_that_is_caught_up_takes_offers_from_memory() -> None:
    """What was just committed need not be read."""
    shelf = Shelf()
    feed = open_feed(shelf)
    assert await feed.fetch() == []
    assert not feed.is_behind
    assert feed.offer(shelf.put(1, 1))
    assert not feed.offer(shelf.rows[0]), "the same delivery offered twice is taken once"


async def test_an_offer_before_the_first_read_is_left_to_the_read() -> None:
    """Older deliveries may stand before it in the store."""
    shelf = Shelf()
    shelf.put(1, 1)
    feed = open_feed(shelf)
    assert not feed.offer(shelf.put(2, 1))
    assert [one.id for one in await feed.fetch()] == [1, 2]


async def test_progress_stops_before_the_first_open_delivery() -> None:
    """A later one that is done early does not carry the lane past an earlier one."""
    shelf = Shelf()
    feed = open_feed(shelf)
    for number in (1, 2, 3):
        shelf.put(number, 1)
    while feed.is_behind:
        await feed.fetch()
    feed.settle(1, 2)
    assert feed.take_progress() == {}
    feed.settle(1, 1)
    assert feed.take_progress() == {1: (0, 2)}
    assert feed.take_progress() == {}


async def test_a_newer_generation_waits_until_the_older_is_empty() -> None:
    """After a change of the lane count, one identity is never in two lanes at once."""
    shelf = Shelf()
    shelf.put(1, 1)
    shelf.put(2, 3)
    feed = open_feed(shelf, generations=2)
    assert [one.id for one in await feed.fetch()] == [1]
    assert await feed.fetch() == []
    feed.settle(1, 1)
    assert [one.id for one in await feed.fetch()] == [2]


async def test_a_newer_generation_does_not_overtake_what_came_between_two_reads() -> None:
    """One identity's events come into both at once, just after a read that found nothing."""

    class Busy(Shelf):
        """Something comes after the first read."""

        async def read(self, cursors: list[LaneCursor], limit: int, *, is_resumed: bool) -> LanePage:
            page = await super().read(cursors, limit, is_resumed=is_resumed)
            if not self.rows:
                self.put(1, 1)
                self.put(2, 3)
            return page

    feed = open_feed(Busy(), generations=2)
    taken: list[int] = []
    while len(taken) < 2:
        for one in await feed.fetch():
            taken.append(one.id)
            feed.settle(one.lane, one.id)
        feed.ring()
    assert taken == [1, 2]


@given(seed=st.integers(0, 2**32))
async def test_every_delivery_is_taken_once_and_in_lane_order(seed: int) -> None:
    """Commits, offers, reads and settles in any order: each lane comes out whole and in order."""
    chance = random.Random(seed)
    shelf, taken = Shelf(), []
    feed = open_feed(shelf, memory_max=chance.choice((1, 3, 50)))
    open_now: list[Delivery] = []
    for number in range(1, 60):
        delivery = shelf.put(number, chance.choice((1, 2)))
        if feed.offer(delivery):
            open_now.append(delivery)
        if chance.random() < 0.4 and feed.is_behind:
            open_now += await feed.fetch()
        while open_now and chance.random() < 0.5:
            one = open_now.pop(chance.randrange(len(open_now)))
            taken.append(one)
            feed.settle(one.lane, one.id)
    while open_now or feed.is_behind:
        for one in open_now:
            taken.append(one)
            feed.settle(one.lane, one.id)
        open_now = await feed.fetch()
    assert sorted(one.id for one in taken) == list(range(1, 60))
    assert feed.size == 0


@pytest.mark.parametrize("lane", [1, 2])
async def test_positions_end_at_the_last_delivery_of_each_lane(lane: int) -> None:
    """A drained lane starts behind its last delivery after a restart."""
    shelf = Shelf()
    feed = open_feed(shelf)
    for number in range(1, 5):
        shelf.put(number, 1 + number % 2)
    taken: list[Delivery] = []
    while feed.is_behind:
        taken += await feed.fetch()
        for one in taken:
            feed.settle(one.lane, one.id)
        taken.clear()
    assert feed.take_progress()[lane] == max(one.place for one in shelf.rows if one.lane == lane)


async def test_what_an_owner_before_us_has_done_is_passed_and_not_given() -> None:
    """Its lane goes on past it, however many pages of it there are; once we have caught up, we know all ourselves."""
    shelf = Shelf()
    for number in range(1, 8):
        shelf.put(number, 1)
    shelf.passed = frozenset({1, 3, 4, 5, 6})
    feed = open_feed(shelf)
    given = await feed.fetch() + await feed.fetch()
    assert [one.id for one in given] == [2, 7]
    assert (feed.size, feed.take_progress()) == (2, {1: (0, 1)})
    feed.settle(1, 2)
    assert feed.take_progress() == {1: (0, 6)}
    feed.ring()
    shelf.put(8, 1)
    assert [one.id for one in await feed.fetch()] == [8]
    assert shelf.was_resumed == [True, True, True, True, False]


async def test_what_is_bulk_never_takes_the_room_of_what_is_live() -> None:
    """It has a part of the memory; the rest of it waits in the store until some of it is settled."""
    shelf = Shelf()
    lanes = [
        (Lane(id=number, destination="e", generation=0, level=level, number=0), FIRST_PLACE)
        for number, level in ((1, Level.LIVE), (2, Level.BULK))
    ]
    feed = Feed(shelf, lanes, memory_max=4, page_max=2)  # type: ignore[arg-type]  # only `read` is called
    assert await feed.fetch() == []
    assert [feed.offer(shelf.put(number, 2)) for number in (1, 2, 3)] == [True, True, False]
    assert (feed.is_full, feed.is_behind) == (True, False)
    assert feed.offer(shelf.put(4, 1))
    feed.ring()
    shelf.put(5, 1)
    assert feed.is_behind
    assert [one.id for one in await feed.fetch()] == [5]
    feed.settle(2, 1)
    feed.settle(1, 4)
    assert [one.id for one in await feed.fetch()] == [3]
    assert (feed.size, feed.is_full, feed.is_behind) == (3, True, False)


async def test_a_page_of_many_bulk_lanes_leaves_room_for_what_is_live() -> None:
    """It may be more than bulk has room for, even all of the memory; live has its own part of that."""
    shelf = Shelf()
    levels = (Level.LIVE, Level.BULK, Level.BULK, Level.BULK)
    lanes = [
        (Lane(id=number, destination="e", generation=0, level=level, number=number), FIRST_PLACE)
        for number, level in enumerate(levels, 1)
    ]
    for number in range(6):
        shelf.put(number + 1, 2 + number % 3)
    feed = Feed(shelf, lanes, memory_max=4, page_max=2)  # type: ignore[arg-type]  # only `read` is called
    assert len(await feed.fetch()) == feed.size == 6
    assert [feed.offer(shelf.put(number, 1)) for number in (7, 8, 9)] == [True, True, False]
    feed.pause(is_paused=True)
    assert not feed.is_behind
