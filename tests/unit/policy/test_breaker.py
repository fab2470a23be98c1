"""The breaker of an endpoint (MISSION R23)."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from idsync.model.values import Instant, Subject
from idsync.policy.endpoint.breaker import (
    CLOSED,
    Breaker,
    BreakerPhase,
    BreakerPolicy,
    begin,
    fail,
    succeed,
    wait_ms,
    withdraw,
)

POLICY = BreakerPolicy()
AT = Instant(1_000_000)
KEYS = [Subject(f"user/{number}") for number in range(12)]


def opened(at: Instant = AT) -> Breaker:
    """A breaker that just opened."""
    return fail(POLICY, CLOSED, frozenset(KEYS[:5]), at)


def test_one_key_that_fails_for_ever_opens_nothing() -> None:
    """It is that event's own fault, not the endpoint's."""
    breaker = CLOSED
    for _ in range(100):
        breaker = fail(POLICY, breaker, frozenset(KEYS[:1]), AT)
    assert breaker.phase is BreakerPhase.CLOSED


def test_five_keys_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    """In a row means that nothing succeeded meanwhile."""
    breaker = CLOSED
    for key in KEYS[:4]:
        breaker = fail(POLICY, breaker, frozenset({key}), AT)
    assert fail(POLICY, breaker, frozenset({KEYS[4]}), AT).phase is BreakerPhase.OPEN
    breaker = succeed(POLICY, breaker, KEYS[0])
    assert fail(POLICY, breaker, frozenset({KEYS[4]}), AT).phase is BreakerPhase.CLOSED


def test_open_one_lets_nothing_through_until_its_time_is_over() -> None:
    """Then a probe."""
    breaker = opened()
    assert wait_ms(POLICY, breaker, AT) == 60_000
    assert begin(POLICY, breaker, KEYS[0], Instant(AT + 59_999)) is None
    probing = begin(POLICY, breaker, KEYS[0], Instant(AT + 60_000))
    assert probing is not None
    assert probing.phase is BreakerPhase.HALF_OPEN


def test_clock_that_was_set_back_does_not_keep_it_open() -> None:
    """Nobody waits for hours because of it."""
    assert wait_ms(POLICY, opened(), Instant(AT - 3_600_000)) == 0


def test_answers_of_older_requests_say_nothing_of_now() -> None:
    """They were sent before it opened."""
    breaker = opened()
    assert succeed(POLICY, breaker, KEYS[7]) == breaker
    assert fail(POLICY, breaker, frozenset({KEYS[7]}), Instant(AT + 1)) == breaker


class Machine(RuleBasedStateMachine):
    """Requests begin and end as they like; what the breaker promises holds at every moment."""

    @initialize(
        failures=st.integers(1, 6),
        successes=st.integers(1, 4),
        timeout_s=st.floats(0.01, 100),
        probes=st.integers(1, 4),
    )
    def make(self, failures: int, successes: int, timeout_s: float, probes: int) -> None:
        """Begin closed."""
        self.policy = BreakerPolicy(
            failure_threshold=failures, success_threshold=successes, timeout_s=timeout_s, half_open_max=probes
        )
        self.breaker = CLOSED
        self.now = AT
        self.probing: set[Subject] = set()
        self.older: set[Subject] = set()
        self.in_row: set[Subject] = set()

    @rule(ms=st.integers(0, 200_000))
    def pass_time(self, ms: int) -> None:
        """Let some pass."""
        self.now = Instant(self.now + ms)

    @rule(key=st.sampled_from(KEYS))
    def send(self, key: Subject) -> None:
        """Begin a request, if it is let through."""
        if key in self.probing | self.older:
            return
        before, after = self.breaker, begin(self.policy, self.breaker, key, self.now)
        if before.phase is BreakerPhase.OPEN:
            is_over = self.now - (before.opened_at or 0) >= round(self.policy.timeout_s * 1000)
            assert (after is not None) == is_over, "open lasts as long as it is told, and no longer"
        if after is None:
            assert wait_ms(self.policy, before, self.now) != 0
            return
        self.breaker = after
        (self.older if after.phase is BreakerPhase.CLOSED else self.probing).add(key)

    @precondition(lambda self: self.probing or self.older)
    @rule(chance=st.randoms(), how=st.sampled_from(["good", "bad", "neither"]))
    def answer(self, chance: st.DataObject, how: str) -> None:
        """End one of them."""
        key = chance.choice(sorted(self.probing | self.older))  # type: ignore[attr-defined]  # a random.Random
        was = self.breaker.phase
        is_probe = key in self.probing
        self.probing.discard(key)
        self.older.discard(key)
        if how == "good":
            self.breaker = succeed(self.policy, self.breaker, key)
            self.in_row.clear()
        elif how == "bad":
            self.breaker = fail(self.policy, self.breaker, frozenset({key}), self.now)
            self.in_row.add(key)
        else:
            self.breaker = withdraw(self.breaker, key)
        if was is BreakerPhase.HALF_OPEN and is_probe and how == "bad":
            assert self.breaker.phase is BreakerPhase.OPEN
        if was is not self.breaker.phase:
            self.older |= self.probing
            self.probing.clear()
            self.in_row.clear()

    @invariant()
    def keeps_its_promises(self) -> None:
        """Probes are few, and whatever is closed has forgotten whatever came before the last success."""
        if not hasattr(self, "breaker"):
            return
        assert len(self.breaker.probes) <= self.policy.half_open_max
        assert self.breaker.probes == self.probing
        assert len(self.breaker.failed) < self.policy.failure_threshold
        if self.breaker.phase is BreakerPhase.CLOSED:
            assert self.breaker.failed == self.in_row
            assert self.breaker.opened_at is None


TestMachine = Machine.TestCase


@given(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=30))
def test_any_success_clears_what_failed_before(keys: list[Subject]) -> None:
    """Also where many had failed."""
    patient = BreakerPolicy(failure_threshold=100)
    breaker = CLOSED
    for key in keys:
        breaker = fail(patient, breaker, frozenset({key}), AT)
    assert succeed(patient, breaker, keys[0]) == CLOSED
