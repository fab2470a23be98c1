"""The store on PostgreSQL: the verbs of the port, for any number of processes on one database."""

import asyncio
from collections.abc import Collection, Sequence
from types import EllipsisType

from idsync.model.delivery import Attempt, Parked, Place
from idsync.model.destination import Destination, Lane
from idsync.model.entity import Conflict, Entity
from idsync.model.plan import (
    Command,
    CommitResult,
    Committed,
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
from idsync.stores.common.retention import Retention
from idsync.stores.postgres import directory, lanes, registry, retention
from idsync.stores.postgres.commit import commit
from idsync.stores.postgres.db import Db
from idsync.stores.postgres.news import News
from idsync.stores.postgres.pool import Connections, Use, open_connections


async def open_store(
    url: str, *, retention: Retention | None = None, steps: Sequence[str] | None = None
) -> "PostgresStore":
    """Open the store in a database, whose schema `idsync` is made where there is none.

    Args:
        url: `postgresql://user:password@host:port/database`.
        retention: how long rows are kept; the defaults if None.
        steps: those of the schema; all that this version knows if None.

    Raises:
        StoreVersion: PostgreSQL is too old, or a newer idsync changed the schema in a way this one does not know.
        StoreError: the database cannot be used.
    """
    return PostgresStore(await open_connections(url, steps), retention or Retention())


class PostgresStore:
    """A Store of `idsync.ports` in one PostgreSQL database; every method runs in the event loop that opened it."""

    def __init__(self, connections: Connections, kept: Retention) -> None:
        """Take over what `open_connections` opened."""
        self._connections = connections
        self._retention = kept
        self._news = News(connections)
        self._bodies = lanes.Bodies()
        self._lanes = lanes.LaneMap()
        self._commits: set[asyncio.Task[CommitResult]] = set()

    # --- Inbox

    async def load(self, keys: Keys) -> Snapshot:
        """Read what a batch must know, as of one moment.

        Raises:
            DataRefused: a key is no text that can be stored.
        """
        async with self._connections.taken(Use.LINE) as db:
            return await directory.load(db, keys)

    async def commit(self, plan: Plan) -> CommitResult:
        """Write the whole plan in one durable transaction, or say why nothing of it was written.

        A caller that stops waiting does not stop it. After a StoreError it may have been written all the same.
        """
        task = asyncio.get_running_loop().create_task(self._commit(plan))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return await asyncio.shield(task)

    async def _commit(self, plan: Plan) -> CommitResult:
        async with self._connections.taken(Use.WRITE) as db:
            await self._learn_lanes(db, {one.lane for one in plan.deliveries})
            written = await commit(db, plan, self._lanes)
        self._bodies.keep(written.sent)
        result = written.result
        if isinstance(result, Committed) and (plan.deliveries or plan.rereads or plan.waits or result.released):
            self._news.tell()
        return result

    async def _learn_lanes(self, db: Db, wanted: set[int]) -> None:
        if not wanted <= self._lanes.targets.keys():
            await self._lanes.learn(db)

    async def due_waits(self, now: Instant, limit: int) -> Sequence[Waiting]:
        """Waiting arrivals whose time has come, oldest first."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.due_waits(db, now, limit)

    async def waits(self, after: int, limit: int) -> Sequence[Waiting]:
        """Read all waiting arrivals after an inbox sequence, oldest first."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.waits(db, after, limit)

    async def due_rereads(self, now: Instant, limit: int) -> Sequence[Reread]:
        """Reread jobs whose time has come, oldest first."""
        async with self._connections.taken(Use.LINE) as db:
            return await directory.due_rereads(db, now, limit)

    async def passed_on(self, wanted: PassedOn, limit: int) -> Sequence[InboxEntry]:
        """Inbox rows whose event goes out, oldest first, up to the first that somebody may still add."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.passed_on(db, wanted, limit)

    async def accepted(self, keys: Collection[InboxKey]) -> Sequence[InboxEntry]:
        """The inbox rows of some keys, oldest first."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.accepted(db, keys)

    async def standings(self, destination: str, events: Sequence[int]) -> dict[int, Standing]:
        """What became of each of some events at one destination."""
        async with self._connections.taken(Use.VIEW) as db:
            return await lanes.standings_at(db, destination, events)

    # --- Directory

    async def get(self, entity: EntityId) -> Entity | None:
        """The entity, or None."""
        async with self._connections.taken(Use.LINE) as db:
            return await directory.get(db, entity)

    async def find(self, text: str) -> Sequence[Entity]:
        """Entities that an operator may mean by an e-mail in its canonical form, an id, a subject or a peer's id."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.find(db, text)

    async def page(self, kind: str | None, after: EntityId | None, limit: int) -> Sequence[Entity]:
        """Entities in id order after one."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.page(db, kind, after, limit)

    async def conflicts(self, entity: EntityId | None, limit: int) -> Sequence[Conflict]:
        """The newest conflicts first, of one entity or of all; those of an erased entity are gone."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.conflicts(db, entity, limit)

    async def timeline(self, entity: EntityId, limit: int) -> Sequence[InboxEntry]:
        """The newest inbox rows of one entity first."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.timeline(db, entity, limit)

    # --- Lanes

    async def open(self, destinations: Sequence[Destination]) -> Sequence[tuple[Lane, Place]]:
        """Make sure that these have their lanes; give their open ones, older generations first, with their places.

        A lane of an older generation is open while a delivery waits in it or a parked or dead row belongs to it.
        """
        async with self._connections.taken(Use.LINE) as db:
            return await lanes.open_lanes(db, destinations)

    async def read(self, cursors: Sequence[LaneCursor], limit: int, *, is_resumed: bool = False) -> LanePage:
        """Deliveries past the cursors that a tick has placed, at most `limit` for each lane, bodies decrypted."""
        async with self._connections.taken(Use.LINE) as db:
            await self._learn_lanes(db, {one.lane for one in cursors})
            targets, bodies = self._lanes.targets, self._bodies
            return await lanes.read(db, cursors, limit, is_resumed=is_resumed, targets=targets, bodies=bodies)

    async def parked(self, wanted: ParkedFilter, limit: int) -> Sequence[Parked]:
        """Parked rows that a filter names, in id order, bodies decrypted."""
        async with self._connections.taken(Use.VIEW) as db:
            return await lanes.parked(db, wanted, limit)

    async def deliveries(self, event: int) -> Sequence[DeliveryRecord]:
        """Where each delivery of one event stands, in the order of their ids."""
        async with self._connections.taken(Use.VIEW) as db:
            return await lanes.deliveries(db, event)

    async def attempts(self, event: int) -> Sequence[Attempt]:
        """Every try of one event, oldest first, answers decrypted."""
        async with self._connections.taken(Use.VIEW) as db:
            return await lanes.attempts(db, event)

    async def ask(self, command: Command) -> int:
        """Insert a command for the owner of what it names; give its id (the one it came with counts for nothing)."""
        async with self._connections.taken(Use.VIEW) as db:
            id_ = await lanes.ask(db, command)
        self._news.tell()
        return id_

    async def commands(self, limit: int) -> Sequence[Command]:
        """Commands not carried out yet, oldest first."""
        async with self._connections.taken(Use.LINE) as db:
            return await lanes.commands(db, limit)

    async def trim(self, now: Instant, limit: int) -> int:
        """Forget what nobody needs any more and what is past its time: whole slots of it, and give how many rows.

        Args:
            now: the wall clock's time.
            limit: of what is deleted row by row.
        """
        async with self._connections.taken(Use.VIEW) as db:
            return await retention.trim(db, now, limit, self._retention)

    # --- Cluster

    @property
    def has_one_writer(self) -> bool:
        """No: any process on the database may commit."""
        return False

    async def lease(self, holder: str, wanted: Sequence[str], ttl_s: float) -> dict[str, int]:
        """Keep what is ours, take what is free or over; return what is ours, with its epoch."""
        async with self._connections.taken(Use.LINE) as db:
            return await registry.lease(db, holder, wanted, ttl_s)

    async def release(self, holder: str, names: Sequence[str]) -> None:
        """Give back what is ours; what is not ours is left alone."""
        async with self._connections.taken(Use.LINE) as db:
            await registry.release(db, holder, names)

    async def holders(self, prefix: str) -> dict[str, str]:
        """Who has which lease whose name begins so."""
        async with self._connections.taken(Use.LINE) as db:
            return await registry.holders(db, prefix)

    async def tick(self, epoch: int) -> bool:
        """Give every delivery committed since the last tick its place; say whether there were any."""
        async with self._connections.taken(Use.LINE) as db:
            has_made = await registry.tick(db, epoch)
        if has_made:
            self._news.tell()
        return has_made

    async def wait(self, timeout_s: float) -> None:
        """Return when another process may have committed something, at the latest after `timeout_s` seconds.

        Raises:
            StoreVersion: a newer idsync changed the schema in a way this one does not know; this process must end.
        """
        await self._news.wait(timeout_s)

    # --- Registry

    async def start(self) -> int:
        """Begin a new epoch and return it; other processes go on under theirs."""
        async with self._connections.taken(Use.LINE) as db:
            return await registry.begin_epoch(db)

    async def position(self, peer: PeerName) -> Position | None:
        """How far a peer's outbox was read; None: never."""
        async with self._connections.taken(Use.LINE) as db:
            return await registry.position(db, peer)

    async def setting(self, name: str) -> bytes | None:
        """A value the service made for itself, or None."""
        async with self._connections.taken(Use.LINE) as db:
            return await registry.setting(db, name)

    async def put_setting(self, name: str, value: bytes | None, expected: bytes | EllipsisType | None = ...) -> bool:
        """Keep a value for itself, durably, or remove it; say whether what was expected was there."""
        async with self._connections.taken(Use.LINE) as db:
            return await registry.put_setting(db, name, value, expected)

    async def settings(self, prefix: str) -> dict[str, bytes]:
        """Every value whose name begins so, by name, in the order of names."""
        async with self._connections.taken(Use.LINE) as db:
            return await registry.settings(db, prefix)

    async def stats(self) -> Stats:
        """Counts for operators; destinations without any are left out."""
        async with self._connections.taken(Use.VIEW) as db:
            return await registry.stats(db)

    async def recent(self, after: int, limit: int) -> Sequence[InboxEntry]:
        """Inbox rows after a sequence, oldest first."""
        async with self._connections.taken(Use.VIEW) as db:
            return await directory.recent(db, after, limit)

    async def close(self) -> None:
        """Finish what is queued and close every connection; safe to call twice."""
        if self._connections.is_closed:
            return
        if self._commits:
            await asyncio.wait(self._commits)
        await self._news.close()
        await self._connections.close()
