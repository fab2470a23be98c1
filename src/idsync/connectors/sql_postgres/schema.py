"""What a peer's tables really look like in PostgreSQL: the configured names found, and how their columns write."""

from collections.abc import Iterable
from typing import Final

import asyncpg
import msgspec

from idsync.connectors.sql_postgres.database import Connection, statement
from idsync.connectors.sql_postgres.rows import INTEGERS, equals, form_of, is_text
from idsync.connectors.tables.mapping import IdStyle, TableMapping
from idsync.connectors.tables.shape import Declared, Shape, Table, UniqueSet, describe, is_asked, key_of
from idsync.connectors.tables.text import quoted
from idsync.errors import PeerError, SchemaMismatch

RELKINDS: Final = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}


async def find_tables(connection: Connection, mappings: Iterable[TableMapping]) -> dict[str, Table]:
    """Find every mapped table, by kind; an optional one that is missing is left out.

    Raises:
        SchemaMismatch: a configured table or column is missing, or cannot be used; each is named.
        PeerError: rows of a table are hidden from us.
    """
    tables: dict[str, Table] = {}
    for mapping in mappings:
        table = await _find_table(connection, mapping)
        if table is not None:
            tables[mapping.kind] = table
    return tables


def named(table: Table) -> str:
    """Write a table's full name."""
    return f"{quoted(table.schema)}.{quoted(table.name)}"


async def _find_table(connection: Connection, mapping: TableMapping) -> Table | None:
    row = await connection.fetchrow(statement("find_table"), mapping.table)
    if row is None and mapping.is_optional:
        return None
    if row is None or row["relkind"] in RELKINDS:
        what = "there is none in its search path" if row is None else f"it is {RELKINDS[row['relkind']]}"
        raise SchemaMismatch(f"{mapping.kind}: the table {mapping.table} is needed and {what}")
    if row["is_hidden"]:
        raise PeerError(
            f"{mapping.kind}: row level security hides rows of {mapping.table} from our user; give it BYPASSRLS, or"
            " let it own the table"
        )
    columns = await connection.fetch(statement("find_columns"), row["oid"])
    bases = {str(one["name"]): str(one["base"]) for one in columns}
    shape = await _shape_of(connection, f"{quoted(row['schema'])}.{quoted(row['name'])}", row["name"], columns, mapping)
    table, key = describe(shape, mapping), key_of(shape, mapping)
    uniques = await connection.fetch(statement("find_uniques"), row["oid"])
    if any(bases[name] == "bytea" for name in (key.name, table.link) if name is not None):
        raise SchemaMismatch(f"{mapping.kind}: a key of {mapping.table} is binary; ids are texts, integers or UUIDs")
    warnings = table.warnings
    if row["relkind"] == "p":
        warnings = (*warnings, f"{shape.name}: a TRUNCATE of one of its partitions is not noticed")
    if not any(one["is_plain"] and one["names"] == [key.name] for one in uniques):
        warnings = (f"{shape.name}: nothing makes {key.name} unique; rows that share a key are not written", *warnings)
    return msgspec.structs.replace(
        table,
        schema=row["schema"],
        types=bases,
        id_style=IdStyle.UUID if bases[key.name] == "uuid" else table.id_style,
        uniques=tuple(UniqueSet(tuple((name, "") for name in one["names"])) for one in uniques),
        is_counted=any(one["name"] == key.name and one["is_counted"] for one in columns),
        ends=await _ends_of(connection, mapping),
        warnings=warnings,
    )


async def _shape_of(
    connection: Connection, full_name: str, name: str, rows: list[asyncpg.Record], mapping: TableMapping
) -> Shape:
    columns = [
        Declared(
            name=str(row["name"]),
            type=str(row["base"]).upper(),
            is_required=bool(row["is_required"]),
            has_default=bool(row["has_default"]),
            primary=int(row["primary_place"]),
            is_generated=bool(row["is_generated"]),
            form=form_of(row["base"]),
        )
        for row in rows
    ]
    samples: dict[str, str | int | float | None] = {}
    for row in rows:
        if is_asked(str(row["name"]), mapping) and (is_text(row["base"]) or row["base"] in INTEGERS):
            sql = statement("sample_column").format(column=quoted(row["name"]), table=full_name)
            found = await connection.fetchval(sql)
            samples[str(row["name"])] = int(found) if found is not None and row["base"] in INTEGERS else found
    return Shape(name, columns, samples.get)


async def _ends_of(connection: Connection, mapping: TableMapping) -> tuple[tuple[str, str], ...]:
    """Write, for each table whose rows a ban ends, its full name and the condition that finds them by `$1`."""
    found: list[tuple[str, str]] = []
    for name, column in mapping.ends:
        table = await connection.fetchrow(statement("find_table"), name)
        columns = await connection.fetch(statement("find_columns"), table["oid"]) if table is not None else []
        base = next((str(one["base"]) for one in columns if one["name"] == column), None)
        if table is not None and base is not None:
            found.append((f"{quoted(table['schema'])}.{quoted(table['name'])}", equals(column, base, "$1")))
    return tuple(found)
