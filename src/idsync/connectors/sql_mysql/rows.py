"""How a row leaves MySQL as JSON and how values go back.

The JSON is put together as text: its functions differ between MySQL and MariaDB, and how they take a column for JSON.
Nothing depends on the session of the application: neither its time zone nor its character set. Whatever is written
here is a template: `%s` is a value, and `%%` stands for one `%`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from idsync.connectors.tables.mapping import Encoding, SqlValue
from idsync.connectors.tables.rows import TEXT_BYTES_MAX, Row
from idsync.connectors.tables.text import quoted as quoted_name

read_row: Final[Callable[[bytes | str], Row]] = msgspec.json.Decoder(dict[str, object]).decode
"""Reads a row's JSON, or raises ValueError (msgspec's own errors are such)."""

INTEGERS: Final = {
    f"{name}{sign}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1)
    for name, bits in (("tinyint", 8), ("smallint", 16), ("mediumint", 24), ("int", 32), ("bigint", 64))
    for sign in ("", " unsigned")
}
"""Type → its least and its greatest value."""
NUMBERS: Final = frozenset({"decimal", "float", "double", "year", *INTEGERS})
INSTANTS: Final = frozenset({"date", "datetime", "timestamp"})
TEXTS: Final = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
PLAIN: Final = frozenset({"uuid", "inet4", "inet6", "time"})
"""Types whose values are told as the texts they are written as."""


def type_of(base: str, declared: str, charset: str | None, collation: str | None, precision: int | None) -> str:
    """Name a column's type as we tell them apart.

    Args:
        base: as `information_schema` names it.
        declared: the same with its size and sign.
        charset: of a text.
        collation: of a text.
        precision: digits after the second, of an instant.
    """
    if declared in {"tinyint(1)", "bit(1)"}:
        return "boolean"
    if base in TEXTS and charset not in {None, "binary"}:
        return f"text/{charset}/{collation}"
    if base in INSTANTS:
        return f"{base}/{precision or 0}"
    if base in INTEGERS:
        return f"{base} unsigned" if "unsigned" in declared else base
    return base if base in NUMBERS | PLAIN | {"json"} else "binary"


def is_text(base: str) -> bool:
    """Whether a type is one of plain texts."""
    return base.startswith("text/")


def is_instant(base: str) -> bool:
    """Whether a type is one of dates and times."""
    return base.partition("/")[0] in INSTANTS


def form_of(base: str, declared: str) -> Encoding | None:
    """Say how a type writes values, where it leaves no choice."""
    if base == "boolean":
        return Encoding.FLAG
    if declared.startswith("enum(") and "'true'" in declared:
        return Encoding.FLAG_TEXT
    if base == "json":
        return Encoding.JSON
    if is_instant(base):
        # Without digits after the second it is cut, not rounded: what is read back is then what was meant.
        return Encoding.SPACED if base in {"datetime/0", "timestamp/0"} else Encoding.ISO
    return None


def json_of(row: str, names: Sequence[str], types: Mapping[str, str]) -> str:
    """Write the SQL that makes a JSON object of some columns; NULL where the whole is more than the server can tell.

    A value that is binary or too long is `{}`, which is no value of any field.
    """
    parts: list[str] = []
    for name in names:
        begin = f"{',' if parts else '{'}{msgspec.json.encode(name).decode()}:"
        parts += [literal(begin), _value_of(f"{row}.{quoted(name)}", types[name])]
    return f"CONCAT({', '.join(parts)}, '}}')"


def text_in_sql(row: str, name: str, base: str) -> str:
    """Write the SQL that gives a key or a text as text, in one character set."""
    return _as_text(f"{row}.{quoted(name)}", base)


def _value_of(column: str, base: str) -> str:
    if base == "boolean":
        flag = f"({column} + 0)"
        return f"CASE {flag} WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE {_or_null(f'CAST({flag} AS CHAR)')} END"
    if base == "binary":
        return f"IF({column} IS NULL, 'null', '{{}}')"
    if base in NUMBERS:
        return _or_null(_as_text(column, base))
    if base.startswith("timestamp/"):
        # Told in UTC whatever the session's zone, and whatever the hour that a zone has twice.
        since = f"UNIX_TIMESTAMP({column}) * 1000000"
        return _or_null(f"JSON_QUOTE(CAST(TIMESTAMPADD(MICROSECOND, {since}, '1970-01-01 00:00:00') AS CHAR))")
    text = _or_null(f"JSON_QUOTE({_as_text(column, base)})")
    if not is_text(base) and base != "json":
        return text
    return f"CASE WHEN OCTET_LENGTH({column}) > {TEXT_BYTES_MAX} THEN '{{}}' ELSE {text} END"


def _as_text(column: str, base: str) -> str:
    if is_text(base) or base == "json":
        return f"CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin"
    # ZEROFILL shows digits that no number has in JSON.
    shown = f"{column} + 0" if base in INTEGERS or base == "decimal" else column
    return f"CAST({shown} AS CHAR) COLLATE utf8mb4_bin"


def _or_null(sql: str) -> str:
    return f"COALESCE({sql}, 'null')"


def value_of(value: SqlValue, base: str) -> SqlValue:
    """Write a value as MySQL reads it: its instants have no zone, and a number in an ENUM is not what it looks like."""
    if isinstance(value, str) and is_instant(base):
        return value.replace("T", " ").removesuffix("Z")
    return str(value) if isinstance(value, int) and is_text(base) else value


def may_hold(base: str, value: str) -> bool:
    """Whether a column of this type may hold an id; with another it must not be compared."""
    if base in INTEGERS:
        digits = value.removeprefix("-")
        least, greatest = INTEGERS[base]
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= len("18446744073709551615")
        return is_number and str(int(value)) == value and least <= int(value) <= greatest
    return is_encodable(value)


def key_value(base: str, key: str) -> int | str:
    """Write a key so that it is compared in the order of its column."""
    return int(key) if base in INTEGERS else key


def is_encodable(value: SqlValue) -> bool:
    """Whether a text can be sent at all: Python's may hold halves of characters."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def equals(row: str, column: str, base: str) -> str:
    """Write the condition that a column holds an id, byte for byte and by its index; the id is wanted twice: `%s`."""
    name = f"{row}.{quoted(column)}"
    exact = f"CAST({_as_text(name, base)} AS BINARY) = CAST(%s AS BINARY)"
    if is_text(base):
        _, charset, collation = base.split("/")
        return f"{name} = CONVERT(%s USING {charset}) COLLATE {collation} AND {exact}"
    return f"{name} = %s AND {exact}"


def quoted(name: str) -> str:
    """Write an identifier."""
    return quoted_name(name).replace("%", "%%")


def literal(text: str) -> str:
    """Write a text constant."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("%", "%%") + "'"
