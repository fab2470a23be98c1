"""Claim 3: a snapshot that stays open, or a key with a long backlog, slows down nobody else.

The snapshot is held in one of two databases of one server: PostgreSQL keeps dead rows for the snapshots of their own
database only, so the other one runs free, with the same load. First rows die in the one that is held; what counts is
the last part of the time, when most has piled up and both are timed in turns. Each turn is whole: events are loaded,
written (with the people they are about, in every second turn), queued, ticked, read and settled with their attempts;
and what can be forgotten is forgotten.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

import asyncpg
import msgspec
import uvloop

from bench.load import Events, connect
from bench.programs import Server, choose_cores
from bench.rounds import on_core, pass_through
from bench.sink import SLOW, Sink, open_sink
from bench.variants import Variants
from idsync.model.delivery import FIRST_PLACE, Place
from idsync.model.entity import Entity
from idsync.model.plan import EntityWrite, Keys, LaneCursor, LaneRow, Plan
from idsync.ports import Store
from idsync.stores.postgres import open_store
from idsync.testing.postgres import PostgresServer, open_postgres
from idsync.testing.store_suite.samples import AT, HOLDER, TICK, Line, begin, person, row, tried
from idsync.testing.wait import until
from proofs.claims import Row, count

SEED: Final = 20_261_122
HELD_S, FULL_HELD_S = 60.0, 300.0
TIMED: Final = 0.4
"""The part of that time, at its end, in which both are timed."""
WRITERS: Final = 4
PLANS: Final = 5
"""Of one writer in one turn."""
PLAN_EVENTS: Final = 100
PEOPLE: Final = 2_500
"""Of one writer; each turn edits the next ones."""
TURN_EVENTS: Final = WRITERS * PLANS * PLAN_EVENTS
READ_MAX: Final = 500
LEASE_S: Final = 900.0
RATIO_MIN: Final = 0.8
DEAD_MAX: Final = 0.01
PAIRS_MIN: Final = 10
OLDEST: Final = "SELECT backend_xmin::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
"""The oldest transaction whose rows are kept for this connection."""
DEAD: Final = """
    SELECT coalesce(sum(n_dead_tup) FILTER (WHERE relname ~ '^(delivery|batch|progress|tick|parked|attempt)'), 0),
      coalesce(sum(n_dead_tup), 0)
    FROM pg_stat_user_tables WHERE schemaname = 'idsync'
