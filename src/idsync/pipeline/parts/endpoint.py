"""A webhook endpoint as the deliver side needs it, and how one answer is judged."""

import msgspec

from idsync.model.delivery import Outcome
from idsync.policy.retry import RetryPolicy
from idsync.ports import Response
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Dialect, Secret

HTTP_OK_MIN = 200
HTTP_OK_MAX = 299


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


def outcome_of(response: Response) -> Outcome:
    """Judge an answer: any 2xx is success, everything else a failure to be tried again (Standard Webhooks)."""
    is_good = response.status is not None and HTTP_OK_MIN <= response.status <= HTTP_OK_MAX
    return Outcome.DELIVERED if is_good else Outcome.FAILED


def error_of(response: Response) -> str | None:
    """A short code for a failure; None for success."""
    if response.error is not None:
        return response.error.value
    if response.status is None or HTTP_OK_MIN <= response.status <= HTTP_OK_MAX:
        return None
    return f"http_{response.status}"
