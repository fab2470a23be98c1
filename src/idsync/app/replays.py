"""Replays, as operators ask for them: count first, then begin, look, cancel (MISSION R26)."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from idsync.app.endpoints import Endpoints, NotFound
from idsync.model.replay import ReplayJob, ReplayProgress, ReplayRequest, ReplayState, ReplayStatus, Span
from idsync.model.values import Instant
from idsync.pipeline.replay import JOB, PAGE_MAX, PROGRESS, EndpointPast, page_of, pick, read_jobs
from idsync.policy.replay import SLACK_MS
from idsync.ports import Clock, Store

RUNNING_MAX: Final = 50
"""Jobs that run at a time."""
RATE_MAX: Final = 10_000.0
COUNT_S: Final = 2.0
"""How long a dry run counts at most, in seconds."""


async def past_of(endpoints: Endpoints, name: str) -> Sequence[Span]:
    """Say what an endpoint was to get in its life, oldest first; empty where there is none of this name."""
    state = await endpoints.get(name)
    if isinstance(state, NotFound):
        return ()
    # The history goes back no further than events are kept, and may tell of an earlier endpoint of the same name.
    own = [one for one in await endpoints.filters(name) if one.until is None or one.until > state.made_at]
    return [
        Span(
            since=one.since if number else state.made_at,
            until=one.until,
            events=one.events,
            is_operational=one.is_operational,
            is_enabled=one.is_enabled,
        )
        for number, one in enumerate(own)
    ]


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay would queue, as of now."""

    events: int = 0
    oldest_at: Instant | None = None
    """When the oldest of them was received; None: there is none."""
    newest_at: Instant | None = None
    under_way: int = 0
    """Events that would be left alone, because they are queued or parked until their next try."""
    looked_at: int = 0
    """Events of the window that were looked at."""
    is_complete: bool = True
    """False: counting took too long, and there may be more."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """One job as it stands."""

    job: ReplayJob
    progress: ReplayProgress
    state: ReplayState


class NoSuchEndpoint(msgspec.Struct, frozen=True):
    """There is no endpoint of this name."""

    name: str


class NoSuchReplay(msgspec.Struct, frozen=True):
    """There is no replay of this id; the oldest that have ended are forgotten."""

    id: str


class Unusable(msgspec.Struct, frozen=True):
    """The request cannot be carried out."""

    problems: tuple[str, ...]
    """Every reason, each naming its field."""


class TooMany(msgspec.Struct, frozen=True):
    """So many replays run already: wait for one, or cancel it."""

    running: int


class Replays:
    """The service of replays. The duty `replay` of one process carries them out."""

    def __init__(self, store: Store, past_of: EndpointPast, clock: Clock) -> None:
        """Wire it."""
        self._store = store
        self._past_of = past_of
        self._clock = clock
        self.asked = asyncio.Event()
        """Set where something was asked for: whoever carries replays out in this process waits for it."""

    async def plan(self, request: ReplayRequest) -> Count | NoSuchEndpoint | Unusable:
        """Count what a replay would queue; nothing is written."""
        if problems := problems_of(request):
            return Unusable(problems)
        past = await self._past_of(request.endpoint)
        if not past:
            return NoSuchEndpoint(request.endpoint)
        job, ends_at = self._job("", request), self._clock.monotonic() + COUNT_S
        count, position = Count(), 0
        while page := await self._store.passed_on(page_of(job, position), PAGE_MAX):
            picked = await pick(self._store, request, past, page)
            times = [entry.row.received_at for entry in picked.wanted]
            known = [at for at in (count.oldest_at, count.newest_at) if at is not None]
            count = Count(
                events=count.events + len(times),
                oldest_at=min([*times, *known], default=None),
                newest_at=max([*times, *known], default=None),
                under_way=count.under_way + len(picked.under_way),
                looked_at=count.looked_at + len(page),
            )
            position = page[-1].seq
            if self._clock.monotonic() >= ends_at:
                return msgspec.structs.replace(count, is_complete=False)
        return count

    async def start(self, request: ReplayRequest) -> Replay | NoSuchEndpoint | Unusable | TooMany:
        """Begin a replay; it is durable when this returns, and goes on whatever process ends."""
        if problems := problems_of(request):
            return Unusable(problems)
        if not await self._past_of(request.endpoint):
            return NoSuchEndpoint(request.endpoint)
        running = sum(progress.ended_at is None for _, progress in await read_jobs(self._store))
        if running >= RUNNING_MAX:
            return TooMany(running)
        job = self._job(self._clock.new_id(), request)
        await self._store.put_setting(JOB + job.id, msgspec.json.encode(job), expected=None)
        self.asked.set()
        return await self._shown(job, ReplayProgress())

    async def list(self) -> Sequence[Replay]:
        """Every replay, the newest first."""
        return [await self._shown(job, progress) for job, progress in reversed(await read_jobs(self._store))]

    async def get(self, id_: str) -> Replay | NoSuchReplay:
        """One replay as it stands."""
        kept = await self._store.setting(JOB + id_)
        if kept is None:
            return NoSuchReplay(id_)
        progress = await self._store.setting(PROGRESS + id_)
        return await self._shown(
            msgspec.json.decode(kept, type=ReplayJob),
            msgspec.json.decode(progress, type=ReplayProgress) if progress is not None else ReplayProgress(),
        )

    async def cancel(self, id_: str) -> Replay | NoSuchReplay:
        """End a replay; one that has ended stays as it is. What it has queued is delivered."""
        kept = await self._store.setting(JOB + id_)
        if kept is None:
            return NoSuchReplay(id_)
        job = msgspec.json.decode(kept, type=ReplayJob)
        cancelled = msgspec.structs.replace(job, cancelled_at=self._clock.now())
        if job.cancelled_at is None:
            # Where somebody else cancelled or forgot it meanwhile, nothing is left to be done.
            await self._store.put_setting(JOB + id_, msgspec.json.encode(cancelled), expected=kept)
        self.asked.set()
        return await self.get(id_)

    def _job(self, id_: str, request: ReplayRequest) -> ReplayJob:
        """Fix the window: what comes in from now on is delivered as it comes.

        Not so for what is missed: a process may not know yet that the endpoint was enabled just now.
        """
        now = self._clock.now()
        latest = Instant(now + (SLACK_MS if request.status is ReplayStatus.MISSED else 0))
        until = min(latest, request.until) if request.until is not None else latest
        return ReplayJob(id=id_, request=request, until=until, asked_at=now)

    async def _shown(self, job: ReplayJob, progress: ReplayProgress) -> Replay:
        state = progress.state
        if progress.ended_at is None and job.cancelled_at is not None:
            state = ReplayState.CANCELLED
        elif progress.ended_at is None:
            past = await self._past_of(job.request.endpoint)
            state = ReplayState.PAUSED if past and not past[-1].is_enabled else ReplayState.RUNNING
        return Replay(job=job, progress=progress, state=state)


def problems_of(request: ReplayRequest) -> tuple[str, ...]:
    """Say why a request cannot be carried out, each reason with its field; empty: it can."""
    found = []
    if not request.types:
        found.append('types: is empty; leave it out for all, or name some, as "user.*"')
    if not 0 < request.rate_per_s <= RATE_MAX:
        found.append(f"rate_per_s: is not between 0 and {RATE_MAX:.0f} events per second")
    if request.since is not None and request.until is not None and request.since >= request.until:
        found.append("until: is not after `since`, so the window is empty")
    if request.through is not None and request.through <= request.after:
        found.append("through: is not after `after`, so the window is empty")
    return tuple(found)
