"""The one truth, as ports. No transaction crosses one of them (DESIGN §3).

A Store is `Inbox`, `Directory`, `Lanes`, `Cluster` and `Registry`; every one passes `idsync.testing.store_suite`.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from types import EllipsisType
from typing import Protocol

import msgspec

from idsync.model.delivery import Attempt, Parked, ParkedState, Place
from idsync.model.destination import Destination, Lane
from idsync.model.entity import Conflict, Entity
from idsync.model.plan import (
    Command,
    CommitResult,
    InboxKey,
    InboxRow,
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
from idsync.model.values import EntityId, Instant, PeerName, Subject


class PassedOn(msgspec.Struct, frozen=True, kw_only=True):
    """Which events that went out; every part that is None names all."""

    after: int = 0
    """Only rows whose sequence is higher."""
    until: int | None = None
    """Only rows whose sequence is not higher."""
    received_from: Instant | None = None
    received_before: Instant | None = None
    subject: Subject | None = None
    """Only events of this outgoing subject."""


class Inbox(Protocol):
    """The accepted events and the one write verb."""

    async def load(self, keys: Keys) -> Snapshot:
        """Read what a batch must know, as of one moment."""
        ...

    async def commit(self, plan: Plan) -> CommitResult:
        """Write the whole plan in one durable transaction, if what it was made from holds and no inbox key is known.

        After a StoreError it may have been written all the same: whoever repeats a plan says so in it.

        Raises:
            DataRefused: the database refuses some row for what it holds; nothing was written.
        """
        ...

    async def due_waits(self, now: Instant, limit: int) -> Sequence[Waiting]:
        """Waiting arrivals whose time has come, oldest first."""
        ...

    async def waits(self, after: int, limit: int) -> Sequence[Waiting]:
        """All waiting arrivals after an inbox sequence, oldest first: what operators look through.

        Page by page it is no queue: who begins to wait meanwhile may be passed over. The line takes `due_waits`.
        """
        ...

    async def due_rereads(self, now: Instant, limit: int) -> Sequence[Reread]:
        """Reread jobs whose time has come, oldest first."""
        ...

    async def passed_on(self, wanted: PassedOn, limit: int) -> Sequence["InboxEntry"]:
        """Inbox rows whose event goes out, oldest first: what a replay pages through.

        Whoever goes on after the last one misses none: a row is given once no commit can still put one before it.
        """
        ...

    async def accepted(self, keys: Collection[InboxKey]) -> Sequence["InboxEntry"]:
        """The inbox rows of some keys, oldest first; a key that is not known, or not any more, has none."""
        ...

    async def standings(self, destination: str, events: Sequence[int]) -> dict[int, Standing]:
        """What became of each of some events at one destination, by their inbox sequences."""
        ...


class InboxEntry(msgspec.Struct, frozen=True):
    """One inbox row as it is read back: its sequence, its row with the body decrypted."""

    seq: int
    row: InboxRow


class Directory(Protocol):
    """The entities, for those who look and do not write."""

    async def get(self, entity: EntityId) -> Entity | None:
        """The entity, or None."""
        ...

    async def find(self, text: str) -> Sequence[Entity]:
        """Entities that an operator may mean by an e-mail, an entity id, a subject or a peer's id; at most 20."""
        ...

    async def page(self, kind: str | None, after: EntityId | None, limit: int) -> Sequence[Entity]:
        """Entities in id order after one."""
        ...

    async def conflicts(self, entity: EntityId | None, limit: int) -> Sequence[Conflict]:
        """The newest conflicts first, of one entity or of all."""
        ...

    async def timeline(self, entity: EntityId, limit: int) -> Sequence[InboxEntry]:
        """The newest inbox rows of one entity first."""
        ...


class DeliveryState(StrEnum):
    """The states of a delivery that rest in the store (DESIGN §6); `sending` is in memory only."""

    QUEUED = "queued"
    """In its lane, not tried yet; `sending` to whoever asks the process that has its request under way."""
    DELIVERED = "delivered"
    """Done."""
    PARKED = "parked"
    """Waits by itself for its next try (`sending` during that), or behind an earlier one of its identity."""
    DEAD = "dead"
    """Given up at the limit of tries or age; `idsync dead requeue` tries it again."""
    SKIPPED = "skipped"
    """Superseded by a newer one, or its destination was disabled."""


class DeliveryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery as operators see it."""

    id: int
    destination: str
    subject: str
    event: int
    event_id: str
    event_type: str
    state: DeliveryState
    reason: str | None = None
    attempts: int = 0
    retry_at: Instant | None = None


class ParkedFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which parked rows: every part that is None names all."""

    destination: str | None = None
    subject: Subject | None = None
    state: ParkedState | None = None
    lanes: frozenset[int] | None = None
    after: int = 0
    """Only rows whose id is higher."""


