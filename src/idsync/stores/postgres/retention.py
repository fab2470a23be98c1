"""What is forgotten: whole slots of the tables that grow, without a dead row (decision 0010).

Such a table has four slots and one of them is open. Another one is opened when it is full, or old; a slot that is not
open is emptied as soon as little of it is needed, and that little is copied into the open one before. Nobody waits for
any of this longer than `PATIENCE_MS`: what cannot have its lock so soon is left for the next time.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import asyncpg

from idsync.model.values import Instant
from idsync.stores.common.retention import Retention
from idsync.stores.postgres.db import Db

PATIENCE_MS: Final = 200
CARE_LOCK: Final = 0x6964737A
"""`idsz`: the advisory lock of who forgets."""
LANE_SLOT_BYTES: Final = 64 * 1024 * 1024
"""The size at which a slot of the lanes is full: about 600,000 deliveries."""
SMALL_BYTES: Final = 8 * 1024 * 1024
"""The size at which ticks and positions are cut down to the newest."""
CLAIMS_BYTES: Final = 64 * 1024 * 1024
PERIODS: Final = 3
"""Into how many slots a retention is cut."""
NEEDED_MAX: Final = 100_000
"""Rows that are copied for one slot at most; a slot with more open deliveries than that is left as it is."""


class Slot(NamedTuple):
    """One part of a growing table."""

    number: int
    size_bytes: int
    is_open: bool
    opened_at: Instant | None


async def trim(db: Db, now: Instant, limit: int, retention: Retention, slot_bytes: int = LANE_SLOT_BYTES) -> int:
    """Forget what can be forgotten now; give about how many rows that were."""
    forgotten = 0
    for table in ("delivery", "batch"):
        await _open_next(db, table, now, is_due=await _open_size(db, table) >= slot_bytes)
        forgotten += await _forget_slots(db, table, None)
    for table, kept_s in (("inbox", retention.inbox_s), ("attempt", retention.attempts_s)):
        cutoff = Instant(now - kept_s * 1000)
        await _turn(db, table, now, cutoff, kept_s)
        forgotten += await _forget_slots(db, table, cutoff)
    await _cut_small(db)
    await db.write("forget_leases")
    return forgotten + await db.write("trim_conflicts", now - retention.conflicts_s * 1000, limit)


async def _slots(db: Db, table: str) -> list[Slot]:
    return [Slot(*row) for row in await db.read("find_slots", table)]


async def _open_size(db: Db, table: str) -> int:
    return next(slot.size_bytes for slot in await _slots(db, table) if slot.is_open)


async def _turn(db: Db, table: str, now: Instant, cutoff: Instant, kept_s: int) -> None:
    """Open the next slot where the open one has had its part of the retention, or holds only what is too old."""
    (current,) = [slot for slot in await _slots(db, table) if slot.is_open]
    if not current.size_bytes:
        return
    if current.opened_at is None:
        await db.write("open_slot", table, current.number, now)
        age_ms = 0
    else:
        age_ms = now - current.opened_at
    is_due = age_ms >= kept_s * 1000 // PERIODS or await _is_worth_it(db, table, current.number, cutoff)
    await _open_next(db, table, now, is_due=is_due)


async def _open_next(db: Db, table: str, now: Instant, *, is_due: bool) -> None:
    """Open an empty slot, if there is one. Everybody who inserts waits for a moment, and then inserts there."""
    free = [slot.number for slot in await _slots(db, table) if not slot.is_open and not slot.size_bytes]
    if not is_due or not free:
        return
    async with _care(db) as is_ours:
        if is_ours:
            await db.connection.execute(f"LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")
            await db.write("open_slot", table, free[0], now)


async def _forget_slots(db: Db, table: str, cutoff: Instant | None) -> int:
    forgotten = 0
    for slot in await _slots(db, table):
        if not slot.is_open and slot.size_bytes and await _is_worth_it(db, table, slot.number, cutoff):
            forgotten += await _forget(db, table, slot.number)
    return forgotten


async def _is_worth_it(db: Db, table: str, slot: int, cutoff: Instant | None) -> bool:
    """Whether all of a slot is too old, where that counts, and at most half of it is needed."""
    if cutoff is not None:
        newest = await db.read_one(f"newest_{table}", slot)
        if newest is not None and newest[0] >= cutoff:
            return False
    total = await _count(db, table, slot)
    needed = len(await _needed(db, table, slot))
    return needed <= min(total // 2, NEEDED_MAX)


async def _forget(db: Db, table: str, slot: int) -> int:
    """Empty a slot but for what is needed of it, which moves to the open one; give how many rows are gone."""
    total = await _count(db, table, slot)
    gone = 0
    async with _care(db) as is_ours:
        if is_ours:
            await db.connection.execute(f"LOCK TABLE {table}_{slot} IN ACCESS EXCLUSIVE MODE")
            kept = 0
            if needed := await _needed(db, table, slot):
                kept = await db.write(f"keep_{table}", slot, needed)
            await db.connection.execute(f"TRUNCATE {table}_{slot}")
            gone = total - kept
    return gone


async def _count(db: Db, table: str, slot: int) -> int:
    return int((await db.read(f"count_{table}", slot))[0][0])


async def _needed(db: Db, table: str, slot: int) -> list[int]:
    return [] if table == "attempt" else [id_ for (id_,) in await db.read(f"needed_{table}", slot)]


async def _cut_small(db: Db) -> None:
    """Cut ticks and positions down to the newest, and drop the claims of transactions that have ended."""
    if await _size(db, "tick") >= SMALL_BYTES:
        async with _care(db) as is_ours:
            if is_ours:
                await db.connection.execute("LOCK TABLE tick IN ACCESS EXCLUSIVE MODE")
                latest = await db.read("latest_tick")
                await db.connection.execute("TRUNCATE tick")
                await db.write("put_tick", *latest[0])
    if await _size(db, "progress") >= SMALL_BYTES:
        async with _care(db) as is_ours:
            if is_ours:
                await db.connection.execute("LOCK TABLE progress IN ACCESS EXCLUSIVE MODE")
                places = await db.read("latest_progress")
                await db.connection.execute("TRUNCATE progress")
                await db.write_many("insert_progress", places)
    if await _size(db, "claim") >= CLAIMS_BYTES:
        async with _care(db) as is_ours:
            if is_ours:
                await db.connection.execute("TRUNCATE claim")


async def _size(db: Db, table: str) -> int:
    return int((await db.read("size_of", table))[0][0])


@asynccontextmanager
async def _care(db: Db) -> AsyncIterator[bool]:
    """A transaction that waits for no lock for long; False where another process is at it."""
    try:
        async with db.transaction():
            await db.connection.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
            yield bool(await db.connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", CARE_LOCK))
    except asyncpg.LockNotAvailableError:
        return
