"""Ticks: whatever the order in which transactions end, every reader sees each delivery once and in one order."""

import asyncio
import random
import re

import asyncpg

from idsync.model.delivery import FIRST_PLACE, Delivery, Place
from idsync.model.plan import LaneCursor, LaneRow, Plan
from idsync.model.values import Subject
from idsync.stores.postgres import PostgresStore, open_store
from idsync.stores.postgres.db import read_texts
from idsync.stores.postgres.pool import SETTINGS
from idsync.testing.store_suite.samples import HOLDER, TICK, Line, begin, row

VERBS = read_texts("sql")
LANES_KNOWN = 1_000
WRITERS = 12
SUBJECTS = 8
SHIFT = 1_000_000_000


class Writer:
    """Queues deliveries in transactions of its own, of random length and with rollbacks, as no plan of ours would."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", lane: int, seed: int) -> None:
        """Begin with nothing written."""
        self._connection = connection
        self._lane = lane
        self._rng = random.Random(seed)
        self.written: list[tuple[int, str, int]] = []

    async def run(self, count: int) -> None:
        """Make some transactions."""
        for _ in range(count):
            try:
                async with self._connection.transaction():
                    self.written += await self._queue()
            except ZeroDivisionError:
                continue

    async def _queue(self) -> list[tuple[int, str, int]]:
        """Queue the next versions of some subjects, each under its claim, the last thing of all."""
        subjects = self._rng.sample([f"s{number}" for number in range(SUBJECTS)], self._rng.choice([1, 1, 1, 2]))
        await self._connection.fetch(VERBS["begin_commit"], subjects, 0, None)
        versions = [
            await self._connection.fetchval("SELECT count(*) + 1 FROM delivery WHERE subject = $1", subject)
            for subject in subjects
        ]
        lanes = [self._lane] * len(subjects)
        ids = await self._connection.fetch(
            VERBS["insert_deliveries"], lanes, subjects, versions, [None] * len(lanes), 0, LANES_KNOWN
        )
        await asyncio.sleep(self._rng.choice([0, 0, 0.001, 0.02]))
        if self._rng.random() < 0.1:
            raise ZeroDivisionError
        return [(id_, subject, version) for (id_,), subject, version in zip(ids, subjects, versions, strict=True)]


async def _run_writers(url: str, lane: int, count: int) -> list[tuple[int, str, int]]:
    connections = [await asyncpg.connect(url, server_settings=SETTINGS) for _ in range(WRITERS)]
    writers = [Writer(connection, lane, seed) for seed, connection in enumerate(connections)]
    await asyncio.gather(*(writer.run(count) for writer in writers))
    await asyncio.gather(*(connection.close() for connection in connections))
    return [one for writer in writers for one in writer.written]


async def _follow(line: Line, lane: int, done: asyncio.Event) -> list[Delivery]:
    seen: list[Delivery] = []
    after: Place = FIRST_PLACE
    while True:
        is_last = done.is_set()
        await line.tick()
        while found := (await line.store.read([LaneCursor(lane, after)], 50)).deliveries:
            seen += found
            after = found[-1].place
        if is_last:
            return seen
        await asyncio.sleep(0)


async def test_no_delivery_is_lost_doubled_or_inverted_by_concurrent_writers(
    store: PostgresStore, postgres_url: str
) -> None:
    """Twelve writers, transactions of random length, a tenth rolled back; the usual `id > cursor` loses some."""
    line = await begin(store)
    lane, done = line.audit[0].id, asyncio.Event()
    following = asyncio.ensure_future(_follow(line, lane, done))
    naive = asyncio.ensure_future(_follow_ids(postgres_url, done))
    written = await _run_writers(postgres_url, lane, 40)
    done.set()
    seen = await following
    assert sorted(one.id for one in seen) == sorted(id_ for id_, _, _ in written)
    for subject in {one.subject for one in seen}:
        versions = [one.version for one in seen if one.subject == subject]
        assert versions == list(range(1, len(versions) + 1))
    assert len(await naive) < len(written), "the harness is too tame: even `id > cursor` found everything"


async def _follow_ids(url: str, done: asyncio.Event) -> list[int]:
    """Read as nobody should: past the highest id that was seen."""
    connection = await asyncpg.connect(url, server_settings=SETTINGS)
    seen = [0]
    while not done.is_set():
        seen += [
            id_ for (id_,) in await connection.fetch("SELECT id FROM delivery WHERE id > $1 ORDER BY id", seen[-1])
        ]
        await asyncio.sleep(0)
    await connection.close()
    return seen[1:]


async def test_transaction_that_stays_open_holds_up_nobody_else(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """What others commit meanwhile is read at once; what it queued is read when it commits, behind them."""
    line = await begin(store)
    lane = line.audit[0].id
    opened = raw.transaction()
    await opened.start()
    await raw.fetch(VERBS["insert_deliveries"], [lane], ["slow"], [1], [None], 0, LANES_KNOWN)
    await line.accept(row("e1"), row("e2"))
    first = (await line.read(lane)).deliveries
    assert [one.event_id for one in first] == ["event-e1", "event-e2"]
    await opened.commit()
    (last,) = (await line.read(lane, after=first[-1].place)).deliveries
    assert last.subject == "slow"
    assert last.id < first[0].id
    assert last.place > first[-1].place


async def test_two_tickers_at_once_place_each_delivery_once(store: PostgresStore, other: PostgresStore) -> None:
    """Each tick is made by one of them: they meet in its number."""
    line = await begin(store)
    epoch = (await store.lease(HOLDER, [TICK], 60.0))[TICK]
    for number in range(30):
        await line.accept(row(f"e{number}"))
        await asyncio.gather(*(one.tick(epoch) for one in (store, other, store, other)))
    page = await line.read(line.audit[0].id, limit=100)
    assert [one.event_id for one in page.deliveries] == [f"event-e{number}" for number in range(30)]


async def test_tick_without_news_writes_nothing(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """An idle service leaves the database alone, also where somebody's transaction is open all the time."""
    line = await begin(store)
    await line.accept(row("e1"))
    async with raw.transaction():
        await raw.execute("INSERT INTO setting (name, value) VALUES ('theirs', '')")
        await line.tick()
        before = await raw.fetchval("SELECT count(*) FROM tick")
        for _ in range(3):
            await line.tick()
        assert await raw.fetchval("SELECT count(*) FROM tick") == before


