"""What the rows of a capture's outbox mean: observations, rings, and what cannot be understood. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from idsync.connectors.tables.captured import Capture
from idsync.connectors.tables.rows import Row, fields_of, id_of, is_gone
from idsync.connectors.tables.shape import Table
from idsync.model.event import Observation, Op
from idsync.model.plan import Position
from idsync.model.values import ExternalId, Instant
from idsync.policy.canonical import Unfit
from idsync.ports import SourceBatch

BATCH_BYTES_MAX: Final = 8_388_608
"""Of the rows' JSON in one batch; one row alone may be larger."""


class OutboxRow(msgspec.Struct, frozen=True, array_like=True):
    """One row of the outbox, as `read_outbox.sql` gives it; its key as text or an integer, a text as its bytes."""

    seq: int
    nonce: str
    at: int
    kind: str
    op: str
    id: int | bytes | None
    old: bytes | None
    new: bytes | None
    origin: str | None

    @property
    def size_bytes(self) -> int:
        """What the row weighs in a batch."""
        return len(self.old or b"") + len(self.new or b"")


class Draft:
    """A batch while its rows are being read."""

    def __init__(
        self,
        installed: Capture,
        tables: Mapping[str, Table],
        received_at: Instant,
        read_row: Callable[[bytes], Row],
    ) -> None:
        """Begin one; `read_row` brings a row's JSON into columns, or raises ValueError."""
        self._capture = installed
        self._tables = tables
        self._received_at = received_at
        self._read_row = read_row
        self._observations: list[Observation] = []
        self._refused: list[tuple[str, bytes, str]] = []
        self._rings: dict[tuple[str, ExternalId], None] = {}

    def add(self, row: OutboxRow) -> None:
        """Say what one row means: an observation, a ring, or a refusal."""
        external_id, table = id_of(row.id), self._tables.get(row.kind)
        if external_id is None:
            self._refuse(row, "its key is neither text nor an integer")
        elif table is None:
            self._refuse(row, "its kind is not configured at this peer any more")
        elif row.op == "ring" or row.seq <= self._capture.rings_until:
            self._rings[row.kind, external_id] = None
        else:
            self._observe(row, table, external_id)

    def batch(self, position: Position, *, has_more: bool) -> SourceBatch:
        """Close the batch."""
        return SourceBatch(
            observations=tuple(self._observations),
            refused=tuple(self._refused),
            rings=tuple(self._rings),
            position=position,
            has_more=has_more,
        )

    def _observe(self, row: OutboxRow, table: Table, external_id: ExternalId) -> None:
        try:
            old = self._read_row(row.old) if row.old is not None else None
            new = self._read_row(row.new) if row.new is not None else None
        except ValueError:
            self._refuse(row, "it is no JSON object")
            return
        fields, unfit = fields_of(table, new if new is not None else old or {})
        if news := _news_of(table, old, new, unfit):
            self._refuse(row, "; ".join(f"{one.field}: {one.why}" for one in news))
        shown = new if new is not None else old or {}
        self._observations.append(
            Observation(
                peer=self._capture.peer,
                kind=row.kind,
                external_id=external_id,
                op=_op_of(table, old, new),
                fields=fields,
                link_id=id_of(shown.get(table.link)) if table.link is not None else None,
                version=self._capture.version(row.seq),
                event_at=Instant(row.at),
                received_at=self._received_at,
                event_id=self._event_id(row),
                origin=row.origin,
                names_writer=True,
            )
        )

    def _refuse(self, row: OutboxRow, why: str) -> None:
        self._refused.append((f"{self._event_id(row)}:refused", msgspec.json.encode(row), f"{row.kind}: {why}"))

    def _event_id(self, row: OutboxRow) -> str:
        return f"{self._capture.generation}:{row.seq}"


def _op_of(table: Table, old: Row | None, new: Row | None) -> Op:
    """Name what happened; a soft delete and its undoing are what they stand for."""
    if new is None or is_gone(table, new):
        return Op.DELETED
    return Op.CREATED if old is None or is_gone(table, old) else Op.UPDATED


def _news_of(table: Table, old: Row | None, new: Row | None, unfit: Sequence[Unfit]) -> list[Unfit]:
    """Keep the unfit values that this row brought: those that were there before were refused then."""
    if new is None or not unfit:
        return []
    columns = {column.field: column.name for column in table.columns}
    return [one for one in unfit if old is None or old.get(columns[one.field]) != new.get(columns[one.field])]
