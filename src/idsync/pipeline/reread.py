"""Reread: carry out the doorbells. What is found at the peer is ingested like anything else it says (DESIGN §4.3)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from idsync import crash
from idsync.errors import PeerError
from idsync.model.delivery import Image
from idsync.model.event import Arrival, Receipt, Verdict
from idsync.model.plan import Keys, Reread, Waiting
from idsync.model.values import Instant, PeerName
from idsync.pipeline.ingest import DECIDABLE, Submission
from idsync.pipeline.parts.looks import arrival_of, observation_of
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Clock, Reader, Store
from idsync.telemetry import Counters, Log

JOBS_MAX = 100
RETRY_MAX_MS = 60_000

Submit = Callable[[Submission], Awaitable[list[Receipt]]]


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
        self._wake = asyncio.Event()

    def ring(self) -> None:
        """There may be new jobs."""
        self._wake.set()

    async def tick(self) -> float:
        """Carry out the jobs that are due; return the seconds until the next look."""
        self._wake.clear()
        jobs = await self._store.due_rereads(self._clock.now(), JOBS_MAX)
        if not jobs:
            return 1.0
        revs = await self._revs(jobs)
        found = [(job, await self._read(job)) for job in jobs]
        arrivals: list[Arrival] = []
        done: list[Reread] = []
        later: list[Reread] = []
        for job, image in found:
            if isinstance(image, PeerError):
                later.append(self._postponed(job, image))
                continue
            done.append(job)
            arrivals.append(self._arrival(job, image, revs.get((job.peer, job.kind, job.external_id))))
        crash.point("reread.before_commit")
        receipts = await self._submit(Submission(arrivals=arrivals, rereads=later, rereads_done=done))
        self._counters.add("idsync_rereads_total", "done", len(done))
        is_torn = any(receipt.verdict is Verdict.REREAD for receipt in receipts)
        return 0.05 if is_torn else 0.0

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be jobs, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    async def _revs(self, jobs: Sequence[Reread]) -> dict[tuple[PeerName, str, str], int]:
        """The shadows' revisions from before the reads: a read across a move is repeated, never merged."""
        keys = frozenset((job.peer, job.kind, job.external_id) for job in jobs)
        known = await self._store.load(Keys(links=keys))
        return {key: known.entities[found].link_at(key[0]).rev for key, found in known.links.items()}

    async def _read(self, job: Reread) -> Image | PeerError | None:
        reader = self._readers.get(job.peer)
        if reader is None:
            return PeerError(f"peer {job.peer} cannot be read in this configuration")
        try:
            return await reader.read(job.kind, job.external_id)
        except PeerError as error:
            return error

    def _postponed(self, job: Reread, error: PeerError) -> Reread:
        delay_ms = min(RETRY_MAX_MS, 250 * 2 ** min(job.attempts, 16))
        self._log.warn("identity cannot be read again; trying later", peer=job.peer, why=str(error))
        return msgspec.structs.replace(job, attempts=job.attempts + 1, retry_at=Instant(self._clock.now() + delay_ms))

    def _arrival(self, job: Reread, image: Image | None, rev: int | None) -> Arrival:
        now = self._clock.now()
        event_id = f"read:{self._clock.new_id()}"
        is_gone = image is None
        if image is None:
            image = Image(external_id=job.external_id, fields={}, at=now)
        seen = observation_of(job.peer, job.kind, image, event_id, now, is_gone=is_gone)
        return arrival_of(msgspec.structs.replace(seen, rev=rev if rev is not None else 0))


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
