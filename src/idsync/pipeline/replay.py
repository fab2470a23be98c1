"""Replay: queue events that went out before once more, for one endpoint, in its `bulk` lanes (MISSION R26).

The one write: a page's deliveries and the position after it, in one plan. Whoever goes on after a crash begins where
the store says, so nothing is passed over and nothing is queued twice by one job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from idsync import crash
from idsync.errors import LeaseLost, StoreFenced
from idsync.model.delivery import Delivery
from idsync.model.destination import Level
from idsync.model.plan import Committed, Fenced, LaneRow, Plan, Redo
from idsync.model.replay import ReplayJob, ReplayProgress, ReplayRequest, ReplayState, Span, Standing
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.announce import Fields, announcement
from idsync.pipeline.parts.routes import OPERATIONAL, Routes, endpoint_name
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import wait_for
from idsync.policy.endpoint.rate import RatePolicy, empty, take, wait_s
from idsync.policy.replay import SLACK_MS, Concern, concern_of, is_wanted, needs_standing
from idsync.ports import Clock, InboxEntry, PassedOn, Store
from idsync.telemetry import Counters, Log

REPLAY: Final = "replay"
"""The lease of the one process that carries replays out."""
JOB: Final = "replay:"
PROGRESS: Final = "replayed:"
PAGE_MAX: Final = 200
"""Inbox rows looked at for one plan."""
IDLE_S: Final = 1.0
PAUSE_S: Final = 0.2
"""Between two looks at a job that waits for its rate, or for the last events of its window."""
KEPT_MAX: Final = 200
"""Jobs that have ended are kept so many, the newest."""

EndpointPast = Callable[[str], Awaitable[Sequence[Span]]]
"""What an endpoint was to get when, by its name; empty where there is no such endpoint."""
OnCommitted = Callable[[Plan, Committed, Sequence[Delivery]], None]


@dataclass(frozen=True, slots=True)
class Picked:
    """What a page holds for one endpoint."""

    wanted: Sequence[InboxEntry]
    under_way: Sequence[int]
    """Sequences of events left alone because they are queued or parked."""


def page_of(job: ReplayJob, position: int) -> PassedOn:
    """Name the rest of a job's window."""
    request = job.request
    return PassedOn(
        after=max(position, request.after),
        until=request.through,
        received_from=request.since,
        received_before=job.until,
        subject=request.subject,
    )


async def pick(store: Store, request: ReplayRequest, past: Sequence[Span], page: Sequence[InboxEntry]) -> Picked:
    """Choose the events of a page that a replay queues."""
    concerns = {one.seq: _concern(request, past, one) for one in page}
    asked = [seq for seq, concern in concerns.items() if needs_standing(request, concern)]
    standings = await store.standings(endpoint_name(request.endpoint), asked) if asked else {}
    known = {one.seq: standings.get(one.seq, Standing.NONE) for one in page}
    wanted = [one for one in page if is_wanted(request, concerns[one.seq], known[one.seq])]
    return Picked(wanted, [seq for seq, standing in standings.items() if standing is Standing.UNDER_WAY])


def _concern(request: ReplayRequest, past: Sequence[Span], entry: InboxEntry) -> Concern:
    row = entry.row
    if not row.body:  # its identity was erased
        return Concern.NONE
    is_operational = row.peer == OPERATIONAL
    return concern_of(request, past, row.event_type or "", row.received_at, is_operational=is_operational)


