"""Time limits on the hot path: they end what takes too long, and nothing else."""

import asyncio

import pytest

from idsync.deadlines import Deadlines


async def test_a_block_that_takes_longer_ends_as_a_timeout() -> None:
    """The task goes on afterwards as if nothing had happened."""
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.within(0.01):
        await asyncio.Event().wait()
    await asyncio.sleep(0)


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    """The timer that was set for it cuts off nobody who came later."""
    deadlines = Deadlines()
    with deadlines.within(0.05):
        await asyncio.sleep(0)
    with deadlines.within(60):
        await asyncio.sleep(0.2)


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Whoever stops the task is not told of a time-out that never was."""
    deadlines = Deadlines()

    async def wait() -> None:
        with deadlines.within(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_blocks_of_one_length_end_each_at_its_own_time() -> None:
    """One timer serves them all."""
    deadlines = Deadlines()

    async def wait(delay_s: float) -> float:
        await asyncio.sleep(delay_s)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError), deadlines.within(0.05):
            await asyncio.Event().wait()
        return asyncio.get_running_loop().time() - began

    took = await asyncio.gather(*(wait(number * 0.01) for number in range(10)))
    assert all(0.05 <= one < 1 for one in took)
