"""The relay of a PostgreSQL peer beside the bare statement: the same difference of two snapshots, read or copied.

Both take the same rows of the same outbox, in pages of one size, and each page is durable before the next. Both run in
the bench's own process, on the load's core; the server may use both cores.
"""

import time
from typing import Final

import asyncpg

from bench.programs import BenchError
from idsync.app import SystemClock
from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.plan import Position
from idsync.model.values import Kind, PeerName
from idsync.ports import Rewound

USERS: Final = 2_000
WRITES: Final = 20
"""Transactions of one round; each edits a tenth of the users."""
PAGE_ROWS: Final = 500
SCHEMA: Final = f"""
    CREATE TABLE users (id integer PRIMARY KEY, email text UNIQUE, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n || '@example.com', '0' FROM generate_series(1, {USERS}) AS n;
"""  # noqa: S608  # a number of ours
EDIT: Final = "UPDATE users SET name = (name::integer + 1)::text WHERE id % 10 = $1"
COPIES: Final = "CREATE TABLE copies AS SELECT * FROM idsync_app.outbox LIMIT 0"
COPY: Final = """
    WITH copied AS (
      INSERT INTO copies
      SELECT * FROM idsync_app.outbox
      WHERE seq > $1 AND tx >= pg_snapshot_xmin($2::text::pg_snapshot)
        AND NOT pg_visible_in_snapshot(tx, $2::text::pg_snapshot) AND pg_visible_in_snapshot(tx, $3::text::pg_snapshot)
      ORDER BY seq LIMIT $4
      RETURNING seq
    ) SELECT count(*), max(seq) FROM copied
"""
MAPPING: Final = TableMapping(kind=Kind.USER, table="users", fields={"email": "email", "name": "name"})


class Capture:
    """A captured table, its relay, and a bare connection beside it. Made by `open_capture`."""

    def __init__(self, peer: PostgresPeer, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Take over what was opened."""
        self._peer = peer
        self._connection = connection
        self._position: Position | None = None
        self._last = 0
        self._snapshot = ""

    async def prepare(self) -> None:
        """Let both sides take what the installation rang for."""
        await self._relay()
        self._snapshot = await self._now()
        self._last = await self._connection.fetchval("SELECT coalesce(max(seq), 0) FROM idsync_app.outbox")

    async def edit(self) -> None:
        """Edit users in several transactions."""
        for number in range(WRITES):
            await self._connection.execute(EDIT, number % 10)

    async def time_relay(self) -> float:
        """Relay what was edited; give the events of a second."""
        began = time.perf_counter()
        count = await self._relay()
        return _rate(count, began)

    async def time_copy(self) -> float:
        """Copy what was edited, with the bare statement; give the rows of a second."""
        began = time.perf_counter()
        snapshot, total, count = await self._now(), 0, PAGE_ROWS
        while count == PAGE_ROWS:
            row = await self._connection.fetchrow(COPY, self._last, self._snapshot, snapshot, PAGE_ROWS)
            count, last = row or (0, None)
            self._last = last or self._last
            total += count
        self._snapshot = snapshot
        return _rate(total, began)

    async def trim(self) -> None:
        """Let the relay delete what both have taken."""
        if self._position is not None:
            await self._peer.source.trim(self._position)

    async def close(self) -> None:
        """Release both connections."""
        await self._peer.close()
        await self._connection.close()

    async def _relay(self) -> int:
        count, has_more = 0, True
        while has_more:
            batch = await self._peer.source.read(self._position, PAGE_ROWS)
            if isinstance(batch, Rewound):
                raise BenchError(f"the relay was rewound: {batch.found}")
            self._position, has_more = batch.position, batch.has_more
            count += len(batch.observations)
        return count

    async def _now(self) -> str:
        return str(await self._connection.fetchval("SELECT pg_current_snapshot()::text"))


def _rate(count: int, began: float) -> float:
    expected = WRITES * USERS // 10
    if count != expected:
        raise BenchError(f"{count} of {expected} edits were taken from the outbox")
    return count / (time.perf_counter() - began)


async def open_capture(url: str) -> Capture:
    """Make the table and its capture in an empty database; the caller closes."""
    connection = await asyncpg.connect(url)
    await connection.execute(SCHEMA)
    peer = PostgresPeer(PeerName("app"), url, [MAPPING], SystemClock())
    await peer.install()
    await connection.execute(COPIES)
    capture = Capture(peer, connection)
    await capture.prepare()
    return capture
