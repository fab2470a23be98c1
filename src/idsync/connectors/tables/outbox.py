"""What the rows of a capture's outbox mean: observations, rings, and what cannot be understood. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from idsync.connectors.tables.captured import Capture
from idsync.connectors.tables.rows import Row, fields_reader, id_of, is_gone
from idsync.connectors.tables.shape import Table
from idsync.model.event import Observation, Op, Version
from idsync.model.plan import Position
from idsync.model.values import ExternalId, Instant
from idsync.policy.canonical import Unfit
from idsync.ports import SourceBatch

BATCH_BYTES_MAX: Final = 8_388_608
"""Of the rows' JSON in one batch; one row alone may be larger."""


class OutboxRow(msgspec.Struct, frozen=True, array_like=True):
    """One row of the outbox, as `read_outbox.sql` gives it; its key as text or an integer."""

    seq: int
    nonce: str
    at: Instant
    kind: str
    op: str
    id: int | str | bytes | None
    old: str | bytes | None
    new: str | bytes | None
    origin: str | None
    size_bytes: int
    """What it weighs in a batch: `old` and `new`."""


class Draft:
    """A batch while its rows are being read."""

    def __init__(
        self,
        installed: Capture,
        tables: Mapping[str, Table],
        received_at: Instant,
        read_row: Callable[[str | bytes], Row],
    ) -> None:
        """Begin one; `read_row` brings a row's JSON into columns, or raises ValueError."""
        self._capture = installed
        self._tables = {kind: (table, fields_reader(table)) for kind, table in tables.items()}
        self._received_at = received_at
        self._read_row = read_row
        self._observations: list[Observation] = []
        self._refused: list[tuple[str, bytes, str]] = []
        self._rings: dict[tuple[str, ExternalId], None] = {}

    def add(self, row: OutboxRow) -> None:
        """Say what one row means: an observation, a ring, or a refusal."""
        external_id = id_of(row.id)
        if external_id is None:
            self._refuse(row, "its key is neither text nor an integer")
        elif row.kind not in self._tables:
            self._refuse(row, "its kind is not configured at this peer any more")
        elif row.op == "ring" or row.seq <= self._capture.rings_until:
            self._rings[row.kind, external_id] = None
        else:
            try:
                self._observations.append(self._observe(row, external_id))
            except ValueError:
                self._refuse(row, "it is no JSON object")

    def batch(self, position: Position, *, has_more: bool) -> SourceBatch:
        """Close the batch."""
        return SourceBatch(
            observations=tuple(self._observations),
            refused=tuple(self._refused),
            rings=tuple(self._rings),
            position=position,
            has_more=has_more,
        )

    def _observe(self, row: OutboxRow, external_id: ExternalId) -> Observation:
        capture = self._capture
        table, read_fields = self._tables[row.kind]
        new = self._read_row(row.new) if row.new is not None else None
        # What was there before is told only of a row that is gone, and asked only for what is compared with it.
        is_asked = new is None or table.soft is not None
        old = self._read_row(row.old) if row.old is not None and is_asked else None
        shown = new if new is not None else old or {}
        fields, unfit = read_fields(shown)
        if unfit and new is not None:
            self._refuse_news(row, table, new, unfit)
        return Observation(
            peer=capture.peer,
            kind=row.kind,
            external_id=external_id,
            op=_op_of(table, old, new) if is_asked else Op.CREATED if row.old is None else Op.UPDATED,
            fields=fields,
            link_id=id_of(shown.get(table.link)) if table.link is not None else None,
            version=Version(capture.peer, capture.generation, row.seq),
            event_at=row.at,
            received_at=self._received_at,
            event_id=f"{capture.generation}:{row.seq}",
            origin=row.origin,
            names_writer=True,
        )

    def _refuse_news(self, row: OutboxRow, table: Table, new: Row, unfit: Sequence[Unfit]) -> None:
        """Refuse the unfit values that this row brought: those that were there before were refused then."""
        old = self._read_row(row.old) if row.old is not None else None
        columns = {column.field: column.name for column in table.columns}
        news = [one for one in unfit if old is None or old.get(columns[one.field]) != new.get(columns[one.field])]
        if news:
            self._refuse(row, "; ".join(f"{one.field}: {one.why}" for one in news))

    def _refuse(self, row: OutboxRow, why: str) -> None:
        name = f"{self._capture.generation}:{row.seq}:refused"
        self._refused.append((name, msgspec.json.encode(row), f"{row.kind}: {why}"))


def _op_of(table: Table, old: Row | None, new: Row | None) -> Op:
    """Name what happened; a soft delete and its undoing are what they stand for."""
    if new is None or is_gone(table, new):
        return Op.DELETED
    return Op.CREATED if old is None or is_gone(table, old) else Op.UPDATED
