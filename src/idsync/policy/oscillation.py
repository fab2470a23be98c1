"""The oscillation breaker: what is written to one link again and again is parked, not written (DESIGN §4). Pure.

Merge and shadow end every loop with a peer that keeps what it is given, in whatever form. A peer that changes it back
later, of its own accord, looks like a user who insists: only the count can tell.
"""

from hashlib import blake2b

import msgspec

from idsync.model.entity import Intent
from idsync.model.values import Instant


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
    truth: bytes
    """A digest of what it brought: the same again means that nobody outside had anything new to say."""


def beat(beats: tuple[Beat, ...], intent: Intent, now: Instant, policy: OscillationPolicy) -> tuple[Beat, ...]:
    """Remember one write that was carried out; older ones than the window are forgotten."""
    return (*_recent(beats, now, policy), Beat(now, _truth(intent)))


def rests_until(beats: tuple[Beat, ...], intent: Intent, now: Instant, policy: OscillationPolicy) -> Instant | None:
    """Say until when a link must rest before this write may go out; None: it may go now."""
    recent = _recent(beats, now, policy)
    truth = _truth(intent)
    same = [one for one in recent if one.truth == truth]
    full = same if len(same) >= policy.same_max else recent if len(recent) >= policy.all_max else []
    return Instant(full[0].at + policy.window_ms) if full else None


def _recent(beats: tuple[Beat, ...], now: Instant, policy: OscillationPolicy) -> tuple[Beat, ...]:
    """Those of the window; one of the future is from before the clock was set back, and says nothing any more."""
    return tuple(one for one in beats if now - policy.window_ms < one.at <= now)


def _truth(intent: Intent) -> bytes:
    """What is written and how new it is, in so few bytes that every write can be remembered, whatever its size."""
    told = (intent.action, intent.seen_at, intent.fields)
    return blake2b(msgspec.json.encode(told, order="deterministic"), digest_size=8).digest()
