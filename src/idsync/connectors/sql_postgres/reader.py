"""Reading: one identity as it is now, or all of them, each with the version of the state it was seen in.

A look takes a number of its own from the outbox's counter, while it holds the row against change. Whatever of the row
was committed before has a smaller number, and whatever comes after has a greater one: the numbers of one row are drawn
under its lock, by its triggers and by us. And it is a new number: once the outbox was read up to it (`mark`), every
event that the look shows was taken in. A number that was only looked at would not do: an event may have drawn it, and
not be committed yet.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from idsync.connectors.sql_postgres.capture import Catalog, View
from idsync.connectors.sql_postgres.database import Connection, Session, Watch, statement, transaction
from idsync.connectors.sql_postgres.rows import equals, json_of, may_hold, read_row
from idsync.connectors.sql_postgres.schema import named
from idsync.connectors.tables.captured import image_of
from idsync.connectors.tables.rows import Found, id_of
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.text import quoted
from idsync.errors import PeerError
from idsync.model.delivery import Image
from idsync.model.event import Version
from idsync.model.values import ExternalId
from idsync.ports import Clock

PAGE_ROWS: Final = 200


class PostgresReader:
    """A Reader over the mapped tables of one PostgreSQL database."""

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
            PeerError: the database cannot be read now, holds the id more than once, or does not keep the kind.
        """
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            table = view.table(kind)
            async with transaction(connection):
                found = await find_by(connection, table, table.key, external_id, "FOR SHARE")
                number = await draw_number(connection, self._catalog) if found else 0
        if len(found) > 1:
            peer = self._catalog.peer
            raise PeerError(f"{peer}: more than one {kind} has the same key; make the key column unique")
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
        key = quoted(table.key)
        sql = statement("read_page").format(
            key=key,
            row=_row_of(table),
            table=named(table),
            after="" if after is None else f"AND r.{key} > $2::text::{table.types[table.key]}",
        )
        async with transaction(connection):
            rows = await connection.fetch(sql, PAGE_ROWS, *([] if after is None else [after]))
            number = await draw_number(connection, self._catalog)
        now = self._clock.now()
        found = [Found(id_of(row["key"]), read_row(row["row"])) for row in rows]
        images = [image for one in found if (image := image_of(view.capture, table, one, number, now)) is not None]
        return images, rows[-1]["key"] if rows else None, len(rows) == PAGE_ROWS


async def find_by(connection: Connection, table: Table, column: str, value: ExternalId, lock: str) -> list[Found]:
    """Find the rows whose column holds an id, byte for byte: at most two, since two are already one too many."""
    base = table.types[column]
    if not may_hold(base, value):
        return []
    sql = statement("read_row").format(
        key=quoted(table.key),
        row=_row_of(table),
        table=named(table),
        condition=equals(column, base, "$1"),
        lock=lock,
    )
    return [Found(id_of(row["key"]), read_row(row["row"])) for row in await connection.fetch(sql, value)]


def _row_of(table: Table) -> str:
    updated = () if table.updated is None else (table.updated.name,)
    return json_of("r", table.captured + updated, table.types)


async def draw_number(connection: Connection, catalog: Catalog) -> int:
    """Take the next number of the outbox, for a look at rows that are locked. It is durable with the transaction."""
    return int(await connection.fetchval(catalog.sql("draw_number")))
