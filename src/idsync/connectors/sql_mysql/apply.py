"""One write as it is made, inside an open transaction: write, read back, leave one row in the outbox.

No trigger may change the table that it is on, so one statement of ours leaves one row there, also where a trigger of
the application has changed what was written.
"""

import secrets
from typing import Final

import asyncmy

from idsync.connectors.sql_mysql.capture import Catalog
from idsync.connectors.sql_mysql.database import Connection, number_of
from idsync.connectors.sql_mysql.rows import equals, is_encodable, key_value, quoted, value_of
from idsync.connectors.tables.mapping import SqlValue
from idsync.connectors.tables.plan import Change, Refusal, Verb, effect_of, refused
from idsync.connectors.tables.planner import Planner
from idsync.connectors.tables.rows import id_of
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.untangle import Contended
from idsync.model.delivery import Effect, WriteResult
from idsync.model.entity import Action
from idsync.model.values import ExternalId
from idsync.ports import Write

CODES: Final = {
    1048: "not_null",
    1263: "not_null",
    1364: "not_null",
    1062: "unique",
    1169: "unique",
    1586: "unique",
    1859: "unique",
    1216: "foreign_key",
    1217: "foreign_key",
    1451: "foreign_key",
    1452: "foreign_key",
    1761: "foreign_key",
    1762: "foreign_key",
    3819: "check",
    4025: "check",
    1118: "too_big",
    1406: "too_big",
    1264: "datatype",
    1265: "datatype",
    1292: "datatype",
    1366: "datatype",
    1411: "datatype",
    1690: "datatype",
    3140: "datatype",
    1644: "trigger",
}
"""Number of an error → why the database refuses what a row holds; all others are about the database."""
OTHERS: Final = {"22": "datatype", "23": "constraint", "45": "trigger"}
"""How an SQLSTATE begins that is about what a row holds, where its number is not known."""
DEADLOCKS: Final = (1213, 1020)
"""The whole transaction is undone."""
LOCK_WAIT: Final = 1205
NO_SAVEPOINT: Final = 1305
PACKET_SPARE_BYTES: Final = 65_536
"""What a statement takes beside its values."""
ESCAPED: Final = 2
"""How many bytes of a statement one byte of a value may take."""


