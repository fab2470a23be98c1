"""The outgoing half: the outbox that the triggers write, read in commit order and without gaps."""

from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from idsync import crash
from idsync.connectors.sql_table import capture
from idsync.connectors.sql_table.capture import Capture, Catalog
from idsync.connectors.sql_table.database import Database, read_transaction, statement
from idsync.connectors.sql_table.rows import Row, fields_of, id_of, is_gone, read_row
from idsync.connectors.sql_table.schema import Table
from idsync.model.event import Observation, Op
from idsync.model.plan import Position
from idsync.model.values import ExternalId, Instant
from idsync.policy.canonical import Unfit
from idsync.ports import Clock, Rewound, SourceBatch

BATCH_BYTES_MAX: Final = 8_388_608
"""Of the rows' JSON in one batch; one row alone may be larger."""


class OutboxRow(msgspec.Struct, frozen=True, array_like=True):
    """One row of the outbox, as `read_outbox.sql` gives it."""

    seq: int
    nonce: str
    at: int
    kind: str
    op: str
    id: int | bytes | None
    old: bytes | None
    new: bytes | None
    origin: str | None

    @property
    def size_bytes(self) -> int:
        """What the row weighs in a batch."""
        return len(self.old or b"") + len(self.new or b"")


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
        draft = _Draft(installed, tables, Instant(self._clock.now()))
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
        row = msgspec.convert(values, OutboxRow)
        size_bytes += row.size_bytes
        if len(rows) == limit or (rows and size_bytes > BATCH_BYTES_MAX):
            return rows, True
        rows.append(row)
    return rows, False


class _Draft:
    """A batch while its rows are being read."""

    def __init__(self, installed: Capture, tables: dict[str, Table], received_at: Instant) -> None:
        self._capture = installed
        self._tables = tables
        self._received_at = received_at
        self._observations: list[Observation] = []
        self._refused: list[tuple[str, bytes, str]] = []
        self._rings: dict[tuple[str, ExternalId], None] = {}

    def add(self, row: OutboxRow) -> None:
        """Say what one row means: an observation, a ring, or a refusal."""
        external_id, table = id_of(row.id), self._tables.get(row.kind)
        if external_id is None:
            self._refuse(row, "its key is neither text nor an integer")
        elif table is None:
            self._refuse(row, "its kind is not configured at this peer any more")
        elif row.op == "ring" or row.seq <= self._capture.rings_until:
            self._rings[row.kind, external_id] = None
        else:
            self._observe(row, table, external_id)

    def batch(self, position: Position, *, has_more: bool) -> SourceBatch:
        """Close the batch."""
        return SourceBatch(
            observations=tuple(self._observations),
            refused=tuple(self._refused),
            rings=tuple(self._rings),
            position=position,
            has_more=has_more,
        )

    def _observe(self, row: OutboxRow, table: Table, external_id: ExternalId) -> None:
        try:
            old = read_row(row.old) if row.old is not None else None
            new = read_row(row.new) if row.new is not None else None
        except ValueError:
            self._refuse(row, "it is no JSON object")
            return
        fields, unfit = fields_of(table, new if new is not None else old or {})
        if news := _news_of(table, old, new, unfit):
            self._refuse(row, "; ".join(f"{one.field}: {one.why}" for one in news))
        shown = new if new is not None else old or {}
        self._observations.append(
            Observation(
                peer=self._capture.peer,
                kind=row.kind,
                external_id=external_id,
                op=_op_of(table, old, new),
                fields=fields,
                link_id=id_of(shown.get(table.link)) if table.link is not None else None,
                version=self._capture.version(row.seq),
                event_at=Instant(row.at),
                received_at=self._received_at,
                event_id=self._event_id(row),
                origin=row.origin,
                names_writer=True,
            )
        )

    def _refuse(self, row: OutboxRow, why: str) -> None:
        self._refused.append((f"{self._event_id(row)}:refused", msgspec.json.encode(row), f"{row.kind}: {why}"))

    def _event_id(self, row: OutboxRow) -> str:
        return f"{self._capture.generation}:{row.seq}"


def _op_of(table: Table, old: Row | None, new: Row | None) -> Op:
    """Name what happened; a soft delete and its undoing are what they stand for."""
    if new is None or is_gone(table, new):
        return Op.DELETED
    return Op.CREATED if old is None or is_gone(table, old) else Op.UPDATED


def _news_of(table: Table, old: Row | None, new: Row | None, unfit: Sequence[Unfit]) -> list[Unfit]:
    """Keep the unfit values that this row brought: those that were there before were refused then."""
    if new is None or not unfit:
        return []
    columns = {column.field: column.name for column in table.columns}
    return [one for one in unfit if old is None or old.get(columns[one.field]) != new.get(columns[one.field])]
