"""News: another process hears of a commit at once, our own do not wake us, and silence is survived."""

import asyncio
import time

import asyncpg

from idsync.model.plan import Command, CommandName
from idsync.stores.postgres import PostgresStore
from idsync.testing.store_suite.samples import begin, row
from idsync.testing.wait import until

LONG_S = 30.0


async def test_commit_of_another_process_ends_the_wait(store: PostgresStore, other: PostgresStore) -> None:
    """Deliveries, ticks and commands are told; what is only settled is nobody's news."""
    line = await begin(store)
    await other.wait(0.01)
    for tell in (
        lambda: line.accept(row("e1")),
        line.tick,
        lambda: store.ask(Command(id=0, name=CommandName.REQUEUE)),
    ):
        await asyncio.gather(_wait_for_silence(other), _wait_for_silence(store))
        waiting = asyncio.ensure_future(other.wait(LONG_S))
        await asyncio.sleep(0)
        await tell()
        async with asyncio.timeout(5):
            await waiting


async def test_own_commits_do_not_end_our_wait(store: PostgresStore) -> None:
    """Whoever commits here has told everybody here already."""
    line = await begin(store)
    await store.wait(0.01)
    await line.accept(row("e1"))
    before = time.monotonic()
    await store.wait(0.3)
    assert time.monotonic() - before > 0.29


async def test_many_commits_are_few_notices(store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]") -> None:
    """A notice takes a lock that every commit shares."""
    line = await begin(store)
    heard: list[object] = []
    await raw.add_listener("idsync", lambda *_: heard.append(None))
    before = time.monotonic()
    for number in range(100):
        await line.accept(row(f"e{number}"))
    took_s = time.monotonic() - before
    await until(lambda: heard)
    assert len(heard) <= took_s / 0.05 + 2


async def test_wait_looks_by_itself_when_its_connection_is_lost(
    store: PostgresStore, other: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """It comes back soon, and listens again."""
    line = await begin(store)
    await other.wait(0.01)
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE '%FROM migration' AND pid <> pg_backend_pid()"
    )
    assert await raw.fetch(ended)
    await until(lambda: other._news._listening is None or other._news._listening.is_closed())
    async with asyncio.timeout(5):
        await other.wait(LONG_S)
    waiting = asyncio.ensure_future(other.wait(LONG_S))
    await until(lambda: other._news._listening is not None)
    await line.accept(row("e1"))
    async with asyncio.timeout(5):
        await waiting


async def _wait_for_silence(store: PostgresStore) -> None:
    """Let what was told before arrive."""
    took_s = 0.0
    while took_s < 0.2:
        before = time.monotonic()
        await store.wait(0.2)
        took_s = time.monotonic() - before
