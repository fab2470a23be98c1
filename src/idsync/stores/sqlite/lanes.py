"""The lanes: opened on the writing connection, read and shown on a reading one."""

from collections.abc import Sequence

from idsync.model.delivery import Attempt, Parked, Place
from idsync.model.destination import Destination, Lane, Level
from idsync.model.plan import Command, LaneCursor, LanePage
from idsync.model.replay import Standing
from idsync.ports import DeliveryRecord, ParkedFilter
from idsync.stores.common import rows
from idsync.stores.common.lanes import cut_page, lanes_of, standings, standings_by_event
from idsync.stores.sqlite.db import Db, to_json


def open_lanes(db: Db, destinations: Sequence[Destination]) -> list[tuple[Lane, Place]]:
    """Make sure that every destination has its lanes; a changed number of lanes opens a new generation. Writes."""
    for destination in destinations:
        found = db.read_one("find_generation", destination.name, Level.LIVE)
        generation, lanes = (0, 0) if found is None else found
        if destination.lanes not in {0, lanes}:
            db.write_many("insert_lane", lanes_of(destination, generation + 1))
    names = to_json([destination.name for destination in destinations])
    return [
        (Lane(id_, destination, generation, Level(level), number), (0, position))
        for id_, destination, generation, level, number, position in db.read("open_lanes", names)
    ]


def read(db: Db, cursors: Sequence[LaneCursor], limit: int, *, is_resumed: bool) -> LanePage:
    """Read deliveries past the cursors, and one more of each lane than is given, to know whether there are others."""
    places = to_json([(one.lane, one.after[1]) for one in cursors])
    taken, more = cut_page(db.read("read_lanes", places, limit + 1), limit)
    found = tuple(rows.delivery(row) for row in taken)
    passed = db.read("find_passed", to_json([(one.id, one.event or None) for one in found])) if is_resumed else []
    return LanePage(found, more, frozenset(id_ for (id_,) in passed))


def parked(db: Db, wanted: ParkedFilter, limit: int) -> list[Parked]:
    """Read parked rows in id order; those of one key without a look at any other."""
    lanes = None if wanted.lanes is None else to_json(sorted(wanted.lanes))
    places = (wanted.after, wanted.destination, wanted.subject, wanted.state, lanes, limit)
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
    """Say where each delivery of one event stands, in the order of their ids."""
    with db.moment():
        sent = db.read_one("find_event", event)
        queued = {row[0]: row for row in db.read("find_queued", event)}
        waiting = {row[0]: row for row in db.read("find_parked_of", event)}
        tried = {one.delivery: one for one in attempts(db, event)}
    return standings(event, sent, queued, waiting, tried)


def standings_at(db: Db, destination: str, events: Sequence[int]) -> dict[int, Standing]:
    """Say what became of each of some events at one destination."""
    return standings_by_event(db.read("standings", to_json(list(events)), destination))