class Replayer:
    """Carries out every running job, a page of each in turn. `tick` is its loop."""

    def __init__(  # noqa: PLR0913  # the composition root names each part once
        self,
        store: Store,
        past_of: EndpointPast,
        *,
        routes: Callable[[], Routes],
        submit: Callable[[Submission], Awaitable[object]],
        on_committed: OnCommitted,
        asked: asyncio.Event,
        tenure: Tenure,
        clock: Clock,
        epoch: int,
        counters: Counters,
        log: Log,
    ) -> None:
        """Wire it.

        Args:
            store: where jobs, events and lanes are.
            past_of: endpoints' dated filters.
            routes: the lanes as they are now.
            submit: ingests the event that says how a job ended, with that end.
            on_committed: told of every plan that queued something, with its deliveries; must not block.
            asked: set where there is a new job, or one was cancelled.
            tenure: the lease `replay`.
            clock: time.
            epoch: this process's.
            counters: what is counted.
            log: where the end of a job is written.
        """
        self._store = store
        self._past_of = past_of
        self._routes = routes
        self._submit = submit
        self._on_committed = on_committed
        self._tenure = tenure
        self._clock = clock
        self._epoch = epoch
        self._counters = counters
        self._log = log
        self._paces: dict[str, _Pace] = {}
        self._asked = asked

    async def tick(self) -> float:
        """Queue a page of every running job; return the seconds until the next."""
        self._asked.clear()
        jobs = await read_jobs(self._store)
        running = [(job, progress) for job, progress in jobs if progress.ended_at is None]
        self._paces = {job.id: self._paces.get(job.id) or self._pace_of(job) for job, _ in running}
        delays_s = [await self._advance(job, progress) for job, progress in running]
        await self._forget([job for job, progress in jobs if progress.ended_at is not None])
        return min(delays_s, default=IDLE_S)

    async def wait(self, timeout_s: float) -> None:
        """Return when a job was asked for, at the latest after `timeout_s` seconds."""
        await wait_for(self._asked, timeout_s)

    async def _advance(self, job: ReplayJob, progress: ReplayProgress) -> float:
        """Queue one page of a job; return the seconds until its next."""
        if job.cancelled_at is not None:
            return await self._end(job, progress, ReplayState.CANCELLED)
        past = await self._past_of(job.request.endpoint)
        if not past or past[0].since > job.asked_at:
            return await self._end(job, progress, ReplayState.STOPPED)
        if not past[-1].is_enabled or not self._has_lanes(job):
            return IDLE_S
        if (pause_s := self._paces[job.id].pause_s) > 0:
            return min(pause_s, IDLE_S)
        page = await self._store.passed_on(page_of(job, progress.position), PAGE_MAX)
        if not page:
            # Events that were received in time may still be on their way into the store.
            is_over = self._clock.now() >= job.until + SLACK_MS
            return await self._end(job, progress, ReplayState.DONE) if is_over else PAUSE_S
        await self._queue(job, progress, page, past)
        return 0.0

    def _pace_of(self, job: ReplayJob) -> "_Pace":
        return _Pace(job.request.rate_per_s, self._clock)

    def _has_lanes(self, job: ReplayJob) -> bool:
        return (endpoint_name(job.request.endpoint), Level.BULK) in self._routes().lanes

    async def _queue(
        self, job: ReplayJob, progress: ReplayProgress, page: Sequence[InboxEntry], past: Sequence[Span]
    ) -> None:
        """Queue what is wanted of a page, with the position after it, in one plan."""
        picked = await pick(self._store, job.request, past, page)
        wanted = picked.wanted[: self._paces[job.id].take(len(picked.wanted))]
        position = page[-1].seq if len(wanted) == len(picked.wanted) else wanted[-1].seq
        routes, destination = self._routes(), endpoint_name(job.request.endpoint)
        subjects = [one.row.event_subject or one.row.subject for one in wanted]
        lanes = [routes.lane_for(destination, subject, Level.BULK) for subject in subjects]
        after = msgspec.structs.replace(
            progress,
            position=position,
            looked_at=progress.looked_at + sum(one.seq <= position for one in page),
            queued=progress.queued + len(wanted),
            under_way=progress.under_way + sum(seq <= position for seq in picked.under_way),
        )
        plan = self._plan(
            {PROGRESS + job.id: msgspec.json.encode(after)},
            tuple(
                LaneRow(lane, subject, one.row.version, seq=one.seq)
                for one, subject, lane in zip(wanted, subjects, lanes, strict=True)
            ),
        )
        crash.point("replay.before_commit")
        committed = await self._commit(plan)
        crash.point("replay.after_commit")
        self._counters.add("idsync_replayed_total", destination, len(wanted))
        self._on_committed(plan, committed, _deliveries_of(plan, committed, wanted))

    async def _end(self, job: ReplayJob, progress: ReplayProgress, state: ReplayState) -> float:
        """End a job, and tell whoever wants to hear of it in the same transaction."""
        now = self._clock.now()
        ended = msgspec.structs.replace(progress, state=state, ended_at=now)
        about: Fields = {
            "replay": job.id,
            "endpoint": job.request.endpoint,
            "status": job.request.status,
            "state": state,
            "queued": progress.queued,
            "looked_at": progress.looked_at,
        }
        is_heard = self._routes().has_operational
        arrivals = [announcement("replay.finished", f"replay/{job.id}", about, now)] if is_heard else []
        settings = {PROGRESS + job.id: msgspec.json.encode(ended)}
        crash.point("replay.before_end")
        await self._submit(Submission(arrivals=arrivals, settings=settings, fences=self._tenure.fences))
        self._log.write("info", f"a replay is {state}", {"replay": job.id, "queued": progress.queued})
        return 0.0

    async def _forget(self, ended: Sequence[ReplayJob]) -> None:
        """Keep the newest of the jobs that have ended."""
        old = sorted(ended, key=lambda job: job.asked_at)[: max(0, len(ended) - KEPT_MAX)]
        if old:
            await self._commit(self._plan({prefix + job.id: None for job in old for prefix in (JOB, PROGRESS)}))

    def _plan(self, settings: dict[str, bytes | None], deliveries: tuple[LaneRow, ...] = ()) -> Plan:
        return Plan(
            epoch=self._epoch,
            fences=self._tenure.fences,
            deliveries=deliveries,
            settings=settings,
            at=self._clock.now(),
        )

    async def _commit(self, plan: Plan) -> Committed:
        """Write a plan under our lease.

        Raises:
            LeaseLost: another process carries replays out now.
            StoreFenced: another process has the store.
        """
        match await self._store.commit(plan):
            case Committed() as committed:
                return committed
            case Fenced(leases) if leases:
                raise LeaseLost(leases)
            case Fenced() | Redo():
                raise StoreFenced


