"""One write as it is made, inside an open transaction: write, read back, leave one row in the outbox."""

import secrets
from typing import Final

import asyncpg

from idsync.connectors.sql_postgres.capture import Catalog
from idsync.connectors.sql_postgres.database import Connection
from idsync.connectors.sql_postgres.rows import equals, is_storable, text_of
from idsync.connectors.sql_postgres.schema import named
from idsync.connectors.tables.mapping import SqlValue
from idsync.connectors.tables.plan import Change, Refusal, Verb, effect_of, refused
from idsync.connectors.tables.planner import Planner
from idsync.connectors.tables.rows import id_of
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.text import literal, quoted
from idsync.connectors.tables.untangle import Contended
from idsync.model.delivery import Effect, WriteResult
from idsync.model.entity import Action
from idsync.model.values import ExternalId
from idsync.ports import Write

CODES: Final = {
    "23502": "not_null",
    "23503": "foreign_key",
    "23001": "foreign_key",
    "23505": "unique",
    "23P01": "unique",
    "23514": "check",
    "44000": "check",
    "22001": "too_big",
    "54": "too_big",
    "22021": "unfit",
    "22P05": "unfit",
    "22": "datatype",
    "23": "constraint",
}
"""SQLSTATE, or how it begins → why the database refuses what a row holds. The longest that fits counts."""
OTHERS: Final = ("0A", "08", "25", "26", "28", "2D", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "XX")
"""Classes of SQLSTATE that are about the database; any that is not known is one that the application made up."""
WAITING: Final = ("40P01", "40001", "55P03")
"""Somebody else's transaction was in the way."""


