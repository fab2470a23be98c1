"""Tables of a MySQL (from 8.0) or MariaDB (from 10.6) as a peer: triggers write every change to an outbox in it.

The application needs no change. What is put into its database is in `capture`; how the outbox is read without losing or
reordering anything is in `source`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from idsync.connectors.sql_mysql import capture
from idsync.connectors.sql_mysql.capture import Catalog
from idsync.connectors.sql_mysql.database import Connection, Session, Watch
from idsync.connectors.sql_mysql.reader import MysqlReader
from idsync.connectors.sql_mysql.source import MysqlSource, taken_by
from idsync.connectors.sql_mysql.target import MysqlTarget
from idsync.connectors.tables.captured import CaptureStatus, Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.plan import Position
from idsync.model.values import PeerName
from idsync.ports import Clock

__all__ = ["MysqlPeer"]

LOOK_LOCK_S: Final = 1.0
"""A look that waits for somebody keeps every other look waiting."""


class MysqlPeer:
    """One peer whose identities are rows of a MySQL or MariaDB database. Connects when it is first needed.

    Attributes:
        source: reads the outbox.
        reader: reads rows.
        target: writes rows.
    """

    def __init__(
        self, name: PeerName, url: str, mappings: Sequence[TableMapping], clock: Clock, pace: Pace | None = None
    ) -> None:
        """Keep a connection for each half."""
        pace = pace or Pace()
        self._sessions = {
            "source": Session(name, url, pace.busy_timeout_s),
            "reader": Session(name, url, LOOK_LOCK_S),
            "target": Session(name, url, pace.busy_timeout_s),
            "admin": Session(name, url, pace.busy_timeout_s),
        }
        watch = Watch(pace)
        self._catalog = Catalog(name, mappings)
        self.source = MysqlSource(self._sessions["source"], self._catalog, watch, clock)
        self.reader = MysqlReader(self._sessions["reader"], self._catalog, watch, clock)
        self.target = MysqlTarget(self._sessions["target"], self._catalog, watch, clock, pace)

    async def install(self) -> CaptureStatus:
        """Put the triggers into the application's database, or bring them up to date, and then ring for every row.

        Safe to call at every start, and after `CaptureMissing`. The user needs SELECT, INSERT, UPDATE, DELETE, CREATE,
        DROP and TRIGGER on the database.

        Raises:
            SchemaMismatch: a configured table or column does not exist.
            PeerError: the database cannot be written now.
        """
        async with self._once() as connection:
            await capture.install(connection, self._catalog)
            return await self._status(connection, None)

    async def remove(self) -> None:
        """Take everything of idsync out of the application's database; safe to call twice."""
        async with self._once() as connection:
            await capture.remove(connection, self._catalog)

    async def status(self, after: Position | None = None) -> CaptureStatus:
        """Say how capture stands, and how many rows wait past a position."""
        async with self._once() as connection:
            return await self._status(connection, after)

    async def held_fields(self) -> dict[str, frozenset[str]]:
        """Kind → the canonical fields that the tables hold now; optional columns may be missing.

        Raises:
            SchemaMismatch: a configured table or column does not exist.
            PeerError: the database cannot be read now.
        """
        async with self._once() as connection:
            tables = await self._catalog.tables(connection)
        return {kind: frozenset(column.field for column in table.columns) for kind, table in tables.items()}

    async def close(self) -> None:
        """Finish what has begun and close the connections."""
        for session in self._sessions.values():
            await session.close()

    async def _status(self, connection: Connection, after: Position | None) -> CaptureStatus:
        return await capture.status(connection, self._catalog, lambda generation: taken_by(after, generation))

    @asynccontextmanager
    async def _once(self) -> AsyncIterator[Connection]:
        """Have a connection for a task that comes rarely."""
        session = self._sessions["admin"]
        try:
            async with session.use() as connection:
                yield connection
        finally:
            await session.close()
