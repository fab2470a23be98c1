"""One event for one destination, every try of it, and what became of it."""

from enum import StrEnum
from typing import Final

import msgspec

from idsync.model.event import Version
from idsync.model.values import EntityId, ExternalId, Instant, Subject, Value

Place = tuple[int, int]
"""Where a delivery stands in its lane: (tick, id). A store with one writer gives ids in commit order: its tick is 0."""
FIRST_PLACE: Final[Place] = (0, 0)
"""Before every delivery."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one destination, as it stands in its lane: inserted by ingest, never updated."""

    id: int
    lane: int
    subject: Subject
    event: int
    """The inbox sequence of the event."""
    version: int
    """The entity's version then; 0 for bare events."""
    event_id: str = ""
    event_type: str = ""
    body: bytes = b""
    """The wire body, already decrypted; empty for a Target, which writes the entity as it is now."""
    trace: str | None = None
    queued_at: Instant = Instant(0)
    not_before: Instant | None = None
    """No endpoint is sent it earlier; None: at once."""
    tick: int = 0
    """The tick in which it became visible to every reader at once (DESIGN §6, Position)."""

    @property
    def place(self) -> Place:
        """Where it stands in its lane."""
        return self.tick, self.id


class Outcome(StrEnum):
    """How one try of a delivery ended."""

    DELIVERED = "delivered"
    """The endpoint answered 2xx, or the Target wrote it."""
    UNCHANGED = "unchanged"
    """The Target already held it: nothing was written."""
    SUPERSEDED = "superseded"
    """A newer delivery of the same subject carries its state."""
    SKIPPED = "skipped"
    """The destination was disabled."""
    FAILED = "failed"
    """No answer, or not a good one: it is tried again."""
    REFUSED = "refused"
    """The peer refuses the values: it is tried again later, for something may change there."""


SETTLED = frozenset({Outcome.DELIVERED, Outcome.UNCHANGED, Outcome.SUPERSEDED, Outcome.SKIPPED})
"""Outcomes after which a delivery needs nothing more."""


class Phases(msgspec.Struct, frozen=True, array_like=True):
    """The parts of one request's time, in milliseconds. On a connection that was kept the first three are 0."""

    dns_ms: float = 0.0
    connect_ms: float = 0.0
    tls_ms: float = 0.0
    wait_ms: float = 0.0
    """From the last byte sent to the first of the answer."""
    read_ms: float = 0.0
    """From the first byte of the answer to its last."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try and its result."""

    delivery: int
    event: int
    destination: str
    subject: Subject
    number: int
    """1 for the first try."""
    at: Instant
    outcome: Outcome
    status: int | None = None
    error: str | None = None
    """A short code (`timeout`, `dns`, `constraint`…): never the other side's text."""
    latency_ms: float = 0.0
    phases: "Phases | None" = None
    """Where the time went; None: it was not measured, or no request left."""
    response: bytes = b""
    """The answer's body, capped; stored encrypted."""
    trace: str | None = None


class ParkedState(StrEnum):
    """Whether a parked row waits or was given up."""

    PARKED = "parked"
    DEAD = "dead"


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that waits by itself, under its key `(destination, subject)`; `dead` when given up."""

    id: int
    """The delivery's id: the order within a key."""
    destination: str
    lane: int
    subject: Subject
    event: int
    version: int
    event_id: str
    event_type: str
    body: bytes
    reason: str
    attempts: int
    retry_at: Instant | None
    """When it is tried next; None: behind an earlier one of its key, or dead."""
    state: ParkedState
    parked_at: Instant
    first_at: Instant
    """When it was first tried: the age limit counts from here."""
    trace: str | None = None


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer holds of one identity at one moment: canonical values of the fields it keeps."""

    external_id: ExternalId
    fields: dict[str, Value]
    version: Version | None = None
    at: Instant
    """The peer's own time of the row's last change, else the time of the look."""
    link_id: ExternalId | None = None


class Effect(StrEnum):
    """What a Target did with one write."""

    WRITTEN = "written"
    """The peer holds the wanted values now."""
    UNCHANGED = "unchanged"
    """The peer already held the wanted values."""
    DIVERGED = "diverged"
    """The peer holds something nobody reported; nothing was written. Ingest the image, then plan again."""
    ABSENT = "absent"
    """The identity is not there (any more); nothing was written."""
    REFUSED = "refused"
    """The peer refuses the values; trying the same again cannot help until something changes."""
    UNAVAILABLE = "unavailable"
    """The peer did not answer, or asked to wait; the write may or may not have happened."""


class WriteResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one write, with the image the peer returned."""

    entity: EntityId
    effect: Effect
    image: Image | None = None
    version: Version | None = None
    """Of a removal, where the peer orders its events: what is older than this is of the life that it has ended."""
    error: str | None = None
    """A short code for `REFUSED` and `UNAVAILABLE`."""
    retry_after_s: float | None = None
