"""The loops of the process: one that is told to end does end, whatever its part makes of that."""

import asyncio
import io

from idsync.app import SystemClock
from idsync.errors import StoreError
from idsync.telemetry import Counters, Log
from idsync.worker import Loop


class Deaf:
    """A part that turns the cancellation of its tick into an error of its store, as a driver may."""

    def __init__(self) -> None:
        """It has not begun."""
        self.has_begun = asyncio.Event()

    async def tick(self) -> float:
        """Wait for ever."""
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreError("the answer did not come") from None
        return 0.0

    async def wait(self, timeout_s: float) -> None:
        """Return at once."""
        del timeout_s


async def test_loop_ends_although_its_part_made_an_error_of_the_cancellation() -> None:
    """Else whoever hands its duty over would wait for it for ever."""
    deaf = Deaf()
    log = Log(io.StringIO())
    loop = Loop("deaf", deaf, clock=SystemClock(), counters=Counters(), log=log, on_lost=lambda: None)
    task = asyncio.create_task(loop.run())
    await deaf.has_begun.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert not loop.health().is_alive
