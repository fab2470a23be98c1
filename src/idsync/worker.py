"""The loops of the process: all of one shape, started together, watched, stopped in order (DESIGN §3).

A loop is a part with `tick() -> seconds until the next` and `wait(seconds)`. A tick that fails is counted, logged and
tried again after a pause; a fenced store ends the process, because somebody else owns it now.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from idsync.app import App, LoopHealth, Part
from idsync.errors import StoreFenced
from idsync.ports import Clock
from idsync.telemetry import Counters, Log

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
STUCK_AFTER_S = 60.0
"""A tick that takes longer than this counts as dead: `/healthz` fails, so that somebody restarts the process."""


class Loop:
    """Runs one part for ever."""

    def __init__(self, name: str, part: Part, *, clock: Clock, counters: Counters, log: Log) -> None:
        """Wire it; `run` is the loop."""
        self.name = name
        self._part = part
        self._clock = clock
        self._counters = counters
        self._log = log
        self._began_at: float | None = None
        self._fault = ""
        self._is_running = False

    async def run(self) -> None:
        """Tick and wait until cancelled.

        Raises:
            StoreFenced: another process owns the store; the whole process must stop.
        """
        pause_s = PAUSE_FIRST_S
        self._is_running = True
        try:
            while True:
                try:
                    self._began_at = self._clock.monotonic()
                    delay_s = await self._part.tick()
                    self._began_at = None
                    self._fault, pause_s = "", PAUSE_FIRST_S
                    if delay_s > 0:
                        await self._part.wait(delay_s)
                    else:
                        await asyncio.sleep(0)  # others get a turn, however busy this part is
                except StoreFenced:
                    raise
                except Exception as error:
                    self._began_at = None
                    self._fault = type(error).__name__
                    self._counters.add("idsync_loop_failures_total", self.name)
                    self._log.error("a loop failed and goes on", loop=self.name, fault=self._fault, why=str(error))
                    await self._clock.sleep(pause_s)
                    pause_s = min(PAUSE_MAX_S, pause_s * 2)
        finally:
            self._is_running = False

    def health(self) -> LoopHealth:
        """Whether the loop runs and is not stuck in one tick."""
        stuck_s = self._clock.monotonic() - self._began_at if self._began_at is not None else 0.0
        if not self._is_running:
            return LoopHealth(self.name, is_alive=False, detail="stopped")
        if stuck_s > STUCK_AFTER_S:
            return LoopHealth(self.name, is_alive=False, detail=f"stuck for {stuck_s:.0f} s")
        return LoopHealth(self.name, is_alive=True, detail=self._fault)


class Worker:
    """Every loop of one App, and the order in which they stop."""

    def __init__(self, app: App) -> None:
        """Wire one loop for each part of the app."""
        self.app = app
        self._loops = [
            Loop(name, part, clock=app.clock, counters=app.counters, log=app.log) for name, part in app.parts()
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._senders: list[asyncio.Task[None]] = []
        app.health = self.health

    def health(self) -> Sequence[LoopHealth]:
        """Every loop's state."""
        return [loop.health() for loop in self._loops]

    async def start(self) -> None:
        """Load what is parked, then start every loop and every sender."""
        await self.app.start()
        self._tasks = [asyncio.create_task(loop.run(), name=loop.name) for loop in self._loops]
        for deliverer in self.app.endpoints.values():
            self._senders += [
                asyncio.create_task(deliverer.run_sender(), name=deliverer.name)
                for _ in range(deliverer.endpoint.concurrency)
            ]

    async def watch(self) -> None:
        """Return when some task ended that must not: the process is then to stop.

        Raises:
            StoreFenced: another process took over.
        """
        tasks = [*self._tasks, *self._senders]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self, grace_s: float) -> None:
        """Stop taking in, let what is being sent finish, write what became of it, close the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.app.finish(grace_s)
        for task in self._senders:
            task.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        with suppress(StoreFenced):
            await self.app.settler.flush()
        await self.app.close()
