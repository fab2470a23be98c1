"""The triggers of one table, as SQL: what the application's own statements write to the outbox, in their transaction.

They make no statement of the application fail, neither for what a row holds nor after a change of its columns: but for
the key no column is named where MySQL looks for it before a statement begins.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from idsync.connectors.sql_mysql.database import statement
from idsync.connectors.sql_mysql.rows import json_of, literal, quoted, text_in_sql
from idsync.connectors.sql_mysql.schema import Child
from idsync.connectors.tables.shape import Table
from idsync.errors import PeerError
from idsync.model.values import PeerName

NAME_CHARS_MAX: Final = 64
NOW: Final = (
    "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)))"
    " DIV 1000"
)
"""Milliseconds, as of now and not of when the statement began; in UTC, whatever the session's zone."""
PARTS: Final = ("outbox", "broken", "rings", "receipts", "capture")
"""Our tables."""


class Trigger(msgspec.Struct, frozen=True):
    """One trigger as it should be. Its name tells it from one of another definition."""

    name: str
    sql: str


def prefix_of(peer: PeerName) -> str:
    """Say how the name of everything of ours begins at a peer."""
    return f"idsync_{peer}_"


def names_of(peer: PeerName) -> dict[str, str]:
    """Give our tables' names, as SQL writes them.

    Raises:
        PeerError: the peer's name makes them too long for MySQL.
    """
    names = {part: prefix_of(peer) + part for part in PARTS}
    if any(len(name) > NAME_CHARS_MAX for name in names.values()):
        raise PeerError(f"{peer}: its name is too long to be captured in MySQL; at most 48 characters fit")
    return {part: quoted(name) for part, name in names.items()}


def mark_of(peer: PeerName) -> str:
    """Give the text that every trigger of ours has in it, and no other peer's."""
    return names_of(peer)["broken"]


def triggers_of(peer: PeerName, table: Table, children: Sequence[Child]) -> list[Trigger]:
    """Write a table's triggers, in the order in which they are made.

    Args:
        peer: whose they are.
        table: the table.
        children: every captured table whose rows the database removes with those of another.

    Raises:
        PeerError: the peer's name makes theirs too long for MySQL.
    """
    base = table.types[table.key]
    names = names_of(peer)
    parts = {
        **names,
        "now": NOW,
        "kind": literal(table.kind),
        "table": quoted(table.name),
        "key": quoted(table.key),
        "old_key": text_in_sql("OLD", table.key, base),
        "new_key": text_in_sql("r", table.key, base),
        "row": json_of("r", table.captured, table.types),
        "was": f"@`{prefix_of(peer)}{table.kind}`",
        "rings": "",
    }
    rings = "".join(
        f"\n  {_ring_children(child, names)};" for child in children if child.is_deletion and child.parent == table.name
    )
    made = {
        "created": statement("tell_created").format(name="{name}", **parts),
        "change": statement("remember").format(name="{name}", moment="BEFORE UPDATE", **parts),
        "changed": statement("tell_updated").format(name="{name}", **parts),
        "removal": statement("remember").format(name="{name}", moment="BEFORE DELETE", **parts | {"rings": rings}),
        "removed": statement("tell_deleted").format(name="{name}", **parts),
    }
    return [_named(peer, table, verb, sql) for verb, sql in made.items()]


def _named(peer: PeerName, table: Table, verb: str, sql: str) -> Trigger:
    digest = hashlib.sha256(sql.encode()).hexdigest()[:8]
    name = f"{prefix_of(peer)}{table.kind}_{verb}_{digest}"
    if len(name) > NAME_CHARS_MAX:
        raise PeerError(f"{peer}: its name is too long for MySQL, as the trigger {name} shows")
    return Trigger(name, sql.replace("{name}", quoted(name), 1))


def _ring_children(child: Child, names: dict[str, str]) -> str:
    table = child.table
    return statement("ring_children").format(
        outbox=names["outbox"],
        now=NOW,
        kind=literal(table.kind),
        text=text_in_sql("r", table.key, table.types[table.key]),
        table=quoted(table.name),
        same=" AND ".join(f"r.{quoted(column)} = OLD.{quoted(parents)}" for column, parents in child.columns),
    )
