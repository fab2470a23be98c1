"""The lanes: opened under a lock, read by their places, with what was just committed handed on from memory."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from idsync.model.delivery import Attempt, Delivery, Parked, Place
from idsync.model.destination import Destination, Lane, Level, lane_number
from idsync.model.plan import Command, InboxRow, LaneCursor, LanePage
from idsync.model.replay import Standing
from idsync.model.values import Instant, Subject
from idsync.ports import DeliveryRecord, ParkedFilter
from idsync.stores.common import rows
from idsync.stores.common.lanes import LANE_COLUMN, cut_page, lanes_of, standings, standings_by_event
from idsync.stores.common.rows import Row
from idsync.stores.common.seal import unseal
from idsync.stores.postgres.db import Db, columns_of
from idsync.stores.postgres.pool import OPENING_LOCK

BODIES_MAX: Final = 8_192
BODIES_BYTES_MAX: Final = 16 * 1024 * 1024

Sent = tuple[str | None, str | None, bytes, str | None, Instant | None]
"""What goes out for an inbox row: (event id, event type, body, trace, not before)."""


class Bodies:
    """The events that this process has just committed: who delivers them here need not read and decrypt them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept: OrderedDict[int, Sent] = OrderedDict()
        self._size_bytes = 0

    def keep(self, sent: Iterable[tuple[int, InboxRow]]) -> None:
        """Keep some; the oldest go where there are too many, or they are too large."""
        for seq, row in sent:
            self.forget(seq)
            self._kept[seq] = (row.event_id, row.event_type, row.body, row.trace, row.not_before)
            self._size_bytes += len(row.body)
        while len(self._kept) > BODIES_MAX or self._size_bytes > BODIES_BYTES_MAX:
            self.forget(next(iter(self._kept)))

    def forget(self, seq: int) -> None:
        """Let one go."""
        if (found := self._kept.pop(seq, None)) is not None:
            self._size_bytes -= len(found[2])

    def find(self, seq: int) -> Sent | None:
        """What went out for an inbox row, if it is still here."""
        return self._kept.get(seq)


class LaneMap:
    """Every lane that this process knows of: whose it is, and where its deliveries go by now."""

    def __init__(self) -> None:
        """Know none."""
        self._sets: dict[int, tuple[str, str]] = {}
        self._newest: dict[tuple[str, str], tuple[int, list[int]]] = {}
        self.targets: dict[int, bool] = {}
        """Lane → whether it is a Target's."""
        self.last = 0
        """The highest lane that is known."""

    async def learn(self, db: Db) -> None:
        """Know the lanes that other processes have opened, too."""
        for id_, destination, level, generation, _, is_target in await db.read("find_lanes"):
            self._sets[id_], self.targets[id_] = (destination, level), is_target
            self.last = max(self.last, id_)
            known, members = self._newest.get((destination, level), (0, []))
            if generation > known:
                self._newest[destination, level] = generation, [id_]
            elif generation == known and id_ not in members:
                members.append(id_)

    def lane_now(self, lane: int, subject: Subject) -> int:
        """Give the lane itself, or the one that carries the subject in a newer generation."""
        _, newest = self._newest[self._sets[lane]]
        return lane if lane in newest else newest[lane_number(subject, len(newest))]


async def open_lanes(db: Db, destinations: Sequence[Destination]) -> list[tuple[Lane, Place]]:
    """Make sure that every destination has its lanes; a changed number of lanes opens a new generation. Writes."""
    if any(destination.lanes for destination in destinations):
        async with db.transaction():
            await db.connection.execute("SELECT pg_advisory_xact_lock($1)", OPENING_LOCK)
            for destination in destinations:
                await _open_generation(db, destination)
    found_lanes = await db.read("open_lanes", [destination.name for destination in destinations])
    return [
        (Lane(id_, destination, generation, Level(level), number), (tick, last))
        for id_, destination, generation, level, number, tick, last in found_lanes
    ]


async def _open_generation(db: Db, destination: Destination) -> None:
    found = await db.read_one("find_generation", destination.name, Level.LIVE)
    generation, lanes = (0, 0) if found is None else found
    if destination.lanes not in {0, lanes}:
        # Whoever queues into older lanes ends first, and whoever queues later finds the new ones: so an older lane that
        # is empty stays empty.
        await db.connection.execute("LOCK TABLE ONLY delivery IN SHARE ROW EXCLUSIVE MODE")
        await db.write_many("insert_lanes", lanes_of(destination, generation + 1))


