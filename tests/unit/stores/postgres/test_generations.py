"""Another number of lanes: whoever knows only the older ones queues into the new ones, and every identity in order."""

import asyncio
from collections import defaultdict

import msgspec

from idsync.model.delivery import FIRST_PLACE
from idsync.model.destination import Level, lane_number
from idsync.model.plan import LaneCursor, LaneRow, Plan
from idsync.model.values import Subject
from idsync.stores.postgres import PostgresStore
from idsync.testing.store_suite.samples import AUDIT, begin, row

WIDER = msgspec.structs.replace(AUDIT, lanes=5)
AS_THEY_ARE = msgspec.structs.replace(AUDIT, lanes=0)


async def test_delivery_for_an_older_lane_goes_to_the_newest(store: PostgresStore, other: PostgresStore) -> None:
    """To the one that carries its subject; each process hears of it by itself."""
    line = await begin(store)
    await line.accept(row("before"))
    opened = [lane for lane, _ in await other.open([WIDER]) if lane.level is Level.LIVE]
    await line.accept(row("after"))
    found = {one.subject: one.lane for one in (await line.read(*(lane.id for lane in opened))).deliveries}
    newest = {lane.number: lane.id for lane in opened if lane.generation == 2}
    assert found[Subject("user/before")] == line.audit[0].id
    assert found[Subject("user/after")] == newest[lane_number(Subject("user/after"), 5)]


async def test_looking_opens_nothing(store: PostgresStore, other: PostgresStore) -> None:
    """Whoever asks for the lanes that there are is given them, whatever number of them others are configured with."""
    await store.open([AUDIT])
    wider = await other.open([WIDER])
    assert list(await store.open([AS_THEY_ARE])) == list(wider)
    assert not await store.open([msgspec.structs.replace(AS_THEY_ARE, name="endpoint:new")])


async def test_no_identity_goes_back_to_an_older_lane(store: PostgresStore, other: PostgresStore) -> None:
    """Writers of both configurations, while lanes are opened again and again: one generation follows the other."""
    lines = [await begin(store), await begin(other)]
    versions: dict[int, int] = defaultdict(int)

    async def write(subject: int) -> None:
        for turn in range(60):
            versions[subject] += 1
            queued = LaneRow(lines[0].audit[subject % 2].id, Subject(f"user/{subject}"), versions[subject], row=0)
            name = f"{subject}-{turn}"
            await lines[(subject + turn) % 2].commit(Plan(epoch=0, inbox=(row(name),), deliveries=(queued,)))

    async def widen() -> None:
        for lanes in (3, 4, 7):
            await asyncio.sleep(0.1)
            await other.open([msgspec.structs.replace(AUDIT, lanes=lanes)])

    await asyncio.gather(widen(), *(write(subject) for subject in range(12)))
    opened = [lane for lane, _ in await store.open([AS_THEY_ARE]) if lane.level is Level.LIVE]
    assert {lane.generation for lane in opened} == {1, 2, 3, 4}
    seen: dict[str, list[int]] = defaultdict(list)
    await lines[0].tick()
    for lane in opened:
        for one in (await store.read([LaneCursor(lane.id, FIRST_PLACE)], 10_000)).deliveries:
            seen[one.subject].append(one.version)
    assert list(seen.values()) == [list(range(1, 61))] * 12
