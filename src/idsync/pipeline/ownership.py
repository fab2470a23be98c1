"""Ownership: which duties of the line this process has, of all the processes on one store (DESIGN §6).

Every process that is alive keeps a lease `worker:<id>`. Each duty belongs to the one that scores highest for it
(rendezvous hashing), so that a newcomer takes over an even share, and little moves when one goes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Clock, Store
from idsync.telemetry import Counters, Log

ALIVE: Final = "worker:"
RENEWALS: Final = 6
"""How often a lease is renewed while it lasts."""


class Ownership:
    """Takes, keeps and gives back leases. `tick` renews them and says what changed."""

    def __init__(  # the composition root names each part once
        self,
        duties: Mapping[str, Sequence[str]],
        *,
        store: Store,
        clock: Clock,
        counters: Counters,
        log: Log,
        ttl_s: float,
        align: Callable[[], Awaitable[None]],
    ) -> None:
        """Wire it; `start` takes the first leases.

        Args:
            duties: duty → the leases that it consists of; whoever has some of them does that part of it.
            store: where the leases are.
            clock: time and ids.
            counters: what is counted.
            log: the service's own life.
            ttl_s: seconds after which others may take what was not renewed.
            align: stops what is not among `tenures` any more and starts what is new; returns when it is done.
        """
        self._duties = duties
        self._store = store
        self._clock = clock
        self._counters = counters
        self._log = log
        self._ttl_s = ttl_s
        self._align = align
        self._wake = asyncio.Event()
        self.worker = clock.new_id()
        self.tenures: dict[str, Tenure] = {}
        """Duty → what of it is ours; a changed set of leases, or one taken anew, is another tenure."""

    async def start(self) -> None:
        """Take what is ours to take."""
        if self._store.has_one_writer:
            self.tenures = {duty: Tenure(self._clock) for duty in self._duties}
            await self._align()
        else:
            await self.tick()

    async def tick(self) -> float:
        """Renew, take, give back; return the seconds until the next time."""
        self._wake.clear()
        if self._store.has_one_writer:
            return self._ttl_s
        asked_at = self._clock.monotonic()
        alive = await self._alive()
        wanted = [name for names in self._duties.values() for name in names if chosen(name, alive) == self.worker]
        held = await self._store.lease(self.worker, wanted, self._ttl_s)
        ends_at = asked_at + self._ttl_s
        await self._give_back(set(wanted))
        await self._settle(held, ends_at)
        return self._ttl_s / RENEWALS

    async def wait(self, timeout_s: float) -> None:
        """Return when it is time, or something is known to have changed."""
        await wait_for(self._wake, timeout_s)

    def ring(self) -> None:
        """Some lease was lost: look at once."""
        self._wake.set()

    async def stop(self) -> None:
        """Hand everything over: the next process need not wait until it is over."""
        if not self._store.has_one_writer:
            held = [name for tenure in self.tenures.values() for name in tenure.fences]
            await self._store.release(self.worker, [*held, ALIVE + self.worker])
            self.tenures = {}

    async def _alive(self) -> list[str]:
        mine = ALIVE + self.worker
        await self._store.lease(self.worker, [mine], self._ttl_s)
        others = await self._store.holders(ALIVE)
        return sorted({*others.values(), self.worker})

    async def _give_back(self, wanted: set[str]) -> None:
        """Stop first what goes to somebody else, then let him have it."""
        lost = {duty: [name for name in one.fences if name not in wanted] for duty, one in self.tenures.items()}
        names = [name for gone in lost.values() for name in gone]
        if names:
            for duty, gone in lost.items():
                if gone:
                    self.tenures[duty].ends_at = 0.0
                    del self.tenures[duty]
            await self._align()
            await self._store.release(self.worker, names)

    async def _settle(self, held: Mapping[str, int], ends_at: float) -> None:
        """Prolong what is as it was; begin anew what is not."""
        is_changed = False
        for duty, names in self._duties.items():
            fences = {name: held[name] for name in names if name in held}
            known = self.tenures.get(duty)
            if known is not None and known.fences == fences:
                known.ends_at = ends_at
                continue
            if known is not None:
                known.ends_at = 0.0
                del self.tenures[duty]
                is_changed = True
            if fences:
                self.tenures[duty] = Tenure(self._clock, fences, ends_at)
                is_changed = True
        if is_changed:
            self._counters.add("idsync_handovers_total", "taken")
            await self._align()


def chosen(name: str, workers: Sequence[str]) -> str:
    """Which of some workers a lease belongs to."""
    return max(workers, key=lambda worker: (blake2b(f"{name} {worker}".encode(), digest_size=8).digest(), worker))
