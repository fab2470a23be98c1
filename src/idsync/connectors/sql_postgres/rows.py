"""How a row leaves PostgreSQL as JSON and how values go back: always as text, cast to the column's own type."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from idsync.connectors.tables.mapping import Encoding, SqlValue
from idsync.connectors.tables.rows import TEXT_BYTES_MAX, Row
from idsync.connectors.tables.text import literal, quoted

INTEGERS: Final = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
"""Type → one more than its greatest."""
TEXTS: Final = frozenset({"text", "character varying", "bpchar", "citext"})
INSTANTS: Final = frozenset({"timestamp with time zone", "timestamp without time zone", "date"})
JSONS: Final = frozenset({"json", "jsonb"})
_SMALL: Final = frozenset({"boolean", "numeric", "real", "double precision", "uuid", *INTEGERS, *INSTANTS})
_OBJECT_PAIRS_MAX: Final = 40
"""A function of PostgreSQL takes at most 100 arguments."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

read_row: Final[Callable[[bytes | str], Row]] = msgspec.json.Decoder(dict[str, object]).decode
"""Reads a row's JSON, or raises ValueError (msgspec's own errors are such)."""


def form_of(base: str) -> Encoding | None:
    """Say how a type writes values, where it leaves no choice."""
    if base == "boolean":
        return Encoding.FLAG
    if base.endswith("[]"):
        return Encoding.ARRAY
    if base in JSONS:
        return Encoding.JSON
    return Encoding.ISO if base in INSTANTS else None


def json_of(prefix: str, names: Sequence[str], types: Mapping[str, str]) -> str:
    """Write the SQL that makes a JSON object of some columns and cannot fail, whatever they hold.

    A value that is binary or too long is `{}`, which is no value of any field.
    """
    parts = [
        ", ".join(f"{literal(name)}, {_value_of(f'{prefix}.{quoted(name)}', types[name])}" for name in some)
        for some in (names[at : at + _OBJECT_PAIRS_MAX] for at in range(0, len(names), _OBJECT_PAIRS_MAX))
    ]
    return " || ".join(f"jsonb_build_object({part})" for part in parts)


def _value_of(column: str, base: str) -> str:
    if base in _SMALL:
        return f"to_jsonb({column})"
    if base == "bytea":
        return f"CASE WHEN {column} IS NOT NULL THEN '{{}}'::jsonb END"
    # What is of type `json` stays text: it may hold what `jsonb` refuses.
    is_kept = base == "jsonb" or (base.endswith("[]") and base != "json[]")
    value = column if is_kept else f"{column}::text"
    size = f"octet_length({column}::text)"
    return f"CASE WHEN {size} > {TEXT_BYTES_MAX} THEN '{{}}'::jsonb ELSE to_jsonb({value}) END"


def text_of(value: SqlValue) -> str | None:
    """Write a value as PostgreSQL reads it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode() if isinstance(value, bytes) else str(value)


def is_storable(text: str | None) -> bool:
    """Whether PostgreSQL can hold a text at all: it knows no NUL."""
    return text is None or "\x00" not in text


def may_hold(base: str, value: str) -> bool:
    """Whether a column of this type may hold an id; what it cannot hold must not be cast."""
    if base in INTEGERS:
        digits = value.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) < len("9223372036854775808")
        return is_number and str(int(value)) == value and abs(int(value)) < INTEGERS[base]
    if base == "uuid":
        return _UUID.fullmatch(value) is not None
    return is_storable(value)


def equals(column: str, base: str, mark: str) -> str:
    """Write the condition that a column holds an id, byte for byte, by its index where the type has one."""
    name = quoted(column)
    exact = f'{name}::text COLLATE "C" = {mark}::text'
    is_indexed = is_text(base) or base in {*INTEGERS, "uuid"}
    return f"{name} {equal_sign(base)} {mark}::text::{base} AND {exact}" if is_indexed else exact


def equal_sign(base: str) -> str:
    """Write a type's own equality, which is not found by itself where its schema is not in the search path."""
    return f"OPERATOR({base.removesuffix('.citext')}.=)" if base.endswith(".citext") else "="


def is_text(base: str) -> bool:
    """Whether a type is one of plain texts."""
    return base in TEXTS or base.endswith(".citext")
