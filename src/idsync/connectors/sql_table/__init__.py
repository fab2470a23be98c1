"""Tables of an SQLite file as a peer: triggers write every change to an outbox in the same file.

The application needs no change. Its file is shared with it by `database`; what is put into it is in `capture`.
"""

from collections.abc import Sequence
from pathlib import Path

import apsw

from idsync.connectors.sql_table import capture
from idsync.connectors.sql_table.capture import Catalog
from idsync.connectors.sql_table.database import Database
from idsync.connectors.sql_table.reader import SqliteReader
from idsync.connectors.sql_table.source import SqliteSource
from idsync.connectors.sql_table.target import SqliteTarget
from idsync.connectors.tables.captured import CaptureState, CaptureStatus, Pace
from idsync.connectors.tables.mapping import Encoding, IdStyle, TableMapping
from idsync.model.plan import Position
from idsync.model.values import PeerName
from idsync.ports import Clock

__all__ = ["CaptureState", "CaptureStatus", "Encoding", "IdStyle", "Pace", "SqlitePeer", "TableMapping"]


class SqlitePeer:
    """One peer whose identities are rows of an SQLite file. Opens the file when it is first needed.

    Attributes:
        source: reads the outbox.
        reader: reads rows.
        target: writes rows.
    """

    def __init__(
        self, name: PeerName, path: Path, mappings: Sequence[TableMapping], clock: Clock, pace: Pace | None = None
    ) -> None:
        """Keep one connection and one thread for all three halves."""
        self._database = Database(path, pace or Pace())
        self._catalog = Catalog(name, mappings)
        self.source = SqliteSource(self._database, self._catalog, clock)
        self.reader = SqliteReader(self._database, self._catalog, clock)
        self.target = SqliteTarget(self._database, self._catalog, clock)

    async def install(self) -> CaptureStatus:
        """Put the triggers into the application's database, or bring them up to date, and then ring for every row.

        Safe to call at every start, and after `CaptureMissing`.

        Raises:
            SchemaMismatch: a configured table or column does not exist.
            PeerError: the database cannot be written now, or is captured for another peer.
        """

        def run(connection: apsw.Connection) -> CaptureStatus:
            capture.install(connection, self._catalog, self._database.pace)
            return capture.status(connection, self._catalog, None)

        return await self._database.run(run)

    async def remove(self) -> None:
        """Take everything of idsync out of the application's database; safe to call twice."""
        await self._database.run(lambda connection: capture.remove(connection, self._database.pace))

    async def status(self, after: Position | None = None) -> CaptureStatus:
        """Say how capture stands, and how many rows wait past a position."""
        return await self._database.run(lambda connection: capture.status(connection, self._catalog, after))

    async def held_fields(self) -> dict[str, frozenset[str]]:
        """Kind → the canonical fields that the tables hold now; optional columns may be missing.

        Raises:
            SchemaMismatch: a configured table or column does not exist.
            PeerError: the database cannot be read now.
        """
        tables = await self._database.run(self._catalog.tables)
        return {kind: frozenset(column.field for column in table.columns) for kind, table in tables.items()}

    async def close(self) -> None:
        """Finish what has begun and release the file."""
        await self._database.close()