class Transaction:
    """An open transaction in the application's database, which the caller begins and ends."""

    def __init__(self, connection: Connection, catalog: Catalog, planner: Planner, limits: tuple[int, int]) -> None:
        """Write on the connection what the planner plans.

        Args:
            connection: in a transaction.
            catalog: of the peer.
            planner: in the same transaction.
            limits: a number that the outbox has given before, and how many bytes a statement may have.
        """
        self._connection = connection
        self._catalog = catalog
        self._planner = planner
        self._told, self._statement_bytes_max = limits
        """The greatest number that this transaction has given to the outbox and we have read."""

    async def plan(self, write: Write) -> Change | WriteResult:
        """Say what a write has to change, or why nothing."""
        return await self._planner.plan(write)

    async def apply(self, write: Write) -> WriteResult:
        """Plan and carry out one write; it has its whole effect or none.

        Raises:
            Contended: somebody else has the row; nothing of the write was done.
        """
        await self.begin("one_write")
        try:
            change = await self.plan(write)
            result = await self._write(change) if isinstance(change, Change) else change
        except (asyncmy.MySQLError, Refusal) as error:
            return await self._undo_refused(write, error)
        await self.keep("one_write")
        return result

    async def carry_out(self, change: Change) -> WriteResult:
        """Write one change that is planned, in a savepoint, and read back what the peer made of it.

        Raises:
            Contended: as `apply`.
        """
        await self.begin("one_write")
        try:
            result = await self._write(change)
        except (asyncmy.MySQLError, Refusal) as error:
            return await self._undo_refused(change.write, error)
        await self.keep("one_write")
        return result

    async def vacate(self, change: Change) -> bool:
        """Give up a row's unique texts for a moment, so that other rows of the batch can take them; nobody is told.

        Returns:
            Whether the table let go of them.
        """
        table, external_id = change.table, change.external_id
        unique = {name for one in table.uniques for name in one.names}
        texts = [name for name, value in change.values.items() if name in unique and isinstance(value, str)]
        if change.verb is not Verb.UPDATE or not texts or external_id is None:
            return True
        await self.begin("one_write")
        try:
            await self._announce(change.write)
            await self._update(table, external_id, {name: f"{secrets.token_hex(16)}@vacated.invalid" for name in texts})
            told = [row for row, _ in await self._own_rows(change.write)]
            await self._connection.execute(self._catalog.sql("delete_taken"), str(told))
        except (asyncmy.MySQLError, Refusal) as error:
            await self._undo_refused(change.write, error)
            return False
        await self.keep("one_write")
        return True

    async def begin(self, savepoint: str) -> None:
        """Begin a part that can be undone."""
        await self._connection.execute(f"SAVEPOINT {savepoint}")

    async def keep(self, savepoint: str) -> None:
        """Make the part one with the transaction."""
        await self._connection.execute(f"RELEASE SAVEPOINT {savepoint}")

    async def undo(self, savepoint: str) -> None:
        """Undo the part."""
        await self._connection.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")

    async def _undo_refused(self, write: Write, error: asyncmy.MySQLError | Refusal) -> WriteResult:
        """Answer a refusal; whatever else the database says is not about this write alone."""
        number = 0 if isinstance(error, Refusal) else number_of(error)
        if number in DEADLOCKS:
            raise Contended(is_deadlock=True) from error
        code = code_of(error)
        if code is None and number != LOCK_WAIT:
            raise error
        try:
            await self.undo("one_write")
        except asyncmy.MySQLError as gone:
            if number_of(gone) != NO_SAVEPOINT:
                raise
            raise Contended(is_deadlock=True) from error
        if code is None:
            raise Contended(is_deadlock=False) from error
        return refused(write, code)

    async def _write(self, change: Change) -> WriteResult:
        write, table = change.write, change.table
        await self._announce(write)
        external_id, number = await self._carry(change)
        found = await self._planner.find(table, table.key, external_id)
        if found is None and write.action is not Action.REMOVE:
            raise Refusal("ignored")
        return await self._planner.result(write, table, Effect.WRITTEN, found, number)

    async def _carry(self, change: Change) -> tuple[ExternalId, int | None]:
        """Run the one statement that matters; give the key of the row it was about, and the number of what was told."""
        write, table, external_id = change.write, change.table, change.external_id
        if change.verb is Verb.INSERT or external_id is None:
            return await self._insert(write, table, change.values)
        if change.verb is Verb.UPDATE:
            await self._update(table, external_id, change.values)
            await self._end_others(change, external_id)
        else:
            await self._change("delete_rows", table, external_id)
        if write.action is Action.REMOVE:
            await self._planner.forget(write)
        told = await self._own_rows(write)
        return external_id, told[-1][0] if told else None

    async def _insert(self, write: Write, table: Table, values: dict[str, SqlValue]) -> tuple[ExternalId, int]:
        """Make a row and learn its key from what its trigger told: however the database has made it."""
        sql = self._catalog.sql(
            "insert_row",
            table=quoted(table.name),
            columns=", ".join(map(quoted, values)),
            values=", ".join("%s" for _ in values),
        )
        await self._connection.execute(sql, *self._sendable(table, values))
        told = await self._own_rows(write)
        external_id = id_of(told[-1][1]) if told else None
        if external_id is None:
            raise Refusal("ignored")
        receipt = (effect_of(write), external_id, external_id)
        await self._connection.execute(self._catalog.sql("put_receipt"), *receipt)
        return external_id, told[-1][0]

    async def _update(self, table: Table, external_id: ExternalId, values: dict[str, SqlValue]) -> None:
        assignments = ", ".join(f"r.{quoted(name)} = %s" for name in values)
        await self._change("update_row", table, external_id, assignments, *self._sendable(table, values))

    async def _change(
        self, verb: str, table: Table, external_id: ExternalId, assignments: str = "", *values: SqlValue
    ) -> None:
        condition = equals("r", table.key, table.types[table.key])
        sql = self._catalog.sql(verb, table=quoted(table.name), condition=condition, assignments=assignments)
        key = key_value(table.types[table.key], external_id)
        if await self._connection.execute(sql, *values, key, external_id) == 0:
            raise Refusal("ignored")

    async def _end_others(self, change: Change, external_id: ExternalId) -> None:
        """Remove what a ban ends: the sessions of who is banned."""
        banned = change.table.column_of("banned")
        if banned is None or banned.name not in change.values or change.write.fields.get("banned") is not True:
            return
        for table, condition in change.table.ends:
            sql = self._catalog.sql("delete_rows", table=table, condition=condition)
            await self._connection.execute(sql, external_id, external_id)

    async def _announce(self, write: Write) -> None:
        """Say whose write it is; the triggers put it into what they tell."""
        await self._connection.execute("SET @idsync_intent = %s", write.intent)

    def _sendable(self, table: Table, values: dict[str, SqlValue]) -> list[SqlValue]:
        """Write values as MySQL reads them.

        Raises:
            Refusal: they cannot be sent: the server ends a connection that sends more than it takes.
        """
        if not all(is_encodable(value) for value in values.values()):
            raise Refusal("unfit")
        size_bytes = sum(len(value.encode()) for value in values.values() if isinstance(value, str))
        if ESCAPED * size_bytes + PACKET_SPARE_BYTES > self._statement_bytes_max:
            raise Refusal("too_big")
        return [value_of(value, table.types[name]) for name, value in values.items()]

    async def _own_rows(self, write: Write) -> list[tuple[int, bytes]]:
        """Give the numbers and the key of what the write has told the outbox of its row."""
        sql = self._catalog.sql("own_rows")
        rows = [(int(seq), key) for seq, key in await self._connection.fetch(sql, self._told, write.intent, write.kind)]
        self._told = max((seq for seq, _ in rows), default=self._told)
        return rows


def code_of(error: asyncmy.MySQLError | Refusal) -> str | None:
    """Name a refusal in one short word: the database's own text quotes values. None: it is none."""
    if isinstance(error, Refusal):
        return error.code
    state = getattr(error, "sqlstate", None) or ""
    return CODES.get(number_of(error)) or OTHERS.get(state[:2])
