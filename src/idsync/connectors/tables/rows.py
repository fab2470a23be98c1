"""A row and its canonical fields: what its columns say, and how values go back into them. Pure."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec

from idsync.connectors.tables.mapping import Encoding, SqlValue
from idsync.connectors.tables.shape import Column, Table
from idsync.model.values import ExternalId, Instant, Kind, Value, instant_text, parse_instant
from idsync.policy.canonical import Former, Unfit, canonical_value, former_of

TEXT_BYTES_MAX: Final = 4_194_304
"""A longer text is not synchronised: a trigger must not make the application's own statement too big."""
UNREADABLE: Final[Mapping[str, object]] = MappingProxyType({})
"""Stands in a row for a value that does not leave the database: an empty object, which is a value of no field."""
WHY_UNREADABLE: Final = f"it is binary, infinite, or longer than {TEXT_BYTES_MAX} bytes"

Row = dict[str, object]
"""Column → value."""

FieldsOf = Callable[[Row], tuple[dict[str, Value], tuple[Unfit, ...]]]
"""As `fields_of`, for the rows of one table."""

_form_id: Final = former_of(Kind.USER, "id")
_ESCAPED: Final = re.compile(r'["\\]')
_BACKSLASH: Final = r"\\\g<0>"


class Found(msgspec.Struct, frozen=True):
    """One row of a mapped table."""

    external_id: ExternalId | None
    """None: its key is neither text nor an integer."""
    row: Row


def fields_of(table: Table, row: Row) -> tuple[dict[str, Value], tuple[Unfit, ...]]:
    """Bring a row to canonical fields, the unfit ones apart; a column that the row lacks is not spoken of."""
    return fields_reader(table)(row)


def fields_reader(table: Table) -> FieldsOf:
    """Decide once how the rows of a table are brought to canonical fields."""
    plan = tuple((one.name, one.field, _former_of(table.kind, one)) for one in table.columns)

    def read(row: Row) -> tuple[dict[str, Value], tuple[Unfit, ...]]:
        fields: dict[str, Value] = {}
        unfit: tuple[Unfit, ...] = ()
        for name, field, form in plan:
            if name not in row:
                continue
            value = form(row[name])
            if type(value) is Unfit:  # `isinstance` of a Struct costs as much as all the rest
                unfit += (Unfit(field, WHY_UNREADABLE) if row[name] == UNREADABLE else value,)
            else:
                fields[field] = value
        return fields, unfit

    return read


def _former_of(kind: str, column: Column) -> Former:
    if column.encoding is not Encoding.INVERSE_FLAG:
        return former_of(kind, column.field)
    form = former_of(kind, "active")

    def former(raw: object) -> Value | Unfit:
        flag = form(raw)
        return Unfit(column.field, flag.why) if isinstance(flag, Unfit) else flag is False

    return former


def id_of(value: object) -> ExternalId | None:
    """Write a key or a link as an external id; None: it is neither text nor an integer."""
    if isinstance(value, str) and value.isascii():
        return ExternalId(value)
    text = _form_id(value.decode(errors="surrogateescape") if isinstance(value, bytes) else value)
    return ExternalId(text) if isinstance(text, str) else None


def is_set(value: object) -> bool:
    """Whether a soft delete's column says that the row is deleted."""
    return value not in (None, 0, "", "0")


def is_gone(table: Table, row: Row) -> bool:
    """Whether a row counts as deleted."""
    return table.soft is not None and is_set(row.get(table.soft.name))


def changed_at(table: Table, row: Mapping[str, object]) -> Instant | None:
    """The peer's own time of the row's last change, where it keeps one."""
    if table.updated is None:
        return None
    text = canonical_value(table.kind, "updated_at", row.get(table.updated.name))
    return parse_instant(text) if isinstance(text, str) else None


def encode(column: Column, value: Value) -> SqlValue | Unfit:
    """Write a canonical value as its column does."""
    if value is None:
        return column.instead
    match column.encoding:
        case Encoding.FLAG | Encoding.INVERSE_FLAG:
            return int(bool(value) is (column.encoding is Encoding.FLAG))
        case Encoding.FLAG_TEXT:
            return "true" if value else "false"
        case Encoding.COMMA if isinstance(value, list):
            if any("," in name for name in value):
                return Unfit(column.field, "a name in it has a comma, which separates names here")
            return ",".join(value) or column.instead
        case Encoding.ARRAY if isinstance(value, list):
            return "{" + ",".join(f'"{_ESCAPED.sub(_BACKSLASH, name)}"' for name in value) + "}"
        case Encoding.ISO | Encoding.SPACED | Encoding.MS | Encoding.SECONDS if isinstance(value, str):
            at = parse_instant(value)
            return Unfit(column.field, "it is no instant") if at is None else encode_instant(column, at)
        case _:
            return msgspec.json.encode(value).decode() if isinstance(value, list) else value


def encode_instant(column: Column, at: Instant) -> SqlValue:
    """Write an instant as its column does; 1 where the column only says yes or no."""
    match column.encoding:
        case Encoding.MS:
            return at
        case Encoding.SECONDS:
            return at // 1000
        case Encoding.SPACED:
            return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%S}"
        case Encoding.FLAG:
            return 1
        case _:
            return instant_text(at)
