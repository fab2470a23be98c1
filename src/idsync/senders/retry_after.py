"""How long an endpoint asks to be left alone: the `Retry-After` header (RFC 9110 §10.2.3)."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from idsync.model.values import Instant

RETRY_AFTER_S_MAX: Final = 86_400.0
"""The longest wait that is believed: a day."""


def parse_retry_after(text: str, answered: str | None, now: Instant) -> float | None:
    """Seconds to wait, 0 to `RETRY_AFTER_S_MAX`; None where the text is neither seconds nor an HTTP date.

    Args:
        text: the header's value.
        answered: the answer's `Date` header. A date is counted from there, so the two clocks need not agree.
        now: what a date is counted from where `answered` is missing or no date.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        # int() refuses very long digits; anything longer than the limit itself is beyond it anyway.
        return min(float(text[:400]), RETRY_AFTER_S_MAX)
    until = _parse_date(text)
    if until is None:
        return None
    start = _parse_date(answered) if answered else None
    since = now / 1000 if start is None else start
    return min(max(until - since, 0.0), RETRY_AFTER_S_MAX)


def _parse_date(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date in any of its three forms."""
    try:
        moment = parsedate_to_datetime(text)
        # The asctime form names no zone: every HTTP date is UTC.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