async def test_page_ends_within_a_tick_and_goes_on_there(store: PostgresStore) -> None:
    """A tick may hold more than anybody wants to read at once."""
    line = await begin(store)
    lane = line.audit[0].id
    rows = tuple(row(f"e{number:03}") for number in range(100))
    queued = tuple(LaneRow(lane, Subject("user/1"), 0, row=number) for number in range(100))
    await line.commit(Plan(epoch=0, inbox=rows, deliveries=queued))
    seen: list[str] = []
    after: Place = FIRST_PLACE
    while found := (page := await line.read(lane, after=after, limit=7)).deliveries:
        seen += [one.event_id for one in found]
        after = found[-1].place
        assert (lane in page.more) == (len(seen) < 100)
    assert seen == [f"event-e{number:03}" for number in range(100)]


async def test_database_that_was_restored_elsewhere_goes_on(
    store: PostgresStore, postgres_url: str, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Transactions of another cluster count from less than the ticks remember: nothing may be left without a place."""
    line = await begin(store)
    lane = line.audit[0].id
    await line.accept(row("e1"))
    await line.tick()
    await line.accept(row("e2"))
    await raw.execute("UPDATE delivery SET xid = (xid::text::bigint + $1)::text::xid8", SHIFT)
    ((number, snapshot),) = await raw.fetch("SELECT number, snapshot::text FROM tick ORDER BY number DESC LIMIT 1")
    shifted = re.sub(r"\d+", lambda found: str(int(found[0]) + SHIFT), snapshot)
    await raw.execute("UPDATE tick SET snapshot = $1::text::pg_snapshot WHERE number = $2", shifted, number)
    restored = await open_store(postgres_url)
    try:
        line = await begin(restored)
        await line.accept(row("e3"))
        page = await line.read(lane)
        assert [one.event_id for one in page.deliveries] == ["event-e1", "event-e2", "event-e3"]
        await line.accept(row("e4"))
        page = await line.read(lane, after=page.deliveries[-1].place)
        assert [one.event_id for one in page.deliveries] == ["event-e4"]
    finally:
        await restored.close()
