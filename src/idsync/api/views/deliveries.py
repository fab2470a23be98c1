"""What the API shows of deliveries and their tries."""

import msgspec

from idsync.api.views.times import time_text
from idsync.model.delivery import Attempt, Parked, Phases
from idsync.model.values import instant_text
from idsync.ports import DeliveryRecord


class PhasesView(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of one request went, in milliseconds; on a connection that was kept the first three are 0."""

    dns_ms: float
    connect_ms: float
    tls_ms: float
    wait_ms: float
    """From the last byte sent to the first of the answer."""
    read_ms: float


class TryView(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a delivery."""

    number: int
    at: str
    outcome: str
    status: int | None
    error: str | None
    latency_ms: float
    phases: PhasesView | None
    """Where the time went; null: it was not measured, or no request left."""
    response: str
    """The beginning of the answer's body; what is no UTF-8 is replaced."""


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event for one destination, and where it stands."""

    id: str
    destination: str
    subject: str
    event: int
    """The inbox sequence of its event; 0 for a write that no event stands behind."""
    event_id: str
    event_type: str
    state: str
    """As the store has it, or `sending` while the process that answers sends it to an endpoint."""
    reason: str | None
    attempts: int
    retry_at: str | None
    tries: list[TryView] | None = None
    """The tries that are still kept, oldest first; absent in lists."""


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, and where the next page begins."""

    items: list[DeliveryView]
    next: str | None = None


def view_try(one: Attempt) -> TryView:
    """Show one try."""
    return TryView(
        number=one.number,
        at=instant_text(one.at),
        outcome=one.outcome.value,
        status=one.status,
        error=one.error,
        latency_ms=one.latency_ms,
        phases=view_phases(one.phases),
        response=one.response.decode(errors="replace"),
    )


def view_delivery(
    one: DeliveryRecord | Parked, tries: list[TryView] | None = None, state: str | None = None
) -> DeliveryView:
    """Show one delivery; with its tries where they were looked up, in another state where memory knows better."""
    return DeliveryView(
        id=str(one.id),
        destination=one.destination,
        subject=one.subject,
        event=one.event,
        event_id=one.event_id,
        event_type=one.event_type,
        state=state or one.state.value,
        reason=one.reason,
        attempts=one.attempts,
        retry_at=time_text(one.retry_at),
        tries=tries,
    )


def view_phases(phases: Phases | None) -> PhasesView | None:
    """Show where the time went."""
    if phases is None:
        return None
    return PhasesView(
        dns_ms=phases.dns_ms,
        connect_ms=phases.connect_ms,
        tls_ms=phases.tls_ms,
        wait_ms=phases.wait_ms,
        read_ms=phases.read_ms,
    )
