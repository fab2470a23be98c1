"""The schema is made once and grows step by step beside processes at work, which never wait for it for long."""

import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import asyncpg
import pytest

from idsync.app import SystemClock
from idsync.errors import StoreError, StoreVersion
from idsync.model.plan import Plan
from idsync.pipeline.ticks import News
from idsync.ports import PassedOn
from idsync.stores.postgres import PostgresStore, open_store, schema
from idsync.stores.postgres.schema import read_steps
from idsync.telemetry import Counters, Log
from idsync.testing.store_suite.samples import Line, begin, person, row
from idsync.testing.wait import until
from idsync.worker import Loop

OLD = read_steps()
MORE = (
    "-- More.\n-- oldest: 1\n"
    "ALTER TABLE inbox ADD COLUMN later text; ALTER TABLE entity ADD COLUMN later text NOT NULL DEFAULT 'x';"
    "CREATE TABLE more (id integer)"
)
KNOWN = list(range(1, len(OLD) + 1))
MORE_IS = len(OLD) + 1
LESS = f"-- Less.\n-- oldest: {MORE_IS}\nDROP TABLE conflict"
FIRST_INBOX = """
    INSERT INTO inbox (slot, seq, peer, id, type, subject, received_at, verdict, event_id, event_type, event_subject,
      version, changed, body)
    SELECT 1, $1, 'auth', $2, 'user.updated', 'user/1', 0, 'applied', 'event-' || $2, 'user.updated', 'user/1',
      0, '[]', ''
"""
FIRST_ATTEMPT = """
    INSERT INTO attempt (slot, delivery, event, destination, subject, number, at, outcome, latency_ms, response)
    VALUES (1, $1, $1, 'endpoint:audit', 'user/1', 1, 0, 'delivered', 1, '')
"""
"""Writes of a process that knows only the first step."""
STALL_S = 2.5
"""Less than a statement of ours waits for a lock, and more than a busy machine needs for a turn."""
HANGS = "-- Hangs.\n-- oldest: 1\nCREATE TABLE half (id integer); SELECT pg_sleep(300)"
OPENS = """
import asyncio, sys
from idsync.stores.postgres import open_store
asyncio.run(open_store(sys.argv[1], steps=sys.argv[2:]))
"""


async def test_processes_that_start_at_once_make_each_step_once(postgres_url: str) -> None:
    """One makes it, the others find it, those that know less too."""
    opened = await asyncio.gather(*(open_store(postgres_url, steps=steps) for steps in [OLD, (*OLD, MORE)] * 3))
    epochs = [await one.start() for one in opened]
    assert len(set(epochs)) == 6
    await asyncio.gather(*(one.close() for one in opened))
    assert await _steps_of(postgres_url) == [*KNOWN, MORE_IS]


async def test_process_of_the_first_schema_works_on_beside_the_newest(postgres_url: str) -> None:
    """What it wrote is there, what it writes is taken, and what it does not know of is missing, not wrong."""
    raw = await asyncpg.connect(postgres_url, server_settings={"search_path": schema.SCHEMA})
    await schema.prepare(raw, postgres_url, OLD[:1])
    await raw.execute(FIRST_INBOX, 1, "before")
    await raw.execute(FIRST_ATTEMPT, 1)
    store = await open_store(postgres_url)
    await schema.check(raw, postgres_url, 1)
    await raw.execute(FIRST_INBOX, 2, "after")
    await raw.execute(FIRST_ATTEMPT, 2)
    for seq, entry in enumerate(await store.passed_on(PassedOn(until=2), 10), 1):
        assert (entry.seq, entry.row.not_before) == (seq, None)
        assert [one.phases for one in await store.attempts(seq)] == [None]
    await store.close()
    await raw.close()


async def test_schema_grows_while_older_processes_work(store: PostgresStore, postgres_url: str) -> None:
    """A step that only adds: not one error, and both work on together."""
    line = await begin(store)
    async with _under_load(line) as took_s:
        newer = await open_store(postgres_url, steps=(*OLD, MORE))
    assert await _steps_of(postgres_url) == [*KNOWN, MORE_IS]
    await (await begin(newer)).accept(row("new"))
    older = await open_store(postgres_url)
    assert "new" in [entry.row.id for entry in await older.recent(0, 10_000)]
    assert max(took_s) < STALL_S
    await asyncio.gather(newer.close(), older.close())


async def test_long_transaction_keeps_the_step_waiting_and_nobody_else(store: PostgresStore, postgres_url: str) -> None:
    """Whoever waits for a lock has all later ones behind him: so it waits but a moment, and tries again."""
    line = await begin(store)
    reader = await asyncpg.connect(postgres_url)
    reading = reader.transaction()
    await reading.start()
    await reader.fetch("SELECT count(*) FROM idsync.inbox")
    async with _under_load(line) as took_s:
        opening = asyncio.ensure_future(open_store(postgres_url, steps=(*OLD, MORE)))
        done, _ = await asyncio.wait([opening], timeout=1.5)
        assert not done
    assert max(took_s) < STALL_S
    await reading.rollback()
    await reader.close()
    async with asyncio.timeout(10):
        await (await opening).close()
    assert await _steps_of(postgres_url) == [*KNOWN, MORE_IS]


