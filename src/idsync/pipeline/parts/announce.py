"""Operational events: what happens to idsync itself, as arrivals of its own peer."""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from idsync.model.event import Arrival, Event
from idsync.model.values import Instant, Subject, instant_text
from idsync.pipeline.parts.routes import OPERATIONAL

Fields = Mapping[str, str | int | float | bool | None]


def announcement(kind: str, about: str, fields: Fields, at: Instant) -> Arrival:
    """Write one operational event; only endpoints that asked for them get it.

    Args:
        kind: `endpoint.disabled`, `breaker.opened`…
        about: its subject, in whose order it is delivered: `endpoint/audit`.
        fields: what happened, and what tells it from another one of its kind: a rev, an instant, a delivery. The id
            is made of kind, subject and fields, so that whatever is announced twice counts once.
        at: when it happened.
    """
    written = msgspec.json.encode(dict(sorted(fields.items())))
    id_ = "op_" + blake2b(b"\0".join([kind.encode(), about.encode(), written]), digest_size=16).hexdigest()
    event = Event(
        id=id_,
        type=kind,
        source=OPERATIONAL,
        subject=Subject(about),
        timestamp=instant_text(at),
        data=msgspec.Raw(written),
    )
    return Arrival(peer=OPERATIONAL, id=id_, type=kind, subject=event.subject, received_at=at, event=event)
