"""Leases. One process owns the file: its parts are the only holders, and all leases end when it starts."""

import time
from collections.abc import Sequence

from idsync.stores.sqlite.db import Db, to_json


def lease(db: Db, holder: str, wanted: Sequence[str], ttl_s: float) -> dict[str, int]:
    """Keep what is the holder's, take what is free or over; give what is the holder's, with its epoch. Writes."""
    now_ms = _now_ms()
    until_ms = now_ms + round(ttl_s * 1000)
    held = {name: (owner, epoch) for name, owner, epoch in db.read("find_leases", to_json(wanted), now_ms)}
    ours = {name: epoch for name, (owner, epoch) in held.items() if owner == holder}
    if free := [name for name in dict.fromkeys(wanted) if name not in held]:
        epoch = int(db.read("draw_epoch")[0][0])
        ours |= dict.fromkeys(free, epoch)
    db.write_many("put_lease", [(name, holder, epoch, until_ms) for name, epoch in ours.items()])
    return ours


def release(db: Db, holder: str, names: Sequence[str]) -> None:
    """Give back what is the holder's. Writes."""
    db.write("delete_leases", holder, to_json(names))


def holders(db: Db, prefix: str) -> dict[str, str]:
    """Say who has which lease whose name begins so."""
    return {name: holder for name, holder in db.read("find_holders", _now_ms()) if name.startswith(prefix)}


def lost(db: Db, fences: dict[str, int]) -> frozenset[str]:
    """Find the leases that were taken by somebody else since, or given back."""
    if not fences:
        return frozenset()
    epochs = dict[str, int](db.read("find_epochs", to_json(list(fences))))
    return frozenset(name for name, epoch in fences.items() if epochs.get(name) != epoch)


def _now_ms() -> int:
    """The store's own clock: leases end with the process, so it need not be anybody else's."""
    return round(time.monotonic() * 1000)
