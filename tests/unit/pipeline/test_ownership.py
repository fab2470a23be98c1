"""Who of several processes has which lane: even shares, and little moves when somebody comes or goes."""

import asyncio
from collections import Counter

import pytest

from idsync.pipeline.ownership import chosen
from idsync.pipeline.parts.tenure import Tenure
from idsync.testing.clock import FakeClock

LANES = [f"lane:{number}" for number in range(400)]
WORKERS = [f"worker-{number}" for number in range(4)]


def test_every_worker_gets_about_as_much() -> None:
    """Nobody more than half as much again."""
    shares = Counter(chosen(lane, WORKERS) for lane in LANES)
    assert shares.keys() == set(WORKERS)
    assert max(shares.values()) < 150


@pytest.mark.parametrize("gone", WORKERS)
def test_lanes_of_the_others_stay_where_they_are(gone: str) -> None:
    """Only what the one who goes has had moves."""
    left = [one for one in WORKERS if one != gone]
    for lane in LANES:
        before = chosen(lane, WORKERS)
        assert chosen(lane, left) == before or before == gone


async def test_tenure_that_was_not_prolonged_allows_nothing_more() -> None:
    """Not even the beginning of what would end after it."""
    clock = FakeClock()
    tenure = Tenure(clock, {"lane:1": 7}, ends_at=clock.monotonic() + 10)
    assert tenure.allows(9.9)
    assert not tenure.allows(10)
    await clock.advance(9)
    assert not tenure.allows(1)
    tenure.ends_at += 10
    assert tenure.allows(1)


async def test_what_is_under_way_is_aborted_where_the_tenure_ends() -> None:
    """As late as that may be: a tenure that is prolonged meanwhile lets it go on."""
    clock = FakeClock()
    tenure = Tenure(clock, {"lane:1": 7}, ends_at=clock.monotonic() + 10, ttl_s=10)
    ended = asyncio.Event()
    doing = asyncio.create_task(tenure.abort_late(ended.wait()))
    await clock.advance(9)
    tenure.ends_at += 10
    await clock.advance(9)
    assert not doing.done()
    await clock.advance(2)
    with pytest.raises(TimeoutError):
        await doing


async def test_what_ends_in_time_is_given_back() -> None:
    """Also once nothing new may be begun."""
    clock = FakeClock()
    tenure = Tenure(clock, {"lane:1": 7}, ends_at=clock.monotonic() + 10, ttl_s=10)
    tenure.may_begin = False
    assert not tenure.allows(0)
    assert await tenure.abort_late(asyncio.sleep(0, "done")) == "done"
