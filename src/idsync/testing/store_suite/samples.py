"""The values that the suite writes, and the store with what every plan of it must name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from idsync.model.delivery import FIRST_PLACE, Attempt, Outcome, Parked, ParkedState, Place
from idsync.model.destination import Destination, DestinationKind, Lane, Level
from idsync.model.entity import Entity, Field, Link, LinkState, Stamp
from idsync.model.event import Verdict
from idsync.model.plan import (
    CommitResult,
    Committed,
    EntityWrite,
    InboxRow,
    Keys,
    LaneCursor,
    LanePage,
    LaneRow,
    Plan,
)
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Subject, subject_of
from idsync.ports import Store

Check = Callable[[Store], Awaitable[None]]

AT: Final = Instant(1_800_000_000_000)
"""The moment at which the suite writes."""
LATER: Final = Instant(AT + 100 * 365 * 86_400_000)
"""A hundred years on: past every retention."""
TICK: Final = "tick"
"""The lease of who gives deliveries their places."""
HOLDER: Final = "suite"
AUTH: Final = PeerName("auth")
APP: Final = PeerName("app")
AUDIT: Final = Destination(name="endpoint:audit", kind=DestinationKind.ENDPOINT, lanes=2)
TARGET: Final = Destination(name="peer:app", kind=DestinationKind.TARGET, lanes=2)

HOSTILE_TEXTS: Final = (
    "nothing\x00hidden",
    "\x00",
    'O\'Brien "quoted" `ticked` [boxed]',
    "'); DROP TABLE inbox; --",
    "\N{GRINNING FACE} \N{HAIR SPACE} \N{RIGHT-TO-LEFT OVERRIDE} \u0065\u0301 \u00e9 \uffff",
    "{} {name} %s %(name)s ? :1 $2 \\ \\u0000 \n\t\r\x01\x7f",
    " ",
    "x" * 100_000,
)
"""Texts that a careless store cuts, splits, runs or takes for equal."""


@dataclass(frozen=True)
class Line:
    """A started store with lanes open: what a worker would have in its hands."""

    store: Store
    epoch: int
    audit: tuple[Lane, ...]
    """The live lanes of an endpoint."""
    target: tuple[Lane, ...]
    """The live lanes of a Target."""

    async def commit(self, plan: Plan) -> Committed:
        """Commit a plan that must be written."""
        result = await self.try_commit(plan)
        assert isinstance(result, Committed), result
        return result

    async def try_commit(self, plan: Plan) -> CommitResult:
        """Commit a plan of this epoch and moment."""
        return await self.store.commit(msgspec.structs.replace(plan, epoch=self.epoch, at=plan.at or AT))

    async def accept(self, *rows: InboxRow) -> Committed:
        """Accept some events and queue each in the endpoint's first lane."""
        lane = self.audit[0].id
        queued = tuple(LaneRow(lane, one.subject, one.version, row=index) for index, one in enumerate(rows))
        return await self.commit(Plan(epoch=0, inbox=rows, deliveries=queued))

    async def pass_by(self, lane: Lane, delivery: int) -> None:
        """Settle a lane up to a delivery that stands in it."""
        await self.commit(Plan(epoch=0, progress={lane.id: await self.place(delivery)}))

    async def place(self, delivery: int) -> Place:
        """Say where a queued delivery stands."""
        page = await self.read(*(lane.id for lane in (*self.audit, *self.target)), limit=1_000)
        return next(one.place for one in page.deliveries if one.id == delivery)

    async def read(self, *lanes: int, after: Place = FIRST_PLACE, limit: int = 10) -> LanePage:
        """Read some lanes, all past one place, with all that was committed until now."""
        await self.tick()
        return await self.store.read([LaneCursor(lane, after) for lane in lanes], limit)

    async def tick(self) -> None:
        """Give what was committed its place, as the one process does that has the lease."""
        epochs = await self.store.lease(HOLDER, [TICK], 60.0)
        await self.store.tick(epochs[TICK])

    async def write(self, *entities: Entity, expected_rev: int | None = None) -> CommitResult:
        """Write entities that all had the same rev before; None: that were not there."""
        return await self.try_commit(Plan(epoch=0, entities=tuple(EntityWrite(one, expected_rev) for one in entities)))

    async def load_entity(self, entity: Entity) -> Entity | None:
        """Read an entity back as ingest does."""
        snapshot = await self.store.load(Keys(entities=frozenset({entity.id})))
        return snapshot.entities.get(entity.id)

    async def is_known(self, row: InboxRow) -> bool:
        """Whether an event's key is in the inbox."""
        return bool((await self.store.load(Keys(inbox=frozenset({(row.peer, row.id)})))).known)


async def begin(store: Store) -> Line:
    """Start a store and open its lanes."""
    epoch = await store.start()
    lanes = [lane for lane, _ in await store.open([AUDIT, TARGET]) if lane.level is Level.LIVE]
    return Line(
        store,
        epoch,
        tuple(lane for lane in lanes if lane.destination == AUDIT.name),
        tuple(lane for lane in lanes if lane.destination == TARGET.name),
    )


def row(id_: str, *, entity: Entity | None = None, body: bytes = b"", received_at: Instant = AT) -> InboxRow:
    """An accepted event: fanned out as it came, or about an entity."""
    return InboxRow(
        peer=AUTH,
        id=id_,
        type="user.updated",
        subject=Subject(f"user/{id_}") if entity is None else subject_of(entity.kind, entity.id),
        received_at=received_at,
        verdict=Verdict.APPLIED,
        entity=None if entity is None else entity.id,
        event_id=f"event-{id_}",
        event_type="user.updated",
        event_subject=Subject(f"user/{id_}") if entity is None else subject_of(entity.kind, entity.id),
        version=0 if entity is None else entity.version,
        body=body,
    )


def person(number: int, *, email: str | None = None, rev: int = 1) -> Entity:
    """A user linked at one peer, with an e-mail of their own unless another is given."""
    stamp = Stamp(AT, 2, "event")
    value = f"u{number}@example.com" if email is None else email
    return Entity(
        id=EntityId(f"0190-{number:08}"),
        kind="user",
        version=rev,
        rev=rev,
        fields={"email": Field(value, stamp, AUTH), "name": Field(f"User {number}", stamp, AUTH)},
        links={AUTH: Link(state=LinkState.LIVE, external_id=ExternalId(f"a{number}"))},
        created_at=AT,
        updated_at=AT,
    )


def parked_row(id_: int, lane: Lane, *, event: int = 0, subject: str = "user/1", body: bytes = b"body") -> Parked:
    """A delivery that waits by itself."""
    return Parked(
        id=id_,
        destination=lane.destination,
        lane=lane.id,
        subject=Subject(subject),
        event=event,
        version=3,
        event_id="event-1",
        event_type="user.updated",
        body=body,
        reason="http_500",
        attempts=2,
        retry_at=Instant(AT + 1_000),
        state=ParkedState.PARKED,
        parked_at=AT,
        first_at=Instant(AT - 1_000),
        trace="00-trace",
    )


def tried(delivery: int, event: int, *, number: int = 1, outcome: Outcome = Outcome.DELIVERED) -> Attempt:
    """One try of a delivery to the endpoint."""
    return Attempt(
        delivery=delivery,
        event=event,
        destination=AUDIT.name,
        subject=Subject("user/1"),
        number=number,
        at=AT,
        outcome=outcome,
        status=200,
        error=None,
        latency_ms=1.5,
        response=b"fine",
        trace="00-trace",
    )
