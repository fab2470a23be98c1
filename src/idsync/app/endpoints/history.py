"""The dated history of what each endpoint was to get: kept as `filters:<name>`, also of endpoints that are gone."""

from collections.abc import Sequence
from typing import Final

import msgspec

from idsync.app.endpoints.documents import Document
from idsync.app.endpoints.states import FilterSpan
from idsync.errors import StoreError
from idsync.model.values import Instant

HISTORY: Final = "filters:"
"""What the names of these documents begin with."""
SPANS_MAX: Final = 1_000
"""Spans kept of one endpoint at most: beyond that the oldest are forgotten, as are those older than the inbox."""


def read_history(name: str, body: bytes | None) -> tuple[FilterSpan, ...]:
    """Read a history, oldest first.

    Raises:
        StoreError: these are not the words of this version.
    """
    try:
        return msgspec.json.decode(body or b"[]", type=tuple[FilterSpan, ...])
    except msgspec.MsgspecError as error:
        raise StoreError(f"the history of endpoint {name} cannot be read ({type(error).__name__})") from None


def write_history(spans: Sequence[FilterSpan]) -> bytes:
    """Write a history."""
    return msgspec.json.encode(spans)


def extend(spans: Sequence[FilterSpan], document: Document, at: Instant, *, oldest: Instant) -> Sequence[FilterSpan]:
    """End the last span and begin another one, if the endpoint is to get something else from now on.

    Args:
        spans: as it is kept.
        document: the endpoint from `at` on.
        at: now; where the clock went back, the moment of the last change.
        oldest: what ended before is forgotten: no event of then is kept any more.
    """
    last = spans[-1] if spans else None
    at = max(at, last.since) if last is not None else at
    begun = None if document.removed_at is not None else _span(document, at)
    if last is not None and last.until is None:
        if begun is not None and msgspec.structs.replace(begun, since=last.since) == last:
            return spans
        ended = () if last.since == at else (msgspec.structs.replace(last, until=at),)
        spans = (*spans[:-1], *ended)
    kept = [one for one in spans if one.until is None or one.until >= oldest]
    return [*kept, *([begun] if begun is not None else [])][-SPANS_MAX:]


def is_over(spans: Sequence[FilterSpan], oldest: Instant) -> bool:
    """Whether the endpoint is gone, and no event that is kept can ask what it was to get."""
    return all(one.until is not None and one.until < oldest for one in spans)


def _span(document: Document, at: Instant) -> FilterSpan:
    return FilterSpan(
        since=at,
        events=document.settings.events,
        is_operational=document.settings.operational,
        is_enabled=document.is_enabled,
        reason=document.disabled_reason,
    )
