"""Leases by row locks: a take-over waits for the plans of the one before, a renewal for nobody."""

import asyncio
import random

import asyncpg

from idsync.model.plan import Plan
from idsync.stores.postgres import PostgresStore
from idsync.stores.postgres.db import read_texts
from idsync.testing.store_suite.samples import begin, row
from idsync.testing.wait import until

VERBS = read_texts("sql")


async def test_renewal_does_not_wait_for_a_plan_under_way(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A plan that takes long must not cost its worker the lease that it is made under."""
    await store.start()
    leased = await store.lease("a", ["lane:1"], 60.0)
    async with raw.transaction():
        await raw.fetch(VERBS["lock_leases"], ["lane:1"])
        async with asyncio.timeout(2):
            assert await store.lease("a", ["lane:1"], 60.0) == leased


async def test_take_over_waits_for_a_plan_under_way(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Else the new owner would begin before what the old one is just settling."""
    await store.start()
    await store.lease("a", ["lane:1"], 0.05)
    plan = raw.transaction()
    await plan.start()
    await raw.fetch(VERBS["lock_leases"], ["lane:1"])
    await until(lambda: _is_over(store, "lane:1"))
    taking = asyncio.ensure_future(store.lease("b", ["lane:1"], 60.0))
    giving_back = asyncio.ensure_future(store.release("a", ["lane:1"]))
    await until(lambda: _has_waiting(raw, 1))
    assert not taking.done()
    await plan.commit()
    await giving_back
    taken = await taking
    assert list(taken) == ["lane:1"]
    assert await store.lease("b", ["lane:1"], 60.0) == taken
    assert await store.holders("lane:1") == {"lane:1": "b"}


async def test_plans_under_one_lease_do_not_wait_for_each_other(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Sharing a lease is no queue."""
    line = await begin(store)
    fences = await store.lease("a", ["lane:1"], 60.0)
    async with raw.transaction():
        await raw.fetch(VERBS["lock_leases"], ["lane:1"])
        async with asyncio.timeout(2):
            await line.commit(Plan(epoch=0, fences=fences, inbox=(row("e1"),)))


async def test_workers_that_want_the_same_leases_do_not_stand_in_each_others_way(store: PostgresStore) -> None:
    """Whoever keeps some and takes others waits for nobody who waits for him."""
    await store.start()
    names = [f"lane:{number}" for number in range(12)]
    chance = random.Random(20261122)  # which leases, nothing secret

    async def want(holder: str) -> None:
        for _ in range(150):
            held = await store.lease(holder, chance.sample(names, 8), 30.0)
            await store.release(holder, chance.sample(sorted(held), len(held) // 2))

    await asyncio.gather(*(want(holder) for holder in ("one", "two", "three")))


async def _is_over(store: PostgresStore, name: str) -> bool:
    return name not in await store.holders(name)


async def _has_waiting(raw: "asyncpg.Connection[asyncpg.Record]", count: int) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await raw.fetchval(waiting) >= count)
