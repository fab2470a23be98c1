"""The token bucket of an endpoint (MISSION R24)."""

from hypothesis import given
from hypothesis import strategies as st

from idsync.policy.endpoint.rate import RatePolicy, empty, take, wait_s

POLICIES = st.builds(RatePolicy, requests_per_second=st.floats(0.01, 10_000), burst=st.integers(1, 1_000))
PAUSES_S = st.lists(st.floats(0, 30) | st.just(0.0), max_size=120)


def test_bucket_is_empty_at_first() -> None:
    """Whoever takes over does not know what was granted a moment ago."""
    policy = RatePolicy(requests_per_second=10, burst=20)
    bucket = empty(policy, 0.0)
    assert take(policy, bucket, 0.05) is None
    assert take(policy, bucket, 0.1) is not None


def test_bucket_that_rested_grants_its_burst_and_then_its_rate() -> None:
    """Twenty at once, and each further one a tenth of a second later."""
    policy = RatePolicy(requests_per_second=10, burst=20)
    bucket, now_s, waits = empty(policy, 0.0), 1_000.0, list[float]()
    for _ in range(23):
        waits.append(round(wait_s(policy, bucket, now_s), 6))
        now_s += waits[-1]
        granted = take(policy, bucket, now_s)
        assert granted is not None
        bucket = granted
    assert waits == [0.0] * 20 + [0.1] * 3


@given(policy=POLICIES, pauses_s=PAUSES_S)
def test_no_stretch_of_time_sees_more_than_burst_and_rate(policy: RatePolicy, pauses_s: list[float]) -> None:
    """Whoever asks, however often: of any two grants, so many lie between them as the time between allows."""
    bucket, now_s, granted_at = empty(policy, 0.0), 0.0, list[float]()
    for pause_s in pauses_s:
        now_s += pause_s
        while (after := take(policy, bucket, now_s)) is not None and len(granted_at) < 2_000:
            bucket = after
            granted_at.append(now_s)
    for first, begin_s in enumerate(granted_at[:50]):
        for last in range(first, len(granted_at)):
            allowed = policy.burst + policy.requests_per_second * (granted_at[last] - begin_s)
            assert last - first + 1 <= allowed + 1


@given(policy=POLICIES, pauses_s=PAUSES_S)
def test_whoever_waits_as_long_as_told_is_granted(policy: RatePolicy, pauses_s: list[float]) -> None:
    """It never starves, and the wait is never longer than what one request costs once it was waited for."""
    bucket, now_s = empty(policy, 0.0), 0.0
    for pause_s in pauses_s:
        now_s += pause_s
        now_s += wait_s(policy, bucket, now_s)
        granted = take(policy, bucket, now_s)
        assert granted is not None
        bucket = granted
        assert wait_s(policy, bucket, now_s) <= 1 / policy.requests_per_second + 1e-3
