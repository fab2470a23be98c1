"""Reread: carry out the doorbells. What is found at the peer is ingested like anything else it says (DESIGN §4.3)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from idsync import crash
from idsync.errors import PeerError
from idsync.model.delivery import Image
from idsync.model.event import Arrival, Receipt, Verdict, Version
from idsync.model.plan import Keys, LinkKey, Position, Reread, Waiting
from idsync.model.values import EntityId, Instant, PeerName
from idsync.pipeline.ingest import DECIDABLE, Submission
from idsync.pipeline.parts.looks import arrival_of, observation_of
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Clock, Reader, Store
from idsync.telemetry import Counters, Log

JOBS_MAX = 100
EARLY_MAX = 1_000
"""Looks kept in memory at most, until the events before them are taken in."""
EARLY_PAUSE_S = 0.02
RETRY_MAX_MS = 30_000

Submit = Callable[[Submission], Awaitable[list[Receipt]]]


@dataclass(frozen=True, slots=True)
class _Look:
    """What one job found, and the shadow's and the truth's revisions from before."""

    job: Reread
    image: Image | None
    place: Version | None
    """The end of the peer's outbox at or after the look."""
    rev: int | None
    truth: tuple[EntityId, int] | None
    is_told: bool = False
    """Whether every event that led to what it shows has been taken in (decision 0009)."""


class Rereader:
    """Reads again whatever a doorbell named, and ingests what it finds."""

    def __init__(  # the composition root names each part once
        self,
        readers: Mapping[PeerName, Reader],
        *,
        store: Store,
        submit: Submit,
        clock: Clock,
        counters: Counters,
        log: Log,
    ) -> None:
        """Wire it."""
        self._readers = readers
        self._store = store
        self._submit = submit
        self._clock = clock
        self._counters = counters
        self._log = log
        self._early: dict[LinkKey, _Look] = {}
        """Looks that are done and not ingested; their jobs are still in the store."""
        self._wake = asyncio.Event()

    def ring(self) -> None:
        """There may be new jobs."""
        self._wake.set()

    async def tick(self) -> float:
        """Carry out the jobs that are due; return the seconds until the next look."""
        self._wake.clear()
        limit = min(EARLY_MAX, JOBS_MAX + len(self._early))
        jobs = await self._store.due_rereads(self._clock.now(), limit)
        if not jobs:
            self._early.clear()
            return 1.0
        later = await self._look([job for job in jobs if not self._has(job)])
        ripe = await self._take_ripe()
        pause_s = EARLY_PAUSE_S if self._early else 0.0
        if not ripe and not later:
            return pause_s
        crash.point("reread.before_commit")
        arrivals = [self._arrival(look) for look in ripe]
        done = [look.job for look in ripe]
        receipts = await self._submit(Submission(arrivals=arrivals, rereads=later, rereads_done=done))
        self._counters.add("idsync_rereads_total", "done", len(done))
        is_torn = any(receipt.verdict is Verdict.REREAD for receipt in receipts)
        return 0.05 if is_torn else pause_s

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be jobs, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    async def _look(self, jobs: Sequence[Reread]) -> list[Reread]:
        """Read what the jobs name; give those whose peer could not be read."""
        marks = await self._marks(jobs)
        later: list[Reread] = []
        for job in jobs:
            try:
                image, place = await self._read(job)
            except PeerError as error:
                later.append(self._postponed(job, error))
            else:
                self._early[_key(job)] = _Look(job, image, place, *marks.get(_key(job), (None, None)))
        return later

    async def _take_ripe(self) -> list[_Look]:
        """Take the looks that show no state whose events are still to come: only they know when it came to it."""
        peers = {peer for peer, _, _ in self._early}
        positions = {peer: await self._store.position(peer) for peer in peers}
        ripe: list[_Look] = []
        for key, look in list(self._early.items()):
            ahead = _ahead_of(look.place, positions[look.job.peer])
            if ahead is None or ahead <= 0:
                ripe.append(replace(look, is_told=ahead is not None and look.image is not None))
                del self._early[key]
        return ripe

    def _has(self, job: Reread) -> bool:
        """Whether the look that was asked for is done; one that was asked for again since counts as another."""
        look = self._early.get(_key(job))
        return look is not None and look.job == job

    async def _marks(self, jobs: Sequence[Reread]) -> dict[LinkKey, tuple[int, tuple[EntityId, int]]]:
        """The shadow's and the truth's revisions from before each read: what moves meanwhile, a read cannot tell."""
        keys = frozenset(_key(job) for job in jobs)
        known = await self._store.load(Keys(links=keys))
        entities = {key: known.entities[found] for key, found in known.links.items()}
        return {key: (entity.link_at(key[0]).rev, (entity.id, entity.version)) for key, entity in entities.items()}

    async def _read(self, job: Reread) -> tuple[Image | None, Version | None]:
        """Look, and say which events must be taken in before what was seen is news: also where nobody was there."""
        reader = self._readers.get(job.peer)
        if reader is None:
            raise PeerError(f"peer {job.peer} cannot be read in this configuration")
        image = await reader.read(job.kind, job.external_id)
        return image, image.version if image is not None else await reader.place()

    def _postponed(self, job: Reread, error: PeerError) -> Reread:
        delay_ms = min(RETRY_MAX_MS, 250 * 2 ** min(job.attempts, 16))
        self._log.warn("identity cannot be read again; trying later", peer=job.peer, why=str(error))
        return msgspec.structs.replace(job, attempts=job.attempts + 1, retry_at=Instant(self._clock.now() + delay_ms))

    def _arrival(self, look: _Look) -> Arrival:
        now, job = self._clock.now(), look.job
        image = look.image if look.image is not None else Image(external_id=job.external_id, fields={}, at=now)
        event_id = f"read:{self._clock.new_id()}"
        seen = observation_of(job.peer, job.kind, image, event_id, now, is_gone=look.image is None)
        rev = look.rev if look.rev is not None else 0
        return arrival_of(msgspec.structs.replace(seen, rev=rev, truth=look.truth, names_writer=look.is_told))


def _key(job: Reread) -> LinkKey:
    return job.peer, job.kind, job.external_id


def _ahead_of(place: Version | None, position: Position | None) -> int | None:
    """How many rows of its peer's outbox a look has seen that we have not; None: it has no place in that order."""
    if place is None or position is None or place.generation != position.generation:
        return None
    return place.number - position.number


class Releaser:
    """Brings parked arrivals back to the door once what they waited for is there."""

    def __init__(self, store: Store, submit: Submit, clock: Clock) -> None:
        """Wire it."""
        self._store = store
        self._submit = submit
        self._clock = clock
        self._wake = asyncio.Event()

    def ring(self) -> None:
        """Something was released."""
        self._wake.set()

    async def tick(self) -> float:
        """Ingest the parked arrivals that are due; return the seconds until the next look."""
        self._wake.clear()
        due = await self._store.due_waits(self._clock.now(), JOBS_MAX)
        if not due:
            return 1.0
        crash.point("release.before_commit")
        await self._submit(Submission(arrivals=[_again(waiting) for waiting in due]))
        return 0.0

    async def wait(self, timeout_s: float) -> None:
        """Return when something may be due, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)


def _again(waiting: Waiting) -> Arrival:
    arrival = msgspec.json.decode(waiting.body, type=Arrival)
    return msgspec.structs.replace(arrival, redo=waiting.seq, is_decided=waiting.reason in DECIDABLE)
