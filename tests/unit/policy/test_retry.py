"""When a failed delivery is tried again (DESIGN §6, MISSION R22)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.policy.retry import RetryPolicy, next_delay_s

POLICY = RetryPolicy()


@pytest.mark.parametrize(("attempts", "delay_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (14, 8_192.0), (15, 10_800.0)])
def test_delay_doubles_up_to_the_cap(attempts: int, delay_s: float) -> None:
    """First 1 s, then twice as long each time, and never more than three hours."""
    assert next_delay_s(POLICY, attempts, 0.0, 0.0) == delay_s


def test_delay_is_spread_by_a_tenth_both_ways() -> None:
    """Many that failed together do not come back together."""
    assert next_delay_s(POLICY, 1, 0.0, -1.0) == pytest.approx(0.9)
    assert next_delay_s(POLICY, 1, 0.0, 1.0) == pytest.approx(1.1)


def test_delivery_is_given_up_at_either_limit() -> None:
    """After 30 attempts, or 72 hours after the first."""
    assert next_delay_s(POLICY, 29, 0.0, 0.0) is not None
    assert next_delay_s(POLICY, 30, 0.0, 0.0) is None
    assert next_delay_s(POLICY, 1, 259_199.0, 0.0) is not None
    assert next_delay_s(POLICY, 1, 259_200.0, 0.0) is None


def test_other_sides_wish_is_honoured_where_it_is_longer() -> None:
    """`Retry-After` lengthens a delay up to the cap, and never shortens it."""
    assert next_delay_s(POLICY, 1, 0.0, 0.0, retry_after_s=60.0) == 60.0
    assert next_delay_s(POLICY, 6, 0.0, 0.0, retry_after_s=5.0) == 32.0
    assert next_delay_s(POLICY, 1, 0.0, 0.0, retry_after_s=1e9) == POLICY.cap_s


@given(st.integers(1, 10**9), st.floats(0, 1e9), st.floats(-1, 1), st.none() | st.floats(0, 1e300))
def test_delay_is_always_sane(attempts: int, age_s: float, spread: float, retry_after_s: float | None) -> None:
    """No number of attempts, age or wish makes a delay negative, endless, or an error."""
    patient = RetryPolicy(attempts_max=10**10, age_max_s=1e10)
    delay_s = next_delay_s(patient, attempts, age_s, spread, retry_after_s)
    assert delay_s is not None
    assert 0 < delay_s <= patient.cap_s * (1 + patient.jitter)
