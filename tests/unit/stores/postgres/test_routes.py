"""Plans that were routed and changes of the routes: neither passes the other, whoever comes first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import pytest

from idsync.model.plan import REVISION, Committed, Plan, Position, Redo, Settle, Wait
from idsync.stores.postgres import PostgresStore
from idsync.stores.postgres.db import read_texts
from idsync.testing.store_suite.samples import AUTH, begin, row
from idsync.testing.wait import until

VERBS = read_texts("sql")
CHANGE = Plan(epoch=0, settings={REVISION: b"new"})
Raw: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@asynccontextmanager
async def held_up(raw: Raw, table: str) -> AsyncIterator[None]:
    """Let whoever writes to a table wait, until the block ends."""
    async with raw.transaction():
        await raw.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


async def test_change_waits_for_a_plan_that_was_compared_already(
    store: PostgresStore, other: PostgresStore, raw: Raw
) -> None:
    """Else the plan would be written later than the change, and go where it went before."""
    line = await begin(store)
    plan = Plan(epoch=0, routes=b"", inbox=(row("e1"),), positions={AUTH: Position("g", 1, "n")})
    async with held_up(raw, "position"):
        routed = asyncio.ensure_future(line.try_commit(plan))
        await until(lambda: _are_waiting(raw, "relation", 1))
        changing = asyncio.ensure_future(other.commit(CHANGE))
        await until(lambda: _are_waiting(raw, "advisory", 1))
        assert not changing.done()
    assert isinstance(await routed, Committed)
    assert isinstance(await changing, Committed)


@pytest.mark.parametrize("is_bare", [True, False], ids=["an event", "a waiting arrival"])
async def test_plan_that_waited_for_a_change_has_seen_it(
    store: PostgresStore, other: PostgresStore, raw: Raw, *, is_bare: bool
) -> None:
    """Though its statement began before the change was written."""
    line = await begin(store)
    accepted: tuple[int, ...] = ()
    plan = Plan(epoch=0, routes=b"", inbox=(row("e1"),))
    if not is_bare:
        accepted = (await line.commit(Plan(epoch=0, inbox=(row("e1"),), waits=(Wait(row=0, reason="later"),)))).inbox
        plan = Plan(epoch=0, routes=b"", settles=(Settle(seq=accepted[0], row=row("e1")),))
    async with held_up(raw, "setting"):
        changing = asyncio.ensure_future(other.commit(CHANGE))
        await until(lambda: _are_waiting(raw, "relation", 1))
        routed = asyncio.ensure_future(line.try_commit(plan))
        await until(lambda: _are_waiting(raw, "advisory", 1))
    assert isinstance(await changing, Committed)
    assert await routed == Redo(routes=True)
    assert await line.is_known(row("e1")) is not is_bare
    assert [one.seq for one in await store.waits(0, 10)] == list(accepted)


async def test_plans_that_were_routed_do_not_wait_for_each_other(store: PostgresStore, raw: Raw) -> None:
    """Nor does one that was not, whatever is being changed."""
    line = await begin(store)
    async with raw.transaction():
        await raw.fetch(VERBS["hold_routes"])
        async with asyncio.timeout(2):
            await line.commit(Plan(epoch=0, routes=b"", inbox=(row("e1"),)))
    async with raw.transaction():
        await raw.fetch(VERBS["change_routes"])
        async with asyncio.timeout(2):
            await line.commit(Plan(epoch=0, inbox=(row("e2"),)))


async def test_change_is_not_starved_by_plans_that_follow_one_another(
    store: PostgresStore, other: PostgresStore, raw: Raw
) -> None:
    """Whoever comes after it waits for it, though the one before it still works."""
    line = await begin(store)
    first = raw.transaction()
    await first.start()
    await raw.fetch(VERBS["hold_routes"])
    changing = asyncio.ensure_future(other.commit(CHANGE))
    await until(lambda: _are_waiting(raw, "advisory", 1))
    routed = asyncio.ensure_future(line.try_commit(Plan(epoch=0, routes=b"", inbox=(row("e1"),))))
    await until(lambda: _are_waiting(raw, "advisory", 2))
    await first.commit()
    assert isinstance(await changing, Committed)
    assert await routed == Redo(routes=True)


async def _are_waiting(raw: Raw, what: str, count: int) -> bool:
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = $1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return bool(await raw.fetchval(waiting, what) >= count)
