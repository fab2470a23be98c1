"""A token bucket as a value (MISSION R24). Pure: the caller brings the time, in seconds that never go back.

In every stretch of `t` seconds at most `burst + requests_per_second * t` requests are granted. It is kept as one
number, the moment at which the bucket will be full: each grant moves it on by what one request costs.
"""

import msgspec

TOLERANCE_S = 1e-6
"""What the arithmetic of floats may be wrong by, so that a wait that was told is long enough."""


class RatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A rate limit."""

    requests_per_second: float = 10.0
    burst: int = 20
    """Requests at once, after a pause."""


class Bucket(msgspec.Struct, frozen=True):
    """How much of it is left."""

    full_at_s: float


def empty(policy: RatePolicy, now_s: float) -> Bucket:
    """Begin with nothing: whoever had it before may have used it up a moment ago."""
    return Bucket(now_s + policy.burst / policy.requests_per_second)


def wait_s(policy: RatePolicy, bucket: Bucket, now_s: float) -> float:
    """Say how long the next request must wait; 0 for not at all."""
    left_s = bucket.full_at_s - now_s - (policy.burst - 1) / policy.requests_per_second
    return left_s if left_s > TOLERANCE_S else 0.0


def take(policy: RatePolicy, bucket: Bucket, now_s: float) -> Bucket | None:
    """Grant one request; None: it must wait."""
    if wait_s(policy, bucket, now_s) > 0:
        return None
    return Bucket(max(bucket.full_at_s, now_s) + 1 / policy.requests_per_second)
