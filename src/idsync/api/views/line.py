"""What the API shows of the line: entities, the inbox, what waits, conflicts, peers."""

import msgspec

from idsync.api.views.deliveries import DeliveryView
from idsync.api.views.times import time_text
from idsync.model.entity import Conflict, Entity
from idsync.model.plan import Waiting
from idsync.model.values import Value, instant_text
from idsync.pipeline.reach import PeerHealth
from idsync.ports import InboxEntry


class LinkView(msgspec.Struct, frozen=True, kw_only=True):
    """Where an entity stands at one peer."""

    id: str | None
    state: str


class EntityView(msgspec.Struct, frozen=True, kw_only=True):
    """One identity as it is now."""

    id: str
    kind: str
    version: int
    incarnation: int
    fields: dict[str, Value]
    links: dict[str, LinkView]
    held: list[str]
    """Field groups that wait for an operator."""
    deleted_at: str | None
    created_at: str | None
    updated_at: str | None


class EntityPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entities, and where the next page begins."""

    items: list[EntityView]
    next: str | None = None


class InboxView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One accepted event and what became of it."""

    seq: int
    at: str
    peer: str
    id: str
    type: str
    subject: str
    verdict: str
    reason: str | None
    entity: str | None
    event_id: str | None
    """The event that went out; null where none did."""
    event_type: str | None
    version: int
    changed: list[str]
    deliveries: list[DeliveryView] | None = None
    """Where its deliveries stand; absent in lists."""


class InboxPage(msgspec.Struct, frozen=True, kw_only=True):
    """Inbox rows, and the sequence to go on after; it is given even where nothing came, to wait for more."""

    items: list[InboxView]
    next: str | None = None


class WaitingView(msgspec.Struct, frozen=True, kw_only=True):
    """One arrival that waits: for a time, for something else to arrive, or for an operator."""

    seq: int
    peer: str
    id: str
    type: str
    subject: str
    reason: str
    waits_for: str | None
    retry_at: str | None
    attempts: int
    parked_at: str


class WaitingPage(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting arrivals, and where the next page begins."""

    items: list[WaitingView]
    next: str | None = None


class ConflictView(msgspec.Struct, frozen=True, kw_only=True):
    """Two values met in one field, and a rule chose."""

    entity: str
    field: str
    rule: str
    at: str
    peer: str
    """Whose value was refused, or is held."""
    refused: Value
    kept_peer: str
    kept: Value
    event: str


class ConflictPage(msgspec.Struct, frozen=True, kw_only=True):
    """Conflicts, newest first, and where the next page begins."""

    items: list[ConflictView]
    next: str | None = None


class PeerKindView(msgspec.Struct, frozen=True, kw_only=True):
    """What one peer takes part in of one kind."""

    kind: str
    reads: list[str]
    writes: list[str]
    may_create: bool


class PeerFailureView(msgspec.Struct, frozen=True, kw_only=True):
    """That a peer cannot be reached, as of the last try."""

    since: str
    error: str
    """The kind of error; the log says more."""


class PeerItem(msgspec.Struct, frozen=True, kw_only=True):
    """One peer."""

    name: str
    connector: str
    dialect: str | None
    """How its webhooks are signed; null: `/receive/{peer}` is closed."""
    kinds: list[PeerKindView]
    position: int | None
    """How far its outbox was read."""
    unread: PeerFailureView | None = None
    """Since when it cannot be read."""
    unwritten: PeerFailureView | None = None
    """Since when what waits for it cannot be written."""


class PeerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Every peer."""

    items: list[PeerItem]
    next: str | None = None


def view_entity(entity: Entity) -> EntityView:
    """Show one entity."""
    return EntityView(
        id=entity.id,
        kind=entity.kind,
        version=entity.version,
        incarnation=entity.incarnation,
        fields={name: field.value for name, field in sorted(entity.fields.items())},
        links={
            peer: LinkView(id=link.external_id, state=link.state.value) for peer, link in sorted(entity.links.items())
        },
        held=sorted(entity.holds),
        deleted_at=instant_text(entity.deleted.at) if entity.deleted is not None else None,
        created_at=time_text(entity.created_at),
        updated_at=time_text(entity.updated_at),
    )


def view_inbox(entry: InboxEntry, deliveries: list[DeliveryView] | None = None) -> InboxView:
    """Show one inbox row; with its deliveries where they were looked up."""
    row = entry.row
    return InboxView(
        seq=entry.seq,
        at=instant_text(row.received_at),
        peer=row.peer,
        id=row.id,
        type=row.type,
        subject=row.subject,
        verdict=row.verdict.value,
        reason=row.reason,
        entity=row.entity,
        event_id=row.event_id,
        event_type=row.event_type,
        version=row.version,
        changed=list(row.changed),
        deliveries=deliveries,
    )


def view_peer_health(health: PeerHealth | None) -> PeerFailureView | None:
    """Show that a peer cannot be reached."""
    return None if health is None else PeerFailureView(since=instant_text(health.failing_since), error=health.error)


def view_waiting(one: Waiting) -> WaitingView:
    """Show one arrival that waits."""
    return WaitingView(
        seq=one.seq,
        peer=one.peer,
        id=one.id,
        type=one.type,
        subject=one.subject,
        reason=one.reason,
        waits_for=one.key,
        retry_at=time_text(one.retry_at),
        attempts=one.attempts,
        parked_at=instant_text(one.parked_at),
    )


def view_conflict(one: Conflict) -> ConflictView:
    """Show one conflict."""
    return ConflictView(
        entity=one.entity,
        field=one.field,
        rule=one.rule,
        at=instant_text(one.at),
        peer=one.peer,
        refused=one.refused,
        kept_peer=one.kept_peer,
        kept=one.kept,
        event=one.event_id,
    )
