"""What comes in and what goes out: events, observations and the verdict on each."""

from enum import StrEnum

import msgspec

from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Subject, Value


class Verdict(StrEnum):
    """What became of an accepted event (DESIGN §2, Inbox)."""

    APPLIED = "applied"
    """It changed the truth, or was passed on."""
    ECHO = "echo"
    """The peer was already known to hold it, as after a write of ours: nothing to do."""
    DUPLICATE = "duplicate"
    """This id was accepted before."""
    STALE = "stale"
    """Something newer of the same identity was merged already, or the identity is deleted."""
    REREAD = "reread"
    """Its order cannot be told: the identity is read again at its peer."""
    CONFLICT = "conflict"
    """Nothing of it was taken: a rule decided for another value, and both are kept in the log of conflicts."""
    PARKED = "parked"
    """It waits: for another identity, for a decision, or because it could not be understood."""
    REFUSED = "refused"
    """It was not accepted."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An immutable fact as it stands on the wire: a Standard Webhooks body with CloudEvents names (DESIGN §9)."""

    id: str
    type: str
    source: str
    subject: Subject
    timestamp: str
    version: int | None = None
    changed: tuple[str, ...] | None = None
    ids: dict[str, str] | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    """Raw JSON: stored and signed as the bytes that came, never encoded again."""


class Op(StrEnum):
    """What a peer says happened to one of its identities, or what a read found there."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    SEEN = "seen"
    """A read found it."""
    ABSENT = "absent"
    """A read did not find it."""


class Version(msgspec.Struct, frozen=True, array_like=True):
    """A version that the peer cannot set backwards. Versions of different spaces do not compare."""

    capture: str
    generation: str
    number: int

    def is_comparable(self, other: "Version | None") -> bool:
        """Whether both come from the same capture and generation."""
        return other is not None and (self.capture, self.generation) == (other.capture, other.generation)


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's word about one identity: what an event says, or what a read saw there. Field values are canonical."""

    peer: PeerName
    kind: str
    external_id: ExternalId
    op: Op
    fields: dict[str, Value] = {}
    """Only what the peer spoke of: an absent field is not a change."""
    link_id: ExternalId | None = None
    """The id at the first peer of `sync.<kind>.peers`, where the identity carries one (the `link` column)."""
    version: Version | None = None
    event_at: Instant
    received_at: Instant
    event_id: str
    rev: int | None = None
    """For a read: the shadow's `rev` from before the read began; None: unknown then, or not a read."""
    truth: tuple[EntityId, int] | None = None
    """For a read: the entity, and its version, from before the read began."""
    origin: str | None = None
    """The id of our own intent whose write this is, where the peer's capture recorded it in the write's transaction."""
    names_writer: bool = False
    """Whether every write of ours that this can show was named: by `origin` here, or by an event before a look."""

    @property
    def is_read(self) -> bool:
        """Whether we saw this ourselves, rather than being told."""
        return self.op in {Op.SEEN, Op.ABSENT}

    @property
    def is_gone(self) -> bool:
        """Whether the identity is not at the peer any more."""
        return self.op in {Op.DELETED, Op.ABSENT}


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted event on its way into ingest: who proved to send it, under which id, and what it says.

    Exactly one of `event` (fan-out only) and `observation` (is merged) is set; both are None for a body that could not
    be understood, which is then parked with `refusal` as its reason.
    """

    peer: PeerName
    """The peer, or the API key's name, that the credentials prove. `(peer, id)` is the inbox key."""
    id: str
    type: str
    subject: Subject
    received_at: Instant
    event: Event | None = None
    observation: Observation | None = None
    refusal: str | None = None
    body: bytes = b""
    """The bytes as they came; kept where the event is parked."""
    trace: str | None = None
    """W3C traceparent of the request or capture that brought it."""
    redo: int | None = None
    """The inbox sequence of a parked event that is tried again; its row is settled instead of inserted."""
    not_before: Instant | None = None
    """Of an event that is only passed on: no endpoint is sent it earlier."""
    is_decided: bool = False
    """Whether an operator let it pass: the guards that parked it are not asked again."""


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one arrival, given after the commit: its verdict, and the reason and entity if any."""

    id: str
    verdict: Verdict
    reason: str | None = None
    entity: EntityId | None = None
