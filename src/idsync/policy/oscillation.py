"""The oscillation breaker: what is written to one link again and again is parked, not written (DESIGN §4). Pure.

Merge and shadow end every loop with a peer that keeps what it is given, in whatever form. A peer that changes it back
later, of its own accord, looks like a user who insists: only the count can tell.
"""

import msgspec

from idsync.model.entity import Intent
from idsync.model.values import Instant, Value


class OscillationPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often one link may be written."""

    same_max: int = 5
    """Writes of the very same truth within the window; more are a peer that puts its own value back each time."""
    all_max: int = 600
    """Writes of anything within the window; more are peers that answer each other."""
    window_ms: int = 60_000


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """One write that a peer carried out."""

    at: Instant
    seen_at: Instant
    """The stamp of the truth it brought: the same again means that nobody outside had anything new to say."""
    fields: dict[str, Value]


def beat(beats: tuple[Beat, ...], intent: Intent, now: Instant, policy: OscillationPolicy) -> tuple[Beat, ...]:
    """Remember one write that was carried out; older ones than the window are forgotten."""
    return (*_recent(beats, now, policy), Beat(now, intent.seen_at, intent.fields))


def rests_until(beats: tuple[Beat, ...], intent: Intent, now: Instant, policy: OscillationPolicy) -> Instant | None:
    """Say until when a link must rest before this write may go out; None: it may go now."""
    recent = _recent(beats, now, policy)
    same = [one for one in recent if one.seen_at == intent.seen_at and one.fields == intent.fields]
    full = same if len(same) >= policy.same_max else recent if len(recent) >= policy.all_max else []
    return Instant(full[0].at + policy.window_ms) if full else None


def _recent(beats: tuple[Beat, ...], now: Instant, policy: OscillationPolicy) -> tuple[Beat, ...]:
    return tuple(one for one in beats if one.at > now - policy.window_ms)
