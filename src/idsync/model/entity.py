"""One identity in the directory: its fields with stamps, its links to peers, and what each peer is known to hold."""

from enum import StrEnum

import msgspec

from idsync.model.event import Version
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Value


class Stamp(msgspec.Struct, frozen=True, order=True, array_like=True):
    """When a field was set, as a total order: time, then the peer's precedence, then the event's id (DESIGN §4.5)."""

    at: Instant
    precedence: int
    event_id: str


class Field(msgspec.Struct, frozen=True, array_like=True):
    """One field's truth: its value, its stamp, and who set it."""

    value: Value
    stamp: Stamp
    peer: PeerName


class Shadow(msgspec.Struct, frozen=True, array_like=True):
    """What one peer is known to hold of one field. A field without a shadow is unknown, not changed (DESIGN §1.3)."""

    sent: Value
    """The canonical truth at the last agreement."""
    held: Value
    """What the peer returned for it: the same, or the peer's own normal form of it."""
    seen_at: Instant
    """The truth's stamp that the peer had seen when it last agreed; its next edit counts as later than this."""


class Action(StrEnum):
    """What a Target is asked to do."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A write announced before it leaves, so that its echo is known whatever happens (DESIGN §5)."""

    id: str
    action: Action
    epoch: int
    """The lane's epoch; the intent of a lost epoch stays open until a later read settles it."""
    version: int
    """The entity version whose fields it carries."""
    fields: dict[str, Value] = {}
    external_id: ExternalId | None = None
    """The id that a create asks for, where the peer lets us choose it."""
    seen_at: Instant
    """The newest stamp among those fields: what the peer will have seen once this is confirmed."""
    expires_at: Instant
    """After this no request of it can still be under way."""
    is_missed: bool = False
    """Whether a look has shown since, with every event before it taken in, that it had not happened by then."""


def intent_id(entity: EntityId, version: int, nonce: str) -> str:
    """Name an intent so that the name alone leads back to its entity."""
    return f"{entity}:{version}:{nonce}"


def entity_of_intent(intent: str) -> EntityId:
    """The entity that an intent's id names; any text for an id that is not one of ours."""
    return EntityId(intent.partition(":")[0])


class LinkState(StrEnum):
    """How an entity stands at one peer."""

    PENDING = "pending"
    """Not there yet: a create is wanted or under way."""
    LIVE = "live"
    """The peer holds it."""
    UNLINKED = "unlinked"
    """Deleted there by a non-owner; nothing is written to it any more."""
    GONE = "gone"
    """Deleted there with the entity."""


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entity's standing at one peer."""

    state: LinkState = LinkState.PENDING
    external_id: ExternalId | None = None
    version: Version | None = None
    """The newest version of the peer's row that was merged."""
    link_id: ExternalId | None = None
    """The first peer's id, as this peer's `link` column was last seen to hold it."""
    event_at: Instant = Instant(0)
    """The newest event time that was merged, for peers without versions."""
    rev: int = 0
    """Moves with every change of the shadow or the intents; a read made across a move is repeated."""
    shadow: dict[str, Shadow] = {}
    intents: tuple[Intent, ...] = ()
    confirmed_at: Instant = Instant(0)
    former: tuple[ExternalId, ...] = ()
    """Ids this entity once had there; they are kept for ever and never linked again."""

    @property
    def is_live(self) -> bool:
        """Whether the identity exists there as far as we know."""
        return self.state is LinkState.LIVE


class Tombstone(msgspec.Struct, frozen=True):
    """A deleted entity's grave: who deleted it and when."""

    at: Instant
    peer: PeerName
    event_id: str


class Hold(msgspec.Struct, frozen=True):
    """A field group that waits for an operator (rule `manual`): what each peer says of it."""

    since: Instant
    claims: dict[PeerName, dict[str, Field]]


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One identity, the same at every peer."""

    id: EntityId
    kind: str
    version: int = 0
    """The truth's version: moves when a field, the existence or a link decides something new for the peers."""
    rev: int = 0
    """Moves with every write of this row; a commit holds only where it is still the one that was read."""
    incarnation: int = 1
    fields: dict[str, Field] = {}
    links: dict[PeerName, Link] = {}
    holds: dict[str, Hold] = {}
    deleted: Tombstone | None = None
    created_at: Instant = Instant(0)
    updated_at: Instant = Instant(0)

    def value_of(self, field: str) -> Value:
        """The field's truth; None also where nobody ever spoke of it."""
        entry = self.fields.get(field)
        return None if entry is None else entry.value

    def link_at(self, peer: PeerName) -> Link:
        """The entity's standing at a peer; a fresh pending link where there is none."""
        return self.links.get(peer, _NO_LINK)


_NO_LINK = Link()


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """Two values met in one field and a rule chose: both are kept (MISSION R15)."""

    entity: EntityId
    field: str
    rule: str
    peer: PeerName
    """Whose value was refused, or is held."""
    refused: Value
    kept: Value
    kept_peer: PeerName
    at: Instant
    event_id: str
