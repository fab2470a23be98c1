"""What is sent: one event, or a JSON array of several, signed at the moment of sending."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from idsync.model.values import Instant
from idsync.pipeline.sending.batches import Member
from idsync.pipeline.sending.endpoint import Endpoint
from idsync.pipeline.sending.keys import Item
from idsync.ports import Request
from idsync.wire.render import render
from idsync.wire.signing import ORIGIN, sign

BATCH: Final = "batch"
"""The type of a batch, where a dialect names one beside the body."""
MULTI_STATUS: Final = 207


def request_of(endpoint: Endpoint, item: Item, sent_at: Instant) -> Request:
    """Sign at each attempt: the signed time is the time of sending, so nothing that waited is too old (S3)."""
    body, origin = render(endpoint.dialect.name, item.body)
    return _signed(endpoint, item.event_id, item.event_type, body, origin, sent_at)


def rendered(endpoint: Endpoint, item: Item) -> bytes:
    """Write one event as it stands in a batch."""
    body, _ = render(endpoint.dialect.name, item.body)
    return body


def batch_request_of(endpoint: Endpoint, members: Sequence[Member], sent_at: Instant) -> Request:
    """Put events into one body, in order; the same events are the same batch however often it is sent."""
    body = b"[%b]" % b",".join(one.body for one in members)
    return _signed(endpoint, batch_id(members), BATCH, body, ORIGIN, sent_at)


def batch_id(members: Sequence[Member]) -> str:
    """Name a batch by its events."""
    events = "\n".join(one.item.event_id for one in members)
    return f"batch_{blake2b(events.encode(), digest_size=16).hexdigest()}"


def _signed(  # noqa: PLR0917  # called for every event: keywords cost
    endpoint: Endpoint, event_id: str, event_type: str, body: bytes, origin: str, sent_at: Instant
) -> Request:
    signed = sign(
        endpoint.dialect,
        endpoint.secrets,
        event_id=event_id,
        event_type=event_type,
        sent_at=sent_at,
        body=body,
        origin=origin,
        url=endpoint.url,
    )
    headers = (("Content-Type", "application/json"), *signed, *endpoint.headers)
    return Request(url=endpoint.url, headers=headers, body=body, timeout_s=endpoint.timeout_s)


class _Partial(msgspec.Struct, frozen=True):
    """What an endpoint answers that took a batch but for some of it."""

    failed: list[str] | int | None = None
    """Some give their number, which is 0 where none failed."""


def failed_of(body: bytes, status: int | None) -> frozenset[str] | None:
    """Read which events of a batch failed although the answer is good: `{"failed": ["<event id>"]}`.

    Returns:
        Their ids; None where the answer names some and cannot be read, as where it is longer than we read: then
        nothing is known of any, and the whole batch has failed.
    """
    if status != MULTI_STATUS and b'"failed"' not in body:
        return frozenset()
    try:
        failed = msgspec.json.decode(body, type=_Partial).failed
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return frozenset(failed) if isinstance(failed, list) else frozenset() if not failed else None
