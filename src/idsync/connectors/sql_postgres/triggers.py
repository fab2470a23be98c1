"""The triggers of one table and their functions, as SQL.

They make no statement of the application fail, neither for what a row holds nor after a change of its columns. They
fire always, also where `session_replication_role` is `replica`: only `ALTER TABLE … DISABLE TRIGGER` keeps a change
from us, and that is noticed.
"""

import hashlib
from typing import Final

import msgspec

from idsync.connectors.sql_postgres.database import schema_of, statement
from idsync.connectors.sql_postgres.rows import equal_sign, is_text, json_of
from idsync.connectors.sql_postgres.schema import named
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.text import literal, quoted
from idsync.errors import PeerError
from idsync.model.values import PeerName

NAME_CHARS_MAX: Final = 63


class Trigger(msgspec.Struct, frozen=True):
    """One trigger as it should be."""

    name: str
    table: str
    """Its full name, as SQL writes it."""
    sql: str

    @property
    def print(self) -> str:
        """What tells it from one of another definition; kept as its comment."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]


def functions_of(peer: PeerName, tables: dict[str, Table]) -> dict[str, str]:
    """Write the functions that the triggers call, by name, in the order in which they are made."""
    schema = quoted(schema_of(peer))
    made = {"ring": statement("ring_function").format(schema=schema, channel=literal(schema_of(peer)))}
    for table in tables.values():
        key = quoted(table.key)
        common = {"schema": schema, "kind": literal(table.kind), "key": key, "table": named(table)}
        made[f"capture_{table.kind}"] = statement("capture_function").format(
            function=f"{schema}.{quoted(f'capture_{table.kind}')}",
            is_same=" AND ".join(
                f"{_bytes_of(table, 'OLD', name)} IS NOT DISTINCT FROM {_bytes_of(table, 'NEW', name)}"
                for name in table.captured
            ),
            is_old=_same(table, "OLD"),
            is_new=_same(table, "NEW"),
            old=json_of("OLD", table.captured, table.types),
            new=json_of("r", table.captured, table.types),
            **common,
        )
        made[f"truncate_{table.kind}"] = statement("truncate_function").format(
            function=f"{schema}.{quoted(f'truncate_{table.kind}')}", **common
        )
    return made


def body_of(function: str) -> str:
    """Give the body of a function as the database keeps it."""
    return function.split("$idsync$")[1]


def triggers_of(peer: PeerName, table: Table) -> list[Trigger]:
    """Write a table's triggers.

    Raises:
        PeerError: the peer's name makes theirs too long for PostgreSQL, which would cut them.
    """
    schema = quoted(schema_of(peer))
    capture, truncate = (f"{schema}.{quoted(f'{verb}_{table.kind}')}" for verb in ("capture", "truncate"))
    made = {
        "write": f"AFTER INSERT OR UPDATE OR DELETE ON {named(table)} FOR EACH ROW EXECUTE FUNCTION {capture}()",
        "clear": f"BEFORE TRUNCATE ON {named(table)} FOR EACH STATEMENT EXECUTE FUNCTION {truncate}()",
    }
    triggers: list[Trigger] = []
    for verb, sql in made.items():
        name = f"{schema_of(peer)}_{table.kind}_{verb}"
        if len(name) > NAME_CHARS_MAX:
            raise PeerError(f"{peer}: its name is too long: PostgreSQL would cut that of the trigger {name}")
        triggers.append(Trigger(name, named(table), f"CREATE TRIGGER {quoted(name)} {sql}"))
    return triggers


def _bytes_of(table: Table, row: str, column: str) -> str:
    """Write a column as what it is byte for byte: equality of its type may hide a change of case, or not exist."""
    name = f"{row}.{quoted(column)}"
    base = table.types[column]
    return name if base in {"smallint", "integer", "bigint", "uuid", "boolean"} else f'{name}::text COLLATE "C"'


def _same(table: Table, row: str) -> str:
    """Write the condition that `r` has the key of a row, by its index."""
    base = table.types[table.key]
    by_index = f"r.{quoted(table.key)} {equal_sign(base)} {row}.{quoted(table.key)}"
    if not is_text(base):
        return by_index
    return f"{by_index} AND {_bytes_of(table, 'r', table.key)} = {_bytes_of(table, row, table.key)}"
