"""The outgoing half: the outbox that the triggers write, read in commit order and without gaps."""

import apsw

from idsync import crash
from idsync.connectors.sql_table import capture
from idsync.connectors.sql_table.capture import Catalog
from idsync.connectors.sql_table.database import Database, read_transaction, statement
from idsync.connectors.sql_table.rows import read_row
from idsync.connectors.tables.captured import Capture
from idsync.connectors.tables.outbox import BATCH_BYTES_MAX, Draft, OutboxRow
from idsync.model.plan import Position
from idsync.ports import Clock, Rewound, SourceBatch


class SqliteSource:
    """A Source over the outbox of one SQLite file."""

    def __init__(self, database: Database, catalog: Catalog, clock: Clock) -> None:
        """Share the database's one connection and what is known of its schema."""
        self._database = database
        self._catalog = catalog
        self._clock = clock

    async def read(self, after: Position | None, limit: int) -> SourceBatch | Rewound:
        """Read rows after a position: at most `limit`, and at most 8 MiB of them.

        A row with a value that has no canonical form is an observation without that field, and the row that brought the
        value is refused beside it, once.

        Raises:
            CaptureMissing: the triggers are not what they should be; `install` repairs that.
            PeerError: the database cannot be read now.
        """
        return await self._database.run(lambda connection: self._read(connection, after, limit))

    async def wait(self, timeout_s: float) -> None:
        """Return when anything was committed to the file since the last return, at the latest after `timeout_s`."""
        await self._database.wait(timeout_s)

    async def trim(self, before: Position) -> None:
        """Delete the rows before a position in short transactions, but never the row at the position."""
        crash.point("source.before_trim")
        await self._database.run(
            lambda connection: capture.trim(connection, self._catalog, before, self._database.pace)
        )
        crash.point("source.after_trim")

    async def start_over(self) -> None:
        """Begin a new generation and ring for every row there is; safe to call twice."""
        await self._database.run(lambda connection: capture.start_over(connection, self._catalog, self._database.pace))

    def _read(self, connection: apsw.Connection, after: Position | None, limit: int) -> SourceBatch | Rewound:
        with read_transaction(connection):
            installed, tables = self._catalog.capture(connection), self._catalog.tables(connection)
            start = after if after is not None else Position(installed.generation, 0, "")
            found = _what_differs(connection, installed, start)
            if found is not None:
                return Rewound(found)
            rows, has_more = _read_rows(connection, start.number, limit)
        draft = Draft(installed, tables, self._clock.now(), read_row)
        for row in rows:
            draft.add(row)
        end = Position(installed.generation, rows[-1].seq, rows[-1].nonce) if rows else start
        return draft.batch(end, has_more=has_more)


def _what_differs(connection: apsw.Connection, installed: Capture, position: Position) -> str | None:
    """Compare our place in the outbox with the outbox: after a restore the numbers are given to other rows."""
    if position.generation != installed.generation:
        return "the capture was begun anew: its generation is another"
    if position.number == 0:
        return "its first rows were read by somebody else and deleted" if installed.is_trimmed else None
    row = connection.execute("SELECT nonce FROM idsync_outbox WHERE seq = ?", (position.number,)).fetchone()
    if row is None:
        return f"row {position.number}, the last that was read, is gone"
    return None if row[0] == position.nonce else f"row {position.number}, the last that was read, is now another row"


def _read_rows(connection: apsw.Connection, after: int, limit: int) -> tuple[list[OutboxRow], bool]:
    rows: list[OutboxRow] = []
    size_bytes = 0
    for values in connection.execute(statement("read_outbox"), (after, limit + 1)):
        row = OutboxRow(*values)
        size_bytes += row.size_bytes
        if len(rows) == limit or (rows and size_bytes > BATCH_BYTES_MAX):
            return rows, True
        rows.append(row)
    return rows, False
