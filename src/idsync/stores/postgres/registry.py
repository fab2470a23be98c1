"""What the service and its processes know of themselves: epochs, leases, ticks, positions, settings, counts."""

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Final

import msgspec

from idsync.model.delivery import ParkedState
from idsync.model.plan import Position
from idsync.model.values import PeerName
from idsync.ports import Stats
from idsync.stores.postgres.db import Db

COUNTED_BYTES_MAX: Final = 64 * 1024 * 1024
"""The size up to which a table is counted; beyond it what ANALYZE found is good enough for operators."""
_decode_position: Final = msgspec.json.Decoder(Position).decode


async def begin_epoch(db: Db) -> int:
    """Draw an epoch. Writes."""
    return int((await db.read("begin_epoch"))[0][0])


async def lease(db: Db, holder: str, wanted: Sequence[str], ttl_s: float) -> dict[str, int]:
    """Keep what is the holder's, take what is free or over; give what is the holder's, with its epoch. Writes.

    Keeping and taking are transactions of their own: whoever waits to take holds nothing that others wait for.
    """
    if not wanted:
        return {}
    ours: dict[str, int] = await db.read_pairs("renew_leases", holder, list(wanted), ttl_s)
    if rest := [name for name in wanted if name not in ours]:
        async with db.transaction():
            over = [name for (name,) in await db.read("lock_free_leases", rest)]
            ours |= await db.read_pairs("take_leases", holder, rest, ttl_s, over)
    return ours


async def release(db: Db, holder: str, names: Sequence[str]) -> None:
    """Give back what is the holder's. Writes."""
    await db.write("delete_leases", holder, list(names))


async def holders(db: Db, prefix: str) -> dict[str, str]:
    """Say who has which lease whose name begins so."""
    return await db.read_pairs("find_holders", prefix)


async def tick(db: Db, epoch: int) -> bool:
    """Make a tick, where there is anything new and the lease `tick` has this epoch. Writes."""
    return await db.write("tick", epoch) > 0


async def position(db: Db, peer: PeerName) -> Position | None:
    """Read how far a peer's outbox was read."""
    row = await db.read_one("find_position", peer)
    return None if row is None else _decode_position(row[0])


async def setting(db: Db, name: str) -> bytes | None:
    """Read a value that the service keeps for itself."""
    row = await db.read_one("find_setting", name)
    return None if row is None else row[0]


async def settings(db: Db, prefix: str) -> dict[str, bytes]:
    """Read the values whose names begin so, in the order of names."""
    return await db.read_pairs("find_settings", prefix)


async def put_setting(db: Db, name: str, value: bytes | None, expected: bytes | EllipsisType | None) -> bool:
    """Keep a value for the service itself, or remove it, where what was expected is there. Writes at once."""
    if isinstance(expected, EllipsisType):
        await put_settings(db, {name: value})
        return True
    if expected is None:
        return await setting(db, name) is None if value is None else await db.write("insert_setting", name, value) > 0
    if value is None:
        return await db.write("delete_setting", name, expected) > 0
    return await db.write("swap_setting", name, value, expected) > 0


async def put_settings(db: Db, values: Mapping[str, bytes | None]) -> None:
    """Keep values for the service itself, in one order everywhere; None removes one. Writes."""
    for name in sorted(values):
        value = values[name]
        if value is None:
            await db.write("delete_setting", name, None)
        else:
            await db.write("put_setting", name, value)


async def stats(db: Db) -> Stats:
    """Count what the store holds; each count sees its own moment."""
    entities, inbox, waiting, rereads, conflicts, size_bytes = (await db.read("count_all", COUNTED_BYTES_MAX))[0]
    return Stats(
        entities=entities,
        inbox=inbox,
        queued=await db.read_pairs("count_queued"),
        parked=await db.read_pairs("count_parked", ParkedState.PARKED),
        dead=await db.read_pairs("count_parked", ParkedState.DEAD),
        oldest=await db.read_pairs("find_oldest", ParkedState.PARKED),
        waiting=waiting,
        rereads=rereads,
        conflicts=conflicts,
        size_bytes=size_bytes,
    )
