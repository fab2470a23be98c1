"""The circuit breaker of one endpoint, as a value that each event moves on (DESIGN §6, MISSION R23). Pure.

Closed, everything is sent. After failures of so many different keys in a row it opens: nothing is sent for a while.
Then it is half open: a few probes at a time are sent, and what they meet closes it or opens it again.
"""

from enum import StrEnum

import msgspec

from idsync.model.values import Instant, Subject


class BreakerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When it opens and when it closes."""

    failure_threshold: int = 5
    """Different keys that failed in a row."""
    success_threshold: int = 2
    """Probes that must succeed before it closes."""
    timeout_s: float = 60.0
    """How long nothing is sent once it is open."""
    half_open_max: int = 3
    """Probes at once."""


class BreakerPhase(StrEnum):
    """What it lets through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """Where it stands."""

    phase: BreakerPhase = BreakerPhase.CLOSED
    opened_at: Instant | None = None
    """When it opened last; None while it is closed."""
    failed: frozenset[Subject] = frozenset()
    """The keys that failed since the last success, while it is closed."""
    probes: frozenset[Subject] = frozenset()
    """The keys of the probes under way, while it is half open."""
    succeeded: int = 0
    """Probes that succeeded since it is half open."""


CLOSED = Breaker()


def wait_ms(policy: BreakerPolicy, breaker: Breaker, now: Instant) -> int | None:
    """Say how long nothing may be sent: 0 for now, None where the answer of a probe decides.

    A clock that was set back ends the wait: a probe too early does less harm than none for hours.
    """
    match breaker.phase:
        case BreakerPhase.OPEN:
            since_ms = now - (breaker.opened_at or 0)
            timeout_ms = round(policy.timeout_s * 1000)
            return timeout_ms - since_ms if 0 <= since_ms < timeout_ms else 0
        case BreakerPhase.HALF_OPEN:
            return 0 if len(breaker.probes) < policy.half_open_max else None
        case BreakerPhase.CLOSED:
            return 0


def begin(policy: BreakerPolicy, breaker: Breaker, key: Subject, now: Instant) -> Breaker | None:
    """Let a request of some key begin; None: it may not."""
    if breaker.phase is BreakerPhase.CLOSED:
        return breaker
    if wait_ms(policy, breaker, now) != 0:
        return None
    probing = msgspec.structs.replace(breaker, phase=BreakerPhase.HALF_OPEN, probes=breaker.probes | {key})
    return probing if breaker.phase is BreakerPhase.HALF_OPEN else msgspec.structs.replace(probing, succeeded=0)


def succeed(policy: BreakerPolicy, breaker: Breaker, key: Subject) -> Breaker:
    """Take a good answer. While it is not closed only probes count: an older request says nothing of now."""
    if breaker.phase is BreakerPhase.CLOSED:
        return CLOSED
    if key not in breaker.probes:
        return breaker
    succeeded = breaker.succeeded + 1
    if succeeded >= policy.success_threshold:
        return CLOSED
    return msgspec.structs.replace(breaker, probes=breaker.probes - {key}, succeeded=succeeded)


def fail(policy: BreakerPolicy, breaker: Breaker, keys: frozenset[Subject], now: Instant) -> Breaker:
    """Take a failed request of one key, or of the many that were in one batch."""
    if breaker.phase is BreakerPhase.CLOSED:
        failed = breaker.failed | keys
        return Breaker(failed=failed) if len(failed) < policy.failure_threshold else _open(now)
    return breaker if breaker.probes.isdisjoint(keys) else _open(now)


def withdraw(breaker: Breaker, key: Subject) -> Breaker:
    """Take an answer that says neither: come again later."""
    return msgspec.structs.replace(breaker, probes=breaker.probes - {key}) if key in breaker.probes else breaker


def _open(now: Instant) -> Breaker:
    return Breaker(phase=BreakerPhase.OPEN, opened_at=now)
