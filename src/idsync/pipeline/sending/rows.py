"""What is written of one delivery to an endpoint: each try, and the row of one that waits by itself."""

from idsync.model.delivery import Attempt, Delivery, Outcome, Parked, ParkedState
from idsync.model.event import Arrival
from idsync.model.values import Instant
from idsync.pipeline.parts.announce import Fields, announcement
from idsync.pipeline.sending.endpoint import error_of
from idsync.pipeline.sending.keys import Item
from idsync.ports import Response

BEHIND = "behind"
NOT_BEFORE = "not_before"
IN_BATCH = "failed_in_batch"
"""The endpoint took a batch, but not this event of it."""


def due_at(item: Item) -> Instant | None:
    """When it may be sent at the earliest; None: at once."""
    return item.not_before if isinstance(item, Delivery) else item.retry_at


def waiting_row(item: Item, destination: str, now: Instant) -> Parked:
    """Write a delivery that waits without having been tried: behind an earlier one, or until its time."""
    due = due_at(item)
    is_early = due is not None and due > now
    reason = NOT_BEFORE if is_early else BEHIND
    return parked_row(item, destination, now, reason=reason, retry_at=due if is_early else None, first_at=now)


def parked_row(  # what is told of a delivery that waits
    item: Item,
    destination: str,
    now: Instant,
    *,
    reason: str,
    first_at: Instant,
    attempts: int = 0,
    retry_at: Instant | None = None,
) -> Parked:
    """Write a delivery as a row of its own."""
    return Parked(
        id=item.id,
        destination=destination,
        lane=item.lane,
        subject=item.subject,
        event=item.event,
        version=item.version,
        event_id=item.event_id,
        event_type=item.event_type,
        body=item.body,
        reason=reason,
        attempts=attempts,
        retry_at=retry_at,
        state=ParkedState.PARKED,
        parked_at=item.parked_at if isinstance(item, Parked) else now,
        first_at=first_at,
        trace=item.trace,
    )


def failed_row(item: Item, attempt: Attempt, now: Instant) -> Parked:
    """Write a delivery after a try that failed."""
    first_at = item.first_at if isinstance(item, Parked) and item.attempts else attempt.at
    reason, number = attempt.error or "failed", attempt.number
    return parked_row(item, attempt.destination, now, reason=reason, first_at=first_at, attempts=number)


def attempt_of(  # noqa: PLR0917  # called for every event: keywords cost
    item: Item, destination: str, outcome: Outcome, response: Response, sent_at: Instant, response_bytes_max: int
) -> Attempt:
    """Write one try with its result."""
    return Attempt(
        delivery=item.id,
        event=item.event,
        destination=destination,
        subject=item.subject,
        number=(item.attempts if isinstance(item, Parked) else 0) + 1,
        at=sent_at,
        outcome=outcome,
        status=response.status,
        error=error_of(response) or (IN_BATCH if outcome is Outcome.FAILED else None),
        latency_ms=round(response.latency_s * 1000, 3),
        phases=response.phases,
        response=response.body[:response_bytes_max],
        trace=item.trace,
    )


def death_of(endpoint: str, row: Parked, now: Instant) -> Arrival:
    """Announce that a delivery was given up; the same words however often it is told."""
    fields: Fields = {
        "endpoint": endpoint,
        "delivery": row.id,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "reason": row.reason,
        "attempts": row.attempts,
    }
    return announcement("delivery.dead", f"endpoint/{endpoint}", fields, now)


def switch_of(endpoint: str, kind: str, opened_at: Instant, now: Instant) -> Arrival:
    """Announce what its breaker did: `breaker.opened` or `breaker.closed`, told apart by when it opened."""
    return announcement(kind, f"endpoint/{endpoint}", {"endpoint": endpoint, "opened_at": opened_at}, now)
