"""Who of several processes has which lane: even shares, and little moves when somebody comes or goes."""

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
