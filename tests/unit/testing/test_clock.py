"""The fake clock keeps the contract of a Clock, and time stands still until a test moves it."""

import asyncio
import uuid

import pytest

from idsync.ports import Clock
from idsync.testing.clock import START, FakeClock


async def test_time_stands_still_until_it_is_advanced() -> None:
    """Both clocks move together, and only when told."""
    clock: Clock = FakeClock()
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    fake = FakeClock()
    await fake.advance(1.5)
    assert (fake.now(), fake.monotonic()) == (START + 1_500, 1.5)


async def test_sleepers_wake_in_the_order_of_their_time_each_at_its_own_moment() -> None:
    """Whoever is due later sees a later time, also when all are woken by one step."""
    clock, woken = FakeClock(), []

    async def sleep(delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append((delay_s, clock.monotonic()))

    tasks = [asyncio.create_task(sleep(delay_s)) for delay_s in (3.0, 1.0, 2.0, 1.0)]
    await clock.wait_for_sleepers(4)
    await clock.advance(2.0)
    assert woken == [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]
    assert clock.sleepers == 1
    await clock.advance(1.0)
    await asyncio.gather(*tasks)
    assert woken[-1] == (3.0, 3.0)


async def test_sleeper_that_sleeps_again_is_woken_again_within_one_step() -> None:
    """A loop of sleeps runs as often as it would have."""
    clock, turns = FakeClock(), []

    async def loop() -> None:
        while True:
            await clock.sleep(1.0)
            turns.append(clock.monotonic())

    task = asyncio.create_task(loop())
    await clock.advance(3.5)
    assert turns == [1.0, 2.0, 3.0]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(10.0)
    assert len(turns) == 3


async def test_leap_wakes_whoever_was_due_late_and_once() -> None:
    """A machine that slept makes up for nothing: a loop runs one turn, and everybody sees the time after the leap."""
    clock, turns, woken = FakeClock(), [], []

    async def loop() -> None:
        while True:
            await clock.sleep(1.0)
            turns.append(clock.monotonic())

    async def sleep(delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append((delay_s, clock.monotonic(), clock.now()))

    tasks = [asyncio.create_task(loop()), *(asyncio.create_task(sleep(delay_s)) for delay_s in (3.0, 2.0, 10.0))]
    await clock.wait_for_sleepers(4)
    await clock.leap(5.0)
    assert turns == [5.0]
    assert woken == [(2.0, 5.0, START + 5_000), (3.0, 5.0, START + 5_000)]
    await clock.advance(1.0)
    assert turns == [5.0, 6.0]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_sleep_of_nothing_only_yields() -> None:
    """Nobody has to advance time for it."""
    await FakeClock().sleep(0)
    await FakeClock().sleep(-1)


async def test_wall_clock_may_be_set_without_waking_anybody() -> None:
    """A step of NTP changes stamps, never time-outs."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.settle()
    clock.step(3_600)
    await clock.settle()
    assert (clock.now(), clock.monotonic(), task.done()) == (START + 3_600_000, 0.0, False)
    await clock.advance(10)
    assert task.done()


def test_ids_are_version_seven_unique_and_in_order() -> None:
    """Two clocks of one seed give the same ids: a test can be repeated."""
    clock, twin = FakeClock(seed=7), FakeClock(seed=7)
    ids = [clock.new_id() for _ in range(1_000)]
    assert ids == [twin.new_id() for _ in range(1_000)]
    assert ids == sorted(set(ids))
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


async def test_ids_sort_by_the_time_of_their_making() -> None:
    """Whatever else the clock was asked for in between."""
    clock, ids = FakeClock(), []
    for delay_s in (0.0, 0.001, 0.0, 3_600.0):
        await clock.advance(delay_s)
        clock.spread()
        ids.append(clock.new_id())
    assert ids == sorted(set(ids))
    assert [uuid.UUID(one).int >> 80 for one in ids] == [START, START + 1, START + 1, START + 3_600_001]


def test_spread_is_uniform_between_minus_one_and_one() -> None:
    """Both halves are drawn, and never 1 itself."""
    draws = [FakeClock(seed=seed).spread() for seed in range(200)]
    assert min(draws) >= -1
    assert max(draws) < 1
    assert 60 < sum(draw < 0 for draw in draws) < 140
