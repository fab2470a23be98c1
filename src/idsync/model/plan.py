"""What a batch reads from the store and what it writes back: the two values that cross the Store port."""

from enum import StrEnum
from typing import Final

import msgspec

from idsync.model.delivery import Attempt, Delivery, Parked, Place
from idsync.model.entity import Conflict, Entity
from idsync.model.event import Receipt, Verdict
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Subject

REVISION: Final = "endpoints_revision"
"""The setting that is another one after each change of where events go; only plans are to write it."""

InboxKey = tuple[PeerName, str]
"""(the peer that the credentials prove, the signed id)."""
LinkKey = tuple[PeerName, str, ExternalId]
"""(peer, kind, the peer's own id)."""
EmailKey = tuple[str, str]
"""(kind, canonical e-mail)."""


class Keys(msgspec.Struct, frozen=True):
    """What a batch must know before it can be merged."""

    inbox: frozenset[InboxKey] = frozenset()
    links: frozenset[LinkKey] = frozenset()
    emails: frozenset[EmailKey] = frozenset()
    entities: frozenset[EntityId] = frozenset()


class Snapshot(msgspec.Struct, frozen=True):
    """The store's answer to `Keys`: every entity that a link or an e-mail leads to is among `entities`."""

    asked: Keys = Keys()
    """What was asked: what of it is not here was not there."""
    known: dict[InboxKey, Receipt] = {}
    links: dict[LinkKey, EntityId] = {}
    emails: dict[EmailKey, EntityId] = {}
    entities: dict[EntityId, Entity] = {}


class InboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted event with its verdict and, where it goes on, the event that leaves us."""

    peer: PeerName
    id: str
    type: str
    subject: Subject
    received_at: Instant
    verdict: Verdict
    reason: str | None = None
    entity: EntityId | None = None
    event_id: str | None = None
    """The outgoing event's id; None where nothing goes out."""
    event_type: str | None = None
    event_subject: Subject | None = None
    version: int = 0
    changed: tuple[str, ...] = ()
    body: bytes = b""
    """The outgoing wire body; for a parked event the arrival itself. Stored encrypted where `entity` is set."""
    trace: str | None = None
    not_before: Instant | None = None
    """No endpoint is sent the event earlier; None: at once."""


class EntityWrite(msgspec.Struct, frozen=True):
    """An entity as it will stand, and the `rev` it must still have: None for one that must not exist yet."""

    entity: Entity
    expected_rev: int | None


class LaneRow(msgspec.Struct, frozen=True):
    """A delivery to be queued; its event is `Plan.inbox[row]`, or the row `seq` that is already there.

    Both are None for a doorbell that no event stands behind (a read of ours found that a peer lacks the truth).
    """

    lane: int
    subject: Subject
    version: int
    row: int | None = None
    seq: int | None = None


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """An arrival that waits: parked with its reason until a key is released, a time comes, or an operator decides."""

    row: int | None = None
    """The index of its row in `Plan.inbox`; None where the row is already there as `seq`."""
    seq: int | None = None
    reason: str
    key: str | None = None
    """What it waits for, e.g. `id:auth:user:u_1` or `email:user:a@example.com`."""
    own_key: str | None = None
    """The key of the identity that it speaks of: once that is known by other means, there is nothing to wait for."""
    retry_at: Instant | None = None
    attempts: int = 0


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting arrival as the store gives it back."""

    seq: int
    peer: PeerName
    id: str
    type: str
    subject: Subject
    reason: str
    key: str | None
    retry_at: Instant | None
    attempts: int
    parked_at: Instant
    body: bytes


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a waiting arrival: its row gets the verdict it earned now."""

    seq: int
    row: InboxRow


class Reread(msgspec.Struct, frozen=True, kw_only=True):
    """One coalesced job: read this identity at its peer and ingest what is found (DESIGN §4.3)."""

    peer: PeerName
    kind: str
    external_id: ExternalId
    asked_at: Instant
    retry_at: Instant
    attempts: int = 0


class Position(msgspec.Struct, frozen=True):
    """How far a peer's outbox was read; it commits with the ingest of the rows before it (DESIGN §6)."""

    generation: str
    number: int
    nonce: str
    """The random nonce of the last row that was read: if it is missing or differs, capture was rewound."""
    mark: str = ""
    """Whatever else the peer's Source needs to go on from here: only it reads this."""


