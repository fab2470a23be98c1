"""The outgoing half: the outbox that the triggers write. What is visible is read, and what was taken in is deleted.

Never `number > cursor`: numbers become visible out of order, and such a cursor passes those that are late. Here nothing
is passed: a row stays until it was read, and goes when the position that was read to is durable with us. So a position
names the rows that it took in and that are still there; the next read deletes them first, also after a restart. The
last row stays until the next: its nonce says whether this is still the outbox that was read.

Of one row of the application every read holds a prefix of what is still to come: its trigger draws the number while the
row is locked.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import asyncmy
import msgspec

from idsync import crash
from idsync.connectors.sql_mysql import capture
from idsync.connectors.sql_mysql.capture import NO_TABLE, Catalog
from idsync.connectors.sql_mysql.database import Connection, Session, Watch, number_of
from idsync.connectors.sql_mysql.rows import read_row
from idsync.connectors.tables.captured import View
from idsync.connectors.tables.outbox import BATCH_BYTES_MAX, Draft, OutboxRow
from idsync.model.plan import Position
from idsync.ports import Clock, Rewound, SourceBatch

LOOK: Final = "look"
"""The row of somebody who looked and needed a number."""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a Position carries for us, as JSON text."""

    row: int
    """The number of the last row that was read, whose nonce the position has; 0: none was."""
    taken: tuple[tuple[int, int], ...] = ()
    """Other rows that were read and may still be there: from, to; every number between is one of them."""


class MysqlSource:
    """A Source over the outbox of one MySQL or MariaDB database. One reader at a time: who reads also deletes."""

    def __init__(self, session: Session, catalog: Catalog, watch: Watch, clock: Clock) -> None:
        """Read on a connection of its own."""
        self._session = session
        self._catalog = catalog
        self._watch = watch
        self._clock = clock
        self._row = 0
        """The last row that was read: it is no news."""
        self._deleted: str | None = None
        """The mark whose rows are gone."""

    async def read(self, after: Position | None, limit: int) -> SourceBatch | Rewound:
        """Read what is there past a position: at most `limit` rows, but for some late ones, and about 8 MiB of them.

        A row with a value that has no canonical form is an observation without that field, and the row that brought the
        value is refused beside it, once. The position may move without a row of the application: a look took a number.

        Raises:
            CaptureMissing: the triggers are not what they should be; `install` repairs that.
            PeerError: the database cannot be read now.
        """
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            mark = mark_of(after) if after is not None else Mark(0)
            found = await self._what_differs(connection, view, after, mark)
            if found is not None or mark is None:
                return Rewound(found or "the position that was kept is not one of this database's")
            await self._delete(connection, view, mark)
            rows, has_more = await self._read_rows(connection, mark.row, limit)
        self._row = rows[-1].seq if rows else mark.row
        draft = Draft(view.capture, view.tables, self._clock.now(), read_row)
        for row in rows:
            if row.op != LOOK:
                draft.add(row)
        before = after if after is not None else Position(view.capture.generation, 0, "", _text_of(mark))
        return draft.batch(_reached(before, mark, rows), has_more=has_more)

    async def wait(self, timeout_s: float) -> None:
        """Return when anything is there to be read, at the latest after `timeout_s` seconds."""
        await self._watch.wait(timeout_s, self._has_news)

    async def trim(self, before: Position) -> None:
        """Delete the rows that were taken in, but never the row at the position; each read does the same first."""
        crash.point("source.before_trim")
        mark = mark_of(before)
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            if mark is not None and view.capture.generation == before.generation:
                await self._delete(connection, view, mark)
        crash.point("source.after_trim")

    async def start_over(self) -> None:
        """Begin a new generation and ring for every row there is; safe to call twice."""
        async with self._session.use() as connection:
            await capture.start_over(connection, self._catalog)
        self._deleted = None

    async def _what_differs(
        self, connection: Connection, view: View, after: Position | None, mark: Mark | None
    ) -> str | None:
        """Compare our place in the outbox with the outbox: after a restore the numbers are given to other rows."""
        if after is not None and after.generation != view.capture.generation:
            return "the capture was begun anew: its generation is another"
        if after is None or mark is None or mark.row == 0:
            return "its first rows were read by somebody else and deleted" if view.capture.is_trimmed else None
        nonce = await connection.fetchval(self._catalog.sql("read_nonce"), mark.row)
        if nonce is None:
            return f"row {mark.row}, the last that was read, is gone"
        return None if nonce == after.nonce else f"row {mark.row}, the last that was read, is now another row"

    async def _delete(self, connection: Connection, view: View, mark: Mark) -> None:
        text = _text_of(mark)
        if mark.taken and text != self._deleted:
            if not view.capture.is_trimmed:
                await connection.execute(self._catalog.sql("note_trimmed"))
            await connection.execute(self._catalog.sql("delete_taken"), numbers_of(mark.taken))
        self._deleted = text

    async def _read_rows(self, connection: Connection, last: int, limit: int) -> tuple[list[OutboxRow], bool]:
        sizes = await connection.fetch(self._catalog.sql("read_sizes"), last, limit + 1)
        until, size_bytes, count = 0, 0, 0
        for seq, row_bytes in sizes[:limit]:
            size_bytes += int(row_bytes)
            if count and size_bytes > BATCH_BYTES_MAX:
                break
            until, count = int(seq), count + 1
        if count == 0:
            return [], False
        found = await connection.fetch(self._catalog.sql("read_outbox"), last, until)
        return [OutboxRow(*row) for row in found], count < len(sizes)

    async def _has_news(self) -> bool:
        async with self._session.use() as connection:
            try:
                return await connection.fetchval(self._catalog.sql("has_news"), self._row) is not None
            except asyncmy.MySQLError as error:
                if number_of(error) == NO_TABLE:
                    return False
                raise


def mark_of(position: Position) -> Mark | None:
    """Read a position's mark; None: it is none of ours."""
    try:
        return msgspec.json.decode(position.mark, type=Mark)
    except msgspec.DecodeError:
        return None


def taken_by(position: Position | None, generation: str) -> str:
    """Give the numbers of the rows that were read before a position and may still be there, as a JSON list."""
    mark = mark_of(position) if position is not None and position.generation == generation else None
    return numbers_of(((mark.row, mark.row), *mark.taken) if mark is not None else ())


def numbers_of(spans: Iterable[tuple[int, int]]) -> str:
    """Write every number of some spans as a JSON list."""
    return msgspec.json.encode([number for first, last in spans for number in range(first, last + 1)]).decode()


def _reached(before: Position, mark: Mark, rows: Sequence[OutboxRow]) -> Position:
    """Say where reading stands after these rows.

    Its number is the greatest that was read: whoever drew one up to it while they held a row of the application against
    change may rely on this: whatever of that row was committed before is taken in. It was visible when this row was
    written, and has a smaller number.
    """
    if not rows:
        return before
    seqs = sorted({mark.row, *(row.seq for row in rows[:-1])} - {0})
    last = rows[-1]
    reached = Mark(last.seq, _spans_of(seqs))
    return Position(before.generation, max(before.number, last.seq), last.nonce, _text_of(reached))


def _spans_of(seqs: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Join neighbours; a number that was not read, as that of a transaction under way, never lies within a span."""
    spans: list[tuple[int, int]] = []
    for seq in seqs:
        if spans and seq == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], seq)
        else:
            spans.append((seq, seq))
    return tuple(spans)


def _text_of(mark: Mark) -> str:
    return msgspec.json.encode(mark).decode()
