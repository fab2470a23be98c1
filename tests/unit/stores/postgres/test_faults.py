"""Faults of the server and the network: whoever waits is told, nothing answered is lost, and it goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from idsync.errors import StoreError
from idsync.model.plan import Committed, Plan, Redo
from idsync.stores.postgres import open_store, pool
from idsync.stores.postgres.db import read_texts
from idsync.testing.postgres import PostgresServer, Shutdown, open_postgres
from idsync.testing.store_suite.samples import Line, begin, row
from idsync.testing.wait import until
from tests.black_hole import BlackHole


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of our own, which may be harmed, with few connections."""
    with open_postgres(options={"max_connections": "20"}) as started:
        yield started


@pytest.fixture
async def url(server: PostgresServer) -> str:
    """A database on it."""
    return await server.new_database()


@pytest.fixture
async def line(url: str) -> AsyncIterator[Line]:
    """A store there, with lanes."""
    store = await open_store(url)
    yield await begin(store)
    await store.close()


async def _write_through(line: Line, count: int, harmed: asyncio.Event) -> list[str]:
    """Accept events one after the other, again and again until each is known; give those that were answered."""
    answered = []
    for number in range(count):
        if number == count // 3:
            harmed.set()
        while True:
            try:
                result = await line.try_commit(Plan(epoch=0, inbox=(row(f"e{number}"),)))
            except StoreError:
                await asyncio.sleep(0.01)
                continue
            assert isinstance(result, Committed | Redo)
            answered.append(f"e{number}")
            break
    return answered


@pytest.mark.parametrize("harm", ["crash", "restart", "terminate"])
async def test_store_recovers_by_itself_and_keeps_what_it_answered(
    line: Line, server: PostgresServer, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash of the server, a restart, the end of every connection, while events come; no library complains."""
    harmed = asyncio.Event()
    writing = asyncio.ensure_future(_write_through(line, 90, harmed))
    await harmed.wait()
    match harm:
        case "crash":
            await server.restart(Shutdown.IMMEDIATE)
        case "restart":
            await server.restart()
        case _:
            for _ in range(3):
                await server.terminate_connections()
    async with asyncio.timeout(30):
        answered = await writing
    assert [entry.row.id for entry in await line.store.recent(0, 1_000)] == answered
    await line.tick()
    assert not caplog.records


async def test_crash_keeps_lanes_and_positions(line: Line, server: PostgresServer) -> None:
    """What is not logged is not needed: the claims are gone, and everything goes on."""
    committed = await line.accept(row("e1"), row("e2"))
    await line.pass_by(line.audit[0], committed.deliveries[0])
    await server.restart(Shutdown.IMMEDIATE)
    await until(lambda: _works(line))
    await line.accept(row("e3"))
    await line.tick()
    stats = await line.store.stats()
    assert stats.queued == {line.audit[0].destination: 2}


async def test_server_without_a_free_connection_is_an_error_and_not_the_end(url: str) -> None:
    """The message says what to do; with little room the store works as far as it goes, and then wholly again."""
    greedy = await _take_all(url)
    try:
        with pytest.raises(StoreError, match="raise max_connections or run fewer processes"):
            await open_store(url)
        await asyncio.gather(*(greedy.pop().close() for _ in range(2)))
        store = await open_store(url)
        line = await begin(store)
        answers = await asyncio.gather(
            *(line.is_known(row(f"e{number}")) for number in range(8)),
            *(store.stats() for _ in range(8)),
            return_exceptions=True,
        )
    finally:
        await asyncio.gather(*(one.close() for one in greedy))
    assert all(not isinstance(one, BaseException) or isinstance(one, StoreError) for one in answers)
    assert not all(isinstance(one, BaseException) for one in answers)
    await line.accept(row("later"))
    await store.close()


async def _take_all(url: str) -> list["asyncpg.Connection[asyncpg.Record]"]:
    """Connect until the server has no connection left."""
    taken: list[asyncpg.Connection[asyncpg.Record]] = []
    while True:
        try:
            taken.append(await asyncpg.connect(url))
        except asyncpg.TooManyConnectionsError:
            return taken


async def test_connection_that_is_silent_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that swallows everything: callers are told in time, and the next connection works."""
    monkeypatch.setattr(pool, "COMMAND_S", 0.5)
    monkeypatch.setattr(pool, "CONNECT_S", 0.5)
    hole = BlackHole(url)
    store = await open_store(await hole.open())
    line = await begin(store)
    hole.is_silent = True
    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match="took too long"):
            await line.accept(row("e1"))
    hole.is_silent = False
    await until(lambda: _works(line))
    await line.accept(row("e2"))
    assert "e2" in [entry.row.id for entry in await store.recent(0, 10)]
    await store.close()
    await hole.close()


async def test_task_cancelled_on_a_silent_connection_ends_at_once(url: str) -> None:
    """Nobody waits for a rollback to be answered, and the cancellation does not become another error."""
    hole = BlackHole(url)
    connections = await pool.open_connections(await hole.open())
    began = asyncio.Event()

    async def work() -> None:
        async with connections.taken(pool.Use.LINE) as db, db.transaction():
            hole.is_silent = True
            began.set()
            await db.connection.execute("SELECT 1")

    task = asyncio.create_task(work())
    await began.wait()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.cancelled()
    hole.is_silent = False
    async with connections.taken(pool.Use.LINE) as db:
        assert await db.connection.fetchval("SELECT 1") == 1
    await connections.close()
    await hole.close()


async def test_idle_connections_are_doubted_once_one_was_silent(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that is as dead costs a moment, not the time that an answer may take."""
    monkeypatch.setattr(pool, "COMMAND_S", 1.5)
    monkeypatch.setattr(pool, "SIGN_S", 0.05)
    hole = BlackHole(url)
    connections = await pool.open_connections(await hole.open())
    async with connections.taken(pool.Use.LINE), connections.taken(pool.Use.LINE):
        hole.is_silent = True  # now there are two
    clock = asyncio.get_running_loop().time
    took_s = []
    for _ in range(2):
        began = clock()
        with pytest.raises(StoreError, match="took too long"):
            async with connections.taken(pool.Use.LINE) as db:
                await db.connection.execute("SELECT 1")
        took_s.append(clock() - began)
    assert took_s[0] > 1.0
    assert took_s[1] < 1.0
    await connections.close()
    await hole.close()


async def test_commit_behind_a_lock_that_is_never_released_is_given_up(
    line: Line, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends the wait; nothing of the plan is written."""
    monkeypatch.setitem(pool.SETTINGS, "lock_timeout", "200ms")
    store = await open_store(url)
    connection = await asyncpg.connect(url, server_settings={"search_path": "idsync"})
    try:
        hurried = Line(store, line.epoch, line.audit, line.target)
        async with connection.transaction():
            await connection.fetch(read_texts("sql")["begin_commit"], ["subject\x01user/e1"], 0, None)
            with pytest.raises(StoreError, match="a transaction that was left open"):
                await hurried.accept(row("e1"))
        assert not await hurried.is_known(row("e1"))
        await hurried.accept(row("e1"))
    finally:
        await connection.close()
        await store.close()


async def _works(line: Line) -> bool:
    try:
        await line.is_known(row("any"))
    except StoreError:
        return False
    return True