class _Pace:
    """How many events may be queued by now: a bucket that is empty at first and holds one second's worth."""

    def __init__(self, rate_per_s: float, clock: Clock) -> None:
        burst = max(1, int(rate_per_s))
        self._policy = RatePolicy(requests_per_second=rate_per_s, burst=burst)
        worth = max(1, min(PAGE_MAX, int(rate_per_s * PAUSE_S)))
        self._some = RatePolicy(requests_per_second=rate_per_s, burst=burst - worth + 1)
        """By it one is granted where by the other many are: a page is looked up for some events, not for one."""
        self._clock = clock
        self._bucket = empty(self._policy, clock.monotonic())

    def take(self, wanted: int) -> int:
        """Take what is there of so many."""
        now_s = self._clock.monotonic()
        for number in range(wanted):
            left = take(self._policy, self._bucket, now_s)
            if left is None:
                return number
            self._bucket = left
        return wanted

    @property
    def pause_s(self) -> float:
        """Seconds until a page is worth while."""
        return wait_s(self._some, self._bucket, self._clock.monotonic())


def _deliveries_of(plan: Plan, committed: Committed, wanted: Sequence[InboxEntry]) -> list[Delivery]:
    """Give what was queued as the deliver side takes it from memory."""
    return [
        Delivery(
            id=id_,
            lane=queued.lane,
            subject=queued.subject,
            event=one.seq,
            version=one.row.version,
            event_id=one.row.event_id or "",
            event_type=one.row.event_type or "",
            body=one.row.body,
            trace=one.row.trace,
            queued_at=plan.at,
            not_before=one.row.not_before,
        )
        for id_, queued, one in zip(committed.deliveries, plan.deliveries, wanted, strict=True)
    ]


async def read_jobs(store: Store) -> list[tuple[ReplayJob, ReplayProgress]]:
    """Read every job with how far it is, oldest first."""
    # The progress first: a job that is found without one has not begun.
    progress = await store.settings(PROGRESS)
    jobs = [msgspec.json.decode(one, type=ReplayJob) for one in (await store.settings(JOB)).values()]
    return sorted(((job, _progress_of(job.id, progress)) for job in jobs), key=lambda one: one[0].id)


def _progress_of(job: str, found: Mapping[str, bytes]) -> ReplayProgress:
    kept = found.get(PROGRESS + job)
    return msgspec.json.decode(kept, type=ReplayProgress) if kept is not None else ReplayProgress()
