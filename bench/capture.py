"""The relay of a PostgreSQL peer beside bare statements: the same difference of two snapshots, read or copied.

All take the same rows of the same outbox, in pages of one size, and each page that is copied is durable before the
next. All run in the bench's own process, on the load's core; the server may use both cores.
"""

import gc
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

import asyncpg

from bench.programs import BenchError
from bench.report import Row, compare
from bench.rounds import Bench
from idsync.app import SystemClock
from idsync.cli.service import GC_THRESHOLDS
from idsync.config.limits import CaptureSettings
from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.plan import Position
from idsync.model.values import Kind, PeerName
from idsync.ports import Rewound

USERS: Final = 2_000
WRITES: Final = 50
"""Transactions of one round; each edits a tenth of the users."""
ROUNDS_MIN: Final = 31
"""They are short: many even out what else the machine does."""
PAGE_ROWS: Final = CaptureSettings().batch_rows_max
"""As it is by default."""
SCHEMA: Final = f"""
    CREATE TABLE users (id integer PRIMARY KEY, email text UNIQUE, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n || '@example.com', '0' FROM generate_series(1, {USERS}) AS n;
"""  # noqa: S608  # a number of ours
EDIT: Final = "UPDATE users SET name = (name::integer + 1)::text WHERE id % 10 = $1"
COPIES: Final = """
    CREATE TABLE copies AS SELECT * FROM idsync_app.outbox LIMIT 0;
    CREATE TABLE taken (peer text, id text, body jsonb, at timestamptz, seq bigint, PRIMARY KEY (id, peer));
"""
COPY: Final = """
    WITH copied AS (
      {insert} FROM idsync_app.outbox
      WHERE seq > $1 AND tx >= pg_snapshot_xmin($2::text::pg_snapshot)
        AND NOT pg_visible_in_snapshot(tx, $2::text::pg_snapshot) AND pg_visible_in_snapshot(tx, $3::text::pg_snapshot)
      ORDER BY seq LIMIT $4
      {once} RETURNING seq
    ) SELECT count(*), max(seq) FROM copied
"""
PLAIN: Final = COPY.format(insert="INSERT INTO copies SELECT *", once="")
ONCE: Final = COPY.format(
    insert="INSERT INTO taken SELECT 'app', 'outbox:' || seq, coalesce(new, old), at, seq",
    once="ON CONFLICT DO NOTHING",
)
"""As an inbox must take them: each under its key, and none twice."""
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
MAPPING: Final = TableMapping(kind=Kind.USER, table="users", fields={"email": "email", "name": "name"})


class Copy:
    """The bare statement, page by page."""

    def __init__(self, connection: Connection, sql: str) -> None:
        """Nothing is copied yet; `prepare` says from where on."""
        self._connection = connection
        self._sql = sql
        self._last = 0
        self._snapshot = ""

    async def prepare(self) -> None:
        """Leave out what is there now."""
        self._snapshot = await self._now()
        self._last = await self._connection.fetchval("SELECT coalesce(max(seq), 0) FROM idsync_app.outbox")

    async def time(self) -> float:
        """Copy what was edited since; give the rows of a second."""
        began = time.perf_counter()
        snapshot, total, count = await self._now(), 0, PAGE_ROWS
        while count == PAGE_ROWS:
            row = await self._connection.fetchrow(self._sql, self._last, self._snapshot, snapshot, PAGE_ROWS)
            count, last = row or (0, None)
            self._last = last or self._last
            total += count
        self._snapshot = snapshot
        return _rate(total, began)

    async def _now(self) -> str:
        return str(await self._connection.fetchval("SELECT pg_current_snapshot()::text"))


class Capture:
    """A captured table, its relay, and bare statements beside it. Made by `open_capture`."""

    def __init__(self, peer: PostgresPeer, connection: Connection) -> None:
        """Take over what was opened."""
        self._peer = peer
        self._connection = connection
        self._position: Position | None = None
        self.copies = {sql: Copy(connection, sql) for sql in (PLAIN, ONCE)}

    async def prepare(self) -> None:
        """Let all sides take what the installation rang for."""
        await self._relay()
        for copy in self.copies.values():
            await copy.prepare()

    async def edit(self) -> None:
        """Edit users in several transactions."""
        for number in range(WRITES):
            await self._connection.execute(EDIT, number % 10)

    async def time_relay(self) -> float:
        """Relay what was edited; give the events of a second."""
        began = time.perf_counter()
        count = await self._relay()
        return _rate(count, began)

    async def trim(self) -> None:
        """Let the relay delete what all have taken."""
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


async def measure_capture(bench: Bench) -> list[Row]:
    """What the relay takes out of its outbox, beside the bare statements on the same rows."""
    capture = await open_capture(bench.urls["application"])
    trials = {"relay": capture.time_relay} | {sql: copy.time for sql, copy in capture.copies.items()}
    found: dict[str, list[float]] = {name: [] for name in trials}
    try:
        with _as_in_service():
            for _ in range(1 + max(ROUNDS_MIN, bench.plan.rounds)):
                await capture.edit()
                for name in random.sample(list(trials), len(trials)):
                    found[name].append(await trials[name]())
                await capture.trim()
    finally:
        await capture.close()
    relay, plain, once = (found[name][1:] for name in ("relay", PLAIN, ONCE))
    return [
        compare("capture relay", "events/s", relay, "bare INSERT ... SELECT of the same pages", plain, least=0.5),
        compare("capture relay", "events/s", relay, "the same with an inbox's key, ON CONFLICT", once),
    ]


@contextmanager
def _as_in_service() -> Iterator[None]:
    """Collect garbage as rarely as the service does."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
