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

ALIVE: Final = "worker:"
RENEWALS: Final = 6
"""How often a lease is renewed while it lasts."""


class Ownership:
    """Takes and keeps leases. `tick` renews them and says what is ours; `Handover` acts on it."""

    def __init__(
        self,
        duties: Mapping[str, Sequence[str]],
        *,
        store: Store,
        clock: Clock,
        ttl_s: float,
    ) -> None:
        """Wire it; `start` takes the first leases.

        Args:
            duties: duty → the leases that it consists of; whoever has some of them does that part of it.
            store: where the leases are.
            clock: time and ids.
            ttl_s: seconds after which others may take what was not renewed.
        """
        self._duties = duties
        self._store = store
        self._clock = clock
        self._ttl_s = ttl_s
        self._wake = asyncio.Event()
        self.worker = clock.new_id()
        self.tenures: dict[str, Tenure] = {}
        """Duty → what of it is ours; a changed set of leases, or one taken anew, is another tenure."""
        self.leaving: set[str] = set()
        """Leases that are to be somebody else's, and are kept until what stands on them has stopped."""
        self.changed = asyncio.Event()
        """Set whenever `tenures` are others than before."""

    async def start(self) -> None:
        """Take what is ours to take."""
        if self._store.has_one_writer:
            self.tenures = {duty: Tenure(self._clock) for duty in self._duties}
            self.changed.set()
        else:
            await self.tick()

    async def tick(self) -> float:
        """Renew, take, let go; return the seconds until the next time."""
        self._wake.clear()
        if self._store.has_one_writer:
            return self._ttl_s
        asked_at = self._clock.monotonic()
        await self._store.lease(self.worker, [ALIVE + self.worker], self._ttl_s)
        alive = sorted({*(await self._store.holders(ALIVE)).values(), self.worker})
        wanted = [name for names in self._duties.values() for name in names if chosen(name, alive) == self.worker]
        self.leaving |= {name for one in self.tenures.values() for name in one.fences}
        self.leaving.difference_update(wanted)
        held = await self._store.lease(self.worker, [*wanted, *self.leaving], self._ttl_s)
        self._settle({name: held[name] for name in wanted if name in held}, asked_at + self._ttl_s)
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
            await self._store.release(self.worker, [*held, *self.leaving, ALIVE + self.worker])
            self.tenures = {}

    async def release(self, names: set[str]) -> None:
        """Let others have what nothing of ours stands on any more."""
        await self._store.release(self.worker, sorted(names))
        self.leaving -= names

    def _settle(self, held: Mapping[str, int], ends_at: float) -> None:
        """Prolong what is as it was; begin anew what is not."""
        tenures: dict[str, Tenure] = {}
        for duty, names in self._duties.items():
            fences = {name: held[name] for name in names if name in held}
            known = self.tenures.get(duty)
            if known is not None and known.fences == fences:
                known.ends_at = ends_at
                tenures[duty] = known
                continue
            if known is not None:
                known.ends_at = 0.0
                self.changed.set()
            if fences:
                tenures[duty] = Tenure(self._clock, fences, ends_at, self._ttl_s)
                self.changed.set()
        self.tenures = tenures


class Handover:
    """Stops what is not ours any more, then lets others have it, and starts what is new. A loop of its own.

    However long that takes, `Ownership` goes on to renew what we have.
    """

    def __init__(self, ownership: Ownership, align: Callable[[], Awaitable[None]]) -> None:
        """Wire it; `align` stops what is not among the tenures and starts what is new, and returns when it has."""
        self._ownership = ownership
        self._align = align

    async def tick(self) -> float:
        """Bring what runs in line with what is ours."""
        ownership = self._ownership
        if ownership.changed.is_set():
            ownership.changed.clear()
            leaving = set(ownership.leaving)
            try:
                await self._align()
            except BaseException:
                ownership.changed.set()
                raise
            await ownership.release(leaving - {name for one in ownership.tenures.values() for name in one.fences})
        return 1.0

    async def wait(self, timeout_s: float) -> None:
        """Return when something has changed, at the latest after `timeout_s` seconds."""
        await wait_for(self._ownership.changed, timeout_s)


def chosen(name: str, workers: Sequence[str]) -> str:
    """Which of some workers a lease belongs to."""
    return max(workers, key=lambda worker: (blake2b(f"{name} {worker}".encode(), digest_size=8).digest(), worker))