class Lanes(Protocol):
    """The queue: append-only lanes, the parked rows beside them, the attempts behind them."""

    async def open(self, destinations: Sequence[Destination]) -> Sequence[tuple[Lane, Place]]:
        """Make sure that every destination has its lanes; return all open lanes with the place reached in each.

        Another number of lanes than there are opens a new generation. From then on every delivery goes there, whatever
        lane its plan names, and once the older ones are empty they stay so.
        """
        ...

    async def read(self, cursors: Sequence[LaneCursor], limit: int, *, is_resumed: bool = False) -> LanePage:
        """Deliveries past the cursors that have their place, at most `limit` for each lane, bodies decrypted.

        Args:
            cursors: where each lane is read on from.
            limit: of each lane.
            is_resumed: whether to say which of them are settled or parked already: another owner of the lane may have
                been ahead of the place that it has written.
        """
        ...

    async def parked(self, wanted: ParkedFilter, limit: int) -> Sequence[Parked]:
        """Parked rows that a filter names, in id order, bodies decrypted."""
        ...

    async def deliveries(self, event: int) -> Sequence[DeliveryRecord]:
        """Where each delivery of one event stands."""
        ...

    async def attempts(self, event: int) -> Sequence[Attempt]:
        """Every try of one event, oldest first, answers decrypted."""
        ...

    async def ask(self, command: Command) -> int:
        """Insert a command for the owner of what it names; return its id."""
        ...

    async def commands(self, limit: int) -> Sequence[Command]:
        """Commands not carried out yet, oldest first."""
        ...

    async def trim(self, now: Instant, limit: int) -> int:
        """Forget what is settled or past its retention, and never what is needed; return about how many rows that were.

        Args:
            now: the wall clock's time.
            limit: how much to do at once: rows, where they are forgotten one by one.
        """
        ...


class Cluster(Protocol):
    """What several processes on one store need of it: who does what, in which order, and when there is news.

    A lease is a name that one holder has for a time by the store's own clock: `lane:7`, `source:auth`, `worker:…`.
    """

    @property
    def has_one_writer(self) -> bool:
        """Whether only this process ever commits: then it may hand on from memory what it has just committed."""
        ...

    async def lease(self, holder: str, wanted: Sequence[str], ttl_s: float) -> dict[str, int]:
        """Keep what is ours for `ttl_s` seconds from now, take what is free or over; return ours with its epoch.

        A lease that its holder keeps in time keeps its epoch; one that is taken gets a new, higher one. What was ours
        and is over is taken like any other. Every plan whose `fences` name an older epoch of it is fenced.
        """
        ...

    async def release(self, holder: str, names: Sequence[str]) -> None:
        """Give back what is ours, so that others need not wait; what is not ours is left alone.

        A plan whose `fences` name it is fenced from now on: whoever takes it next may begin at any moment.
        """
        ...

    async def holders(self, prefix: str) -> dict[str, str]:
        """Who has which lease whose name begins so, of those that are not over: name → holder."""
        ...

    async def tick(self, epoch: int) -> bool:
        """Give every delivery committed since the last tick its place; say whether there were any.

        Args:
            epoch: that of the lease `tick`; where somebody else has it by now nothing is done.
        """
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when another process may have committed something, at the latest after `timeout_s` seconds."""
        ...


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the store at one moment."""

    entities: int
    inbox: int
    queued: dict[str, int]
    """Destination → deliveries not settled yet."""
    parked: dict[str, int]
    dead: dict[str, int]
    oldest: dict[str, Instant]
    """Destination → since when the oldest of its deliveries waits that are neither settled nor dead.

    Since it was queued; once it is parked since its first try, or since it was parked if it had none.
    """
    waiting: int
    rereads: int
    conflicts: int
    size_bytes: int


class Registry(Protocol):
    """What the service knows of itself: epochs, positions, secrets, keys."""

    async def start(self) -> int:
        """Begin a new epoch for this process and return it; where it is alone, all older plans and leases end."""
        ...

    async def position(self, peer: PeerName) -> Position | None:
        """How far a peer's outbox was read; None: never."""
        ...

    async def setting(self, name: str) -> bytes | None:
        """A value the service made for itself (an API key's hash, an endpoint's secret), or None."""
        ...

    async def put_setting(self, name: str, value: bytes | None, expected: bytes | EllipsisType | None = ...) -> bool:
        """Keep a value for itself, durably; None removes it.

        Args:
            name: what it is called.
            value: what is kept from now on.
            expected: what must be there now, None for nothing; not given: whatever is there is replaced.

        Returns:
            Whether it was written: False where something else than expected was there.
        """
        ...

    async def settings(self, prefix: str) -> dict[str, bytes]:
        """Every value whose name begins so, by name, in the order of names: few and small."""
        ...

    async def stats(self) -> Stats:
        """Counts for operators."""
        ...

    async def recent(self, after: int, limit: int) -> Sequence[InboxEntry]:
        """Inbox rows after a sequence, oldest first: what `tail` and the event stream show.

        Whoever goes on after the last one misses none: a row is given once no commit can still put one before it.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued, release the file or the connections."""
        ...


class Store(Inbox, Directory, Lanes, Cluster, Registry, Protocol):
    """The one truth."""
