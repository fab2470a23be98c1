"""One write as it is made, inside an open transaction: write, read back, leave one row in the outbox."""

import secrets
from typing import Final

import apsw

from idsync.connectors.sql_table.capture import last_number
from idsync.connectors.sql_table.database import statement
from idsync.connectors.sql_table.plan import Planner
from idsync.connectors.sql_table.reader import key_values
from idsync.connectors.sql_table.schema import BINARY
from idsync.connectors.tables.mapping import SqlValue
from idsync.connectors.tables.plan import Change, Refusal, Verb, effect_of, refused
from idsync.connectors.tables.rows import id_of
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.text import quoted
from idsync.model.delivery import Effect, WriteResult
from idsync.model.entity import Action
from idsync.model.values import ExternalId
from idsync.ports import Write

CODES: Final = {
    apsw.SQLITE_CONSTRAINT_UNIQUE: "unique",
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY: "unique",
    apsw.SQLITE_CONSTRAINT_ROWID: "unique",
    apsw.SQLITE_CONSTRAINT_NOTNULL: "not_null",
    apsw.SQLITE_CONSTRAINT_CHECK: "check",
    apsw.SQLITE_CONSTRAINT_FOREIGNKEY: "foreign_key",
    apsw.SQLITE_CONSTRAINT_TRIGGER: "trigger",
    apsw.SQLITE_CONSTRAINT_DATATYPE: "datatype",
}
REFUSALS: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError)
"""What SQLite raises for a row's content; everything else is about the database."""


