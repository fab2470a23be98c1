"""What the service knows of itself: epochs, positions, settings, counts."""

from collections.abc import Mapping
from types import EllipsisType

from idsync.model.delivery import ParkedState
from idsync.model.plan import Position
from idsync.model.values import PeerName
from idsync.ports import Stats
from idsync.stores.common.rows import Row
from idsync.stores.sqlite.db import Db


def begin_epoch(db: Db) -> int:
    """Begin a new epoch and give it; every lease ends with the one before. Writes."""
    db.write("end_leases")
    return int(db.read("begin_epoch")[0][0])


def position(db: Db, peer: PeerName) -> Position | None:
    """Read how far a peer's outbox was read."""
    row = db.read_one("find_position", peer)
    return None if row is None else Position(*row)


def setting(db: Db, name: str) -> bytes | None:
    """Read a value that the service keeps for itself."""
    row = db.read_one("find_setting", name)
    return None if row is None else row[0]


def settings(db: Db, prefix: str) -> dict[str, bytes]:
    """Read the values whose names begin so, in the order of names."""
    return dict((name, value) for name, value in db.read("find_settings", prefix))  # noqa: C402  # typed pairs


def put_setting(db: Db, name: str, value: bytes | None, expected: bytes | EllipsisType | None) -> bool:
    """Keep a value for the service itself, or remove it, if what is there is what was expected. Writes."""
    if not isinstance(expected, EllipsisType) and setting(db, name) != expected:
        return False
    put_settings(db, {name: value})
    return True


def put_settings(db: Db, values: Mapping[str, bytes | None]) -> None:
    """Keep values for the service itself; None removes one. Writes."""
    for name, value in values.items():
        if value is None:
            db.write("delete_setting", name)
        else:
            db.write("put_setting", name, value)


def stats(db: Db) -> Stats:
    """Count what the store holds."""
    with db.moment():
        entities, inbox, waiting, rereads, conflicts, size_bytes = db.read("count_all")[0]
        return Stats(
            entities=entities,
            inbox=inbox,
            queued=_by_destination(db.read("count_queued")),
            parked=_by_destination(db.read("count_parked", ParkedState.PARKED)),
            dead=_by_destination(db.read("count_parked", ParkedState.DEAD)),
            oldest=dict(db.read("find_oldest", ParkedState.PARKED)),
            waiting=waiting,
            rereads=rereads,
            conflicts=conflicts,
            size_bytes=size_bytes,
        )


def _by_destination(counted: list[Row]) -> dict[str, int]:
    return dict((destination, count) for destination, count in counted)  # noqa: C402  # typed pairs
