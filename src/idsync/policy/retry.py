"""When a failed delivery is tried again (DESIGN §6, MISSION R22). Pure: the caller brings the random number."""

import msgspec


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff with jitter, a cap, and two limits."""

    first_s: float = 1.0
    """Delay before the second try, in seconds."""
    factor: float = 2.0
    jitter: float = 0.1
    """Each delay is spread by up to this share, both ways."""
    cap_s: float = 10_800.0
    attempts_max: int = 30
    age_max_s: float = 259_200.0
    """Seconds after the first try beyond which no other is begun."""


def next_delay_s(
    policy: RetryPolicy, attempts: int, age_s: float, spread: float, retry_after_s: float | None = None
) -> float | None:
    """Say how long to wait after a failed try, or None when it is given up.

    Args:
        policy: the limits.
        attempts: tries made so far, 1 or more.
        age_s: seconds since the first of them.
        spread: uniform in [-1, 1): where within the jitter this delay falls.
        retry_after_s: what the other side asked for; longer than our own delay it is honoured, up to the cap.
    """
    if attempts >= policy.attempts_max or age_s >= policy.age_max_s:
        return None
    # The exponent is bounded, so that a long life of retries cannot overflow a float.
    backoff = min(policy.first_s * policy.factor ** min(attempts - 1, 64), policy.cap_s)
    delay = backoff * (1 + policy.jitter * spread)
    if retry_after_s is not None:
        delay = max(delay, min(retry_after_s, policy.cap_s))
    return delay
