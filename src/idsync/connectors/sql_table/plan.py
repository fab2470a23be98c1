"""One write before it is made: find the row, compare it with what was expected, say what to change (DESIGN §5)."""

import secrets
import string
import uuid
from enum import Enum, auto
from typing import Final

import apsw
import msgspec

from idsync.connectors.sql_table.capture import Capture, last_number
from idsync.connectors.sql_table.mapping import IdStyle, SqlValue
from idsync.connectors.sql_table.reader import Found, find_by, image_of
from idsync.connectors.sql_table.rows import encode, encode_instant, fields_of, id_of, is_gone
from idsync.connectors.sql_table.schema import LETTERS_LENGTH, Column, Table
from idsync.model.delivery import Effect, WriteResult
from idsync.model.entity import Action
from idsync.model.values import ExternalId, Instant
from idsync.policy.canonical import Unfit, canonical_value
from idsync.ports import Write

LETTERS: Final = string.ascii_letters + string.digits
GONE_RETRY_S: Final = 1.0


class Refusal(Exception):
    """The write cannot be carried out for what it holds. `code` is short and says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Verb(Enum):
    """What a change does to the table."""

    INSERT = auto()
    UPDATE = auto()
    DELETE = auto()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A write that has to be carried out: the peer was looked at and holds what was expected."""

    write: Write
    table: Table
    verb: Verb
    values: dict[str, SqlValue] = {}
    """Column → value; only what differs."""
    external_id: ExternalId | None = None
    """The row; for an insert the key it asks for, None where the database gives it."""
    is_birth: bool = False
    """Whether the identity was not there, or counted as deleted."""


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
        return WriteResult(entity=write.entity, effect=effect, image=image)

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
            # Made once and removed since. The outbox says by whom: the create is due again only when that was read.
            self.forget(write)
            return WriteResult(
                entity=write.entity, effect=Effect.UNAVAILABLE, error="removed", retry_after_s=GONE_RETRY_S
            )
        found = self._find_own(write, table)
        return self._plan_insert(write, table) if found is None else self._compare(write, table, found)

    def _plan_insert(self, write: Write, table: Table) -> Change:
        stamps = [column for column in (table.created, table.updated) if column is not None]
        values = table.defaults | {column.name: encode_instant(column, self._now) for column in stamps}
        values |= {column.name: value for column, value in _encoded(write, table).items() if value is not None}
        if table.link is not None and write.link_id is not None:
            values[table.link] = write.link_id
        key = write.external_id or (None if table.has_own_keys else new_id(table.id_style))
        if key is not None:
            values[table.key] = key
        return Change(write=write, table=table, verb=Verb.INSERT, values=values, external_id=key, is_birth=True)

    def _plan_update(self, write: Write, table: Table) -> Change | WriteResult:
        found = self.find(table, table.key, write.external_id) if write.external_id is not None else None
        if found is None or is_gone(table, found.row):
            return WriteResult(entity=write.entity, effect=Effect.ABSENT)
        return self._compare(write, table, found)

    def _plan_remove(self, write: Write, table: Table) -> Change | WriteResult:
        found = self._find_own(write, table)
        if found is None or is_gone(table, found.row):
            return WriteResult(entity=write.entity, effect=Effect.ABSENT)
        if table.soft is None and not table.is_removed:
            return self.result(write, table, Effect.UNCHANGED, found)
        current, _ = fields_of(table, found.row)
        if any(current.get(field) != _formed(table, field, value) for field, value in write.expected.items()):
            return self.result(write, table, Effect.DIVERGED, found)
        stamps = [column for column in (table.soft, table.updated) if column is not None and table.soft is not None]
        return Change(
            write=write,
            table=table,
            verb=Verb.DELETE if table.soft is None else Verb.UPDATE,
            values={column.name: encode_instant(column, self._now) for column in stamps},
            external_id=id_of(found.key),
        )

    def _find_own(self, write: Write, table: Table) -> Found | None:
        """Find an identity by its own id, else by the link that says whose it is."""
        found = self.find(table, table.key, write.external_id) if write.external_id is not None else None
        if found is None and table.link is not None and write.link_id is not None:
            found = self.find(table, table.link, write.link_id)
        return found

    def _compare(self, write: Write, table: Table, found: Found) -> Change | WriteResult:
        """Keep what differs, if the row holds what was expected; one that counts as deleted is brought back.

        A value there that has no canonical form is overwritten: nobody could ever have reported it.
        """
        current, _ = fields_of(table, found.row)
        is_back = is_gone(table, found.row)
        others = {name: value for name, value in write.expected.items() if name in current and name not in write.fields}
        if not is_back and any(current[name] != _formed(table, name, value) for name, value in others.items()):
            return self.result(write, table, Effect.DIVERGED, found)
        values: dict[str, SqlValue] = {}
        for column, value in _encoded(write, table).items():
            field = column.field
            is_fit = field in current
            if value == found.row.get(column.name) or (
                is_fit and current[field] == _formed(table, field, write.fields[field])
            ):
                continue
            if is_fit and not is_back and current[field] != _formed(table, field, write.expected.get(field)):
                return self.result(write, table, Effect.DIVERGED, found)
            values[column.name] = value
        values |= _linked(write, table, found)
        if is_back and table.soft is not None:
            values[table.soft.name] = table.soft.instead
        if not values:
            return self.result(write, table, Effect.UNCHANGED, found)
        if table.updated is not None:
            values[table.updated.name] = encode_instant(table.updated, self._now)
        external_id = id_of(found.key)
        return Change(
            write=write, table=table, verb=Verb.UPDATE, values=values, external_id=external_id, is_birth=is_back
        )


def refused(write: Write, code: str) -> WriteResult:
    """Answer that the peer refuses the values."""
    return WriteResult(entity=write.entity, effect=Effect.REFUSED, error=code)


def effect_of(write: Write) -> str:
    """Name the effect that must not happen twice."""
    return f"{write.entity}:{Action.CREATE}"


def new_id(style: IdStyle) -> ExternalId:
    """Make a text key."""
    if style is IdStyle.UUID:
        return ExternalId(str(uuid.uuid4()))
    return ExternalId("".join(secrets.choice(LETTERS) for _ in range(LETTERS_LENGTH)))


def _formed(table: Table, field: str, value: object) -> object:
    return canonical_value(table.kind, field, value)


def _encoded(write: Write, table: Table) -> dict[Column, SqlValue]:
    """Write the wanted values as their columns do."""
    values: dict[Column, SqlValue] = {}
    for field, wanted in write.fields.items():
        column = table.column_of(field)
        if column is None:
            raise Refusal("unmapped")
        formed = canonical_value(table.kind, field, wanted)
        value = formed if isinstance(formed, Unfit) else encode(column, formed)
        if isinstance(value, Unfit):
            raise Refusal("unfit")
        values[column] = value
    return values


def _linked(write: Write, table: Table, found: Found) -> dict[str, SqlValue]:
    """Fill an empty link; a row that is linked to somebody else is not ours to write."""
    if table.link is None or write.link_id is None:
        return {}
    held = id_of(found.row.get(table.link))
    if held is None:
        return {table.link: write.link_id}
    if held != write.link_id:
        raise Refusal("linked")
    return {}
