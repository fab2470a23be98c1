"""How a row leaves an SQLite database as JSON, whatever it holds."""

from functools import lru_cache
from typing import Final

import msgspec

from idsync.connectors.tables.rows import TEXT_BYTES_MAX, UNREADABLE, Row
from idsync.connectors.tables.text import literal, quoted

REAL_MAX: Final = "1.7e308"


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


def read_row(raw: bytes | str) -> Row:
    """Read a row's JSON. A text that is not UTF-8 keeps its odd bytes as lone surrogates, which have no canonical form.

    Raises:
        ValueError: it is not what `json_of` writes; msgspec's own errors are ValueErrors.
    """
    row = msgspec.json.decode(raw, type=dict[str, int | float | str | list[str] | None])
    return {name: _read_value(value) for name, value in row.items()}


def _read_value(value: float | str | list[str] | None) -> object:
    """An array, which no column can hold, stands for what does not leave the table."""
    if isinstance(value, list):
        return UNREADABLE
    return bytes.fromhex(value).decode(errors="surrogateescape") if isinstance(value, str) else value
