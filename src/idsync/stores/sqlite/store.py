"""The embedded store: the verbs of the port over one SQLite file.

Three connections: one writes, one loads what the line needs for its next batch, one shows what may take long, to
operators or from a backlog. Reads and commits wait for the disk in threads (`threads`).
"""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from types import EllipsisType
from typing import Final

from idsync.model.delivery import Attempt, Parked, Place
from idsync.model.destination import Destination, Lane
from idsync.model.entity import Conflict, Entity
from idsync.model.plan import (
    Command,
    CommitResult,
    InboxKey,
    Keys,
    LaneCursor,
    LanePage,
    Plan,
    Position,
    Reread,
    Snapshot,
    Waiting,
)
from idsync.model.replay import Standing
from idsync.model.values import EntityId, Instant, PeerName
from idsync.ports import DeliveryRecord, InboxEntry, ParkedFilter, PassedOn, Stats
from idsync.stores.common.passed import collect
from idsync.stores.common.retention import Retention
from idsync.stores.sqlite import cluster, directory, lanes, registry
from idsync.stores.sqlite.commit import commit
from idsync.stores.sqlite.file import Connections, close_file, open_file
from idsync.stores.sqlite.retention import Sweep, trim
from idsync.stores.sqlite.threads import Reader, Writer

TRIM_STEP: Final = 500
"""Rows that one transaction forgets at most, so that no commit waits long behind it."""


async def open_store(path: str | Path, *, retention: Retention | None = None) -> "SqliteStore":
    """Open the store in a file, made where there is none; the file belongs to this process until the store is closed.

    Args:
        path: the file, or ":memory:" for a store that ends with the process.
        retention: how long rows are kept; the defaults if None.

    Raises:
        StoreLocked: another process has the file.
        StoreVersion: a newer idsync wrote the file, or the SQLite of this machine is too old to be safe.
        StoreError: the file cannot be used.
    """
    return SqliteStore(await asyncio.to_thread(open_file, str(path)), retention or Retention())


