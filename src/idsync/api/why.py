"""Why an endpoint got an event or did not: what its deliveries say, else what its dated filters say. Reads only."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from idsync.api.service import Service
from idsync.api.views import WhyView, time_text
from idsync.app.endpoints import EndpointState, FilterSpan
from idsync.model.values import Subject
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.parts.routes import OPERATIONAL, endpoint_name
from idsync.pipeline.sending.rows import BEHIND, IN_BATCH, NOT_BEFORE
from idsync.policy.filter import matches
from idsync.ports import DeliveryRecord, DeliveryState, InboxEntry, SendError

NOT_CREATED_YET: Final = "not_created_yet"
UNMATCHED: Final = "unmatched"
FORGOTTEN: Final = "forgotten"
SENDING: Final = "sending"
"""In memory only: told by the process that sends it (DESIGN §6)."""


_PARKED: Final[Mapping[str, str]] = MappingProxyType({
    BEHIND: "It comes after an earlier event of the same subject, which waits.",
    NOT_BEFORE: "Its publisher asked for it to be sent later.",
    IN_BATCH: "The endpoint took its batch, but not this event; it is tried again.",
    SendError.BLOCKED: "Its address is not public; if it is meant, list it in delivery.allow_cidrs. It is tried again.",
})  # fmt: skip


class _Told(msgspec.Struct, frozen=True):
    """A state with its reason, in a code and in words."""

    state: str
    reason: str | None
    explanation: str
    is_replayable: bool = False


async def explain_everywhere(service: Service, entry: InboxEntry, endpoints: Sequence[EndpointState]) -> list[WhyView]:
    """Give an answer for each of some endpoints."""
    records: dict[str, list[DeliveryRecord]] = {}
    for one in await service.store.deliveries(entry.seq):
        records.setdefault(one.destination, []).append(one)
    views = []
    for state in endpoints:
        spans = await service.endpoints.filters(state.name)
        views.append(_explain(service, entry, state, spans, records.get(endpoint_name(state.name), [])))
    return views


def is_sending(service: Service, record: DeliveryRecord) -> bool:
    """Whether this process is sending a delivery right now; what another one sends is not known here."""
    if record.state not in {DeliveryState.QUEUED, DeliveryState.PARKED}:
        return False
    deliverer = service.deliverers.get(record.destination)
    return isinstance(deliverer, EndpointDeliverer) and deliverer.is_sending(record.id, Subject(record.subject))


def _explain(
    service: Service,
    entry: InboxEntry,
    state: EndpointState,
    spans: Sequence[FilterSpan],
    records: Sequence[DeliveryRecord],
) -> WhyView:
    """Explain one event at one endpoint; of several deliveries (it was replayed) the newest counts."""
    record = max(records, key=lambda one: one.id, default=None)
    # What a change tells of itself is of its very instant, and went where things went before it.
    at = entry.row.received_at - (record is None and entry.row.peer == OPERATIONAL)
    span = next((one for one in spans if one.since <= at and (one.until is None or at < one.until)), None)
    told = _tell_record(service, record, entry, state) if record is not None else _tell_absence(entry, span)
    return WhyView(
        endpoint=state.name,
        state=told.state,
        reason=told.reason,
        explanation=told.explanation,
        delivery=str(record.id) if record is not None else None,
        attempts=record.attempts if record is not None else 0,
        retry_at=time_text(record.retry_at) if record is not None else None,
        filters=list(span.events) if span is not None else None,
        is_replayable=told.is_replayable,
    )


def _tell_record(service: Service, record: DeliveryRecord, entry: InboxEntry, state: EndpointState) -> _Told:
    if is_sending(service, record):
        return _Told(SENDING, record.reason, f"A request with it is under way: try {record.attempts + 1}.")
    match record.state:
        case DeliveryState.DELIVERED:
            return _Told("delivered", None, "It answered 2xx.", is_replayable=True)
        case DeliveryState.QUEUED:
            return _tell_queued(service, entry, state)
        case DeliveryState.PARKED:
            return _Told("parked", record.reason, _PARKED.get(record.reason or "", "It failed, and is tried again."))
        case DeliveryState.DEAD:
            told = "It was given up; requeue it, or replay what was not delivered."
            return _Told("dead", record.reason, told, is_replayable=True)
        case DeliveryState.SKIPPED:
            told = "It was not sent: a newer one carried its state, or the endpoint was removed."
            return _Told("skipped", record.reason, told, is_replayable=True)


def _tell_queued(service: Service, entry: InboxEntry, state: EndpointState) -> _Told:
    """Say what holds a queued delivery up, if anything does."""
    now, health, not_before = service.clock.now(), state.health, entry.row.not_before
    if not state.is_enabled:
        return _Told("queued", "disabled", "The endpoint is disabled; it is sent once that is enabled.")
    if not_before is not None and not_before > now:
        return _Told("queued", "not_before", "Its publisher asked for it to be sent later.")
    if health.breaker != "closed":
        return _Told("queued", f"breaker_{health.breaker}", "The endpoint failed too often and rests; it comes after.")
    if health.throttled_until is not None and health.throttled_until > now:
        return _Told("queued", "throttled", "The endpoint asked for a pause.")
    if not service.store.has_one_writer:
        return _Told("queued", None, "It is sent as soon as it is its turn, or is being sent by another process.")
    return _Told("queued", None, "It is sent as soon as it is its turn.")


def _tell_absence(entry: InboxEntry, span: FilterSpan | None) -> _Told:
    """Say why no delivery of the event is known."""
    row = entry.row
    if span is None:
        told = "The event came in before the endpoint was made."
        return _Told(NOT_CREATED_YET, None, told, is_replayable=True)
    if span.is_operational is not (row.peer == OPERATIONAL):
        told = "Events of the service itself go to operational endpoints, and nothing else does."
        return _Told(UNMATCHED, "operational", told)
    if not matches(span.events, row.event_type or ""):
        return _Told(UNMATCHED, "events", "Its filters did not name the type when the event came in.")
    if not span.is_enabled:
        reason = span.reason.value if span.reason is not None else "disabled"
        told = "The endpoint was disabled when the event came in; replay what it missed."
        return _Told("skipped", f"disabled_{reason}", told, is_replayable=True)
    told = "It was queued and settled, so long ago that the delivery is not kept any more."
    return _Told(FORGOTTEN, None, told, is_replayable=True)
