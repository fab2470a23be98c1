"""What was committed, by the server's own word: its write-ahead log, decoded by PostgreSQL's own plug-in.

Nothing of idsync takes part in it, no trigger and no outbox. The decoder speaks pgoutput's protocol 1 (PostgreSQL
manual, "Logical Replication Message Formats"); the server needs `wal_level = logical`.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import asyncpg
import msgspec

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Row = dict[str, str | None]
"""Column → value, as PostgreSQL writes it."""

KEY: Final = "id"
"""The primary key of every table that is watched."""
NAME: Final = "committed"
"""Of the publication and of the slot."""
WITHOUT_ROWS: Final = frozenset(b"BCOY")


class Change(msgspec.Struct, frozen=True):
    """One row as one change left it."""

    table: str
    key: str
    row: Row | None
    """None: it is gone."""
    transaction: int = 0
    """Its number; 0: the row was there at first."""


async def begin(connection: Connection, tables: Sequence[str]) -> list[Change]:
    """Watch these tables from now on, while nobody writes; give what they hold as their first changes."""
    names = ", ".join(f'"{table}"' for table in tables)
    await connection.execute(f"CREATE PUBLICATION {NAME} FOR TABLE {names}")
    await connection.execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", NAME)
    return await read_tables(connection, tables)


async def read(connection: Connection) -> list[Change]:
    """Give every change that was committed since the last read, transaction by transaction as they were committed."""
    await connection.execute("SET timezone TO 'UTC'")
    sql = (
        f"SELECT xid::text::bigint AS xid, data FROM pg_logical_slot_get_binary_changes('{NAME}', NULL, NULL,"
        f" 'proto_version', '1', 'publication_names', '{NAME}')"
    )
    decoder = _Decoder()
    return [
        msgspec.structs.replace(change, transaction=found["xid"])
        for found in await connection.fetch(sql)
        for change in decoder.changes(found["data"])
    ]


async def read_tables(connection: Connection, tables: Sequence[str]) -> list[Change]:
    """Give what these tables hold now."""
    return [one for table in tables for one in await _read_table(connection, table)]


async def _read_table(connection: Connection, table: str) -> list[Change]:
    columns = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        f'"{table}"',
    )
    texts = ", ".join(f'"{one["attname"]}"::text' for one in columns)
    rows = [dict(row) for row in await connection.fetch(f'SELECT {texts} FROM "{table}" ORDER BY {KEY}')]
    return [Change(table, row[KEY], row) for row in rows]


class _Decoder:
    """Decodes messages in their order: each names its table by a number that an earlier one has introduced."""

    def __init__(self) -> None:
        self._tables: dict[int, tuple[str, list[str]]] = {}

    def changes(self, message: bytes) -> Iterator[Change]:
        """Give the rows that a message is about; most are about none."""
        reader = _Reader(message)
        match kind := reader.take("c"):
            case b"R":
                self._introduce(reader)
            case b"I" | b"U" | b"D":
                yield from self._rows(reader)
            case _:
                assert kind[0] in WITHOUT_ROWS, f"a message of the kind {kind!r} was not expected"

    def _introduce(self, reader: "_Reader") -> None:
        number, _ = reader.take("I"), reader.text()
        name, _ = reader.text(), reader.take("c")
        columns: list[str] = []
        for _ in range(reader.take("H")):
            reader.take("B")
            columns.append(reader.text())
            reader.take("Ii")
        self._tables[number] = (name, columns)

    def _rows(self, reader: "_Reader") -> Iterator[Change]:
        """An update that moves the key, and a delete, say first what the key was."""
        table, columns = self._tables[reader.take("I")]
        part = reader.take("c")
        if part != b"N":
            yield Change(table, str(reader.row(columns)[KEY]), None)
            part = reader.take("c") if reader.has_more else b""
        if part == b"N":
            row = reader.row(columns)
            yield Change(table, str(row[KEY]), row)


class _Reader:
    """A place in a message. Numbers are big-endian, texts end with a zero."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 0

    @property
    def has_more(self) -> bool:
        return self._at < len(self._message)

    def take(self, layout: str) -> Any:  # noqa: ANN401  # what the layout says
        """Take a value, or the first of several."""
        [value, *_] = struct.unpack_from(f">{layout}", self._message, self._at)
        self._at += struct.calcsize(f">{layout}")
        return value

    def text(self) -> str:
        end = self._message.index(0, self._at)
        text = self._message[self._at : end].decode()
        self._at = end + 1
        return text

    def row(self, columns: list[str]) -> Row:
        assert self.take("H") == len(columns), "a table was altered"
        return {column: self._value() for column in columns}

    def _value(self) -> str | None:
        kind = self.take("c")
        assert kind in {b"n", b"t"}, "a value is too long to be in the log again with a change of another column"
        if kind == b"n":
            return None
        length = self.take("I")
        self._at += length
        return self._message[self._at - length : self._at].decode()