class RolledBack(Exception):
    """A rule of the application ended the transaction; what was written in it before is undone too."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Transaction:
    """An open write transaction in the application's file, which the caller begins and ends."""

    def __init__(self, connection: apsw.Connection, planner: Planner) -> None:
        """Write on the connection what the planner plans."""
        self._connection = connection
        self._planner = planner

    def plan(self, write: Write) -> Change | WriteResult:
        """Say what a write has to change, or why nothing."""
        return self._planner.plan(write)

    def apply(self, write: Write) -> WriteResult:
        """Plan and carry out one write; it has its whole effect or none.

        Raises:
            RolledBack: the transaction is over.
        """
        change = self.plan(write)
        return self.carry_out(change) if isinstance(change, Change) else change

    def carry_out(self, change: Change) -> WriteResult:
        """Write one change, in a savepoint, and read back what the peer made of it.

        Raises:
            RolledBack: the transaction is over.
        """
        self.begin("one_write")
        try:
            result = self._write(change)
        except (*REFUSALS, Refusal) as error:
            self._undo_refused("one_write", error)
            return refused(change.write, code_of(error))
        self.keep("one_write")
        return result

    def vacate(self, change: Change) -> bool:
        """Give up a row's unique texts for a moment, so that other rows of the batch can take them; nobody is told.

        Returns:
            Whether the table let go of them.

        Raises:
            RolledBack: the transaction is over.
        """
        table, external_id = change.table, change.external_id
        unique = {name for one in table.uniques for name in one.names}
        texts = [name for name, value in change.values.items() if name in unique and isinstance(value, str)]
        if change.verb is not Verb.UPDATE or not texts or external_id is None:
            return True
        before = last_number(self._connection)
        self.begin("one_vacancy")
        try:
            self._announce(change.write.intent)
            self._update(table, external_id, {name: f"{secrets.token_hex(16)}@vacated.invalid" for name in texts})
        except (*REFUSALS, Refusal) as error:
            self._undo_refused("one_vacancy", error)
            return False
        self._connection.execute(statement("forget_rows"), (before, table.kind, external_id))
        self.keep("one_vacancy")
        return True

    def begin(self, savepoint: str) -> None:
        """Begin a part that can be undone."""
        self._connection.execute(f"SAVEPOINT {savepoint}")

    def keep(self, savepoint: str) -> None:
        """Make the part one with the transaction."""
        self._connection.execute(f"RELEASE {savepoint}")

    def undo(self, savepoint: str) -> None:
        """Undo the part."""
        self._connection.execute(f"ROLLBACK TO {savepoint}")
        self.keep(savepoint)

    def end(self) -> None:
        """Take our name away, so that the application's next statement is its own again."""
        self._connection.execute("DELETE FROM idsync_writer")

    def _undo_refused(self, savepoint: str, error: apsw.Error | Refusal) -> None:
        if not self._connection.in_transaction:
            raise RolledBack(code_of(error)) from error
        self.undo(savepoint)

    def _write(self, change: Change) -> WriteResult:
        write, table = change.write, change.table
        before = last_number(self._connection)
        self._announce(write.intent)
        external_id = self._carry(change)
        if last_number(self._connection) > before + 1:
            self._settle(change, (before, table.kind, external_id))
        found = self._planner.find(table, table.key, external_id)
        if found is None and write.action is not Action.REMOVE:
            raise Refusal("ignored")
        return self._planner.result(write, table, Effect.WRITTEN, found)

    def _settle(self, change: Change, row: tuple[int, str, str]) -> None:
        """Leave one outbox row for one write, also where triggers of the application have written more of them."""
        self._connection.execute(statement("settle_rows"), row)
        if change.is_birth:
            self._connection.execute(statement("settle_created"), row)

    def _carry(self, change: Change) -> ExternalId:
        """Run the one statement that matters, and give the key of the row it was about."""
        write, table, external_id = change.write, change.table, change.external_id
        if change.verb is Verb.INSERT or external_id is None:
            external_id = self._insert(table, change.values)
            receipt = (effect_of(write), external_id)
            self._connection.execute("INSERT OR REPLACE INTO idsync_receipts VALUES (?, ?)", receipt)
        elif change.verb is Verb.UPDATE:
            self._update(table, external_id, change.values)
            self._end_others(change, external_id)
        else:
            self._change("delete_rows", table, key_values(external_id))
        if write.action is Action.REMOVE:
            self._planner.forget(write)
        return external_id

    def _insert(self, table: Table, values: dict[str, SqlValue]) -> ExternalId:
        sql = statement("insert_row").format(
            table=quoted(table.name),
            columns=", ".join(map(quoted, values)),
            values=", ".join("?" for _ in values),
            key=quoted(table.key),
        )
        rows = self._connection.execute(sql, tuple(values.values())).fetchall()
        external_id = id_of(rows[0][0]) if rows else None
        if external_id is None:
            raise Refusal("ignored")
        return external_id

    def _update(self, table: Table, external_id: ExternalId, values: dict[str, SqlValue]) -> None:
        assignments = ", ".join(f"{quoted(name)} = ?{index}" for index, name in enumerate(values, 3))
        self._change("update_row", table, (*key_values(external_id), *values.values()), assignments)

    def _change(self, verb: str, table: Table, values: tuple[SqlValue, ...], assignments: str = "") -> None:
        sql = statement(verb).format(
            table=quoted(table.name), key=quoted(table.key), collation=table.key_collation, assignments=assignments
        )
        self._connection.execute(sql, values)
        if self._connection.changes() == 0:
            raise Refusal("ignored")

    def _end_others(self, change: Change, external_id: ExternalId) -> None:
        """Remove what a ban ends: the sessions of who is banned."""
        banned = change.table.column_of("banned")
        if banned is None or banned.name not in change.values or change.write.fields.get("banned") is not True:
            return
        for table, column in change.table.ends:
            sql = statement("delete_rows").format(table=quoted(table), key=quoted(column), collation=BINARY)
            self._connection.execute(sql, key_values(external_id))

    def _announce(self, intent: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO idsync_writer (one, origin) VALUES (1, ?)", (intent,))


def code_of(error: apsw.Error | Refusal | RolledBack) -> str:
    """Name a refusal in one short word: SQLite's own text names columns, an application's trigger might name people."""
    match error:
        case Refusal() | RolledBack():
            return error.code
        case apsw.ConstraintError():
            return CODES.get(getattr(error, "extendedresult", 0), "constraint")
        case apsw.MismatchError():
            return "datatype"
        case _:
            return "too_big"
