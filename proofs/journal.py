"""A journal in each peer's own database: every change of its table, in order, by whom, as the database itself saw it.

Triggers of the application write it, in the transaction of the change. Who wrote is known from `idsync_writer`, which
holds the name of a write only while a transaction of idsync is open. A second journal keeps what was captured.
"""

import json
from typing import Final

import msgspec

from idsync.testing.sqlite_app import SqliteApp, SqlValue

FIELDS: Final = ("email", "email_verified", "name", "picture", "banned")
FLAGS: Final = frozenset({"email_verified", "banned"})

LINK: Final = "link"
"""Not a field: an id that the other side gave, noted in a row that was made here."""

Values = dict[str, str | bool | None]
"""Canonical field → value."""


class Side(msgspec.Struct, frozen=True):
    """One peer's table."""

    peer: str
    table: str
    columns: dict[str, str]
    """Canonical field → column."""
    link: str | None = None
    """The column that idsync notes the other side's id in."""

    def json(self, row: str) -> str:
        """SQL that makes an object of the fields."""
        columns = self.columns if self.link is None else {**self.columns, LINK: self.link}
        pairs = (f"'{field}', {row}.{name}" for field, name in columns.items())
        return f"json_object({', '.join(pairs)})"


AUTH: Final = Side(
    "auth",
    '"user"',
    {"email": "email", "email_verified": "emailVerified", "name": "name", "picture": "image", "banned": "banned"},
)
APP: Final = Side(
    "app",
    "users",
    {"email": "email", "email_verified": "verified", "name": "full_name", "picture": "avatar", "banned": "suspended"},
    link="auth_id",
)


class Entry(msgspec.Struct, frozen=True):
    """One change of one row."""

    peer: str
    seq: int
    at_ms: int
    op: str
    """insert, update, delete; replaced: it went because another row took its e-mail."""
    key: str
    old: Values | None
    new: Values | None
    writer: str | None
    """The name of idsync's write; None: somebody outside."""


NOW_MS: Final = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"

TABLES: Final = f"""
CREATE TABLE journal (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER DEFAULT ({NOW_MS}), op TEXT, key, old TEXT, new TEXT, writer TEXT
);
CREATE TABLE journal_captured (seq INTEGER PRIMARY KEY, kind TEXT, op TEXT);
CREATE TRIGGER journal_capture AFTER INSERT ON idsync_outbox BEGIN
  INSERT INTO journal_captured (seq, kind, op) VALUES (NEW.seq, NEW.kind, NEW.op);
END;
CREATE TRIGGER journal_uncapture AFTER DELETE ON idsync_outbox WHEN EXISTS (SELECT 1 FROM idsync_writer) BEGIN
  DELETE FROM journal_captured WHERE seq = OLD.seq;
END;
"""


def install(app: SqliteApp, side: Side) -> None:
    """Begin the journal, with the rows that are there as its first entries; capture must be installed."""
    old, new = side.json("OLD"), side.json("NEW")
    moments = (("INSERT", "NEW", "NULL", new), ("UPDATE", "NEW", old, new), ("DELETE", "OLD", old, "NULL"))
    script = TABLES
    for op, row, before, after in moments:
        script += (
            f"CREATE TRIGGER journal_{op} AFTER {op} ON {side.table} BEGIN"
            f" INSERT INTO journal (op, key, old, new, writer)"
            f" SELECT '{op.lower()}', {row}.id, {before}, {after}, (SELECT origin FROM idsync_writer); END;\n"
        )
    script += f"INSERT INTO journal (op, key, new) SELECT 'insert', r.id, {side.json('r')} FROM {side.table} AS r;"
    app.run_script(script)


def read(app: SqliteApp, side: Side, after: int = 0) -> list[Entry]:
    """Every change after a number, in the order in which they were committed."""
    rows = app.run("SELECT seq, at, op, key, old, new, writer FROM journal WHERE seq > ? ORDER BY seq", after)
    return [
        Entry(side.peer, _int(seq), _int(at), str(op), str(key), _values(old), _values(new), _text(writer))
        for seq, at, op, key, old, new, writer in rows
    ]


def captured(app: SqliteApp) -> list[tuple[int, str]]:
    """Number and op of every row that the triggers of idsync ever left in its outbox."""
    return [(_int(seq), str(op)) for seq, op in app.run("SELECT seq, op FROM journal_captured ORDER BY seq")]


def read_table(app: SqliteApp, side: Side) -> dict[str, Values]:
    """The table as it is now, by key."""
    rows = app.run(f"SELECT r.id, {side.json('r')} FROM {side.table} AS r")  # our own names
    return {str(key): _values(row) or {} for key, row in rows}


def replay(entries: list[Entry]) -> tuple[list[Entry], dict[str, Values]]:
    """Follow a journal from its beginning: the entries with those that no trigger saw, and the table at its end.

    A REPLACE removes the row that stood in its way without a delete trigger; it shows when a living row's e-mail comes
    up under another key.
    """
    table: dict[str, Values] = {}
    holders: dict[object, str] = {}
    full: list[Entry] = []
    for entry in entries:
        new = entry.new
        if new is not None and (holder := holders.get(new["email"], entry.key)) != entry.key:
            full.append(msgspec.structs.replace(entry, op="replaced", key=holder, old=table.pop(holder), new=None))
        gone = table.pop(entry.key, None)
        if gone is not None and holders.get(gone["email"]) == entry.key:
            del holders[gone["email"]]
        if new is not None:
            table[entry.key] = new
            holders[new["email"]] = entry.key
        # A REPLACE of a row by itself is an insert to the triggers.
        full.append(msgspec.structs.replace(entry, old=gone) if entry.op == "insert" else entry)
    return full, table


def _values(text: SqlValue) -> Values | None:
    if not isinstance(text, str):
        return None
    raw = json.loads(text)
    values = {field: bool(raw[field]) if field in FLAGS else raw[field] for field in FIELDS}
    return {**values, LINK: raw[LINK]} if LINK in raw else values


def _int(value: SqlValue) -> int:
    assert isinstance(value, int)
    return value


def _text(value: SqlValue) -> str | None:
    return value if isinstance(value, str) else None
