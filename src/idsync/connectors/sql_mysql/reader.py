"""Reading: one identity as it is now, or all of them, each with the version of the state it was seen in.

A look takes a number of its own from the outbox's counter, while it holds the row against change: as a row of the
outbox that says nothing but that. Whatever of the row was committed before has a smaller number, and whatever comes
after has a greater one. Once that row was read, every event that the look shows was taken in: it was visible when the
number was drawn, and rows are read in the order of their numbers.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from idsync.connectors.sql_mysql.capture import Catalog
from idsync.connectors.sql_mysql.database import Connection, Session, Watch, statement
from idsync.connectors.sql_mysql.rows import equals, json_of, key_value, may_hold, quoted, read_row, text_in_sql
from idsync.connectors.tables.captured import View, image_of
from idsync.connectors.tables.rows import Found, Row, id_of
from idsync.connectors.tables.shape import Table
from idsync.model.delivery import Image
from idsync.model.event import Version
from idsync.model.values import ExternalId
from idsync.ports import Clock

PAGE_ROWS: Final = 200


class MysqlReader:
    """A Reader over the mapped tables of one MySQL or MariaDB database."""

    def __init__(self, session: Session, catalog: Catalog, watch: Watch, clock: Clock) -> None:
        """Read on a connection of its own."""
        self._session = session
        self._catalog = catalog
        self._watch = watch
        self._clock = clock

    async def read(self, kind: str, external_id: ExternalId) -> Image | None:
        """Read one identity; None: it is not there, or counts as deleted. Fields without a canonical form are left out.

        Waits for whoever is changing it now.

        Raises:
            CaptureMissing: without capture the state that is seen has no version.
            PeerError: the database cannot be read now, or does not keep the kind.
        """
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            table = view.table(kind)
            async with connection.transaction():
                found = await find_by(connection, table, table.key, external_id, "LOCK IN SHARE MODE")
                number = await draw_number(connection, self._catalog) if found else 0
        if not found:
            return None
        self._watch.ring()
        return image_of(view.capture, table, found[0], number, self._clock.now())

    async def list(self, kind: str) -> AsyncIterator[Image]:
        """Read every identity of a kind in key order, page by page; each page is one state of the database."""
        after: str | None = None
        has_more = True
        while has_more:
            async with self._session.use() as connection:
                view = await self._catalog.look(connection)
                images, after, has_more = await self._page(connection, view, view.table(kind), after)
            for image in images:
                yield image

    async def place(self) -> Version:
        """Say where the outbox ends now: a number that whoever has committed cannot have drawn after us.

        Raises:
            CaptureMissing: there is none.
            PeerError: the database cannot be read now.
        """
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            number = await draw_number(connection, self._catalog)
        self._watch.ring()
        return view.capture.version(number)

    async def _page(
        self, connection: Connection, view: View, table: Table, after: str | None
    ) -> tuple[Sequence[Image], str | None, bool]:
        name, base = quoted(table.key), table.types[table.key]
        sql = statement("read_page").format(
            key=text_in_sql("r", table.key, base),
            row=_row_of(table),
            table=quoted(table.name),
            name=name,
            after="" if after is None else f"AND r.{name} > %s",
        )
        async with connection.transaction():
            rows = await connection.fetch(sql, *([] if after is None else [key_value(base, after)]), PAGE_ROWS)
            number = await draw_number(connection, self._catalog)
        now = self._clock.now()
        found = [Found(id_of(key), _read(table, raw)) for key, raw in rows]
        images = [image for one in found if (image := image_of(view.capture, table, one, number, now)) is not None]
        return images, rows[-1][0] if rows else None, len(rows) == PAGE_ROWS


async def find_by(connection: Connection, table: Table, column: str, value: ExternalId, lock: str) -> list[Found]:
    """Find the rows whose column holds an id, byte for byte: at most two, since two are already one too many."""
    base = table.types[column]
    if not may_hold(base, value):
        return []
    sql = statement("read_row").format(
        key=text_in_sql("r", table.key, table.types[table.key]),
        row=_row_of(table),
        table=quoted(table.name),
        condition=equals("r", column, base),
        lock=lock,
    )
    rows = await connection.fetch(sql, key_value(base, value), value)
    return [Found(id_of(key), _read(table, raw)) for key, raw in rows]


def _row_of(table: Table) -> str:
    updated = () if table.updated is None else (table.updated.name,)
    return json_of("r", tuple(dict.fromkeys(table.captured + updated)), table.types)


def _read(table: Table, raw: str | None) -> Row:
    """Read a row; of one that the server cannot tell as a whole nothing is known."""
    return {name: {} for name in table.captured} if raw is None else read_row(raw)


async def draw_number(connection: Connection, catalog: Catalog) -> int:
    """Take the next number of the outbox, for a look at rows that are locked. It is durable with the transaction."""
    return await connection.insert(catalog.sql("draw_number"))
