"""Capture: the triggers and tables that idsync keeps in the application's own database.

Installing rings for every row there is, which is the first synchronisation. Nothing here is needed by the application:
`remove` takes everything away again.
"""

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import apsw

from idsync import crash
from idsync.connectors.sql_table.database import statement, write_in_slices, write_transaction
from idsync.connectors.sql_table.schema import find_tables
from idsync.connectors.sql_table.triggers import PREFIX, triggers_of
from idsync.connectors.tables.captured import (
    Capture,
    CaptureState,
    CaptureStatus,
    Pace,
    check_version,
    missing,
    table_of,
)
from idsync.connectors.tables.mapping import TableMapping
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.text import literal, quoted
from idsync.errors import CaptureMissing, PeerError
from idsync.model.plan import Position
from idsync.model.values import PeerName

VERSION: Final = 1
"""Of idsync's tables in the application's database."""
STEP_ROWS: Final = 100
"""Rows that one step of a long task touches: a fraction of a slice."""
TABLES: Final = ("idsync_outbox", "idsync_rings", "idsync_writer", "idsync_receipts", "idsync_capture")


class Catalog:
    """The mapped tables as they are now; they are looked up again whenever anybody changes the schema."""

    def __init__(self, peer: PeerName, mappings: Sequence[TableMapping]) -> None:
        """Nothing is looked up yet."""
        self.peer = peer
        self._mappings = mappings
        self._tables: dict[str, Table] = {}
        self._looked_at: tuple[apsw.Connection, int] | None = None
        self._differs: tuple[str, ...] | None = None

    def tables(self, connection: apsw.Connection) -> dict[str, Table]:
        """Give the tables by kind.

        Raises:
            SchemaMismatch: a configured table or column is missing.
        """
        version = int(str(connection.pragma("schema_version")))
        if self._looked_at != (connection, version):
            self._tables = find_tables(connection, self._mappings)
            self._differs = _differences(connection, self._tables)
            self._looked_at = (connection, version)
        return self._tables

    def table(self, connection: apsw.Connection, kind: str) -> Table:
        """Give the table of a kind.

        Raises:
            SchemaMismatch: there is none: nobody may take that for an empty one.
        """
        return table_of(self.peer, self.tables(connection), kind)

    def known(self, kind: str) -> Table | None:
        """Give a table as it was at the last look; None before the first, or where there is none."""
        return self._tables.get(kind)

    def state(self, connection: apsw.Connection) -> CaptureState:
        """Say whether the triggers stand as they should."""
        differs = self.differs(connection)
        if differs is None:
            return CaptureState.ABSENT
        return CaptureState.OUTDATED if differs else CaptureState.INSTALLED

    def differs(self, connection: apsw.Connection) -> tuple[str, ...] | None:
        """Name the triggers that are missing, made for something else, or left over; None: nothing is installed."""
        self.tables(connection)
        return self._differs

    def capture(self, connection: apsw.Connection) -> Capture:
        """Give the installed capture.

        Raises:
            CaptureMissing: it is not installed, or does not fit the configuration or the schema any more.
        """
        state = self.state(connection)
        if state is not CaptureState.INSTALLED:
            raise missing(self.peer, state)
        capture = _read_capture(connection, self.peer)
        if capture is None:
            raise CaptureMissing(f"{self.peer}: capture lost its own record; run `idsync capture install {self.peer}`")
        return capture


def install(connection: apsw.Connection, catalog: Catalog, pace: Pace) -> None:
    """Make the triggers what they should be, and ring for every row if anything was missing. Safe to call again.

    The generation and the rows that wait are kept. The triggers are exchanged in one transaction; the ringing is done
    in slices, and goes on where it was if it is interrupted.

    Raises:
        PeerError: the database is captured for another peer.
    """
    is_current = catalog.state(connection) is CaptureState.INSTALLED
    if not is_current or _read_capture(connection, catalog.peer) is None:
        with write_transaction(connection):
            tables = catalog.tables(connection)
            _install_tables(connection, catalog.peer)
            _drop_triggers(connection)
            for table in tables.values():
                for sql in triggers_of(table).values():
                    connection.execute(sql)
            _begin_ringing(connection, tables)
            crash.point("capture.in_transaction")
    _ring_all(connection, catalog.tables(connection), pace)


def remove(connection: apsw.Connection, pace: Pace) -> None:
    """Take everything of idsync out of the database: first the triggers, then the rows in slices, then the tables."""
    with write_transaction(connection):
        _drop_triggers(connection)
    if _has_table(connection, "idsync_outbox"):
        last = last_number(connection)
        write_in_slices(connection, lambda: _trim(connection, last + 1), pace)
    with write_transaction(connection):
        for table in TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {table}")


def status(connection: apsw.Connection, catalog: Catalog, after: Position | None) -> CaptureStatus:
    """Say how capture stands, and how many rows wait past a position."""
    tables = catalog.tables(connection)
    warnings = tuple(warning for table in tables.values() for warning in table.warnings)
    named = {kind: table.name for kind, table in tables.items()}
    capture = _read_capture(connection, catalog.peer)
    if capture is None:
        return CaptureStatus(state=CaptureState.ABSENT, tables=named, warnings=warnings)
    number = after.number if after is not None and after.generation == capture.generation else 0
    waiting = connection.execute("SELECT count(*) FROM idsync_outbox WHERE seq > ?", (number,)).fetchall()
    return CaptureStatus(
        state=catalog.state(connection),
        generation=capture.generation,
        waiting=int(str(waiting[0][0])),
        ringing=tuple(str(kind) for (kind,) in connection.execute("SELECT kind FROM idsync_rings ORDER BY kind")),
        tables=named,
        warnings=warnings,
        differs=catalog.differs(connection) or (),
    )