"""

HOT_EVENTS, FULL_HOT_EVENTS = 50_000, 200_000
HOT_PAIRS: Final = 15
HOT_PAIR_S: Final = 0.6
SPILL_S: Final = 240.0
SPILLED: Final = 0.99
"""How many of the hot key's events must have left the lane before the other keys are timed."""


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Hold a snapshot, then let a key wait."""
    return [*await show_snapshot(FULL_HELD_S if full else HELD_S), await show_hot_key(full=full)]


class Pairs(NamedTuple):
    """Rates in events a second, pair by pair: under pressure and free."""

    pressed: list[float]
    free: list[float]

    @property
    def ratios(self) -> list[float]:
        """Each pair's."""
        return [one / other for one, other in zip(self.pressed, self.free, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of all pairs."""
        return statistics.median(self.ratios)

    def figure(self) -> str:
        """Write it."""
        return (
            f"{statistics.median(self.pressed):,.0f} events/s beside {statistics.median(self.free):,.0f} free; ratio "
            f"{self.ratio:.2f} ({min(self.ratios):.2f} to {max(self.ratios):.2f}, {len(self.ratios)} pairs)"
        )


# --- A snapshot


class Traffic:
    """The verbs of the line on one store, as its loops call them."""

    def __init__(self, line: Line, tick: int) -> None:
        """Begin with an empty store; `tick` is the epoch of that lease."""
        self._line = line
        self._store = line.store
        self._tick = tick
        self._places: dict[int, Place] = {lane.id: FIRST_PLACE for lane in line.audit}
        self._people: list[dict[int, Entity]] = [{} for _ in range(WRITERS)]
        self._turn = 0

    @classmethod
    async def begin(cls, store: Store) -> Self:
        """Open lanes, take the ticker's lease, and let every person come once."""
        line = await begin(store)
        traffic = cls(line, (await store.lease(HOLDER, [TICK], LEASE_S))[TICK])
        for _ in range(PEOPLE // (PLANS * PLAN_EVENTS)):
            await traffic.time_turn(has_people=True)
        return traffic

    async def time_turn(self, *, has_people: bool) -> float:
        """Take in, place, read and settle the events of one turn; give how many that were in a second."""
        began = time.perf_counter()
        await asyncio.gather(self._settle(), *(self._write(number, has_people) for number in range(WRITERS)))
        await self._store.trim(AT, READ_MAX)
        self._turn += 1
        return TURN_EVENTS / (time.perf_counter() - began)

    async def _write(self, writer: int, has_people: bool) -> None:
        for plan in range(PLANS):
            name = f"{self._turn}-{plan}-{writer}"
            first = (self._turn * PLANS + plan) * PLAN_EVENTS % PEOPLE
            numbers = range(first, first + PLAN_EVENTS)
            known = self._people[writer]
            writes = [_edit(known.get(one), writer * PEOPLE + one) for one in numbers] if has_people else []
            await self._accept(writes, name)
            known.update(zip(numbers, (one.entity for one in writes), strict=False))

    async def _accept(self, writes: list[EntityWrite], name: str) -> None:
        """Commit one event about each of some people; or as many about nobody."""
        about: list[Entity | None] = [one.entity for one in writes] or [None] * PLAN_EVENTS
        rows = tuple(row(f"{name}-{n}", entity=one, body=b"x" * 300) for n, one in enumerate(about))
        keys, people = ((one.peer, one.id) for one in rows), (one.entity.id for one in writes)
        await self._store.load(Keys(inbox=frozenset(keys), entities=frozenset(people)))
        lanes = [lane.id for lane in self._line.audit]
        queued = tuple(LaneRow(lanes[n % len(lanes)], one.subject, one.version, row=n) for n, one in enumerate(rows))
        await self._line.commit(Plan(epoch=0, entities=tuple(writes), inbox=rows, deliveries=queued))

    async def _settle(self) -> None:
        left = TURN_EVENTS
        while left:
            await self._store.tick(self._tick)
            cursors = [LaneCursor(lane, place) for lane, place in self._places.items()]
            found = (await self._store.read(cursors, READ_MAX)).deliveries
            if not found:
                await asyncio.sleep(0.001)
                continue
            reached = {one.lane: one.place for one in found}
            attempts = tuple(tried(one.id, one.event) for one in found)
            await self._line.commit(Plan(epoch=0, attempts=attempts, progress=reached))
            self._places |= reached
            left -= len(found)


def _edit(known: Entity | None, number: int) -> EntityWrite:
    if known is None:
        return EntityWrite(person(number), None)
    return EntityWrite(msgspec.structs.replace(known, rev=known.rev + 1, version=known.version + 1), known.rev)


class Held(NamedTuple):
    """What was seen while a snapshot was held."""

    for_s: float
    events: Pairs
    edits: Pairs
    delivered: int
    """Events, while it was held."""
    dead_in_lanes: int
    dead: int
    """Of all its tables."""


async def show_snapshot(held_s: float) -> list[Row]:
    """Hold a snapshot for so long, in seconds, under load; time the last part of it."""
    with open_postgres() as server:
        seen = await _hold_snapshot(server, held_s)
    people = f"edits of {WRITERS * PEOPLE:,} people"
    return [
        *(
            Row(
                f"ingest, tick, read and settle of {what}, a snapshot held open for {seen.for_s:.0f} s",
                f"{speed.figure()}, at its end",
                f"ratio >= {RATIO_MIN}, at least {PAIRS_MIN} pairs",
                holds=speed.ratio >= RATIO_MIN and len(speed.ratios) >= PAIRS_MIN,
            )
            for what, speed in (("events", seen.events), (people, seen.edits))
        ),
        Row(
            f"dead rows in lane tables after events and {people}",
            f"{seen.dead_in_lanes:,} after {count(seen.delivered, 'events')}, all delivered at once; "
            f"{seen.dead:,} in all tables",
            f"<= {DEAD_MAX:.0%} of the events",
            holds=seen.dead_in_lanes <= DEAD_MAX * seen.delivered,
        ),
    ]


async def _hold_snapshot(server: PostgresServer, held_s: float) -> Held:
    urls = {name: await server.new_database() for name in ("free", "held")}
    stores = {name: await open_store(url) for name, url in urls.items()}
    free, held = [await Traffic.begin(store) for store in stores.values()]
    analyst = await asyncpg.connect(urls["held"])
    await analyst.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await analyst.execute("SELECT count(*) FROM idsync.entity")
    before, began = await analyst.fetchval(OLDEST), time.monotonic()
    turns = await _pile_up(held, began + (1 - TIMED) * held_s)
    events, edits = await _take_turns(held, free, began + held_s)
    for_s = time.monotonic() - began
    assert before is not None, "there was no snapshot"
    assert before == await analyst.fetchval(OLDEST), "the snapshot was not held"
    for store in stores.values():
        await store.close()  # a connection tells what it counted at its end
    lanes, total = await _count_dead(urls["held"])
    await analyst.close()
    delivered = (turns + len(events.pressed) + len(edits.pressed)) * TURN_EVENTS
    return Held(for_s, events, edits, delivered, lanes, total)


async def _pile_up(held: Traffic, until: float) -> int:
    """Run one alone; give how many turns that were."""
    turns = 0
    while time.monotonic() < until:
        await held.time_turn(has_people=turns % 2 == 0)
        turns += 1
    return turns


async def _take_turns(held: Traffic, free: Traffic, until: float) -> tuple[Pairs, Pairs]:
    """Time both in pairs, each in another order: events, then edits."""
    luck = random.Random(SEED)
    found = (Pairs([], []), Pairs([], []))
    while time.monotonic() < until or len(found[0].pressed) < PAIRS_MIN:
        for has_people, pairs in enumerate(found):
            both = [(held, pairs.pressed), (free, pairs.free)]
            for traffic, rates in luck.sample(both, len(both)):
                rates.append(await traffic.time_turn(has_people=bool(has_people)))
    return found


async def _count_dead(url: str) -> tuple[int, int]:
    connection = await asyncpg.connect(url)
    try:
        lanes, total = await connection.fetchrow(DEAD) or (0, 0)
        return int(lanes), int(total)
    finally:
        await connection.close()


# --- A hot key


async def show_hot_key(*, full: bool) -> Row:
    """Time other keys on two services, one of which has a long backlog of one key that is answered slowly."""
    return await asyncio.to_thread(_measure_hot_key, FULL_HOT_EVENTS if full else HOT_EVENTS)


def _measure_hot_key(waiting: int) -> Row:
    cores = choose_cores()
    with open_postgres() as server, tempfile.TemporaryDirectory(prefix="idsync-hot-") as folder, on_core(cores.load):
        return uvloop.run(_compare_services(server, Path(folder), cores.measured, waiting))


async def _compare_services(server: PostgresServer, folder: Path, core: int, waiting: int) -> Row:
    urls = {name: await server.new_database() for name in ("free", "hot")}
    variants = Variants(folder, core, urls)
    sink, listening = await open_sink()
    async with listening:
        with variants.line("free", sink.url) as free, variants.line("hot", sink.url) as hot:
            events = Events()
            await _fill(hot, urls["hot"], events, waiting)
            left_before = await _count_parked(urls["hot"])
            found = await _time_others({"free": free, "hot": hot}, sink, events)
            left = await _count_parked(urls["hot"])
    assert left < left_before, "nothing of the hot key was delivered meanwhile"
    speed = Pairs(found["hot"], found["free"])
    return Row(
        f"other keys beside a hot key with {waiting:,} waiting events, ingest + deliver",
        f"{speed.figure()}; {left:,} still waited",
        f"ratio >= {RATIO_MIN}",
        holds=speed.ratio >= RATIO_MIN and left >= SPILLED * SPILLED * waiting,
    )


async def _fill(server: Server, url: str, events: Events, waiting: int) -> None:
    """Publish the hot key's events, and wait until all but a few wait beside their lane."""
    async with connect(server.port, 4) as load:
        await load.closed_loop(lambda: events.hundred_of_one(SLOW), requests_max=waiting // 100)

    async def has_spilled() -> bool:
        await asyncio.sleep(0.2)
        return await _count_parked(url) >= SPILLED * waiting

    await until(has_spilled, within_s=SPILL_S)


async def _count_parked(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM idsync.parked"))
    finally:
        await connection.close()


async def _time_others(servers: Mapping[str, Server], sink: Sink, events: Events) -> dict[str, list[float]]:
    luck = random.Random(SEED)
    found: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(1 + HOT_PAIRS):
        for name in luck.sample(list(servers), len(servers)):
            found[name].append((await pass_through(servers[name], sink, HOT_PAIR_S, events.one)).rate)
    # The first pair is not counted: whatever is slow only once was done in it.
    return {name: rates[1:] for name, rates in found.items()}
