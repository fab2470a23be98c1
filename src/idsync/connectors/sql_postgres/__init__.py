"""Tables of a PostgreSQL database (15 or newer) as a peer: triggers write every change to an outbox in it.

The application needs no change. What is put into its database is in `capture`; how the outbox is read without losing or
reordering anything is in `mark`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from idsync.connectors.sql_postgres import capture
from idsync.connectors.sql_postgres.capture import Catalog
from idsync.connectors.sql_postgres.database import Connection, Session, Watch
from idsync.connectors.sql_postgres.reader import PostgresReader
from idsync.connectors.sql_postgres.source import PostgresSource
from idsync.connectors.sql_postgres.target import PostgresTarget
from idsync.connectors.tables.captured import CaptureStatus, Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.plan import Position
from idsync.model.values import PeerName
from idsync.ports import Clock

__all__ = ["PostgresPeer"]

BY_INDEX = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""The outbox is always read by its indexes: what the server believes of its size is about another moment."""
PATIENCE = {"lock_timeout": "500ms"}
"""A look that waits for somebody keeps every other look waiting."""


class PostgresPeer:
    """One peer whose identities are rows of a PostgreSQL database. Connects when it is first needed.

    Attributes:
        source: reads the outbox.
        reader: reads rows.
        target: writes rows.
    """

    def __init__(
        self, name: PeerName, url: str, mappings: Sequence[TableMapping], clock: Clock, pace: Pace | None = None
    ) -> None:
        """Keep a connection for each half, and one that listens."""
        pace = pace or Pace()
        self._sessions = {
            "source": Session(name, url, pace, BY_INDEX),
            "reader": Session(name, url, pace, PATIENCE),
            "target": Session(name, url, pace),
            "watch": Session(name, url, pace),
            "admin": Session(name, url, pace),
        }
        watch = Watch(name, self._sessions["watch"], pace)
        self._catalog = Catalog(name, mappings)
        self.source = PostgresSource(self._sessions["source"], self._catalog, watch, clock)
        self.reader = PostgresReader(self._sessions["reader"], self._catalog, watch, clock)
        self.target = PostgresTarget(self._sessions["target"], self._catalog, watch, clock, pace)

    async def install(self) -> CaptureStatus:
        """Put the triggers into the application's database, or bring them up to date, and then ring for every row.

        Safe to call at every start, and after `CaptureMissing`. The user must own the tables and be allowed to make a
        schema in the database.

        Raises:
            SchemaMismatch: a configured table or column does not exist.
            PeerError: the database cannot be written now.
        """
        async with self._once() as connection:
            await capture.install(connection, self._catalog)
            return await capture.status(connection, self._catalog, None)

    async def remove(self) -> None:
        """Take everything of idsync out of the application's database; safe to call twice."""
        async with self._once() as connection:
            await capture.remove(connection, self._catalog)

    async def status(self, after: Position | None = None) -> CaptureStatus:
        """Say how capture stands, and how many rows wait past a position."""
        async with self._once() as connection:
            return await capture.status(connection, self._catalog, after)

    async def held_fields(self) -> dict[str, frozenset[str]]:
        """Kind → the canonical fields that the tables hold now; optional columns may be missing.

        Raises:
            SchemaMismatch: a configured table or column does not exist.
            PeerError: the database cannot be read now.
        """
        async with self._once() as connection:
            tables = await self._catalog.tables(connection)
        return {kind: frozenset(column.field for column in table.columns) for kind, table in tables.items()}

    @asynccontextmanager
    async def _once(self) -> AsyncIterator[Connection]:
        """Have a connection for a task that comes rarely."""
        session = self._sessions["admin"]
        try:
            async with session.use() as connection:
                yield connection
        finally:
            await session.close()

    async def close(self) -> None:
        """Finish what has begun and close the connections."""
        await self.source.close()
        for session in self._sessions.values():
            await session.close()
