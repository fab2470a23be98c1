"""Ownership: which duties of the line this process has, of all the processes on one store (DESIGN §6).

Every process that is alive keeps a lease `worker:<print>:<id>`; the print leads to what its configuration lets it do.
Each lease belongs to the one that scores highest for it (rendezvous hashing) of those that can do what it stands for,
so that a newcomer takes over an even share, and little moves when one goes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Protocol

import msgspec

from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Clock, Store

ALIVE: Final = "worker:"
ABLE: Final = "duties:"
"""The setting that says what workers of one configuration can do, by a print of it."""
RENEWALS: Final = 6
"""How often a lease is renewed while it lasts."""


class Charges(Protocol):
    """What there is to do, as this process is configured."""

    @property
    def leases(self) -> Mapping[str, Sequence[str]]:
        """Duty → the leases that it consists of; whoever has some of them does that part of it."""
        ...

    @property
    def whole(self) -> Collection[str]:
        """Duties that are one worker's alone: nothing of them is begun before all their leases are had."""
        ...

    @property
    def abilities(self) -> Collection[str]:
        """What this process can do for its version and configuration; these never change."""
        ...

    def ability(self, duty: str) -> str:
        """What a worker must be able to do for this duty."""
        ...

    async def look(self) -> None:
        """Find out what else there is to do by now: processes of another configuration may have made more."""
        ...


class Ownership:
    """Takes and keeps leases. `tick` renews them and says what is ours; `Handover` acts on it."""

    def __init__(
        self,
        charges: Charges,
        *,
        store: Store,
        clock: Clock,
        ttl_s: float,
    ) -> None:
        """Wire it; `start` takes the first leases.

        Args:
            charges: what there is to do.
            store: where the leases are.
            clock: time and ids.
            ttl_s: seconds after which others may take what was not renewed.
        """
        self._charges = charges
        self._store = store
        self._clock = clock
        self._ttl_s = ttl_s
        self._wake = asyncio.Event()
        self.worker = clock.new_id()
        self._print = blake2b("\n".join(sorted(charges.abilities)).encode(), digest_size=8).hexdigest()
        self._alive = f"{ALIVE}{self._print}:{self.worker}"
        self._able: dict[str, frozenset[str]] = {}
        """Print of a configuration → what its workers can do."""
        self.tenures: dict[str, Tenure] = {}
        """Duty → what of it is ours; a changed set of leases, or one taken anew, is another tenure."""
        self._ending: list[Tenure] = []
        """Tenures whose successors wait until what stands on them has stopped."""
        self._held: dict[str, int] = {}
        self.leaving: set[str] = set()
        """Leases that are to be somebody else's, and are kept until what stands on them has stopped."""
        self.changed = asyncio.Event()
        """Set whenever `tenures` are others than before."""

    async def start(self) -> None:
        """Take what is ours to take."""
        if not self._store.has_one_writer:
            self._able[self._print] = frozenset(self._charges.abilities)
            await self._store.put_setting(ABLE + self._print, msgspec.json.encode(sorted(self._charges.abilities)))
        await self.tick()

    async def tick(self) -> float:
        """Renew, take, let go; return the seconds until the next time."""
        self._wake.clear()
        await self._charges.look()
        if self._store.has_one_writer:
            self._have_all()
            return self._ttl_s
        asked_at = self._clock.monotonic()
        await self._store.lease(self.worker, [self._alive], self._ttl_s)
        wanted = await self._choose()
        self.leaving |= self._held.keys()
        self.leaving -= wanted
        self._held = await self._store.lease(self.worker, [*wanted, *self.leaving], self._ttl_s)
        self.leaving &= self._held.keys()
        self._settle(wanted, asked_at + self._ttl_s)
        return self._ttl_s / RENEWALS

    async def _choose(self) -> set[str]:
        """Say which leases are to be ours, of all workers that are configured to do what they stand for."""
        alive = {**await self._store.holders(ALIVE), self._alive: self.worker}
        able = {worker: await self._abilities_of(name.split(":")[1]) for name, worker in alive.items()}
        wanted: set[str] = set()
        for duty, names in self._charges.leases.items():
            asked = {duty, self._charges.ability(duty)}  # workers of earlier versions say each duty by its name
            workers = [worker for worker, abilities in able.items() if asked & abilities]
            is_whole = duty in self._charges.whole
            wanted |= {name for name in names if chosen(duty if is_whole else name, workers) == self.worker}
        return wanted

    async def _abilities_of(self, print_: str) -> frozenset[str]:
        """Say what workers of a configuration can do."""
        if print_ not in self._able:
            found = await self._store.setting(ABLE + print_)
            self._able[print_] = frozenset(msgspec.json.decode(found or b"[]", type=list[str]))
        return self._able[print_]

    async def wait(self, timeout_s: float) -> None:
        """Return when it is time, or something is known to have changed."""
        await wait_for(self._wake, timeout_s)

    def ring(self) -> None:
        """Some lease was lost: look at once."""
        self._wake.set()

    async def stop(self) -> None:
        """Hand everything over: the next process need not wait until it is over."""
        if not self._store.has_one_writer:
            await self._store.release(self.worker, [*self._held, self._alive])
            self.tenures, self._held, self.leaving = {}, {}, set()

    async def release(self, names: set[str]) -> None:
        """Let others have what nothing of ours stands on any more."""
        await self._store.release(self.worker, sorted(names))
        self.leaving -= names
        self._held = {name: epoch for name, epoch in self._held.items() if name not in names}

    def _have_all(self) -> None:
        """Have every duty: there is nobody else."""
        before = self.tenures
        self.tenures = {duty: before.get(duty) or Tenure(self._clock) for duty in self._charges.leases}
        if self.tenures.keys() != before.keys():
            self.changed.set()

    def _settle(self, wanted: Collection[str], ends_at: float) -> None:
        """Prolong what stands on leases that are still ours; begin anew what is not as it was."""
        current = [*self.tenures.values(), *self._ending]
        for one in current:
            is_ours = one.left_s > 0 and one.fences.items() <= self._held.items()
            one.ends_at = ends_at if is_ours else 0.0
        self._ending = [one for one in self._ending if one.ends_at]
        tenures: dict[str, Tenure] = {}
        for duty, names in self._charges.leases.items():
            fences = {name: self._held[name] for name in names if name in self._held and name in wanted}
            if duty in self._charges.whole and len(fences) < len(names):
                fences = {}
            known = self.tenures.get(duty)
            if known is not None and known.ends_at and known.fences == fences:
                tenures[duty] = known
                continue
            if known is not None:
                known.may_begin = False
                self._ending.append(known)
            if fences:
                tenures[duty] = Tenure(self._clock, fences, ends_at, self._ttl_s)
            if known is not None or fences:
                self.changed.set()
        self.tenures = tenures
        for one in (self.tenures[duty] for duty in self.tenures.keys() - self._charges.leases.keys()):
            one.may_begin = False
            self._ending.append(one)
            self.changed.set()
        if self.leaving:
            self.changed.set()


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
