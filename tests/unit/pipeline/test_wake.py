"""How the line's loops sleep."""

import asyncio

import pytest

from idsync.pipeline.parts.wake import Signal, wait_for


async def test_signal_that_was_set_wakes_whoever_waits_then_and_whoever_comes_later() -> None:
    """Until it is cleared."""
    signal = Signal()
    waiting = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    signal.set()
    signal.set()
    await waiting
    await signal.wait()
    signal.clear()
    assert not signal.is_set()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(signal.wait(), 0.01)


async def test_signal_that_is_set_and_cleared_at_once_has_still_woken() -> None:
    """What waited looks for work again: it may have been there."""
    signal = Signal()
    waiting = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    signal.set()
    signal.clear()
    await asyncio.wait_for(waiting, 1)


async def test_signal_outlives_a_waiter_that_was_cancelled() -> None:
    """The next one is woken."""
    signal = Signal()
    await wait_for(signal, 0.01)
    waiting = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    signal.set()
    await asyncio.wait_for(waiting, 1)
