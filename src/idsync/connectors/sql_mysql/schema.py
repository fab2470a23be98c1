"""What a peer's tables really look like in MySQL: the configured names found, and how their columns write."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from idsync.connectors.sql_mysql.database import Connection, statement
from idsync.connectors.sql_mysql.rows import INTEGERS, equals, form_of, is_text, quoted, text_in_sql, type_of
from idsync.connectors.tables.mapping import IdStyle, TableMapping
from idsync.connectors.tables.shape import Declared, Shape, Table, UniqueSet, describe, is_asked, key_of
from idsync.connectors.tables.text import quoted as quoted_name
from idsync.errors import SchemaMismatch

ENGINE: Final = "InnoDB"


class Child(msgspec.Struct, frozen=True):
    """A captured table whose rows the database removes or changes with those of another, and tells no trigger."""

    table: Table
    constraint: str
    parent: str
    columns: tuple[tuple[str, str], ...]
    """(its column, the parent's)."""
    is_deletion: bool
    """Whether it is by a deletion of the parent's row."""
    is_update: bool
    """Whether it is by a change of the parent's row."""


async def find_tables(connection: Connection, mappings: Iterable[TableMapping]) -> dict[str, Table]:
    """Find every mapped table, by kind; an optional one that is missing is left out.

    Raises:
        SchemaMismatch: a configured table or column is missing, or cannot be used; each is named.
    """
    tables: dict[str, Table] = {}
    for mapping in mappings:
        table = await _find_table(connection, mapping)
        if table is not None:
            tables[mapping.kind] = table
    return tables


async def find_children(connection: Connection, tables: Iterable[Table]) -> list[Child]:
    """Find the foreign keys by which captured rows are removed or changed without a trigger."""
    found: list[Child] = []
    for table in tables:
        rows = await connection.fetch(statement("find_cascades"), table.name)
        for constraint, some in groupby(rows, key=lambda row: str(row[0])):
            parts = list(some)
            _, on_delete, on_update, parent, _, _ = parts[0]
            is_seen = any(part[4] in table.captured for part in parts)
            found.append(
                Child(
                    table=table,
                    constraint=constraint,
                    parent=parent,
                    columns=tuple((str(part[4]), str(part[5])) for part in parts),
                    is_deletion=on_delete == "CASCADE" or (on_delete.startswith("SET") and is_seen),
                    is_update=on_update not in {"RESTRICT", "NO ACTION"} and is_seen,
                )
            )
    return [one for one in found if one.is_deletion or one.is_update]


async def _find_table(connection: Connection, mapping: TableMapping) -> Table | None:
    found = await connection.fetch(statement("find_tables"), mapping.table, mapping.table)
    if not found and mapping.is_optional:
        return None
    if not found or found[0][1] != "BASE TABLE" or found[0][2] != ENGINE:
        what = "there is none in the database" if not found else f"it is no table of {ENGINE}"
        raise SchemaMismatch(f"{mapping.kind}: the table {mapping.table} is needed and {what}")
    name = str(found[0][0])
    columns = await _columns_of(connection, name)
    uniques = await _uniques_of(connection, name)
    bases = _bases_of(columns)
    shape = await _shape_of(connection, name, columns, mapping, uniques.get("PRIMARY", ()))
    table, key = describe(shape, mapping), key_of(shape, mapping)
    if any(bases[one] == "binary" for one in (key.name, table.link) if one is not None):
        raise SchemaMismatch(f"{mapping.kind}: a key of {name} is binary; ids are texts, integers or UUIDs")
    if (key.name,) not in uniques.values():
        raise SchemaMismatch(f"{mapping.kind}: nothing makes {name}.{key.name} unique; give it a unique index")
    return msgspec.structs.replace(
        table,
        types=bases,
        id_style=IdStyle.UUID if bases[key.name] == "uuid" else table.id_style,
        uniques=tuple(UniqueSet(tuple((one, "") for one in names if one is not None)) for names in uniques.values()),
        ends=await _ends_of(connection, mapping),
    )


async def _columns_of(connection: Connection, name: str) -> list[tuple[Any, ...]]:
    """Say how a table declares its columns. For MariaDB `json` is a text that is looked through."""
    columns = await connection.fetch(statement("find_columns"), name)
    ((_, made),) = await connection.fetch(f"SHOW CREATE TABLE {quoted(name)}")
    is_json = {row[0]: f"json_valid({quoted_name(row[0])})" in made.replace("`", '"') for row in columns}
    return [(row[0], "json", *row[2:]) if is_json[row[0]] else row for row in columns]


async def _uniques_of(connection: Connection, name: str) -> dict[str, tuple[str | None, ...]]:
    """Give the columns of every unique index by its name; None for an expression."""
    rows = await connection.fetch(statement("find_uniques"), name)
    return {str(index): tuple(column for _, column in some) for index, some in groupby(rows, key=lambda row: row[0])}


async def _shape_of(
    connection: Connection,
    name: str,
    rows: Sequence[tuple[Any, ...]],
    mapping: TableMapping,
    primary: tuple[str | None, ...],
) -> Shape:
    bases = _bases_of(rows)
    columns = [
        Declared(
            name=str(row[0]),
            type=bases[str(row[0])].partition("/")[0].upper(),
            is_required=bool(row[6]),
            has_default=bool(row[7]),
            primary=primary.index(str(row[0])) + 1 if str(row[0]) in primary else 0,
            is_generated=bool(row[8]),
            form=form_of(bases[str(row[0])], str(row[2])),
        )
        for row in rows
    ]
    samples: dict[str, str | int | float | None] = {}
    for column, base in bases.items():
        if is_asked(column, mapping) and (is_text(base) or base in INTEGERS):
            sql = statement("sample_column").format(column=text_in_sql("r", column, base), table=quoted(name))
            found = await connection.fetchval(sql)
            samples[column] = int(found) if found is not None and base in INTEGERS else found
    return Shape(name, columns, samples.get)


def _bases_of(columns: Iterable[tuple[Any, ...]]) -> dict[str, str]:
    """Name the type of each column."""
    return {str(name): type_of(*parts) for name, *parts in (row[:6] for row in columns)}


async def _ends_of(connection: Connection, mapping: TableMapping) -> tuple[tuple[str, str], ...]:
    """Write, for each table whose rows a ban ends, its name and the condition that finds them by an id."""
    found: list[tuple[str, str]] = []
    for name, column in mapping.ends:
        columns = await connection.fetch(statement("find_columns"), name)
        base = _bases_of(columns).get(column)
        if base is not None:
            found.append((quoted(name), equals("r", column, base)))
    return tuple(found)
