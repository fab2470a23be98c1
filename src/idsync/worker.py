"""The loops of the process: all of one shape, started together, watched, stopped in order (DESIGN §3).

A loop is a part with `tick() -> seconds until the next` and `wait(seconds)`. A tick that fails is counted, logged and
tried again after a pause; a store that is fenced, or too new, ends the process, because it is somebody else's now.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from idsync.app import App, Duties, Duty, LoopHealth, Part
from idsync.errors import ConfigError, LeaseLost, StoreError, StoreFenced, StoreVersion
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.ownership import Handover, Ownership
from idsync.ports import Clock
from idsync.telemetry import Counters, Log

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
STUCK_AFTER_S = 60.0
"""A tick that takes longer than this counts as dead: `/healthz` fails, so that somebody restarts the process."""
DRAIN_PAUSE_S = 0.02
OWNERSHIP = "ownership"
HANDOVER = "handover"
Task = asyncio.Task[None]


class Loop:
    """Runs one part for ever."""

    def __init__(  # the worker names each part once
        self,
        name: str,
        part: Part,
        *,
        clock: Clock,
        counters: Counters,
        log: Log,
        on_lost: Callable[[], None],
    ) -> None:
        """Wire it; `run` is the loop."""
        self.name = name
        self._part = part
        self._clock = clock
        self._counters = counters
        self._log = log
        self._on_lost = on_lost
        self._began_at: float | None = None
        self._fault = ""
        self._is_running = False

    async def run(self) -> None:
        """Tick and wait until cancelled.

        Raises:
            StoreFenced: another process owns the store; the whole process must stop.
            StoreVersion: a newer idsync changed the store beyond what this one knows; it must stop, too.
            LeaseLost: another process has this duty now.
        """
        pause_s = PAUSE_FIRST_S
        self._is_running = True
        try:
            while not _is_told_to_end():  # also where a part made another error of it
                try:
                    self._began_at = self._clock.monotonic()
                    delay_s = await self._part.tick()
                    self._began_at = None
                    self._fault, pause_s = "", PAUSE_FIRST_S
                    if delay_s > 0:
                        await self._part.wait(delay_s)
                    else:
                        await asyncio.sleep(0)  # others get a turn, however busy this part is
                except (StoreFenced, StoreVersion):
                    raise
                except LeaseLost as error:
                    self._log.warn("another process took over; this part ends", loop=self.name, why=str(error))
                    self._on_lost()
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


class Crew:
    """The tasks of one duty: its loop, and what sends for it."""

    def __init__(self, duty: Duty, loop: Loop, start: Callable[[Coroutine[None, None, None], str], Task]) -> None:
        """Start them."""
        self.duty = duty
        self.loop = loop
        self._loop_task = start(loop.run(), loop.name)
        deliverer = duty.deliverer
        self._endpoint = deliverer if isinstance(deliverer, EndpointDeliverer) else None
        self._sender = start(self._endpoint.run_sender(), duty.name) if self._endpoint is not None else None
        self._guard = start(self._abort_late(self._sender), duty.name) if self._sender and duty.tenure.fences else None

    async def _abort_late(self, sender: Task) -> None:
        """Abort what is still being sent when the tenure is over: others may begin with the same."""
        await self.duty.tenure.until_over()
        sender.cancel()

    async def rest(self, clock: Clock, grace_s: float) -> None:
        """Begin nothing more, and let what is being sent end, `grace_s` seconds at most."""
        self._loop_task.cancel()
        await asyncio.gather(self._loop_task, return_exceptions=True)
        if self._endpoint is not None:
            self._endpoint.drain()
            ends_at = clock.monotonic() + grace_s
            while self._endpoint.sending and clock.monotonic() < ends_at:
                await clock.sleep(DRAIN_PAUSE_S)
        await _cancel([task for task in (self._sender, self._guard) if task is not None])


class Worker:
    """Every loop of one App: those that each process has, and its duties as they come and go."""

    def __init__(self, app: App, *, has_duties: bool = True) -> None:
        """Wire one loop for each part of the app; without duties it only takes in what comes.

        Raises:
            ConfigError: nobody else can do them: one process has this store for itself.
        """
        if not has_duties and app.store.has_one_writer:
            raise ConfigError(
                "store.url: one process has this store for itself; run `idsync up`, which does everything"
            )
        self.app = app
        self._has_duties = has_duties
        self._duties = Duties(app)
        self.ownership = Ownership(self._duties, store=app.store, clock=app.clock, ttl_s=app.settings.delivery.lease_s)
        app.look_again = self._look_around
        self._handover = Handover(self.ownership, self._align)
        parts = app.parts()
        if has_duties:
            parts += [(OWNERSHIP, self.ownership), (HANDOVER, self._handover)]
        self._loops = [self._loop(name, part) for name, part in parts]
        self._crews: dict[str, Crew] = {}
        self._tasks: list[Task] = []
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        app.health = self.health

    def health(self) -> Sequence[LoopHealth]:
        """Every loop's state."""
        return [loop.health() for loop in [*self._loops, *(crew.loop for crew in self._crews.values())]]

    async def start(self) -> None:
        """Start the loops of every process, then take duties."""
        if self._has_duties:
            await self.ownership.start()
        self._tasks = [self._start(loop.run(), loop.name) for loop in self._loops if loop.name != HANDOVER]
        if self._has_duties:
            await self._handover.tick()
            self._tasks += [self._start(loop.run(), loop.name) for loop in self._loops if loop.name == HANDOVER]

    async def watch(self) -> None:
        """Return when some task ended that must not: the process is then to stop.

        Raises:
            StoreFenced: another process took over.
            StoreVersion: a newer idsync did.
        """
        await asyncio.shield(self._failure)

    async def stop(self, grace_s: float) -> None:
        """Stop taking in, let what is being sent finish, write what became of it, hand over, close the store."""
        # Ownership first, so that no duty is begun again; what every duty needs comes last.
        await _cancel([task for task in self._tasks if task.get_name() in {OWNERSHIP, HANDOVER}])
        with suppress(StoreError):
            await self._end(list(self._crews), grace_s)
        with suppress(StoreError):
            await self.ownership.stop()
        await _cancel(self._tasks)
        await self.app.close()

    async def _align(self) -> None:
        """Stop the duties that went, then begin those that came."""
        tenures = self.ownership.tenures
        crews = self._crews.items()
        gone = [name for name, crew in crews if tenures.get(name) is not crew.duty.tenure or crew.duty.is_outdated]
        await self._end(gone, self.app.settings.delivery.lease_s / 2)
        for name, tenure in tenures.items():
            if name not in self._crews:
                duty = await self._duties.begin(name, tenure)
                if duty is not None:
                    self._crews[name] = Crew(duty, self._loop(name, duty.part), self._start)

    async def _end(self, names: Sequence[str], grace_s: float) -> None:
        """End some duties together; what they did is written before anybody else can go on with it."""
        crews = [self._crews.pop(name) for name in names]
        await asyncio.gather(*(crew.rest(self.app.clock, grace_s) for crew in crews))
        try:
            await self.app.settler.flush()
        finally:
            for crew in crews:
                self._duties.end(crew.duty)

    def _loop(self, name: str, part: Part) -> Loop:
        app = self.app
        return Loop(name, part, clock=app.clock, counters=app.counters, log=app.log, on_lost=self._look_again)

    def _look_again(self) -> None:
        self.ownership.ring()

    def _look_around(self) -> None:
        """There are other endpoints than before, or they are others: also those that could not be begun before."""
        self.ownership.ring()
        is_any_new = bool(self.ownership.tenures.keys() - self._crews.keys())
        if is_any_new or any(crew.duty.is_outdated for crew in self._crews.values()):
            self.ownership.changed.set()

    def _start(self, work: Coroutine[None, None, None], name: str) -> Task:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, task: Task) -> None:
        """A task that ends by itself ends the process, unless its duty was taken by another one."""
        if task.cancelled() or self._failure.done():
            return
        error = task.exception()
        if isinstance(error, LeaseLost):
            return
        if error is not None:
            self._failure.set_exception(error)
            self._failure.exception()  # known: whoever watches raises it


def _is_told_to_end() -> bool:
    """Whether the running task was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _cancel(tasks: Sequence[Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