async def test_step_that_never_gets_its_locks_is_given_up(
    store: PostgresStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is in the way; the store is as it was."""
    monkeypatch.setattr(schema, "MIGRATION_S", 0.3)
    await begin(store)
    reader = await asyncpg.connect(postgres_url)
    async with reader.transaction():
        await reader.fetch("SELECT count(*) FROM idsync.inbox")
        with pytest.raises(StoreError, match="another transaction keeps what must be locked"):
            await open_store(postgres_url, steps=(*OLD, MORE))
    await reader.close()
    assert await _steps_of(postgres_url) == KNOWN


async def test_process_killed_in_a_step_leaves_nothing_of_it(store: PostgresStore, postgres_url: str) -> None:
    """Nor its locks: the next one makes the step anew, soon."""
    line = await begin(store)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", OPENS, postgres_url, *OLD, HANGS)
    raw = await asyncpg.connect(postgres_url)
    await until(lambda: _is_at(raw, "%pg_sleep%"))
    await line.accept(row("meanwhile"))
    child.kill()
    await child.wait()
    async with asyncio.timeout(20):
        await (await open_store(postgres_url, steps=(*OLD, MORE))).close()
    assert await raw.fetchval("SELECT to_regclass('idsync.half')") is None
    await raw.close()


async def test_step_that_fails_keeps_the_steps_before_it(store: PostgresStore, postgres_url: str) -> None:
    """Each is a transaction of its own."""
    broken = "-- Half.\n-- oldest: 1\nCREATE TABLE half (id integer); CREATE nonsense"
    with pytest.raises(StoreError):
        await open_store(postgres_url, steps=(*OLD, MORE, broken))
    assert await _steps_of(postgres_url) == [*KNOWN, MORE_IS]
    await (await begin(store)).accept(row("e1"))


async def test_process_that_knows_too_little_is_refused(store: PostgresStore, postgres_url: str) -> None:
    """Once a step says that less than its number will not do."""
    await (await open_store(postgres_url, steps=(*OLD, LESS))).close()
    with pytest.raises(StoreVersion, match=f"needs an idsync that knows schema {MORE_IS}, this one knows {len(OLD)}"):
        await open_store(postgres_url)


async def test_running_process_that_knows_too_little_ends_at_once(store: PostgresStore, postgres_url: str) -> None:
    """Its loop of news hears of the step, and whoever watches it is told to start the newer one."""
    news = News(store, lambda: None)
    log = Log(io.StringIO())
    loop = Loop("news", news, clock=SystemClock(), counters=Counters(), log=log, on_lost=lambda: None)
    running = asyncio.ensure_future(loop.run())
    await until(lambda: store._news._listening is not None)
    additive = await open_store(postgres_url, steps=(*OLD, MORE))
    assert not running.done()
    await (await open_store(postgres_url, steps=(*OLD, MORE, LESS.replace(str(MORE_IS), str(MORE_IS + 1))))).close()
    async with asyncio.timeout(5):
        with pytest.raises(StoreVersion, match="start the newer one"):
            await running
    await additive.close()


@asynccontextmanager
async def _under_load(line: Line) -> AsyncIterator[list[float]]:
    """Write, tick, read and settle as fast as it goes, without an error; give how long each turn took, in seconds."""
    took_s: list[float] = []
    await line.tick()

    async def work(writer: int) -> None:
        for rev in count(1):
            began = time.monotonic()
            await line.write(person(writer, rev=rev), expected_rev=rev - 1 or None)
            await line.accept(row(f"load-{writer}-{rev}"))
            page = await line.read(line.audit[0].id, limit=1_000)
            if page.deliveries:  # else another writer has settled past ours
                await line.commit(Plan(epoch=0, progress={line.audit[0].id: page.deliveries[-1].place}))
            took_s.append(time.monotonic() - began)

    tasks = [asyncio.create_task(work(writer)) for writer in range(3)]
    await until(lambda: len(took_s) > 20)
    yield took_s
    so_far = len(took_s)
    await until(lambda: len(took_s) > so_far + 20)
    for task in tasks:
        assert task.cancel(), task.exception()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _is_at(raw: "asyncpg.Connection[asyncpg.Record]", query: str) -> bool:
    at_it = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE $1 AND state = 'active' AND pid <> pg_backend_pid()"
    return bool(await raw.fetchval(at_it, query))


async def _steps_of(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        return [number for (number,) in await connection.fetch("SELECT number FROM idsync.migration ORDER BY number")]
    finally:
        await connection.close()
