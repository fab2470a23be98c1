"""Reading: one identity as it is now, or all of them, each with the version of the state it was seen in."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

import apsw

from idsync.connectors.sql_table.capture import Catalog, last_number
from idsync.connectors.sql_table.database import Database, read_transaction, statement
from idsync.connectors.sql_table.rows import json_of, read_row
from idsync.connectors.tables.captured import image_of
from idsync.connectors.tables.mapping import SqlValue
from idsync.connectors.tables.rows import Found, id_of
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.text import quoted
from idsync.errors import PeerError
from idsync.model.delivery import Image
from idsync.model.event import Version
from idsync.model.values import ExternalId
from idsync.ports import Clock

PAGE_ROWS: Final = 200
INTEGER_TEXT_MAX: Final = 19


class SqliteReader:
    """A Reader over the mapped tables of one SQLite file."""

    def __init__(self, database: Database, catalog: Catalog, clock: Clock) -> None:
        """Share the database's one connection and what is known of its schema."""
        self._database = database
        self._catalog = catalog
        self._clock = clock

    async def read(self, kind: str, external_id: ExternalId) -> Image | None:
        """Read one identity; None: it is not there, or counts as deleted. Fields without a canonical form are left out.

        Raises:
            CaptureMissing: without capture the state that is seen has no version.
            PeerError: the database cannot be read now, holds the id more than once, or does not keep the kind.
        """
        return await self._database.run(lambda connection: self._read(connection, kind, external_id))

    async def list(self, kind: str) -> AsyncIterator[Image]:
        """Read every identity of a kind in key order, page by page; each page is one state of the database."""
        after: int | bytes | None = None
        has_more = True
        while has_more:
            images, after, has_more = await self._database.run(partial(self._page, kind=kind, after=after))
            for image in images:
                yield image

    async def place(self) -> Version:
        """Say where the outbox ends now.

        Raises:
            CaptureMissing: there is none.
            PeerError: the database cannot be read now.
        """
        return await self._database.run(self._place)

    def _place(self, connection: apsw.Connection) -> Version:
        with read_transaction(connection):
            return self._catalog.capture(connection).version(last_number(connection))

    def _read(self, connection: apsw.Connection, kind: str, external_id: ExternalId) -> Image | None:
        with read_transaction(connection):
            capture, table = self._catalog.capture(connection), self._catalog.table(connection, kind)
            found = find_by(connection, table, table.key, external_id)
            number = last_number(connection)
        if len(found) > 1:
            raise PeerError(f"{capture.peer}: more than one {kind} has the same key; make the key column unique")
        return image_of(capture, table, found[0], number, self._clock.now()) if found else None

    def _page(
        self, connection: apsw.Connection, kind: str, after: int | bytes | None
    ) -> tuple[Sequence[Image], int | bytes | None, bool]:
        with read_transaction(connection):
            capture, table = self._catalog.capture(connection), self._catalog.table(connection, kind)
            key = f"{quoted(table.key)} COLLATE {table.key_collation}"
            past = "CAST(? AS TEXT)" if isinstance(after, bytes) else "?"
            bound = f"AND {key} > {past}" if after is not None else ""
            condition = f"typeof({quoted(table.key)}) IN ('integer', 'text') {bound} ORDER BY {key} LIMIT {PAGE_ROWS}"
            rows = _select(connection, table, condition, (after,) if after is not None else ())
            number = last_number(connection)
        now = self._clock.now()
        images = [image for _, one in rows if (image := image_of(capture, table, one, number, now)) is not None]
        return images, rows[-1][0] if rows else None, len(rows) == PAGE_ROWS


def find_by(connection: apsw.Connection, table: Table, column: str, value: ExternalId) -> list[Found]:
    """Find the rows whose column holds an id, byte for byte: at most two, since two are already one too many."""
    name = quoted(column)
    index = f"{name} COLLATE {table.key_collation}" if column == table.key else name
    condition = f"{index} IN (?1, ?2) AND {name} COLLATE BINARY IN (?1, ?2) LIMIT 2"
    return [found for _, found in _select(connection, table, condition, key_values(value))]


def key_values(value: ExternalId) -> tuple[SqlValue, SqlValue]:
    """Give what a column may hold for an id: its text or, where it is one, the integer."""
    digits = value.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < INTEGER_TEXT_MAX and str(int(value)) == value:
        return value, int(value)
    return value, value


def _select(
    connection: apsw.Connection, table: Table, condition: str, values: tuple[SqlValue, ...]
) -> list[tuple[int | bytes, Found]]:
    """Find rows, each with its key as the column holds it; a text's bytes."""
    updated = () if table.updated is None else (table.updated.name,)
    sql = statement("read_rows").format(
        key=quoted(table.key), row=json_of("r", table.captured + updated), table=quoted(table.name), condition=condition
    )
    rows = connection.execute(sql, values)
    return [
        (key, Found(id_of(key), read_row(row)))
        for key, row in rows
        if isinstance(key, int | bytes) and isinstance(row, bytes)
    ]
