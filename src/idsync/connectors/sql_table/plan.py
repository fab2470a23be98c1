"""One write before it is made: find the row, and say what is to be done about it (DESIGN §5)."""

import apsw

from idsync.connectors.sql_table.capture import last_number
from idsync.connectors.sql_table.reader import find_by
from idsync.connectors.tables.captured import Capture, image_of
from idsync.connectors.tables.plan import (
    Change,
    Refusal,
    effect_of,
    plan_insert,
    plan_remove,
    plan_update,
    refused,
    removed_since,
)
from idsync.connectors.tables.rows import Found, is_gone
from idsync.connectors.tables.shape import Table
from idsync.model.delivery import Effect, WriteResult
from idsync.model.entity import Action
from idsync.model.values import ExternalId, Instant
from idsync.ports import Write


class Planner:
    """Looks at the peer inside an open transaction and plans writes."""

    def __init__(self, connection: apsw.Connection, capture: Capture, tables: dict[str, Table], now: Instant) -> None:
        """The transaction is the caller's."""
        self._connection = connection
        self._capture = capture
        self._tables = tables
        self._now = now

    def plan(self, write: Write) -> Change | WriteResult:
        """Say what has to be done, or why nothing has. Writes nothing, but for a receipt that is spent."""
        table = self._tables.get(write.kind)
        if table is None:
            return refused(write, "unmapped")
        try:
            match write.action:
                case Action.CREATE:
                    return self._plan_create(write, table)
                case Action.UPDATE:
                    return self._plan_update(write, table)
                case Action.REMOVE:
                    return self._plan_remove(write, table)
        except Refusal as refusal:
            return refused(write, refusal.code)

    def find(self, table: Table, column: str, value: ExternalId) -> Found | None:
        """Find the one row whose column holds an id.

        Raises:
            Refusal: there are two.
        """
        rows = find_by(self._connection, table, column, value)
        if len(rows) > 1:
            raise Refusal("ambiguous")
        return rows[0] if rows else None

    def result(self, write: Write, table: Table, effect: Effect, found: Found | None) -> WriteResult:
        """Answer with the image of the row as it is now."""
        number = last_number(self._connection)
        image = image_of(self._capture, table, found, number, self._now) if found is not None else None
        is_removed = write.action is Action.REMOVE and effect is Effect.WRITTEN
        version = self._capture.version(number) if is_removed else None
        return WriteResult(entity=write.entity, effect=effect, image=image, version=version)

    def forget(self, write: Write) -> None:
        """Give up an entity's receipt: its next create makes a new identity."""
        self._connection.execute("DELETE FROM idsync_receipts WHERE effect = ?", (effect_of(write),))

    def _plan_create(self, write: Write, table: Table) -> Change | WriteResult:
        """Make an identity, unless it was made before: then what is there is compared like any other row."""
        receipts = self._connection.execute("SELECT id FROM idsync_receipts WHERE effect = ?", (effect_of(write),))
        receipt = receipts.fetchone()
        if receipt is not None:
            made = self.find(table, table.key, ExternalId(str(receipt[0])))
            if made is not None and not is_gone(table, made.row):
                return self._compare(write, table, made)
            self.forget(write)
            return removed_since(write)
        found = self._find_own(write, table)
        return plan_insert(write, table, self._now) if found is None else self._compare(write, table, found)

    def _plan_update(self, write: Write, table: Table) -> Change | WriteResult:
        found = self.find(table, table.key, write.external_id) if write.external_id is not None else None
        if found is None or is_gone(table, found.row):
            return WriteResult(entity=write.entity, effect=Effect.ABSENT)
        return self._compare(write, table, found)

    def _plan_remove(self, write: Write, table: Table) -> Change | WriteResult:
        found = self._find_own(write, table)
        planned = plan_remove(write, table, found, self._now)
        return planned if isinstance(planned, Change) else self.result(write, table, planned, found)

    def _compare(self, write: Write, table: Table, found: Found) -> Change | WriteResult:
        planned = plan_update(write, table, found, self._now)
        return planned if isinstance(planned, Change) else self.result(write, table, planned, found)

    def _find_own(self, write: Write, table: Table) -> Found | None:
        """Find an identity by its own id, else by the link that says whose it is."""
        found = self.find(table, table.key, write.external_id) if write.external_id is not None else None
        if found is None and table.link is not None and write.link_id is not None:
            found = self.find(table, table.link, write.link_id)
        return found
