"""What is known of a capture in a peer's database, whichever database that is."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from idsync.connectors.tables.rows import Found, changed_at, fields_of, id_of, is_gone
from idsync.connectors.tables.shape import Table
from idsync.errors import CaptureMissing, PeerError, SchemaMismatch
from idsync.model.delivery import Image
from idsync.model.event import Version
from idsync.model.values import Instant, PeerName


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the application's database we take."""

    poll_s: float = 0.02
    """Seconds between two looks for changes."""
    busy_timeout_s: float = 5.0
    """Longest wait for a lock that the application holds."""
    transaction_s: float = 0.02
    """How long a write transaction aims to last at most; half of it is left to its commit."""

    @property
    def slice_s(self) -> float:
        """How long statements are added to one transaction."""
        return self.transaction_s / 2


class CaptureState(StrEnum):
    """Whether the triggers stand as the configuration wants them."""

    ABSENT = "absent"
    OUTDATED = "outdated"
    """Some are missing or were made for another configuration or schema: edits may be missed until `install`."""
    INSTALLED = "installed"


class CaptureStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `idsync capture status` shows."""

    state: CaptureState
    generation: str | None = None
    waiting: int = 0
    """Outbox rows past the position that was asked about."""
    ringing: tuple[str, ...] = ()
    """Kinds whose rows have not all been rung for."""
    tables: dict[str, str] = {}
    """Kind → the table that is captured."""
    warnings: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    """What an outdated capture lacks, or has of another configuration."""


class Capture(msgspec.Struct, frozen=True):
    """An installed capture."""

    peer: PeerName
    generation: str
    is_trimmed: bool
    """Whether this generation's first rows are gone: nobody can begin with it any more."""
    rings_until: int = 0
    """Rows up to this one are of an older generation: they only ring."""

    def version(self, number: int) -> Version:
        """Name a state of the database by the last outbox row that is part of it."""
        return Version(self.peer, self.generation, number)


class View(msgspec.Struct, frozen=True):
    """A peer's captured tables at one look."""

    capture: Capture
    tables: dict[str, Table]

    def table(self, kind: str) -> Table:
        """Give the table of a kind, as `table_of`."""
        return table_of(self.capture.peer, self.tables, kind)


def table_of(peer: PeerName, tables: Mapping[str, Table], kind: str) -> Table:
    """Give the table of a kind.

    Raises:
        SchemaMismatch: there is none: nobody may take that for an empty one.
    """
    if kind not in tables:
        raise SchemaMismatch(f"{peer}: it keeps no {kind}, by its configuration or because the table is missing")
    return tables[kind]


def missing(peer: PeerName, state: CaptureState, *differs: str) -> CaptureMissing:
    """Say that nothing can be read or written before capture is installed."""
    what = f" ({', '.join(differs)})" if differs else ""
    return CaptureMissing(f"{peer}: capture is {state}{what}; run `idsync capture install {peer}`")


def check_version(peer: PeerName, found: object, ours: int) -> None:
    """Go on only where idsync's tables in the application's database are of our version.

    Raises:
        PeerError: they are not.
    """
    if found != ours:
        raise PeerError(
            f"{peer}: capture was installed by another version of idsync (its tables are of version {found})"
        )


def image_of(capture: Capture, table: Table, found: Found, number: int, now: Instant) -> Image | None:
    """Make the image of a row that was seen while the outbox ended at `number`; None: it counts as deleted."""
    if found.external_id is None or is_gone(table, found.row):
        return None
    fields, _ = fields_of(table, found.row)
    return Image(
        external_id=found.external_id,
        fields=fields,
        version=capture.version(number),
        at=changed_at(table, found.row) or now,
        link_id=id_of(found.row.get(table.link)) if table.link is not None else None,
    )
