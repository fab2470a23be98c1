"""The outgoing half: the outbox that the triggers write, read as the difference of two snapshots (see `mark`)."""

from typing import Final

import asyncpg
import msgspec

from idsync import crash
from idsync.connectors.sql_postgres import capture
from idsync.connectors.sql_postgres.capture import Catalog, View
from idsync.connectors.sql_postgres.database import Connection, Session, Watch
from idsync.connectors.sql_postgres.mark import START, Edge, Mark, end_of, mark_of
from idsync.connectors.sql_postgres.rows import read_row
from idsync.connectors.tables.captured import CaptureState
from idsync.connectors.tables.outbox import BATCH_BYTES_MAX, Draft, OutboxRow
from idsync.model.plan import Position
from idsync.ports import Clock, Rewound, SourceBatch

TRIM_ROWS: Final = 2_000
"""Rows that one transaction deletes."""
TRIM_ALL_EVERY: Final = 50
"""Trims after which one begins at the very first row: late transactions leave rows behind where others were deleted."""


class PostgresSource:
    """A Source over the outbox of one PostgreSQL database. One reader at a time: who reads also trims."""

    def __init__(self, session: Session, catalog: Catalog, watch: Watch, clock: Clock) -> None:
        """Read on a connection of its own."""
        self._session = session
        self._catalog = catalog
        self._watch = watch
        self._clock = clock
        self._trims = 0
        self._trimmed = 0

    async def read(self, after: Position | None, limit: int) -> SourceBatch | Rewound:
        """Read rows after a position: at most `limit`, and at most 8 MiB of them.

        A row with a value that has no canonical form is an observation without that field, and the row that brought the
        value is refused beside it, once. The position may move without a row: numbers were drawn and nothing came of
        them, or a look took one.

        Raises:
            CaptureMissing: the triggers are not what they should be; `install` repairs that.
            PeerError: the database cannot be read now.
        """
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            mark = mark_of(after) if after is not None else None
            sql = self._catalog.sql("read_state")
            state = await connection.fetchrow(sql, mark.row if mark is not None else 0)
            if state is None:
                raise RuntimeError("a statement without a table gave no row")
            found = _what_differs(view, state, after, mark)
            if found is not None:
                return Rewound(found)
            mark = mark or Mark(state["cluster"], 0, START)
            edge = mark.next or _edge_of(state, view.last)
            rows, has_more = await self._read_rows(connection, mark, edge, limit)
            if any(row.op == "broken" for row in rows):
                raise self._catalog.missing(CaptureState.OUTDATED, capture.BROKEN)
            reached = _reached(mark, edge, rows, has_more=has_more)
            if mark.next is None:
                if not rows and after is not None and edge.last == mark.seen.last:
                    return SourceBatch(position=after)
                await connection.execute(self._catalog.sql("make_durable"), state["written"])
        draft = Draft(view.capture, view.tables, self._clock.now(), read_row)
        for row in rows:
            draft.add(row)
        nonce = rows[-1].nonce if rows else after.nonce if after is not None else ""
        # What came while a long difference was read in pages is part of the next one.
        may_have_more = has_more or mark.next is not None
        return draft.batch(reached.position(view.capture.generation, nonce), has_more=may_have_more)

    async def wait(self, timeout_s: float) -> None:
        """Return when anything was committed in the database since the last return, at the latest after `timeout_s`."""
        await self._watch.wait(timeout_s)

    async def trim(self, before: Position) -> None:
        """Delete the rows that were taken in, in short transactions, but never the row at the position."""
        crash.point("source.before_trim")
        mark = mark_of(before)
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            if mark is not None and view.capture.generation == before.generation:
                await self._trim(connection, mark)
        crash.point("source.after_trim")

    async def start_over(self) -> None:
        """Begin a new generation and ring for every row there is; safe to call twice."""
        async with self._session.use() as connection:
            await capture.start_over(connection, self._catalog)
        self._trims = 0

    async def _read_rows(
        self, connection: Connection, mark: Mark, edge: Edge, limit: int
    ) -> tuple[list[OutboxRow], bool]:
        seen = mark.seen
        found = await connection.fetch(
            self._catalog.sql("read_outbox"),
            *(seen.snapshot, edge.snapshot, mark.inside, str(seen.end), seen.last, limit + 1, BATCH_BYTES_MAX),
        )
        rows: list[OutboxRow] = []
        size_bytes = 0
        for one in found:
            row = _row_of(one)
            size_bytes += row.size_bytes
            if len(rows) == limit or (rows and size_bytes > BATCH_BYTES_MAX):
                return rows, True
            rows.append(row)
        return rows, False

    async def _trim(self, connection: Connection, mark: Mark) -> None:
        floor = self._trimmed if self._trims % TRIM_ALL_EVERY else 0
        self._trims += 1
        await connection.execute(self._catalog.sql("note_trimmed"))
        spans = [(mark.seen.snapshot, mark.seen.last)]
        if mark.next is not None:
            spans.append((mark.next.snapshot, mark.inside))
        for snapshot, until in spans:
            floor_now, has_more = floor, True
            while has_more:
                deleted = await connection.fetch(
                    self._catalog.sql("trim_outbox"), floor_now, until, mark.row, snapshot, TRIM_ROWS
                )
                floor_now = max((row["seq"] for row in deleted), default=floor_now)
                self._trimmed = max(self._trimmed, floor_now)
                has_more = len(deleted) == TRIM_ROWS


def _row_of(one: asyncpg.Record) -> OutboxRow:
    old, new, key = one["old"], one["new"], one["id"]
    return OutboxRow(
        seq=one["seq"],
        nonce=one["nonce"],
        at=one["at"],
        kind=one["kind"],
        op=one["op"],
        id=key.encode() if key is not None else None,
        old=old.encode() if old is not None else None,
        new=new.encode() if new is not None else None,
        origin=one["origin"],
    )


def _what_differs(view: View, state: asyncpg.Record, after: Position | None, mark: Mark | None) -> str | None:
    """Compare our place in the outbox with the outbox and its server: after a restore the numbers are given again."""
    if after is None:
        return "its first rows were read by somebody else and deleted" if view.capture.is_trimmed else None
    if after.generation != view.capture.generation:
        return "the capture was begun anew: its generation is another"
    if mark is None:
        return "the position that was kept is not one of this database's"
    if mark.cluster != state["cluster"]:
        return "the database is now on another server, or in another history of this one"
    newest = mark.next or mark.seen
    if end_of(state["snapshot"]) < end_of(newest.snapshot) or view.last < newest.last:
        return "the database has fewer transactions behind it than when it was read last"
    if mark.row == 0:
        return "its first rows were read by somebody else and deleted" if view.capture.is_trimmed else None
    if state["nonce"] is None:
        return f"row {mark.row}, the last that was read, is gone"
    return None if state["nonce"] == after.nonce else f"row {mark.row}, the last that was read, is now another row"


def _edge_of(state: asyncpg.Record, last: int) -> Edge:
    return Edge(state["snapshot"], last, end_of(state["snapshot"]) + state["begun_since"])


def _reached(mark: Mark, edge: Edge, rows: list[OutboxRow], *, has_more: bool) -> Mark:
    """Say where reading stands after these rows."""
    row = rows[-1].seq if rows else mark.row
    if has_more:
        return msgspec.structs.replace(mark, row=row, next=edge, inside=row)
    return Mark(mark.cluster, row, edge)
