"""What one write changes: the row is compared with what was expected, and what differs is set. Pure (DESIGN §5)."""

import secrets
import string
import uuid
from enum import Enum, auto
from typing import Final

import msgspec

from idsync.connectors.tables.mapping import IdStyle, SqlValue
from idsync.connectors.tables.rows import Found, encode, encode_instant, fields_of, id_of, is_gone
from idsync.connectors.tables.shape import LETTERS_LENGTH, Column, Table
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


def plan_insert(write: Write, table: Table, now: Instant) -> Change:
    """Make a row for an identity that has none.

    Raises:
        Refusal: a value cannot be written.
    """
    stamps = [column for column in (table.created, table.updated) if column is not None]
    values = table.defaults | {column.name: encode_instant(column, now) for column in stamps}
    values |= {column.name: value for column, value in _encoded(write, table).items() if value is not None}
    if table.link is not None and write.link_id is not None:
        values[table.link] = write.link_id
    asked = None if table.is_counted else write.external_id
    key = asked or (None if table.has_own_keys else new_id(table.id_style))
    if key is not None:
        values[table.key] = key
    return Change(write=write, table=table, verb=Verb.INSERT, values=values, external_id=key, is_birth=True)


def plan_update(write: Write, table: Table, found: Found, now: Instant) -> Change | Effect:
    """Keep what differs, if the row holds what was expected; one that counts as deleted is brought back.

    A value there that has no canonical form is overwritten: nobody could ever have reported it.

    Returns:
        `DIVERGED` or `UNCHANGED` where nothing is to be written.

    Raises:
        Refusal: a value cannot be written.
    """
    current, _ = fields_of(table, found.row)
    is_back = is_gone(table, found.row)
    others = {name: value for name, value in write.expected.items() if name in current and name not in write.fields}
    if not is_back and any(current[name] != _formed(table, name, value) for name, value in others.items()):
        return Effect.DIVERGED
    values: dict[str, SqlValue] = {}
    for column, value in _encoded(write, table).items():
        field = column.field
        is_fit = field in current
        if value == found.row.get(column.name) or (
            is_fit and current[field] == _formed(table, field, write.fields[field])
        ):
            continue
        if is_fit and not is_back and current[field] != _formed(table, field, write.expected.get(field)):
            return Effect.DIVERGED
        values[column.name] = value
    values |= _linked(write, table, found)
    if is_back and table.soft is not None:
        values[table.soft.name] = table.soft.instead
    if not values:
        return Effect.UNCHANGED
    if table.updated is not None:
        values[table.updated.name] = encode_instant(table.updated, now)
    return Change(
        write=write,
        table=table,
        verb=Verb.UPDATE,
        values=values,
        external_id=found.external_id,
        is_birth=is_back,
    )


def plan_remove(write: Write, table: Table, found: Found | None, now: Instant) -> Change | Effect:
    """Delete a row, or mark it as deleted, if it holds what was expected.

    Returns:
        `ABSENT`, `UNCHANGED` or `DIVERGED` where nothing is to be written.
    """
    if found is None or is_gone(table, found.row):
        return Effect.ABSENT
    if table.soft is None and not table.is_removed:
        return Effect.UNCHANGED
    current, _ = fields_of(table, found.row)
    if any(current.get(field) != _formed(table, field, value) for field, value in write.expected.items()):
        return Effect.DIVERGED
    stamps = [column for column in (table.soft, table.updated) if column is not None and table.soft is not None]
    return Change(
        write=write,
        table=table,
        verb=Verb.DELETE if table.soft is None else Verb.UPDATE,
        values={column.name: encode_instant(column, now) for column in stamps},
        external_id=found.external_id,
    )


def removed_since(write: Write) -> WriteResult:
    """Answer a create whose row was made once and is gone: it is due again when the outbox has said by whom."""
    return WriteResult(entity=write.entity, effect=Effect.UNAVAILABLE, error="removed", retry_after_s=GONE_RETRY_S)


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
