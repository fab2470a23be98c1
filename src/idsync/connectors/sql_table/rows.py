"""A row and its canonical fields: how it leaves the database as JSON, and how values go back into its columns."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from idsync.connectors.sql_table.database import literal, quoted
from idsync.connectors.sql_table.mapping import Encoding, SqlValue
from idsync.connectors.sql_table.schema import Column, Table
from idsync.model.values import ExternalId, Instant, Kind, Value, instant_text, parse_instant
from idsync.policy.canonical import Unfit, canonical_value

TEXT_BYTES_MAX: Final = 4_194_304
"""A longer text is not synchronised: a trigger must not make the application's own statement too big."""
REAL_MAX: Final = "1.7e308"
UNFIT_MARK: Final[list[str]] = []
"""Stands in a row's JSON for a BLOB, an infinite number and a text that is too long; no column can hold an array."""

Row = dict[str, object]
"""Column → value."""


@lru_cache(maxsize=256)
def json_of(prefix: str, columns: tuple[str, ...]) -> str:
    """Write the SQL that makes a JSON object of some columns and cannot fail, whatever they hold (SQLite 3.38).

    Texts are hexadecimal. SQLite's own JSON functions fail for a BLOB, and in some versions wherever an application has
    set `trusted_schema = OFF`, as many drivers do.
    """
    members = [
        f"{literal(msgspec.json.encode(name).decode() + ':')} || {_value_of(f'{prefix}.{quoted(name)}')}"
        for name in columns
    ]
    return "'{' || " + " || ',' || ".join(members) + " || '}'"


def _value_of(column: str) -> str:
    return (
        f"CASE typeof({column}) WHEN 'null' THEN 'null' WHEN 'integer' THEN CAST({column} AS TEXT)"
        f" WHEN 'real' THEN CASE WHEN abs({column}) > {REAL_MAX} THEN '[]' ELSE CAST({column} AS TEXT) END"
        f" WHEN 'text' THEN CASE WHEN length(CAST({column} AS BLOB)) > {TEXT_BYTES_MAX} THEN '[]'"
        f" ELSE '\"' || hex(CAST({column} AS BLOB)) || '\"' END ELSE '[]' END"
    )


def read_row(raw: bytes) -> Row:
    """Read a row's JSON. A text that is not UTF-8 keeps its odd bytes as lone surrogates, which have no canonical form.

    Raises:
        ValueError: it is not what `json_of` writes; msgspec's own errors are ValueErrors.
    """
    row = msgspec.json.decode(raw, type=dict[str, int | float | str | list[str] | None])
    return {
        name: bytes.fromhex(value).decode(errors="surrogateescape") if isinstance(value, str) else value
        for name, value in row.items()
    }


def fields_of(table: Table, row: Row) -> tuple[dict[str, Value], tuple[Unfit, ...]]:
    """Bring a row to canonical fields, the unfit ones apart; a column that the row lacks is not spoken of."""
    fields: dict[str, Value] = {}
    unfit: list[Unfit] = []
    for column in table.columns:
        if column.name not in row:
            continue
        value = _decode(table.kind, column, row[column.name])
        if isinstance(value, Unfit):
            unfit.append(value)
        else:
            fields[column.field] = value
    return fields, tuple(unfit)


def _decode(kind: str, column: Column, raw: object) -> Value | Unfit:
    if raw == UNFIT_MARK:
        return Unfit(column.field, f"it is a BLOB, infinite, or longer than {TEXT_BYTES_MAX} bytes")
    if column.encoding is not Encoding.INVERSE_FLAG:
        return canonical_value(kind, column.field, raw)
    flag = canonical_value(kind, "active", raw)
    return Unfit(column.field, flag.why) if isinstance(flag, Unfit) else flag is False


def id_of(value: object) -> ExternalId | None:
    """Write a key or a link as an external id; None: it is neither text nor an integer."""
    text = canonical_value(
        Kind.USER, "id", value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
    )
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
        case Encoding.FLAG:
            return int(bool(value))
        case Encoding.INVERSE_FLAG:
            return int(not value)
        case Encoding.FLAG_TEXT:
            return "true" if value else "false"
        case Encoding.COMMA if isinstance(value, list):
            if any("," in name for name in value):
                return Unfit(column.field, "a name in it has a comma, which separates names here")
            return ",".join(value) or column.instead
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
