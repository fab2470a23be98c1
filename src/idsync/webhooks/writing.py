"""A webhook as the line takes it in. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from idsync.errors import SerializationError
from idsync.model.event import Arrival, Event
from idsync.model.values import Instant, PeerName, Subject, instant_text
from idsync.wire.envelope import SUBJECT_CHARS_MAX, kind_and_op
from idsync.wire.signing import is_event_id, is_header_text

PUBLISHER: Final = PeerName("webhooks")
"""Who has sent what this library sends: the inbox knows each webhook by it and its id."""


def arrival_of(
    event: str, data: Mapping[str, Any], *, id_: str, subject: str | None, source: str, now: Instant, bytes_max: int
) -> Arrival:
    """Write a webhook.

    Args:
        event: its type.
        data: what it says.
        id_: what it is known by.
        subject: whose it is; None: the identity that type and data name, else nobody's, so that nothing waits for it.
        source: where it comes from.
        now: when.
        bytes_max: how large its data may be.

    Raises:
        SerializationError: the data is no JSON or too large, or type, subject or id cannot be sent.
    """
    if not (is_event_id(id_) and is_header_text(event)):
        raise SerializationError("type and id are 1 to 256 visible ASCII characters, the id without a full stop")
    body = _encoded(data, id_)
    if len(body) > bytes_max:
        raise SerializationError(f"webhook {id_} has {len(body)} bytes of data, the limit is {bytes_max}")
    whose = Subject(subject if subject is not None else _subject_of(event, data) or f"event/{id_}")
    if not 0 < len(whose) <= SUBJECT_CHARS_MAX or not whose.isprintable():
        raise SerializationError(f"the subject of webhook {id_} is not 1 to {SUBJECT_CHARS_MAX} printable characters")
    written = Event(
        id=id_, type=event, source=source, subject=whose, timestamp=instant_text(now), data=msgspec.Raw(body)
    )
    return Arrival(peer=PUBLISHER, id=id_, type=event, subject=whose, received_at=now, event=written)


def _subject_of(event: str, data: Mapping[str, Any]) -> str | None:
    """Name the identity that a webhook speaks of, where its type and its data tell."""
    known = kind_and_op(event)
    if known is None:
        return None
    kind, _ = known
    identity = data.get(f"{kind}_id", data.get("id"))
    return f"{kind}/{identity}" if isinstance(identity, str | int) else None


def _encoded(data: Mapping[str, Any], id_: str) -> bytes:
    try:
        return msgspec.json.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise SerializationError(f"webhook {id_} cannot be written as JSON: {error}") from None
