"""What grows is forgotten slot by slot: no dead rows, nothing lost, and nobody is held up for long."""

import asyncio
from collections.abc import Mapping

import asyncpg
import pytest

from idsync.model.delivery import FIRST_PLACE
from idsync.model.plan import LaneCursor, LaneRow, Plan, Redo
from idsync.model.values import Instant, Subject
from idsync.stores.common.retention import Retention
from idsync.stores.postgres import PostgresStore, retention
from idsync.stores.postgres.pool import Use
from idsync.testing.store_suite.samples import AT, AUDIT, AUTH, LATER, Line, begin, row, tried
from idsync.testing.wait import until

DEAD = (
    "SELECT relname, n_dead_tup FROM pg_stat_user_tables"
    " WHERE n_dead_tup > 0 AND relname ~ '^(delivery|batch|progress|tick|attempt)'"
)


async def _trim(store: PostgresStore, now: Instant = AT) -> int:
    """Forget as if a slot were full at once."""
    async with store._connections.taken(Use.VIEW) as db:
        return await retention.trim(db, now, 1_000, Retention(), slot_bytes=1)


async def _fill(line: Line, name: str, count: int) -> None:
    lanes = [lane.id for lane in line.audit]
    rows = tuple(row(f"{name}{number}", body=b"body") for number in range(count))
    queued = tuple(LaneRow(lanes[n % 2], Subject(f"user/{n % 10}"), 0, row=n) for n in range(count))
    await line.commit(Plan(epoch=0, inbox=rows, deliveries=queued))


async def _settle_all(line: Line) -> None:
    page = await line.read(*(lane.id for lane in line.audit), limit=10_000)
    attempts = tuple(tried(one.id, one.event) for one in page.deliveries)
    await line.commit(Plan(epoch=0, attempts=attempts, progress={one.lane: one.place for one in page.deliveries}))


async def _sizes(raw: "asyncpg.Connection[asyncpg.Record]") -> Mapping[int, int]:
    found = await raw.fetch("SELECT slot, count(*) FROM delivery GROUP BY slot")
    return {slot: count for slot, count in found}  # noqa: C416  # typed pairs


async def test_settled_deliveries_go_without_a_dead_row_while_a_snapshot_is_open(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]", postgres_url: str
) -> None:
    """A backup or an analyst may look as long as they like: the lanes neither grow nor rot meanwhile."""
    line = await begin(store)
    analyst = await asyncpg.connect(postgres_url)
    await analyst.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM idsync.entity")
    for turn in range(5):
        await _fill(line, f"e{turn}-", 200)
        await _settle_all(line)
        await _trim(store)
        await _trim(store)
    await analyst.close()
    assert await raw.fetchval("SELECT count(*) FROM delivery") <= 200
    assert await raw.fetchval("SELECT count(*) FROM batch") <= 10
    await raw.execute("SELECT pg_stat_force_next_flush()")
    assert await raw.fetch(DEAD) == []


async def test_open_deliveries_of_a_full_slot_move_on_and_keep_their_places(store: PostgresStore) -> None:
    """One lane is settled, the other stands still; some have no place yet."""
    line = await begin(store)
    first, second = (lane.id for lane in line.audit)
    await _fill(line, "a", 40)
    page = await line.read(first, second, limit=100)
    moved = [one for one in page.deliveries if one.lane == first]
    await line.commit(Plan(epoch=0, progress={first: moved[-1].place}))
    still = [one for one in page.deliveries if one.lane == second][-5:]
    await line.commit(
        Plan(epoch=0, progress={second: [one for one in page.deliveries if one.lane == second][-6].place})
    )
    await _fill(line, "b", 4)
    for _ in range(6):
        await _trim(store)
    assert (await store.stats()).queued == {AUDIT.name: 9}
    store._bodies = type(store._bodies)()
    page = await line.read(first, second, after=moved[-1].place, limit=100)
    places = dict(await store.open([AUDIT]))
    page = await store.read([LaneCursor(lane.id, place) for lane, place in places.items()], 100)
    assert [one for one in page.deliveries if one.lane == second][:5] == still
    assert sorted(one.event_id for one in page.deliveries)[-4:] == [f"event-b{number}" for number in range(4)]
    assert {one.body for one in page.deliveries} == {b"body"}


