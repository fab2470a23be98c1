"""What every store says of lanes, whatever they are kept in."""

from collections.abc import Iterable, Mapping

from idsync.model.delivery import SETTLED, Attempt, Outcome
from idsync.model.destination import Destination, DestinationKind, Level
from idsync.model.replay import Standing
from idsync.model.values import Instant
from idsync.ports import DeliveryRecord, DeliveryState
from idsync.stores.common.rows import Row

LANE_COLUMN = 2
"""Where a delivery's row has its lane."""


def lanes_of(destination: Destination, generation: int) -> list[Row]:
    """Write the lanes of a new generation."""
    is_target = destination.kind is DestinationKind.TARGET
    return [
        (destination.name, generation, level, number, is_target)
        for level in Level
        for number in range(destination.lanes)
    ]


def cut_page(found: Iterable[Row], limit: int) -> tuple[list[Row], frozenset[int]]:
    """Keep at most `limit` rows of each lane; give them, and the lanes that had others."""
    taken: dict[int, list[Row]] = {}
    more: set[int] = set()
    for row in found:
        lane = taken.setdefault(row[LANE_COLUMN], [])
        if len(lane) < limit:
            lane.append(row)
        else:
            more.add(row[LANE_COLUMN])
    return [row for lane in taken.values() for row in lane], frozenset(more)


def standings(
    event: int, sent: Row | None, queued: Mapping[int, Row], waiting: Mapping[int, Row], tried: Mapping[int, Attempt]
) -> list[DeliveryRecord]:
    """Say where each delivery of one event stands, in the order of their ids.

    Lanes forget what is settled, so this joins three places.

    Args:
        event: its inbox sequence.
        sent: (event id, event type) of what went out; None where the row was forgotten.
        queued: of each delivery in a lane (id, destination, subject, whether it is open).
        waiting: of each parked one (id, destination, subject, reason, attempts, retry_at, state).
        tried: of each that was tried its last try.
    """
    return [
        _record(id_, event, sent or (None, None), queued.get(id_), waiting.get(id_), tried.get(id_))
        for id_ in sorted(queued.keys() | waiting.keys() | tried.keys())
    ]


def standing_of(*, is_delivered: bool, is_under_way: bool, is_dead: bool, is_known: bool) -> Standing:
    """Judge all deliveries of one event at one destination together: one success is a success."""
    if is_delivered:
        return Standing.DELIVERED
    if is_under_way:
        return Standing.UNDER_WAY
    if is_dead:
        return Standing.DEAD
    return Standing.SKIPPED if is_known else Standing.NONE


def standings_by_event(found: Iterable[Row]) -> dict[int, Standing]:
    """Judge many events.

    Args:
        found: of each (sequence, and whether any delivery was delivered, is under way, is dead, is known at all).
    """
    return {
        event: standing_of(
            is_delivered=bool(delivered), is_under_way=bool(under_way), is_dead=bool(dead), is_known=bool(known)
        )
        for event, delivered, under_way, dead, known in found
    }


def _record(  # noqa: PLR0917  # one argument for each place a delivery may stand in
    id_: int, event: int, sent: Row, queued: Row | None, waiting: Row | None, tried: Attempt | None
) -> DeliveryRecord:
    event_id, event_type = sent
    state, reason, retry_at = _standing(queued, waiting, tried)
    if tried is not None:
        destination, subject = tried.destination, str(tried.subject)
    else:
        _, destination, subject, *_ = waiting or queued or (id_, "", "")
    return DeliveryRecord(
        id=id_,
        destination=destination,
        subject=subject,
        event=event,
        event_id=event_id or "",
        event_type=event_type or "",
        state=state,
        reason=reason,
        attempts=max(waiting[4] if waiting is not None else 0, tried.number if tried is not None else 0),
        retry_at=retry_at,
    )


def _standing(
    queued: Row | None, waiting: Row | None, tried: Attempt | None
) -> tuple[DeliveryState, str | None, Instant | None]:
    """Judge from where a delivery was found: (state, reason, when it is tried next)."""
    if waiting is not None:
        *_, reason, _, retry_at, state = waiting
        return DeliveryState(state), reason, retry_at
    if tried is not None and tried.outcome in SETTLED:
        is_skipped = tried.outcome in {Outcome.SUPERSEDED, Outcome.SKIPPED}
        state = DeliveryState.SKIPPED if is_skipped else DeliveryState.DELIVERED
        return state, tried.error or (tried.outcome if is_skipped else None), None
    if queued is not None and queued[3]:
        return DeliveryState.QUEUED, None, None
    return DeliveryState.SKIPPED, "discarded", None
