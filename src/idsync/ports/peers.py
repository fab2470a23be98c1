"""A peer's halves, as ports: what it tells, what can be looked at, what can be written."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from idsync.model.delivery import Image, WriteResult
from idsync.model.entity import Action
from idsync.model.event import Observation, Version
from idsync.model.plan import (
    Position,
)
from idsync.model.values import EntityId, ExternalId, Value


class SourceBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a peer's outbox in commit order."""

    observations: tuple[Observation, ...] = ()
    refused: tuple[tuple[str, bytes, str], ...] = ()
    """Rows that cannot be understood: (id, the row as it is, why). They are parked, never skipped."""
    rings: tuple[tuple[str, ExternalId], ...] = ()
    """(kind, id) of identities to read again: the row says only that something may have changed."""
    position: Position
    has_more: bool = False


class Rewound(msgspec.Struct, frozen=True):
    """The outbox is not the one that was read before: a restore or a new capture. `start_over` begins again."""

    found: str
    """What differs, for the alarm: never a row's content."""


class Source(Protocol):
    """A peer's outgoing half that keeps what was not read yet."""

    async def read(self, after: Position | None, limit: int) -> SourceBatch | Rewound:
        """Rows after a position, in order and without gaps; a batch without rows may move it all the same.

        Raises:
            PeerError: the peer cannot be read now.
        """
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when something may have changed, at the latest after `timeout_s` seconds."""
        ...

    async def trim(self, before: Position) -> None:
        """Delete what was read, but never the row at the position itself."""
        ...

    async def start_over(self) -> None:
        """Begin a new generation and ring for every identity there is; safe to call twice."""
        ...


class Reader(Protocol):
    """`read` one, `list` all: what rereads and reconcile need. `place` says what they may have overtaken."""

    async def read(self, kind: str, external_id: ExternalId) -> Image | None:
        """What the peer holds of one identity now; None: it is not there.

        Raises:
            PeerError: the peer cannot be read now.
        """
        ...

    def list(self, kind: str) -> AsyncIterator[Image]:
        """Every identity of a kind, in a stable order."""
        ...

    async def place(self) -> Version | None:
        """Where the peer's outbox ends: what was committed before has no greater number; None: there is no order.

        Raises:
            PeerError: the peer cannot be read now.
        """
        ...


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write that a Target is asked for; its intent is already durable."""

    entity: EntityId
    kind: str
    action: Action
    intent: str
    """The intent's id. The peer records it with the effect where it can: our own echo is then known for certain."""
    external_id: ExternalId | None = None
    """Which identity; for a create the id we ask for, or None where the peer chooses."""
    link_id: ExternalId | None = None
    """The id at the first peer, for the `link` column."""
    fields: dict[str, Value] = {}
    """Canonical values to be set; only what differs."""
    expected: dict[str, Value] = {}
    """What we believe the peer holds, of those fields and of others; anything else found there is `DIVERGED`."""


class Target(Protocol):
    """A peer's incoming half. Looking, comparing and writing happen inside, as close together as the peer allows."""

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Carry out the writes, each by itself; the results come in the same order. Never raises for one bad write.

        Safe to call twice with the same write: a create never makes a second identity.

        Raises:
            PeerError: the peer cannot be written now; nothing is known of any of the writes.
        """
        ...

    def choose_id(self, kind: str) -> ExternalId | None:
        """An id for a create where the peer lets us choose it, else None."""
        ...
