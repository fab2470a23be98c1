"""What one, two and four processes do on one PostgreSQL. The load and the server share the cores with them."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import asyncpg
import msgspec

from bench.capture import SCHEMA, USERS, Connection
from bench.load import Events, Load, Run, connect
from bench.programs import BenchError, Server
from bench.report import Row, compare
from bench.rounds import DRAIN_S, Bench
from bench.sink import Sink, open_sink
from bench.stores import COUNTS
from idsync.connectors.sql_postgres.mark import mark_of
from idsync.model.plan import Position

LEAST: Final = 0.6
"""Of the rate of one process, for four: they share two cores with the load and the server, and must not be in each
other's way."""
POLL_S: Final = 0.002
BATCH: Final = 100
EDIT: Final = "UPDATE users SET name = (name::integer + 1)::text"
BARE: Final = "CREATE TABLE bare (peer text, id text, body bytea, PRIMARY KEY (id, peer))"
INSERT: Final = """
    INSERT INTO bare SELECT 'bench', k.id, k.body FROM unnest($1::text[], $2::bytea[]) AS k (id, body)
    ON CONFLICT DO NOTHING
"""

Trial = Callable[[], Awaitable[float]]


class Group:
    """Some processes on one store, their sink, and the application that they capture. Made by `open_group`."""

    def __init__(
        self, bench: Bench, servers: Sequence[Server], sink: Sink, store: Connection, application: Connection
    ) -> None:
        """Take over what was opened."""
        self._bench = bench
        self._servers = servers
        self._sink = sink
        self._store = store
        self._application = application

    async def ingest(self) -> float:
        """Publish one event a request at all of them; give the events of a second."""
        events, for_s = self._bench.events, self._bench.plan.closed_s
        runs = await self._publish(64, lambda load: load.closed_loop(events.one, for_s=for_s))
        return _count(runs) / (max(run.ended_at for run in runs) - min(run.began_at for run in runs))

    async def deliver(self) -> float:
        """Publish notes by the hundred at all of them; give those of a second until the last one arrived."""
        self._sink.clear()
        events, requests = self._bench.events, self._bench.plan.backlog // BATCH // len(self._servers)
        runs = await self._publish(4, lambda load: load.closed_loop(events.notes, requests_max=requests))
        count = _count(runs) * BATCH
        await self._sink.wait_for(count, DRAIN_S)
        return count / (self._sink.last_at - min(run.began_at for run in runs))

    async def capture(self) -> float:
        """Edit everybody in one transaction; give the edits of a second until the last one is in the store."""
        async with self._application.transaction():
            await self._application.execute(EDIT)
            last = await self._application.fetchval("SELECT max(seq) FROM idsync_app.outbox")
            began = time.monotonic()
        while await self._position() < last:
            if time.monotonic() > began + DRAIN_S:
                raise BenchError(f"{USERS} edits were not captured within {DRAIN_S:.0f} s")
            await asyncio.sleep(POLL_S)
        return USERS / (time.monotonic() - began)

    async def _publish(self, connections: int, run: Callable[[Load], Awaitable[Run]]) -> list[Run]:
        async with AsyncExitStack() as stack:
            share = max(1, connections // len(self._servers))
            loads = [await stack.enter_async_context(connect(server.port, share)) for server in self._servers]
            return await asyncio.gather(*(run(load) for load in loads))

    async def _position(self) -> int:
        doc = await self._store.fetchval("SELECT doc FROM idsync.position WHERE peer = 'app'")
        mark = None if doc is None else mark_of(msgspec.json.decode(doc, type=Position))
        return 0 if mark is None else mark.row


def _count(runs: Sequence[Run]) -> int:
    return sum(run.requests for run in runs)


@asynccontextmanager
async def open_group(bench: Bench, count: int, sink: Sink) -> AsyncIterator[Group]:
    """Start processes on a store of their own, with an application of their own."""
    name, application_url = f"processes-{count}", bench.urls[f"application-{count}"]
    application = await asyncpg.connect(application_url)
    await application.execute(SCHEMA)
    async with bench.variants.several(name, count, sink.url, application_url, bench.cores) as servers:
        store = await asyncpg.connect(bench.urls[name])
        try:
            yield Group(bench, servers, sink, store, application)
        finally:
            await store.close()
            await application.close()


class Bare:
    """The bare statement: the same events, a hundred a transaction, into a table with the inbox's key."""

    def __init__(self, connection: Connection, events: Events, for_s: float) -> None:
        """Write on a connection that has the table."""
        self._connection = connection
        self._events = events
        self._for_s = for_s

    async def insert(self) -> float:
        """Insert for a while; give the rows of a second."""
        began, count = time.monotonic(), 0
        while time.monotonic() < began + self._for_s:
            taken = [self._events.take() for _ in range(BATCH)]
            await self._connection.execute(INSERT, [one.decode() for one, _ in taken], [body for _, body in taken])
            count += BATCH
        return count / (time.monotonic() - began)


async def measure_processes(bench: Bench) -> list[Row]:
    """Every number of processes in every round, and the bare statement beside them."""
    found: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        sink, listening = await open_sink()
        await stack.enter_async_context(listening)
        connection = await asyncpg.connect(bench.urls["ingest"])
        stack.push_async_callback(connection.close)
        await connection.execute(BARE)
        trials: dict[str, Trial] = {"bare": Bare(connection, bench.events, bench.plan.closed_s).insert}
        for count in COUNTS:
            group = await stack.enter_async_context(open_group(bench, count, sink))
            trials |= {f"ingest {count}": group.ingest, f"deliver {count}": group.deliver}
            trials[f"capture {count}"] = group.capture
        for _ in range(1 + bench.plan.shared_rounds):
            for name in random.sample(list(trials), len(trials)):
                found.setdefault(name, []).append(await trials[name]())
    return _rows({name: rates[1:] for name, rates in found.items()})


def _rows(found: Mapping[str, list[float]]) -> list[Row]:
    rows: list[Row] = []
    for what in ("ingest", "deliver", "capture"):
        bare = "bare INSERT, 100 rows a transaction"
        rows += [
            compare(f"{what}, {_named(count)}", "events/s", found[f"{what} {count}"], bare, found["bare"])
            for count in COUNTS
        ]
        alone = found[f"{what} 1"]
        rows += [
            compare(
                f"{what}, {_named(count)}",
                "events/s",
                found[f"{what} {count}"],
                _named(1),
                alone,
                least=LEAST if count == COUNTS[-1] else None,
            )
            for count in COUNTS[1:]
        ]
    return rows


def _named(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