class SqliteStore:
    """A Store of `idsync.ports` in one SQLite file; every method runs in the event loop that opened it."""

    def __init__(self, connections: Connections, retention: Retention) -> None:
        """Take over what `open_file` opened."""
        self._connections = connections
        self._retention = retention
        self._sweep: Sweep = (0, 0, 0)
        self._is_closed = False
        self._writer = Writer(connections.writing, connections.path)
        self._loader = Reader(connections.loading, connections.path)
        self._viewer = Reader(connections.viewing, connections.path)

    # --- Inbox

    async def load(self, keys: Keys) -> Snapshot:
        """Read what a batch must know, as of one moment.

        Raises:
            DataRefused: a key is no text that can be stored.
        """
        return await self._loader.read(directory.load, keys)

    async def commit(self, plan: Plan) -> CommitResult:
        """Write the whole plan in one durable transaction, or say why nothing of it was written."""
        size = len(plan.inbox) + len(plan.entities) + len(plan.deliveries) + len(plan.attempts) + len(plan.parked)
        return await self._writer.write(lambda db: commit(db, plan), size)

    async def due_waits(self, now: Instant, limit: int) -> Sequence[Waiting]:
        """Waiting arrivals whose time has come, oldest first."""
        return await self._viewer.read(directory.due_waits, now, limit)

    async def waits(self, after: int, limit: int) -> Sequence[Waiting]:
        """Read all waiting arrivals after an inbox sequence, oldest first."""
        return await self._viewer.read(directory.waits, after, limit)

    async def due_rereads(self, now: Instant, limit: int) -> Sequence[Reread]:
        """Reread jobs whose time has come, oldest first."""
        return await self._loader.read(directory.due_rereads, now, limit)

    async def passed_on(self, wanted: PassedOn, limit: int) -> Sequence[InboxEntry]:
        """Inbox rows whose event goes out, oldest first; other views are answered in between."""
        return await collect(lambda rest, room: self._viewer.read(directory.passed_on, rest, room), wanted, limit)

    async def accepted(self, keys: Collection[InboxKey]) -> Sequence[InboxEntry]:
        """The inbox rows of some keys, oldest first."""
        return await self._viewer.read(directory.accepted, keys)

    async def standings(self, destination: str, events: Sequence[int]) -> dict[int, Standing]:
        """What became of each of some events at one destination."""
        return await self._viewer.read(lanes.standings_at, destination, events)

    # --- Directory

    async def get(self, entity: EntityId) -> Entity | None:
        """The entity, or None."""
        return await self._loader.read(directory.get, entity)

    async def find(self, text: str) -> Sequence[Entity]:
        """Entities that an operator may mean by an e-mail in its canonical form, an id, a subject or a peer's id."""
        return await self._viewer.read(directory.find, text)

    async def page(self, kind: str | None, after: EntityId | None, limit: int) -> Sequence[Entity]:
        """Entities in id order after one."""
        return await self._viewer.read(directory.page, kind, after, limit)

    async def conflicts(self, entity: EntityId | None, limit: int) -> Sequence[Conflict]:
        """The newest conflicts first, of one entity or of all; those of an erased entity are gone."""
        return await self._viewer.read(directory.conflicts, entity, limit)

    async def timeline(self, entity: EntityId, limit: int) -> Sequence[InboxEntry]:
        """The newest inbox rows of one entity first."""
        return await self._viewer.read(directory.timeline, entity, limit)

    # --- Lanes

    async def open(self, destinations: Sequence[Destination]) -> Sequence[tuple[Lane, Place]]:
        """Make sure that these have their lanes; give their open ones, older generations first, with their positions.

        A lane of an older generation is open while a delivery waits in it or a parked or dead row belongs to it.
        """
        return await self._writer.write(lambda db: lanes.open_lanes(db, destinations), len(destinations))

    async def read(self, cursors: Sequence[LaneCursor], limit: int, *, is_resumed: bool = False) -> LanePage:
        """Deliveries past the cursors, at most `limit` for each lane, bodies decrypted."""
        return await self._viewer.read(lanes.read, cursors, limit, is_resumed=is_resumed)

    async def parked(self, wanted: ParkedFilter, limit: int) -> Sequence[Parked]:
        """Parked rows that a filter names, in id order, bodies decrypted."""
        return await self._viewer.read(lanes.parked, wanted, limit)

    async def deliveries(self, event: int) -> Sequence[DeliveryRecord]:
        """Where each delivery of one event stands, in the order of their ids."""
        return await self._viewer.read(lanes.deliveries, event)

    async def attempts(self, event: int) -> Sequence[Attempt]:
        """Every try of one event, oldest first, answers decrypted."""
        return await self._viewer.read(lanes.attempts, event)

    async def ask(self, command: Command) -> int:
        """Insert a command for the owner of what it names; give its id (the one it came with counts for nothing)."""
        return await self._writer.write(lambda db: lanes.ask(db, command), 1)

    async def commands(self, limit: int) -> Sequence[Command]:
        """Commands not carried out yet, oldest first."""
        return await self._loader.read(lanes.commands, limit)

    async def trim(self, now: Instant, limit: int) -> int:
        """Delete at most `limit` settled or expired rows, a few in each transaction; give how many were deleted."""
        deleted = 0
        while deleted < limit:
            found = await self._trim_step(now, min(TRIM_STEP, limit - deleted))
            deleted += found
            if not found:
                break
        return deleted

    async def _trim_step(self, now: Instant, limit: int) -> int:
        step = await self._writer.write(lambda db: trim(db, now, limit, self._retention, self._sweep), limit)
        found, self._sweep = step
        return found

    # --- Cluster

    @property
    def has_one_writer(self) -> bool:
        """Yes: the file has one owner."""
        return True

    async def lease(self, holder: str, wanted: Sequence[str], ttl_s: float) -> dict[str, int]:
        """Keep what is ours, take what is free or over; return what is ours, with its epoch."""
        return await self._writer.write(lambda db: cluster.lease(db, holder, wanted, ttl_s), len(wanted))

    async def release(self, holder: str, names: Sequence[str]) -> None:
        """Give back what is ours; what is not ours is left alone."""
        await self._writer.write(lambda db: cluster.release(db, holder, names), len(names))

    async def holders(self, prefix: str) -> dict[str, str]:
        """Who has which lease whose name begins so."""
        return await self._loader.read(cluster.holders, prefix)

    async def tick(self, epoch: int) -> bool:
        """Nothing to do: with one writer the order of ids is the order of commits."""
        del epoch
        return False

    async def wait(self, timeout_s: float) -> None:
        """Sleep: nobody else commits."""
        await asyncio.sleep(timeout_s)

    # --- Registry

    async def start(self) -> int:
        """Begin a new epoch and return it; every older plan is fenced and every lease over from now on."""
        return await self._writer.write(registry.begin_epoch, 1)

    async def position(self, peer: PeerName) -> Position | None:
        """How far a peer's outbox was read; None: never."""
        return await self._loader.read(registry.position, peer)

    async def setting(self, name: str) -> bytes | None:
        """A value the service made for itself, or None."""
        return await self._loader.read(registry.setting, name)

    async def put_setting(self, name: str, value: bytes | None, expected: bytes | EllipsisType | None = ...) -> bool:
        """Keep a value for itself, durably, or remove it; say whether what was expected was there."""
        return await self._writer.write(lambda db: registry.put_setting(db, name, value, expected), 1)

    async def settings(self, prefix: str) -> dict[str, bytes]:
        """Every value whose name begins so, by name, in the order of names."""
        return await self._loader.read(registry.settings, prefix)

    async def stats(self) -> Stats:
        """Counts for operators; destinations without any are left out."""
        return await self._viewer.read(registry.stats)

    async def recent(self, after: int, limit: int) -> Sequence[InboxEntry]:
        """Inbox rows after a sequence, oldest first."""
        return await self._viewer.read(directory.recent, after, limit)

    async def close(self) -> None:
        """Finish what is queued and release the file; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.close()
        await self._loader.close()
        await self._viewer.close()
        await asyncio.to_thread(close_file, self._connections)