def start_over(connection: apsw.Connection, catalog: Catalog, pace: Pace) -> None:
    """Begin a new generation and ring for every row. What the outbox holds only rings from now on: it may be history.

    The first transaction decides it; the ringing goes on where it was if it is interrupted.

    Raises:
        CaptureMissing: there is no capture to begin anew.
    """
    with write_transaction(connection):
        catalog.capture(connection)
        row = (_new_generation(), last_number(connection))
        connection.execute("UPDATE idsync_capture SET generation = ?, rings_until = ?, is_trimmed = 0", row)
        _begin_ringing(connection, catalog.tables(connection))
        crash.point("rewind.in_transaction")
    _ring_all(connection, catalog.tables(connection), pace)


def trim(connection: apsw.Connection, catalog: Catalog, before: Position, pace: Pace) -> None:
    """Delete the outbox rows before a position of this generation, in slices."""
    if catalog.capture(connection).generation != before.generation:
        return
    first = connection.execute("SELECT min(seq) FROM idsync_outbox").fetchall()[0][0]
    if isinstance(first, int) and first < before.number:
        write_in_slices(connection, lambda: _trim(connection, before.number), pace)


def last_number(connection: apsw.Connection) -> int:
    """Give the number of the last outbox row that ever was, also where it is trimmed."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'idsync_outbox'").fetchone()
    return int(str(found[0])) if found is not None else 0


def _differences(connection: apsw.Connection, tables: Mapping[str, Table]) -> tuple[str, ...] | None:
    if not _has_table(connection, "idsync_capture"):
        return None
    wanted = {name: sql for table in tables.values() for name, sql in triggers_of(table).items()}
    there = _read_triggers(connection)
    return tuple(name for name in sorted(wanted | there) if wanted.get(name) != there.get(name))


def _read_triggers(connection: apsw.Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB ?", (f"{PREFIX}*",)
    )
    return {str(name): str(sql) for name, sql in rows}


def _read_capture(connection: apsw.Connection, peer: PeerName) -> Capture | None:
    if not _has_table(connection, "idsync_capture"):
        return None
    columns = "peer, version, generation, rings_until, is_trimmed"
    row = connection.execute(f"SELECT {columns} FROM idsync_capture").fetchone()  # noqa: S608  # our own columns
    if row is None:
        return None
    if row[0] != peer:
        raise PeerError(f"{peer}: the database is captured for the peer {row[0]}; remove that capture first")
    check_version(peer, row[1], VERSION)
    return Capture(peer, str(row[2]), is_trimmed=bool(row[4]), rings_until=int(str(row[3])))


def _install_tables(connection: apsw.Connection, peer: PeerName) -> None:
    if _read_capture(connection, peer) is not None:
        return
    connection.execute(statement("migrations/0001_capture"))
    row = (peer, VERSION, _new_generation())
    connection.execute("INSERT INTO idsync_capture (one, peer, version, generation) VALUES (1, ?, ?, ?)", row)


def _drop_triggers(connection: apsw.Connection) -> None:
    for name in _read_triggers(connection):
        connection.execute(f"DROP TRIGGER {quoted(name)}")


def _begin_ringing(connection: apsw.Connection, tables: Mapping[str, Table]) -> None:
    for kind in tables:
        connection.execute("INSERT OR REPLACE INTO idsync_rings (kind, after) VALUES (?, NULL)", (kind,))


def _ring_all(connection: apsw.Connection, tables: Mapping[str, Table], pace: Pace) -> None:
    pending = [str(kind) for (kind,) in connection.execute("SELECT kind FROM idsync_rings ORDER BY kind").fetchall()]
    for kind in pending:
        write_in_slices(connection, partial(_ring_some, connection, tables.get(kind), kind), pace)


def _ring_some(connection: apsw.Connection, table: Table | None, kind: str) -> bool:
    """Ring for the next rows of a table; say whether there are more."""
    row = connection.execute("SELECT after IS NULL FROM idsync_rings WHERE kind = ?", (kind,)).fetchone()
    if row is None:
        return False
    count = 0
    if table is not None:
        past = f"(SELECT after FROM idsync_rings WHERE kind = {literal(kind)})"  # noqa: S608  # the kind is ours
        sql = statement("ring_rows").format(
            kind=literal(kind),
            key=quoted(table.key),
            table=quoted(table.name),
            collation=table.key_collation,
            after="" if row[0] else f"AND {quoted(table.key)} COLLATE {table.key_collation} > {past}",
            limit=STEP_ROWS,
        )
        connection.execute(sql)
        count = connection.changes()
    if count < STEP_ROWS:
        connection.execute("DELETE FROM idsync_rings WHERE kind = ?", (kind,))
        return False
    last = connection.last_insert_rowid()
    connection.execute(
        "UPDATE idsync_rings SET after = (SELECT id FROM idsync_outbox WHERE seq = ?) WHERE kind = ?", (last, kind)
    )
    return True


def _trim(connection: apsw.Connection, before: int) -> bool:
    connection.execute("UPDATE idsync_capture SET is_trimmed = 1 WHERE NOT is_trimmed")
    connection.execute(statement("trim_outbox"), (before, STEP_ROWS))
    return connection.changes() == STEP_ROWS


def _has_table(connection: apsw.Connection, name: str) -> bool:
    return (
        connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)).fetchone()
        is not None
    )


def _new_generation() -> str:
    return secrets.token_hex(8)
