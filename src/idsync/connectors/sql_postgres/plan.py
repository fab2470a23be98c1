"""What planning a write needs of PostgreSQL: rows found and locked, numbers, receipts; in the caller's transaction."""

from idsync.connectors.sql_postgres.capture import Catalog
from idsync.connectors.sql_postgres.database import Connection
from idsync.connectors.sql_postgres.reader import draw_number, find_by
from idsync.connectors.tables.rows import Found
from idsync.connectors.tables.shape import Table
from idsync.model.values import ExternalId


class PostgresGround:
    """A Ground in an open transaction."""

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        """The transaction is the caller's."""
        self._connection = connection
        self._catalog = catalog

    async def find(self, table: Table, column: str, value: ExternalId) -> list[Found]:
        """Find the rows whose column holds an id, and lock them."""
        # Who inserts a row that points to this one need not wait for us, as with FOR UPDATE.
        return await find_by(self._connection, table, column, value, "FOR NO KEY UPDATE")

    async def draw_number(self) -> int:
        """Take the next number of the outbox."""
        return await draw_number(self._connection, self._catalog)

    async def read_receipt(self, effect: str) -> str | None:
        """Say which identity a create made."""
        found = await self._connection.fetchval(self._catalog.sql("read_receipt"), effect)
        return None if found is None else str(found)

    async def drop_receipt(self, effect: str) -> None:
        """Give up what a create made."""
        await self._connection.execute(self._catalog.sql("drop_receipt"), effect)
