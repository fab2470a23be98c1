"""The incoming half: many writes in few short transactions of the application's own database.

Each write has its whole effect or none. Two that swap a unique value are untangled at the end.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import apsw

from idsync import crash
from idsync.connectors.sql_table.apply import REFUSALS, RolledBack, Transaction, code_of
from idsync.connectors.sql_table.capture import Catalog
from idsync.connectors.sql_table.database import Database, give_way, write_transaction
from idsync.connectors.sql_table.plan import Planner
from idsync.connectors.tables.plan import Change, new_id, refused
from idsync.connectors.tables.untangle import knots_of
from idsync.model.delivery import Effect, WriteResult
from idsync.model.values import ExternalId
from idsync.ports import Clock, Write

TRANSACTION_WRITES_MAX: Final = 200


class SqliteTarget:
    """A Target over the mapped tables of one SQLite file."""

    def __init__(self, database: Database, catalog: Catalog, clock: Clock) -> None:
        """Share the database's one connection and what is known of its schema."""
        self._database = database
        self._catalog = catalog
        self._clock = clock

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Carry out the writes, each by itself; the results come in the same order.

        Refusals: `unique`, `not_null`, `check`, `foreign_key`, `trigger`, `datatype`, `too_big`: the database's own
        rules. `unfit`: the column cannot hold the value. `unmapped`: there is no such table or column. `ambiguous`: the
        key or the link names two rows. `linked`: the row belongs to another identity. `ignored`: a trigger of the
        application did not let the row be written.

        Raises:
            CaptureMissing: the triggers are not what they should be; nothing was written.
            PeerError: the database cannot be written now; what was committed before stays and is known by its receipts.
        """
        return await self._database.run(lambda connection: self._write(connection, writes))

    def choose_id(self, kind: str) -> ExternalId | None:
        """Make an id where keys are texts that the database does not make itself; None before the first look at it."""
        table = self._catalog.known(kind)
        return None if table is None or table.has_own_keys else new_id(table.id_style)

    def _write(self, connection: apsw.Connection, writes: Sequence[Write]) -> list[WriteResult]:
        results: list[WriteResult] = []
        while len(results) < len(writes):
            began_at = time.monotonic()
            results += self._write_some(connection, writes[len(results) :][:TRANSACTION_WRITES_MAX])
            if len(results) < len(writes):
                give_way(began_at, self._database.pace)
        for members in knots_of(results):
            untangled = self._untangle(connection, [writes[index] for index in members])
            for index, result in zip(members, untangled, strict=False):
                results[index] = result
        return results

    def _write_some(self, connection: apsw.Connection, writes: Sequence[Write]) -> list[WriteResult]:
        """Carry out the first of the writes, as many as fit into one short transaction.

        Where one of them makes the application end the whole transaction, or forbids its commit, they are halved until
        it stands alone.
        """
        ends_at = time.monotonic() + self._database.pace.slice_s
        results: list[WriteResult] = []
        try:
            with self._transaction(connection) as transaction:
                while len(results) < len(writes) and (not results or time.monotonic() < ends_at):
                    results.append(transaction.apply(writes[len(results)]))
                    crash.point("target.in_transaction")
        except (RolledBack, *REFUSALS) as error:
            if len(writes) == 1:
                return [refused(writes[0], code_of(error))]
            return self._write_some(connection, writes[: len(writes) // 2])
        return results

    def _untangle(self, connection: apsw.Connection, writes: Sequence[Write]) -> list[WriteResult]:
        """Try refused writes once more, together; nothing where even that ends the transaction."""
        try:
            with self._transaction(connection) as transaction:
                return untangle(transaction, writes)
        except (RolledBack, *REFUSALS):
            return []

    @contextmanager
    def _transaction(self, connection: apsw.Connection) -> Iterator[Transaction]:
        """Write in one transaction, named as ours while it is open."""
        with write_transaction(connection):
            capture, tables = self._catalog.capture(connection), self._catalog.tables(connection)
            planner = Planner(connection, capture, tables, self._clock.now())
            transaction = Transaction(connection, planner)
            yield transaction
            transaction.end()
            crash.point("target.before_commit")
        crash.point("target.written")


def untangle(transaction: Transaction, writes: Sequence[Write]) -> list[WriteResult]:
    """Carry out writes that stand in each other's way: all give up their unique values, then each takes its new one.

    Those that fail even so are refused, and the others are tried without them.
    """
    results: dict[int, WriteResult] = {}
    open_changes: dict[int, Change] = {}
    for index, write in enumerate(writes):
        planned = transaction.plan(write)
        if isinstance(planned, Change):
            open_changes[index] = planned
        else:
            results[index] = planned
    while open_changes:
        done = _carry_out_together(transaction, open_changes)
        failed = {index: result for index, result in done.items() if result.effect is Effect.REFUSED}
        results |= done
        open_changes = {index: change for index, change in open_changes.items() if failed and index not in failed}
    return [results[index] for index in range(len(writes))]


def _carry_out_together(transaction: Transaction, changes: Mapping[int, Change]) -> dict[int, WriteResult]:
    """Carry out all or nothing: where one is refused, the savepoint is undone."""
    transaction.begin("knot")
    results: dict[int, WriteResult] = {}
    for index, change in changes.items():
        if len(changes) > 1 and not transaction.vacate(change):
            results[index] = refused(change.write, "unique")
    if not results:
        results = {index: transaction.carry_out(change) for index, change in changes.items()}
    if any(result.effect is Effect.REFUSED for result in results.values()):
        transaction.undo("knot")
    else:
        transaction.keep("knot")
    return results