class CommandName(StrEnum):
    """What an operator may ask of the owner of a lane."""

    REQUEUE = "requeue"
    DISCARD = "discard"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A request of an operator, carried out by the owner of what it names."""

    id: int
    name: CommandName
    deliveries: tuple[int, ...] = ()
    """The parked deliveries it is about; empty: all that match `destination`."""
    waiting: tuple[int, ...] = ()
    """The inbox sequences of waiting arrivals it is about."""
    destination: str | None = None
    asked_at: Instant = Instant(0)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one batch writes, in one transaction, or nothing of it."""

    epoch: int
    """The process's epoch: where one process owns the store, a plan of an older one is fenced."""
    fences: dict[str, int] = {}
    """Lease → the epoch in which this process took it: the plan is fenced if somebody else has taken one since."""
    is_repeated: bool = False
    """Whether it may have been written already, for the answer was lost: a try that is there is not written again."""
    read: Snapshot | None = None
    """What the plan was made from. It is redone where a link or an e-mail leads elsewhere by now, or to anybody new.

    One with `waits` is redone also where an entity that it read has moved: what it waits for may have been announced.
    """
    routes: bytes | None = None
    """The `REVISION` that its deliveries were routed by, empty where there was none: it is redone where that has moved.

    A plan that moves it and one that was routed by it do not pass each other: whichever is written later has seen the
    other. None: its deliveries do not depend on it.
    """
    inbox: tuple[InboxRow, ...] = ()
    entities: tuple[EntityWrite, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    deliveries: tuple[LaneRow, ...] = ()
    waits: tuple[Wait, ...] = ()
    settles: tuple[Settle, ...] = ()
    releases: tuple[str, ...] = ()
    """Wait keys that something in this batch fulfils."""
    rereads: tuple[Reread, ...] = ()
    rereads_done: tuple[Reread, ...] = ()
    """Jobs as they were taken: each ends only if nobody asked again later than its `asked_at`."""
    positions: dict[PeerName, Position] = {}
    attempts: tuple[Attempt, ...] = ()
    progress: dict[int, Place] = {}
    """Lane → the place up to which everything is settled or parked."""
    parked: tuple[Parked, ...] = ()
    """Inserted, or replaced by id."""
    unparked: tuple[int, ...] = ()
    commands_done: tuple[int, ...] = ()
    settings: dict[str, bytes | None] = {}
    """Values kept in the same transaction; None removes one."""
    at: Instant = Instant(0)


class Committed(msgspec.Struct, frozen=True):
    """A plan that was written: the sequences of its inbox rows and the ids of its deliveries, in the plan's order."""

    inbox: tuple[int, ...] = ()
    deliveries: tuple[int, ...] = ()
    released: int = 0
    """How many waiting arrivals its releases have made due."""


class Redo(msgspec.Struct, frozen=True):
    """A plan that was not written, because these keys moved since they were read. Load again and merge again."""

    entities: frozenset[EntityId] = frozenset()
    inbox: frozenset[InboxKey] = frozenset()
    links: frozenset[LinkKey] = frozenset()
    emails: frozenset[EmailKey] = frozenset()
    routes: bool = False
    """Whether events go elsewhere by now: look where, before it is merged again."""


class Fenced(msgspec.Struct, frozen=True):
    """A plan that was not written, because its epoch is over: another worker owns what it settles."""

    leases: frozenset[str] = frozenset()
    """The leases that are not ours any more; empty: the whole process is fenced."""


CommitResult = Committed | Redo | Fenced


class LaneCursor(msgspec.Struct, frozen=True):
    """Where a lane is read on from: the place of the last delivery already in memory or settled."""

    lane: int
    after: Place


class LanePage(msgspec.Struct, frozen=True):
    """Deliveries past the cursors, in order per lane; `more` names the lanes that have others beyond the limit."""

    deliveries: tuple[Delivery, ...] = ()
    more: frozenset[int] = frozenset()
    passed: frozenset[int] = frozenset()
    """Those of them that need nothing more from their lane, where that was asked for: settled, parked or dead."""
