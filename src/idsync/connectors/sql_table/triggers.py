"""The triggers of one table, as SQL: what the application's own statements write to the outbox, in their transaction.

They never make a statement of the application fail, and use only SQL of SQLite 3.38.
"""

from idsync.connectors.sql_table.database import statement
from idsync.connectors.sql_table.rows import json_of
from idsync.connectors.tables.shape import Table, UniqueSet
from idsync.connectors.tables.text import literal, quoted

PREFIX = "idsync_"
"""Every table and trigger of ours begins with it."""


def triggers_of(table: Table) -> dict[str, str]:
    """Write the table's triggers, by name."""
    made = {
        "insert": ("AFTER INSERT", "", [_log_current(table, "created", "NULL")]),
        "update": (
            "AFTER UPDATE",
            _when_changed(table),
            [_log_current(table, "updated", json_of("OLD", table.captured))],
        ),
        "rekey": ("AFTER UPDATE", _when_rekeyed(table), [_log_deleted(table), _log_current(table, "created", "NULL")]),
        "delete": ("AFTER DELETE", "", [_log_deleted(table)]),
    }
    others = [one for one in table.uniques if one.names != (table.key,)]
    if others:
        made["replace_by_insert"] = ("BEFORE INSERT", "", [_log_ring(table, one, "NEW") for one in others])
        made["replace_by_update"] = ("BEFORE UPDATE", "", [_log_ring(table, one, "OLD") for one in others])
    return {
        f"{PREFIX}{table.kind}_{name}": statement("trigger").format(
            name=quoted(f"{PREFIX}{table.kind}_{name}"),
            moment=moment,
            table=quoted(table.name),
            condition=condition,
            body=";\n  ".join(body),
        )
        for name, (moment, condition, body) in made.items()
    }


def _when_changed(table: Table) -> str:
    """Only columns that may leave the table count, byte for byte: a collation could hide a change of case."""
    key = quoted(table.key)
    names = [quoted(name) for name in table.captured if name != table.key]
    changes = " OR ".join(f"OLD.{name} COLLATE BINARY IS NOT NEW.{name}" for name in names)
    return f"WHEN OLD.{key} COLLATE BINARY IS NEW.{key} AND ({changes or 'FALSE'})"


def _when_rekeyed(table: Table) -> str:
    key = quoted(table.key)
    return f"WHEN OLD.{key} COLLATE BINARY IS NOT NEW.{key}"


def _log_current(table: Table, op: str, old: str) -> str:
    return statement("log_current").format(
        kind=literal(table.kind),
        op=literal(op),
        key=quoted(table.key),
        old=old,
        new=json_of("r", table.captured),
        table=quoted(table.name),
        collation=table.key_collation,
    )


def _log_deleted(table: Table) -> str:
    return statement("log_deleted").format(
        kind=literal(table.kind),
        key=quoted(table.key),
        old=json_of("OLD", table.captured),
        table=quoted(table.name),
        collation=table.key_collation,
    )


def _log_ring(table: Table, unique: UniqueSet, row: str) -> str:
    """Find the rows that share a unique set with the new row; `row` is the one that is replaced by itself."""
    same = [f"r.{quoted(name)} COLLATE {collation} = NEW.{quoted(name)}" for name, collation in unique.columns]
    if unique.where is not None:
        same.append(f"({unique.where}\n)")
    return statement("log_ring").format(
        kind=literal(table.kind), key=quoted(table.key), table=quoted(table.name), same=" AND ".join(same), row=row
    )
