"""What a peer's table really looks like: the configured names found, and what makes its rows unique."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Final

import apsw
import msgspec

from idsync.connectors.sql_table.database import statement
from idsync.connectors.tables.mapping import TableMapping
from idsync.connectors.tables.shape import Declared, Shape, Table, UniqueSet, describe, key_of
from idsync.connectors.tables.text import quoted
from idsync.errors import SchemaMismatch

BINARY: Final = '"BINARY"'

_TOKENS: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|\w+|.""", re.DOTALL
)


def find_tables(connection: apsw.Connection, mappings: Iterable[TableMapping]) -> dict[str, Table]:
    """Find every mapped table, by kind; an optional one that is missing is left out.

    Raises:
        SchemaMismatch: a configured table or column is missing, or cannot be used; each is named.
    """
    tables: dict[str, Table] = {}
    for mapping in mappings:
        table = _find_table(connection, mapping)
        if table is not None:
            tables[mapping.kind] = table
    return tables


def _find_table(connection: apsw.Connection, mapping: TableMapping) -> Table | None:
    row = connection.execute(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND lower(name) = lower(?)",
        (mapping.table,),
    ).fetchone()
    if row is None and mapping.is_optional:
        return None
    if row is None or row[1] != "table":
        what = "there is none" if row is None else f"it is a {row[1]}"
        raise SchemaMismatch(f"{mapping.kind}: the table {mapping.table} is needed and {what}")
    shape = _shape_of(connection, str(row[0]))
    table, key = describe(shape, mapping), key_of(shape, mapping)
    uniques, warnings = _unique_sets(connection, shape.name)
    is_alias = key.primary > 0 and key.type == "INTEGER" and not row[2] and _count_primary(shape) == 1
    if is_alias:
        uniques = (*uniques, UniqueSet(((key.name, BINARY),)))
    collation = next((one.columns[0][1] for one in uniques if one.names == (key.name,) and one.where is None), None)
    if collation is None:
        warnings = (*warnings, f"{shape.name}: nothing makes {key.name} unique; rows that share a key are not written")
    return msgspec.structs.replace(
        table,
        key_collation=collation or BINARY,
        has_own_keys=is_alias or table.has_own_keys,
        uniques=uniques,
        ends=tuple(one for one in mapping.ends if _exists(connection, *one)),
        warnings=(*warnings, *table.warnings),
    )


def _shape_of(connection: apsw.Connection, name: str) -> Shape:
    rows = connection.execute(
        'SELECT name, upper(type), "notnull", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?)', (name,)
    )
    columns = [
        Declared(str(column), str(kind), bool(required), bool(default), int(str(pk)), bool(hidden))
        for column, kind, required, default, pk, hidden in rows
    ]
    return Shape(name, columns, partial(_sample, connection, name))


def _sample(connection: apsw.Connection, table: str, column: str) -> str | int | float | None:
    sql = statement("sample_column").format(column=quoted(column), table=quoted(table))
    found = connection.execute(sql).fetchone()
    if found is None or not isinstance(found[1], bytes):
        return None
    text = found[1].decode(errors="replace")
    return int(text) if found[0] == "integer" else float(text) if found[0] == "real" else text


def _count_primary(shape: Shape) -> int:
    return sum(column.primary > 0 for column in shape.columns)


def _exists(connection: apsw.Connection, table: str, column: str) -> bool:
    return (
        connection.execute("SELECT 1 FROM pragma_table_xinfo(?) WHERE name = ?", (table, column)).fetchone() is not None
    )


def _unique_sets(connection: apsw.Connection, table: str) -> tuple[tuple[UniqueSet, ...], tuple[str, ...]]:
    """List what is unique in a table, and warn of what cannot be watched.

    An integer primary key has no index of its own; the caller knows it.
    """
    found: list[UniqueSet] = []
    warnings: list[str] = []
    indexes = connection.execute('SELECT name, partial FROM pragma_index_list(?) WHERE "unique"', (table,)).fetchall()
    for name, is_partial in indexes:
        terms = connection.execute('SELECT name, coll FROM pragma_index_xinfo(?) WHERE "key" ORDER BY seqno', (name,))
        columns = tuple(
            (str(column) if column is not None else None, quoted(str(collation))) for column, collation in terms
        )
        where = _condition_of(connection, str(name)) if is_partial else None
        if any(column is None for column, _ in columns) or (is_partial and where is None):
            warnings.append(
                f"{table}: rows that a REPLACE removes through the index {name} are only found by a comparison"
                " of both sides: the index is made of an expression"
            )
            continue
        found.append(UniqueSet(tuple((column, coll) for column, coll in columns if column is not None), where))
    return tuple(found), tuple(warnings)


def _condition_of(connection: apsw.Connection, index: str) -> str | None:
    row = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (index,)).fetchone()
    return partial_condition(str(row[0])) if row is not None else None


def partial_condition(sql: str) -> str | None:
    """Cut the condition out of a `CREATE INDEX … WHERE …`; None: it has none."""
    depth = 0
    for token in _TOKENS.finditer(sql):
        match token[0].upper():
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case "WHERE" if depth == 0:
                return sql[token.end() :].strip()
            case _:
                pass
    return None
