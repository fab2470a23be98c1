"""What the library is configured with and what it answers: names and defaults of seed 003."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from idsync.app import SystemClock
from idsync.config import Dialect
from idsync.model.values import Instant, Subject
from idsync.policy.retry import RetryPolicy, next_delay_s

MS_PER_S = 1000
JITTER = 0.1
"""Each delay is spread by up to this share, both ways."""


class RetryStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """When a failed delivery is tried again: exponential, with ±10 % jitter and a cap."""

    max_retries: Annotated[int, Meta(ge=0, le=999)] = 5
    """Tries after the first one; then the delivery is given up."""
    initial_delay_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 1_000
    max_delay_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 300_000
    backoff_multiplier: Annotated[float, Meta(ge=1, le=10)] = 2.0

    def calculate_delay(self, attempt: int) -> timedelta:
        """Say how long to wait before the try after `attempt`, counted from 0; another time each time, by jitter."""
        policy = RetryPolicy(
            first_s=self.initial_delay_ms / MS_PER_S,
            factor=self.backoff_multiplier,
            jitter=JITTER,
            cap_s=self.max_delay_ms / MS_PER_S,
            attempts_max=attempt + 2,
        )
        delay_s = next_delay_s(policy, attempt + 1, 0.0, SystemClock().spread())
        return timedelta(seconds=delay_s or 0.0)


class CircuitBreakerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint rests because it fails: nothing is sent meanwhile, nothing is lost, no try is counted."""

    failure_threshold: Annotated[int, Meta(ge=1, le=10_000)] = 5
    """Identities in a row whose deliveries failed: it opens."""
    success_threshold: Annotated[int, Meta(ge=1, le=1000)] = 2
    """Probes that must succeed before it closes again."""
    timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 60
    """How long nothing is sent once it is open."""
    half_open_max_requests: Annotated[int, Meta(ge=1, le=1000)] = 3
    """Probes at once while it is half open."""


class RateLimitConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A token bucket for one endpoint: what exceeds it waits, and is not an error."""

    requests_per_second: Annotated[float, Meta(gt=0, le=100_000)] = 10
    burst_size: Annotated[int, Meta(ge=1, le=100_000)] = 20


class CircuitState(StrEnum):
    """Where the breaker of an endpoint stands."""

    CLOSED = "closed"
    """Deliveries are sent."""
    OPEN = "open"
    """Nothing is sent until its time-out is over."""
    HALF_OPEN = "half_open"
    """A few probes are sent to see whether it answers again."""


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where webhooks are posted."""

    id: str
    """A name: `a-z` first, then `a-z 0-9 _ -`, at most 63."""
    url: str
    secret: str | None = None
    """What signs; None: one is made, and `register_endpoint` returns it once."""
    events: tuple[str, ...] = ("*",)
    """Types it receives: exact, `user.*` or `*`; `!user.deleted` leaves out."""
    enabled: bool = True
    rate_limit: RateLimitConfig | None = None
    """None: the system's."""
    headers: dict[str, str] = {}
    """Further headers of every request."""
    timeout_seconds: float | None = None
    """Longest time of one request; None: the system's, 30."""
    dialect: Dialect = "timestamped"
    """How requests are signed and wrapped: `timestamped` is `X-Webhook-Signature: t=…,v1=…` of seed 003."""


class SentWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is durable, and will be delivered to every endpoint that asked for its type."""

    id: str
    """What the receivers see as its id."""
    event: str
    subject: Subject
    """Whose it is: webhooks of one subject arrive in order."""
    sent_at: Instant
    is_duplicate: bool = False
    """Whether this id was sent before: it was not sent again."""


class WebhookMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the webhooks; one that goes to three endpoints is three deliveries."""

    total_deliveries: int = 0
    """Every delivery below, and those that are pending."""
    successful_deliveries: int = 0
    """Answered with 2xx since this process began."""
    failed_deliveries: int = 0
    """Given up, and kept to be tried again by an operator."""
    pending_deliveries: int = 0
    """Queued, or waiting for the next try."""
    avg_latency_ms: float = 0.0
    """Of every request since this process began; 0 before the first."""
