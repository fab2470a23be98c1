"""The incoming half: many writes in few short transactions of the application's own database.

Each write has its whole effect or none. Two that swap a unique value are untangled at the end.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from idsync import crash
from idsync.connectors.sql_postgres.apply import Transaction, code_of, is_refusal
from idsync.connectors.sql_postgres.capture import Catalog, View
from idsync.connectors.sql_postgres.database import Connection, Session, Watch, transaction
from idsync.connectors.sql_postgres.plan import PostgresGround
from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.plan import new_id, refused
from idsync.connectors.tables.planner import Planner
from idsync.connectors.tables.untangle import DEADLOCKS_MAX, Contended, later, untangle, write_batch
from idsync.model.delivery import WriteResult
from idsync.model.values import ExternalId
from idsync.ports import Clock, Write


class PostgresTarget:
    """A Target over the mapped tables of one PostgreSQL database."""

    def __init__(self, session: Session, catalog: Catalog, watch: Watch, clock: Clock, pace: Pace) -> None:
        """Write on a connection of its own."""
        self._session = session
        self._catalog = catalog
        self._watch = watch
        self._clock = clock
        self._pace = pace

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Carry out the writes, each by itself; the results come in the same order.

        Refusals: `unique`, `not_null`, `check`, `foreign_key`, `trigger`, `datatype`, `too_big`, `constraint`: the
        database's own rules. `unfit`: the column cannot hold the value. `unmapped`: there is no such table or column.
        `ambiguous`: the key or the link names two rows. `linked`: the row belongs to another identity. `ignored`: a
        trigger of the application did not let the row be written. A write whose row somebody holds is `UNAVAILABLE`
        with `locked`, and what the batch had no time for with `busy`.

        Raises:
            CaptureMissing: the triggers are not what they should be; nothing was written.
            PeerError: the database cannot be written now; what was committed before stays and is known by its receipts.
        """
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            some, together = partial(self._write_some, connection, view), partial(self._untangle, connection, view)
            results = await write_batch(writes, some, together)
        self._watch.ring()
        return results

    def choose_id(self, kind: str) -> ExternalId | None:
        """Make an id where keys are texts that the database does not make itself; None before the first look at it."""
        table = self._catalog.known(kind)
        return None if table is None or table.has_own_keys else new_id(table.id_style)

    async def _write_some(self, connection: Connection, view: View, writes: Sequence[Write]) -> list[WriteResult]:
        """Carry out the first of the writes, as many as fit into one short transaction.

        It ends before a write that somebody is in the way of: whoever that is may be waiting for one of ours. Where a
        rule of the application forbids the commit, the writes are halved until the one it is about stands alone.
        """
        for _ in range(DEADLOCKS_MAX):
            results: list[WriteResult] = []
            try:
                async with self._transaction(connection, view) as transaction:
                    await self._fill(transaction, writes, results)
            except asyncpg.PostgresError as error:
                if not is_refusal(error):
                    raise
                if len(writes) == 1:
                    return [refused(writes[0], code_of(error))]
                return await self._write_some(connection, view, writes[: len(writes) // 2])
            if results:
                return results
        return [later(writes[0], "locked")]

    async def _fill(self, transaction: Transaction, writes: Sequence[Write], results: list[WriteResult]) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._pace.slice_s
        while len(results) < len(writes) and (not results or loop.time() < ends_at):
            try:
                results.append(await transaction.apply(writes[len(results)]))
            except Contended as error:
                if not results and not error.is_deadlock:
                    results.append(later(writes[0], "locked"))
                return
            crash.point("target.in_transaction")

    async def _untangle(self, connection: Connection, view: View, writes: Sequence[Write]) -> list[WriteResult]:
        """Try refused writes once more, together; nothing where even that is in somebody's way."""
        try:
            async with self._transaction(connection, view) as transaction:
                return await untangle(transaction, writes)
        except Contended:
            return []
        except asyncpg.PostgresError as error:
            if is_refusal(error):
                return []
            raise

    @asynccontextmanager
    async def _transaction(self, connection: Connection, view: View) -> AsyncIterator[Transaction]:
        """Write in one transaction. What the application defers to the commit is checked with each write instead."""
        async with transaction(connection):
            await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            ground = PostgresGround(connection, self._catalog)
            planner = Planner(ground, view.capture, view.tables, self._clock.now())
            yield Transaction(connection, self._catalog, planner)
            crash.point("target.before_commit")
        crash.point("target.written")
