"""What the API shows of replays."""

import msgspec

from idsync.api.views.times import time_text
from idsync.app.replays import Count, Replay
from idsync.model.values import instant_text


class CountView(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay would queue, as of now."""

    events: int
    oldest_at: str | None
    newest_at: str | None
    under_way: int
    """Events that are left alone, because they are queued or about to be tried again anyway."""
    looked_at: int
    is_complete: bool
    """False: counting took too long, and there may be more."""


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    """One replay as it stands."""

    id: str
    endpoint: str
    status: str
    types: list[str]
    subject: str | None
    since: str | None
    until: str
    """The end of its window: what came in later is not of it."""
    rate_per_s: float
    state: str
    looked_at: int
    queued: int
    under_way: int
    position: int
    """The inbox sequence up to which everything is decided."""
    asked_at: str
    ended_at: str | None


class ReplayPage(msgspec.Struct, frozen=True, kw_only=True):
    """Replays, newest first."""

    items: list[ReplayView]
    next: str | None = None


def view_count(count: Count) -> CountView:
    """Show what a replay would queue."""
    return CountView(
        events=count.events,
        oldest_at=time_text(count.oldest_at),
        newest_at=time_text(count.newest_at),
        under_way=count.under_way,
        looked_at=count.looked_at,
        is_complete=count.is_complete,
    )


def view_replay(replay: Replay) -> ReplayView:
    """Show one replay."""
    request, progress = replay.job.request, replay.progress
    return ReplayView(
        id=replay.job.id,
        endpoint=request.endpoint,
        status=request.status.value,
        types=list(request.types),
        subject=request.subject,
        since=time_text(request.since),
        until=instant_text(replay.job.until),
        rate_per_s=request.rate_per_s,
        state=replay.state.value,
        looked_at=progress.looked_at,
        queued=progress.queued,
        under_way=progress.under_way,
        position=progress.position,
        asked_at=instant_text(replay.job.asked_at),
        ended_at=time_text(progress.ended_at),
    )