class Transaction:
    """An open transaction in the application's database, which the caller begins and ends."""

    def __init__(self, connection: Connection, catalog: Catalog, planner: Planner) -> None:
        """Write on the connection what the planner plans."""
        self._connection = connection
        self._catalog = catalog
        self._planner = planner
        self._told = 0
        """The greatest number that this transaction has given to the outbox and we have read."""

    async def plan(self, write: Write) -> Change | WriteResult:
        """Say what a write has to change, or why nothing."""
        return await self._planner.plan(write)

    async def apply(self, write: Write) -> WriteResult:
        """Plan and carry out one write; it has its whole effect or none.

        Raises:
            Contended: somebody else has the row; nothing of the write was done.
        """
        await self._begin_write(write.intent)
        try:
            change = await self.plan(write)
            result = await self._write(change) if isinstance(change, Change) else change
        except (asyncpg.PostgresError, Refusal) as error:
            return await self._undo_refused(write, error)
        await self.keep("one_write")
        return result

    async def carry_out(self, change: Change) -> WriteResult:
        """Write one change that is planned, in a savepoint, and read back what the peer made of it.

        Raises:
            Contended: as `apply`.
        """
        await self._begin_write(change.write.intent)
        try:
            result = await self._write(change)
        except (asyncpg.PostgresError, Refusal) as error:
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
        await self._begin_write(change.write.intent)
        try:
            blanks: dict[str, SqlValue] = {name: f"{secrets.token_hex(16)}@vacated.invalid" for name in texts}
            await self._update(table, external_id, blanks)
            await self._forget_rows(await self._own_rows(table, external_id))
        except (asyncpg.PostgresError, Refusal) as error:
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
        await self._connection.execute(f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}")

    async def _begin_write(self, intent: str) -> None:
        announce = self._catalog.sql("announce", intent=literal(intent))
        await self._connection.execute(f"SAVEPOINT one_write; {announce}")

    async def _undo_refused(self, write: Write, error: asyncpg.PostgresError | Refusal) -> WriteResult:
        """Answer a refusal; whatever else the database says is not about this write alone."""
        if isinstance(error, asyncpg.PostgresError) and error.sqlstate in WAITING:
            await self.undo("one_write")
            raise Contended(is_deadlock=error.sqlstate != "55P03") from error
        if not is_refusal(error):
            raise error
        await self.undo("one_write")
        return refused(write, code_of(error))

    async def _write(self, change: Change) -> WriteResult:
        write, table = change.write, change.table
        external_id = await self._carry(change)
        rows = await self._own_rows(table, external_id)
        if len(rows) > 1:
            await self._forget_rows(rows[:-1])
            if change.is_birth:
                await self._connection.execute(self._catalog.sql("settle_created"), rows[-1])
        found = await self._planner.find(table, table.key, external_id)
        if found is None and write.action is not Action.REMOVE:
            raise Refusal("ignored")
        return await self._planner.result(write, table, Effect.WRITTEN, found, rows[-1] if rows else None)

    async def _carry(self, change: Change) -> ExternalId:
        """Run the one statement that matters, and give the key of the row it was about."""
        write, table, external_id = change.write, change.table, change.external_id
        if change.verb is Verb.INSERT or external_id is None:
            external_id = await self._insert(table, change.values)
            await self._connection.execute(self._catalog.sql("put_receipt"), effect_of(write), external_id)
        elif change.verb is Verb.UPDATE:
            await self._update(table, external_id, change.values)
            await self._end_others(change, external_id)
        else:
            sql = self._catalog.sql("delete_rows", table=named(table), condition=_is_key(table))
            await self._change(sql, external_id)
        if write.action is Action.REMOVE:
            await self._planner.forget(write)
        return external_id

    async def _insert(self, table: Table, values: dict[str, SqlValue]) -> ExternalId:
        sql = self._catalog.sql(
            "insert_row",
            table=named(table),
            columns=", ".join(map(quoted, values)),
            values=", ".join(f"${index}::text::{table.types[name]}" for index, name in enumerate(values, 1)),
            key=quoted(table.key),
        )
        external_id = id_of(await self._connection.fetchval(sql, *_texts_of(values)))
        if external_id is None:
            raise Refusal("ignored")
        return external_id

    async def _update(self, table: Table, external_id: ExternalId, values: dict[str, SqlValue]) -> None:
        assignments = ", ".join(
            f"{quoted(name)} = ${index}::text::{table.types[name]}" for index, name in enumerate(values, 2)
        )
        sql = self._catalog.sql("update_row", table=named(table), assignments=assignments, condition=_is_key(table))
        await self._change(sql, external_id, *_texts_of(values))

    async def _change(self, sql: str, *values: str | None) -> None:
        done = await self._connection.execute(sql, *values)
        if done.endswith(" 0"):
            raise Refusal("ignored")

    async def _end_others(self, change: Change, external_id: ExternalId) -> None:
        """Remove what a ban ends: the sessions of who is banned."""
        banned = change.table.column_of("banned")
        if banned is None or banned.name not in change.values or change.write.fields.get("banned") is not True:
            return
        for table, condition in change.table.ends:
            sql = self._catalog.sql("delete_rows", table=table, condition=condition)
            await self._connection.execute(sql, external_id)

    async def _own_rows(self, table: Table, external_id: ExternalId) -> list[int]:
        """Give the numbers of what the write has told the outbox of its row."""
        found = await self._connection.fetch(self._catalog.sql("own_rows"), self._told, table.kind, external_id)
        rows = [int(row["seq"]) for row in found]
        self._told = max(rows, default=self._told)
        return rows

    async def _forget_rows(self, rows: list[int]) -> None:
        await self._connection.execute(self._catalog.sql("settle_rows"), rows)


def is_refusal(error: asyncpg.PostgresError | Refusal) -> bool:
    """Whether the database, or a rule of the application, refuses what a row holds."""
    return isinstance(error, Refusal) or not (error.sqlstate or "XX").startswith(OTHERS)


def code_of(error: asyncpg.PostgresError | Refusal) -> str:
    """Name a refusal in one short word: the database's own text quotes values."""
    if isinstance(error, Refusal):
        return error.code
    state = error.sqlstate or ""
    fits = [begin for begin in CODES if state.startswith(begin)]
    return CODES[max(fits, key=len)] if fits else "trigger"


def _is_key(table: Table) -> str:
    return equals(table.key, table.types[table.key], "$1")


def _texts_of(values: dict[str, SqlValue]) -> list[str | None]:
    texts = [text_of(value) for value in values.values()]
    if not all(is_storable(text) for text in texts):
        raise Refusal("unfit")
    return texts
