"""Admission to one endpoint in one process: its breaker, its rate, and the rest that it asked for.

What is not admitted waits where it is: in its lane, unread, with no attempt made. Whoever fails long enough is stopped,
and its endpoint is disabled. After a rest it is begun with one request at a time, then two, four… (MISSION R23, R24).
"""

from collections.abc import Callable
from math import inf
from typing import Final

import msgspec

from idsync.model.values import Instant, Subject
from idsync.pipeline.parts.health import EndpointHealth
from idsync.pipeline.sending.endpoint import HTTP_GONE, HTTP_TOO_MANY, Endpoint, is_throttle
from idsync.policy.endpoint import breaker as breaking
from idsync.policy.endpoint import rate as rating
from idsync.policy.endpoint.breaker import Breaker, BreakerPhase
from idsync.policy.retry import next_delay_s
from idsync.ports import Clock, Response

GONE: Final = "gone"
FAILING: Final = "failing"


class Gate:
    """Says whether the next request may begin. Where `is_free` holds there is nothing to ask, nor success to tell."""

    def __init__(
        self, endpoint: Endpoint, clock: Clock, *, is_whole: bool, on_rate_wait: Callable[[float], None]
    ) -> None:
        """Begin with a good endpoint; `load` knows better.

        Args:
            endpoint: whom it leads to.
            clock: time and jitter.
            is_whole: whether all its lanes are this process's; else it sends nothing that only one may send.
            on_rate_wait: told how many seconds a request must wait for the rate, once for each such wait.
        """
        self._endpoint = endpoint
        self._clock = clock
        self.is_whole = is_whole
        self._breaker = breaking.CLOSED
        self._bucket = rating.empty(endpoint.rate, clock.monotonic()) if endpoint.rate is not None else None
        self._on_rate_wait = on_rate_wait
        self._told_until_s = -inf
        """The end of the wait for the rate that was told last."""
        self._failing_since: Instant | None = None
        self._failures = 0
        self._throttled_until_s = -inf
        self._throttled_at: Instant | None = None
        self._throttles = 0
        self._slow = 0
        """How many requests at once are tried again after a rest; 0: as many as the endpoint takes."""
        self._good_in_row = 0
        self.stopped: str | None = None
        self.is_changed = False
        """Whether its health is another than was written last."""
        self.is_free = True
        self.limit = 0
        """How many requests may be under way."""
        self.adopt(endpoint)

    def adopt(self, endpoint: Endpoint) -> None:
        """Go on with another definition. A rate that is another one begins with nothing."""
        if endpoint.rate != self._endpoint.rate:
            rate = endpoint.rate
            self._bucket = rating.empty(rate, self._clock.monotonic()) if rate is not None else None
            self._told_until_s = -inf
        self._endpoint = endpoint
        self._note()

    def load(self, health: EndpointHealth) -> None:
        """Go on where the last owner was. A probe that was under way then is none of ours."""
        now = self._clock.now()
        is_closed = health.breaker == BreakerPhase.CLOSED
        opened_at = health.opened_at or now
        self._breaker = breaking.CLOSED if is_closed else Breaker(phase=BreakerPhase.OPEN, opened_at=opened_at)
        self._failing_since, self._failures = health.failing_since, health.failures
        self.stopped = health.stopped
        self._rest_until(health.throttled_until or now)
        self._note()

    def hear(self, health: EndpointHealth) -> bool:
        """Learn from another process whether the endpoint rests; say whether the breaker is another one by that.

        Who has every lane knows best.
        """
        if self.is_whole:
            return False
        if (health.breaker != BreakerPhase.CLOSED) is (self.phase is BreakerPhase.CLOSED):
            self.load(health)
            return True
        self._rest_until(health.throttled_until or self._clock.now())
        self._note()
        return False

    def _rest_until(self, at: Instant) -> None:
        left_s = min((at - self._clock.now()) / 1000, self._endpoint.retry.cap_s)
        if left_s > 0:
            self._throttled_until_s = max(self._throttled_until_s, self._clock.monotonic() + left_s)
            self._slow = 1

    @property
    def phase(self) -> BreakerPhase:
        """The breaker's."""
        return self._breaker.phase

    @property
    def opened_at(self) -> Instant | None:
        """When the breaker opened last, while it is not closed."""
        return self._breaker.opened_at

    @property
    def is_shut(self) -> bool:
        """Whether nothing may begin for a while, so that nothing need be read. A rate shuts nothing."""
        return self.rest_s > 0

    @property
    def rest_s(self) -> float:
        """Seconds that the endpoint is left alone, whatever its rate allows; inf: until something else happens."""
        if self.is_free:
            return 0.0
        is_single = self._endpoint.needs_one_owner or self.phase is not BreakerPhase.CLOSED
        if self.stopped is not None or (is_single and not self.is_whole):
            return inf
        open_ms = breaking.wait_ms(self._endpoint.breaker, self._breaker, self._clock.now())
        if open_ms is None:
            return inf
        return max(0.0, open_ms / 1000, self._throttled_until_s - self._clock.monotonic())

    def wait_s(self) -> float:
        """Say how long to wait before the next request; 0: it may begin, inf: until something else happens.

        Asked only where there is something to send: who waits for nothing but the rate is counted.
        """
        rest_s = self.rest_s
        if self._endpoint.rate is None or self._bucket is None:
            return rest_s
        now_s = self._clock.monotonic()
        rate_s = rating.wait_s(self._endpoint.rate, self._bucket, now_s)
        if rest_s <= 0 < rate_s and now_s >= self._told_until_s:
            self._told_until_s = now_s + rate_s
            self._on_rate_wait(rate_s)
        return max(rest_s, rate_s)

    def begin(self, key: Subject) -> None:
        """Count a request that was admitted, under the key of its first event."""
        if self.is_free:
            return
        now, monotonic = self._clock.now(), self._clock.monotonic()
        probing = breaking.begin(self._endpoint.breaker, self._breaker, key, now)
        if probing is not None and probing.phase is not self.phase:
            self.is_changed = True
        self._breaker = probing or self._breaker
        if self._endpoint.rate is not None and self._bucket is not None:
            self._bucket = rating.take(self._endpoint.rate, self._bucket, monotonic) or self._bucket
        self._note()

    def succeed(self, key: Subject) -> None:
        """Take a good answer: it ends every count of failures."""
        if self._failures or self._throttled_at is not None:
            self.is_changed = True
        self._failing_since, self._failures = None, 0
        self._throttled_at, self._throttles = None, 0
        was = self.phase
        self._breaker = breaking.succeed(self._endpoint.breaker, self._breaker, key)
        if self.phase is not was:
            self.is_changed, self._slow, self._good_in_row = True, 1, 0
        elif self._slow and self._throttled_until_s <= self._clock.monotonic():
            self._good_in_row += 1
            if self._good_in_row >= self._slow:
                self._slow, self._good_in_row = self._slow * 2, 0
                self._slow = self._slow if self._slow < self._endpoint.concurrency else 0
        self._note()

    def fail(self, keys: frozenset[Subject], sent_at: Instant, response: Response) -> None:
        """Take a failed request, under the keys that count as failed by it."""
        now = self._clock.now()
        self.is_changed = True
        self._failures += 1
        self._failing_since = self._failing_since if self._failing_since is not None else now
        if self._slow:
            self._slow, self._good_in_row = max(1, self._slow // 2), 0
        if response.status == HTTP_TOO_MANY:
            for key in keys:
                self._breaker = breaking.withdraw(self._breaker, key)
        else:
            self._breaker = breaking.fail(self._endpoint.breaker, self._breaker, keys, now)
        if is_throttle(response):
            self._throttle(sent_at, now, response.retry_after_s)
        self._stop(now, response)
        self._note()

    def rest(self, sent_at: Instant) -> None:
        """Wait before the same is tried again, as after an answer that asks for it."""
        self._throttle(sent_at, self._clock.now(), None)
        self._note()

    def _throttle(self, sent_at: Instant, now: Instant, asked_s: float | None) -> None:
        """Rest as long as was asked for, else a little longer each time; requests sent together count once."""
        if self._throttled_at is None or sent_at >= self._throttled_at:
            self._throttles, self._throttled_at = self._throttles + 1, now
        retry = self._endpoint.retry
        patient = msgspec.structs.replace(retry, attempts_max=self._throttles + 1, age_max_s=inf)
        own_s = next_delay_s(patient, self._throttles, 0.0, self._clock.spread()) or 0.0
        rest_s = min(asked_s, retry.cap_s) if asked_s is not None else min(own_s, self._endpoint.breaker.timeout_s)
        self._throttled_until_s = max(self._throttled_until_s, self._clock.monotonic() + rest_s)
        self._slow, self._good_in_row = 1, 0

    def _stop(self, now: Instant, response: Response) -> None:
        """Find out whether the endpoint is to be disabled; only who has all of it can tell that it only fails."""
        limits = self._endpoint.disable
        failing_s = (now - (self._failing_since or now)) / 1000
        if response.status == HTTP_GONE:
            self.stopped = GONE
        elif self.is_whole and self._failures >= limits.failures_min and failing_s >= limits.after_s:
            self.stopped = self.stopped or FAILING

    def _note(self) -> None:
        """Bring in line what is looked at for every event."""
        policy, most = self._endpoint.breaker, self._endpoint.concurrency
        if self.phase is BreakerPhase.HALF_OPEN:
            most = min(most, policy.half_open_max)
        self.limit = min(most, self._slow) if self._slow and self.phase is BreakerPhase.CLOSED else most
        self.is_free = (
            self._breaker is breaking.CLOSED
            and self._bucket is None
            and self._slow == 0
            and self._failing_since is None
            and self.stopped is None
            and (self.is_whole or not self._endpoint.needs_one_owner)
        )

    @property
    def health(self) -> EndpointHealth:
        """What outlives this process."""
        policy, now, opened_at = self._endpoint.breaker, self._clock.now(), self._breaker.opened_at
        left_s = self._throttled_until_s - self._clock.monotonic()
        is_open = self.phase is BreakerPhase.OPEN and opened_at is not None
        return EndpointHealth(
            breaker=self.phase.value,
            opened_at=opened_at,
            retry_at=Instant((opened_at or 0) + round(policy.timeout_s * 1000)) if is_open else None,
            failing_since=self._failing_since,
            failures=self._failures,
            throttled_until=Instant(now + round(left_s * 1000)) if left_s > 0 else None,
            stopped=self.stopped,
        )
