"""A webhook endpoint as the deliver side needs it, and how one answer is judged."""

from typing import Final

import msgspec

from idsync.model.delivery import Outcome
from idsync.model.destination import Level
from idsync.policy.endpoint.breaker import BreakerPolicy
from idsync.policy.endpoint.rate import RatePolicy
from idsync.policy.retry import RetryPolicy
from idsync.ports import Response
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Dialect, Secret

HTTP_OK_MIN = 200
HTTP_OK_MAX = 299
HTTP_REDIRECT_MIN: Final = 300
HTTP_REDIRECT_MAX: Final = 399
HTTP_GONE: Final = 410
HTTP_TOO_MANY: Final = 429
HTTP_THROTTLES: Final = frozenset({HTTP_TOO_MANY, 502, 503, 504})
"""Statuses of a destination that cannot take anything now, whatever it is sent."""


class BatchPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Several events in one request."""

    events_max: int = 100
    bytes_max: int = 1_048_576
    """Size of the body; one larger event goes alone."""
    linger_ms: int = 100
    """How long a batch that is not full waits for further events."""


class DisablePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint that only fails is disabled: both must be reached, counted since its last success."""

    after_s: float = 432_000.0
    failures_min: int = 100


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where signed events are posted."""

    name: str
    url: str
    secrets: tuple[Secret, ...]
    """Newest first; while a rotation overlaps, the dialects that can sign with each."""
    dialect: Dialect = DIALECTS["standard"]
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 30.0
    concurrency: int = 32
    """Requests under way to it at most."""
    retry: RetryPolicy = RetryPolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    rate: RatePolicy | None = None
    batch: BatchPolicy | None = None
    is_ordered: bool = True
    """Whether an identity's events go one after the other; else each by itself."""
    level: Level = Level.LIVE
    is_operational: bool = False
    """Whether it gets what happens to idsync itself; nothing is announced of how it does, or that would never end."""
    disable: DisablePolicy = DisablePolicy()

    @property
    def needs_one_owner(self) -> bool:
        """Whether all of it must be sent by one process, however it does."""
        return self.rate is not None or self.batch is not None


def outcome_of(response: Response) -> Outcome:
    """Judge an answer: any 2xx is success, everything else a failure to be tried again (Standard Webhooks)."""
    is_good = response.status is not None and HTTP_OK_MIN <= response.status <= HTTP_OK_MAX
    return Outcome.DELIVERED if is_good else Outcome.FAILED


def error_of(response: Response) -> str | None:
    """A short code for a failure; None for success."""
    if response.error is not None:
        return response.error.value
    status = response.status
    if status is None or HTTP_OK_MIN <= status <= HTTP_OK_MAX:
        return None
    if status == HTTP_GONE:
        return "gone"
    return "redirect" if HTTP_REDIRECT_MIN <= status <= HTTP_REDIRECT_MAX else f"http_{status}"


def is_throttle(response: Response) -> bool:
    """Whether a failure asks that nothing be sent for a while, whatever it is."""
    return response.status in HTTP_THROTTLES or response.retry_after_s is not None


def is_absent(response: Response) -> bool:
    """Whether nobody was there to judge what was sent: the same would have come of anything else."""
    return response.status is None or is_throttle(response)