async def test_slot_with_a_long_backlog_is_left_as_it_is(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Copying it again and again would cost more than it frees."""
    line = await begin(store)
    await _fill(line, "a", 40)
    await line.tick()
    for _ in range(3):
        await _trim(store)
    assert await _sizes(raw) == {1: 40}


async def test_event_of_an_older_slot_is_still_known(store: PostgresStore) -> None:
    """Each slot has a constraint of its own; the promise spans them all."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, inbox=(row("e1"),)))
    await store.trim(AT, 100)
    month_ms = 30 * 86_400_000
    await store.trim(Instant(AT + month_ms // 2), 100)
    await line.commit(Plan(epoch=0, inbox=(row("e2", received_at=Instant(AT + month_ms // 2)),)))
    assert await line.try_commit(Plan(epoch=0, inbox=(row("e1"),))) == Redo(inbox=frozenset({(AUTH, "e1")}))
    await store.trim(Instant(AT + month_ms + 1), 100)
    assert not await line.is_known(row("e1"))
    assert await line.is_known(row("e2"))


async def test_event_is_accepted_once_while_slots_change(
    store: PostgresStore, other: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Two processes accept the same events while the open slot changes under them."""
    line = await begin(store)
    lines = [line, await begin(other)]

    async def accept(one: Line) -> int:
        results = [await one.try_commit(Plan(epoch=0, inbox=(row(f"e{number}"),))) for number in range(60)]
        return sum(not isinstance(result, Redo) for result in results)

    async def turn() -> int:
        for slot in (2, 3, 4):
            await until(lambda: _has_opened(store, slot))  # noqa: B023  # it is awaited here
            await line.commit(Plan(epoch=0, inbox=(row(f"between{slot}"),)))
        return 0

    assert sum(await asyncio.gather(accept(lines[0]), accept(lines[1]), turn())) == 60
    assert await raw.fetchval("SELECT count(DISTINCT slot) FROM inbox") == 4


async def _has_opened(store: PostgresStore, slot: int) -> bool:
    async with store._connections.taken(Use.VIEW) as db:
        await retention._open_next(db, "inbox", AT, is_due=True)
        return any(one.is_open and one.number == slot for one in await retention._slots(db, "inbox"))


async def test_reader_that_holds_a_table_only_puts_it_off(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A backup locks every table: nothing waits for it, and the next time comes."""
    line = await begin(store)
    await _fill(line, "a", 40)
    await _settle_all(line)
    async with raw.transaction():
        await raw.execute("LOCK TABLE delivery, batch, inbox, attempt IN ACCESS SHARE MODE")
        async with asyncio.timeout(5):
            assert await _trim(store) == 0
            await _fill(line, "b", 10)
    await _settle_all(line)
    assert await _trim(store) > 0


async def test_ticks_and_positions_are_cut_to_the_newest(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far a lane was, and what has a place already, is all that counts of them."""
    line = await begin(store)
    for turn in range(5):
        await _fill(line, f"e{turn}-", 4)
        await _settle_all(line)
    places = dict(await store.open([AUDIT]))
    monkeypatch.setattr(retention, "SMALL_BYTES", 1)
    monkeypatch.setattr(retention, "CLAIMS_BYTES", 1)
    await _trim(store)
    assert await raw.fetchval("SELECT count(*) FROM tick") == 1
    assert await raw.fetchval("SELECT count(*) FROM progress") == len(line.audit)
    assert await raw.fetchval("SELECT count(*) FROM claim") == 0
    assert dict(await store.open([AUDIT])) == places
    await _fill(line, "more", 4)
    page = await line.read(*(lane.id for lane in line.audit), after=max(places.values()), limit=10)
    assert len(page.deliveries) == 4
    assert (await line.read(line.audit[0].id, after=FIRST_PLACE, limit=1)).deliveries


async def test_two_who_forget_at_once_forget_once(store: PostgresStore, other: PostgresStore) -> None:
    """One of them does it, the other leaves it."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, inbox=tuple(row(f"e{number}") for number in range(20))))
    gone = await asyncio.gather(*(one.trim(LATER, 100) for one in (store, other)))
    assert sum(gone) in {20, 40}
    assert not await store.recent(0, 100)
