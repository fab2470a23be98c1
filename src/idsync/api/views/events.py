"""What the API shows of events that went out, and why each endpoint got one or did not."""

from typing import Any

import msgspec

from idsync.api.views.times import time_text
from idsync.model.values import instant_text
from idsync.ports import InboxEntry


class EventView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event that went out."""

    seq: int
    """Its inbox sequence: names it for as long as it is kept."""
    id: str
    type: str
    subject: str
    peer: str
    """Whose event it comes from."""
    received_at: str
    version: int
    changed: list[str]
    not_before: str | None = None
    """No endpoint is sent it earlier."""
    body: Any = None
    """As it stands on the wire; absent in lists, and null once its identity was erased."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events, oldest first, and where the next page begins."""

    items: list[EventView]
    next: str | None = None


class WhyView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event at one endpoint, and why."""

    endpoint: str
    state: str
    """`delivered`, `queued`, `sending`, `parked`, `dead`, `skipped`, `unmatched`, `not_created_yet` or `forgotten`.

    `sending`, a request is under way, is known of the process that answers; while another one sends it says `queued`
    or `parked`, as the store does.
    """
    reason: str | None
    """Why: the code of a failure, `breaker_open`, `throttled`, `not_before`, `disabled`…"""
    explanation: str
    """The same in one sentence."""
    delivery: str | None
    """The delivery's id; null where none was queued, or it is forgotten."""
    attempts: int
    retry_at: str | None
    filters: list[str] | None
    """What the endpoint was to get when the event came in; null where it did not exist."""
    is_replayable: bool
    """Whether `POST /v1/replays` can bring it."""


class WhyPage(msgspec.Struct, frozen=True, kw_only=True):
    """An answer for every endpoint."""

    items: list[WhyView]
    next: str | None = None


def view_event(entry: InboxEntry, *, with_body: bool = False) -> EventView:
    """Show one event."""
    row = entry.row
    body = msgspec.Raw(row.body) if row.body else None
    return EventView(
        seq=entry.seq,
        id=row.event_id or "",
        type=row.event_type or "",
        subject=row.event_subject or row.subject,
        peer=row.peer,
        received_at=instant_text(row.received_at),
        version=row.version,
        changed=list(row.changed),
        not_before=time_text(row.not_before),
        body=body if with_body else None,
    )
