"""The lanes: opened on the writing connection, read and shown on a reading one."""

from collections.abc import Sequence

from idsync.model.delivery import SETTLED, Attempt, Outcome, Parked
from idsync.model.destination import Destination, DestinationKind, Lane, Level
from idsync.model.plan import Command, LaneCursor, LanePage
from idsync.model.values import Instant
from idsync.ports import DeliveryRecord, DeliveryState, ParkedFilter
from idsync.stores.sqlite import rows
from idsync.stores.sqlite.db import Db, Row, to_json


def open_lanes(db: Db, destinations: Sequence[Destination]) -> list[tuple[Lane, int]]:
    """Make sure that every destination has its lanes; a changed number of lanes opens a new generation. Writes."""
    for destination in destinations:
        found = db.read_one("find_generation", destination.name, Level.LIVE)
        generation, lanes = (0, 0) if found is None else found
        if lanes != destination.lanes:
            db.write_many("insert_lane", _lanes_of(destination, generation + 1))
    names = to_json([destination.name for destination in destinations])
    return [
        (Lane(id_, destination, generation, Level(level), number), position)
        for id_, destination, generation, level, number, position in db.read("open_lanes", names)
    ]


def _lanes_of(destination: Destination, generation: int) -> list[Row]:
    is_target = destination.kind is DestinationKind.TARGET
    return [
        (destination.name, generation, level, number, is_target)
        for level in Level
        for number in range(destination.lanes)
    ]


def read(db: Db, cursors: Sequence[LaneCursor], limit: int) -> LanePage:
    """Read deliveries past the cursors, and one more of each lane than is given, to know whether there are others."""
    places = to_json([(one.lane, one.after) for one in cursors])
    taken: dict[int, list[Row]] = {}
    more: set[int] = set()
    for row in db.read("read_lanes", places, limit + 1):
        lane = taken.setdefault(row[1], [])
        if len(lane) < limit:
            lane.append(row)
        else:
            more.add(row[1])
    return LanePage(tuple(rows.delivery(row) for lane in taken.values() for row in lane), frozenset(more))


def parked(db: Db, wanted: ParkedFilter, limit: int) -> list[Parked]:
    """Read parked rows in id order; those of one key without a look at any other."""
    places = (wanted.after, wanted.destination, wanted.subject, wanted.state, limit)
    is_key = wanted.destination is not None and wanted.subject is not None
    found = db.read("parked_of_key", *places) if is_key else db.read("parked", *places)
    return [rows.parked(row) for row in found]


def attempts(db: Db, event: int) -> list[Attempt]:
    """Read every try of one event, oldest first."""
    return [rows.attempt(row) for row in db.read("attempts", event)]


def ask(db: Db, command: Command) -> int:
    """Insert a command and give its id. Writes."""
    return int(db.read("insert_command", *rows.command_columns(command))[0][0])


def commands(db: Db, limit: int) -> list[Command]:
    """Read commands that were not carried out yet, oldest first."""
    return [rows.command(row) for row in db.read("commands", limit)]


def deliveries(db: Db, event: int) -> list[DeliveryRecord]:
    """Say where each delivery of one event stands, in the order of their ids.

    Lanes forget what is settled, so this joins three places: lanes, parked rows and attempts.
    """
    with db.moment():
        found = db.read_one("find_event", event) or (None, None)
        queued = {row[0]: row for row in db.read("find_queued", event)}
        waiting = {row[0]: row for row in db.read("find_parked_of", event)}
        tried = {one.delivery: one for one in attempts(db, event)}
    return [
        _record(id_, event, found, queued.get(id_), waiting.get(id_), tried.get(id_))
        for id_ in sorted(queued.keys() | waiting.keys() | tried.keys())
    ]


def _record(  # noqa: PLR0917  # one argument for each place a delivery may stand in
    id_: int, event: int, found: Row, queued: Row | None, waiting: Row | None, tried: Attempt | None
) -> DeliveryRecord:
    event_id, event_type = found
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
