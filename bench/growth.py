"""What one more event costs when many are stored: the same load on stores that differ in what they hold.

A store is filled by copying what the line itself has stored: rows of its own shape, in its own slots, under ids that
are as good as random, as those of the events that are then published.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from bench.load import connect
from bench.programs import TICKS_PER_S, Server
from bench.report import Point, Row, Spread, compare
from bench.rounds import DRAIN_S, Bench
from bench.sink import Sink, open_sink

MOST: Final = 1.15
"""The cost of an event at the greatest size, beside that at the least."""
LANE_ROWS_MAX: Final = 500_000
"""Settled deliveries that a store keeps: a slot of the lanes is emptied when it is full (decision 0010)."""
FILL_S: Final = 900.0
FILL: Final = (
    """
    INSERT INTO idsync.inbox
    SELECT 1 + n % 3, nextval('idsync.inbox_number'), t.peer, 'bench-' || left(md5(n::text), 16), t.type, t.subject,
      t.received_at, t.verdict, t.reason, t.entity, 'stored-' || n, t.event_type, t.event_subject, t.version, t.changed,
      t.body, t.trace
    FROM generate_series(1, $1::bigint) AS n
    JOIN (SELECT *, row_number() OVER (ORDER BY seq) - 1 AS k FROM idsync.inbox) AS t
      ON t.k = n % (SELECT count(*) FROM idsync.inbox)
    """,
    f"""
    INSERT INTO idsync.delivery (slot, lane, id, xid, subject, version, event, queued_at)
    SELECT t.slot, t.lane, nextval('idsync.delivery_number'), t.xid, t.subject, t.version, t.event, t.queued_at
    FROM generate_series(1, least($1::bigint, {LANE_ROWS_MAX})) AS n
    JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS k FROM idsync.delivery) AS t
      ON t.k = n % (SELECT count(*) FROM idsync.delivery)
    """,  # noqa: S608  # numbers of ours
)
SETTLE: Final = ("VACUUM ANALYZE idsync.inbox", "VACUUM ANALYZE idsync.delivery", "CHECKPOINT")


class Cost(NamedTuple):
    """What one trial took."""

    rate: float
    """Events a second, from the first request to the last arrival."""
    cpu_us: float
    """CPU time of one event, of the process and of the whole server together."""


class Stored:
    """A line whose store holds so many events."""

    def __init__(self, bench: Bench, server: Server, sink: Sink, postmaster: int) -> None:
        """Measure a line that runs."""
        self._bench = bench
        self._server = server
        self._sink = sink
        self._postmaster = postmaster

    async def cost(self) -> Cost:
        """Publish for a while, and wait for the last arrival."""
        self._sink.clear()
        async with connect(self._server.port, 64) as load:
            used = self._cpu_s()
            run = await load.closed_loop(self._bench.events.scattered, for_s=self._bench.plan.closed_s)
            await self._sink.wait_for(run.requests, DRAIN_S)
            used = self._cpu_s() - used
        return Cost(run.requests / (self._sink.last_at - run.began_at), used / run.requests * 1e6)

    def _cpu_s(self) -> float:
        return self._server.program.cpu_s() + server_cpu_s(self._postmaster)


def server_cpu_s(postmaster: int) -> float:
    """CPU time of a PostgreSQL so far: of the processes that it has, and of those that have ended."""
    ticks = sum(_ticks(postmaster, ended=True))
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and _parent(int(path.name)) == postmaster:
            ticks += sum(_ticks(int(path.name), ended=False))
    return ticks / TICKS_PER_S


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _ticks(pid: int, *, ended: bool) -> list[int]:
    """User and system time of a process; with `ended` also of its children that are gone."""
    return [int(one) for one in _stat(pid)[11 : 15 if ended else 13]]


async def measure_growth(bench: Bench) -> list[Row | Point]:
    """The cost of an event at every size, in every round."""
    sizes = bench.plan.sizes
    found: dict[int, list[Cost]] = {size: [] for size in sizes}
    async with AsyncExitStack() as stack:
        sink, listening = await open_sink()
        await stack.enter_async_context(listening)
        lines: dict[int, Stored] = {}
        for size in sizes:
            server = stack.enter_context(bench.variants.line(f"stored-{size}", sink.url))
            lines[size] = Stored(bench, server, sink, await _postmaster(bench.urls[f"stored-{size}"]))
            await lines[size].cost()
            await _fill(bench.urls[f"stored-{size}"], size)
        for _ in range(1 + bench.plan.growth_rounds):
            for size in random.sample(sizes, len(sizes)):
                found[size].append(await lines[size].cost())
    counted = {size: costs[1:] for size, costs in found.items()}
    points = [Point(size, Spread.of([one.cpu_us for one in costs])) for size, costs in counted.items()]
    return [*_rows(counted), *points]


async def _postmaster(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return _parent(await connection.fetchval("SELECT pg_backend_pid()"))
    finally:
        await connection.close()


async def _fill(url: str, size: int) -> None:
    """Store so many more events."""
    connection = await asyncpg.connect(url)
    try:
        for sql in FILL:
            await connection.execute(sql, size, timeout=FILL_S)
        for sql in SETTLE:
            await connection.execute(sql, timeout=FILL_S)
    finally:
        await connection.close()


def _rows(found: Mapping[int, Sequence[Cost]]) -> list[Row]:
    least = min(found)
    base = found[least]
    rows: list[Row] = []
    for size, costs in found.items():
        if size == least:
            continue
        name, against = f"with {size:,} stored events", f"with {least:,}"
        is_greatest = size == max(found)
        rows += [
            compare(
                f"CPU of one event and its delivery, server included, {name}",
                "us",
                [one.cpu_us for one in costs],
                against,
                [one.cpu_us for one in base],
                most=MOST if is_greatest else None,
            ),
            compare(
                f"ingest + deliver, 64 connections, {name}",
                "events/s",
                [one.rate for one in costs],
                against,
                [one.rate for one in base],
            ),
        ]
    return rows