async def read(  # what the store knows of lanes and bodies, each named at the call
    db: Db,
    cursors: Sequence[LaneCursor],
    limit: int,
    *,
    is_resumed: bool,
    targets: dict[int, bool],
    bodies: Bodies,
) -> LanePage:
    """Read deliveries past the cursors, and one more of each lane than is given, to know whether there are others."""
    if not cursors:
        return LanePage()
    places = columns_of([(one.lane, *one.after) for one in cursors])
    taken, more = cut_page(await db.read("read_lanes", *places, limit + 1), limit)
    sent = {row[4]: found for row in taken if row[4] is not None and (found := bodies.find(row[4])) is not None}
    missing: dict[int, bool] = {}
    for row in taken:
        if row[4] is not None and row[4] not in sent:
            missing[row[4]] = missing.get(row[4], False) or not targets[row[LANE_COLUMN]]
    sent |= await _find_sent(db, missing)
    deliveries = tuple(_delivery(row, sent, is_target=targets[row[LANE_COLUMN]]) for row in taken)
    return LanePage(deliveries, more, await _find_passed(db, deliveries) if is_resumed else frozenset())


async def _find_passed(db: Db, deliveries: Sequence[Delivery]) -> frozenset[int]:
    """Say which deliveries need nothing more from their lanes."""
    ids, events = [one.id for one in deliveries], [one.event or None for one in deliveries]
    return frozenset(id_ for (id_,) in await db.read("find_passed", ids, events))


async def _find_sent(db: Db, wanted: dict[int, bool]) -> dict[int, Sent]:
    """Read what went out for inbox rows: their bodies only where anybody posts them."""
    if not wanted:
        return {}
    found = await db.read("find_events", list(wanted), list(wanted.values()))
    return {
        seq: (event_id, event_type, unseal(body, entity, key, f"inbox/{seq}"), trace, not_before)
        for seq, event_id, event_type, body, trace, not_before, entity, key in found
    }


def _delivery(row: Row, sent: dict[int, Sent], *, is_target: bool) -> Delivery:
    """Put a delivery together; one without an event has sequence 0 and nothing to post."""
    tick, id_, lane, subject, event, version, queued_at = row
    event_id, event_type, body, trace, not_before = sent.get(event, (None, None, b"", None, None))
    return Delivery(
        id=id_,
        lane=lane,
        subject=subject,
        event=event or 0,
        version=version,
        event_id=event_id or "",
        event_type=event_type or "",
        body=b"" if is_target else body,
        trace=trace,
        queued_at=queued_at,
        not_before=not_before,
        tick=tick,
    )


async def parked(db: Db, wanted: ParkedFilter, limit: int) -> list[Parked]:
    """Read parked rows in id order; those of one key without a look at any other."""
    lanes = None if wanted.lanes is None else sorted(wanted.lanes)
    places = (wanted.after, wanted.destination, wanted.subject, wanted.state, lanes, limit)
    is_key = wanted.destination is not None and wanted.subject is not None
    found = await (db.read("parked_of_key", *places) if is_key else db.read("parked", *places))
    return [rows.parked(row) for row in found]


async def attempts(db: Db, event: int) -> list[Attempt]:
    """Read every try of one event, oldest first."""
    return [rows.attempt(row) for row in await db.read("attempts", event)]


async def ask(db: Db, command: Command) -> int:
    """Insert a command and give its id. Writes."""
    return int((await db.read("insert_command", *rows.command_columns(command)))[0][0])


async def commands(db: Db, limit: int) -> list[Command]:
    """Read commands that were not carried out yet, oldest first."""
    return [rows.command(row) for row in await db.read("commands", limit)]


async def deliveries(db: Db, event: int) -> list[DeliveryRecord]:
    """Say where each delivery of one event stands, in the order of their ids."""
    async with db.connection.transaction(isolation="repeatable_read", readonly=True):
        sent = await db.read_one("find_event", event)
        queued = {row[0]: row for row in await db.read("find_queued", event)}
        waiting = {row[0]: row for row in await db.read("find_parked_of", event)}
        tried = {one.delivery: one for one in await attempts(db, event)}
    return standings(event, sent, queued, waiting, tried)


async def standings_at(db: Db, destination: str, events: Sequence[int]) -> dict[int, Standing]:
    """Say what became of each of some events at one destination."""
    return standings_by_event(await db.read("standings", list(events), destination))
