"""The outgoing half: the outbox that the triggers write, read as the difference of two snapshots (see `mark`)."""

import asyncio
from typing import Final, NamedTuple

import asyncpg
import msgspec

from idsync import crash
from idsync.connectors.sql_postgres import capture
from idsync.connectors.sql_postgres.capture import Catalog, View
from idsync.connectors.sql_postgres.database import Connection, Session, Watch
from idsync.connectors.sql_postgres.mark import START, Edge, Mark, end_of, mark_of
from idsync.connectors.sql_postgres.rows import read_row
from idsync.connectors.tables.captured import CaptureState, missing
from idsync.connectors.tables.outbox import BATCH_BYTES_MAX, Draft, OutboxRow
from idsync.model.plan import Position
from idsync.ports import Clock, Rewound, SourceBatch

LOOK_EVERY_S: Final = 1.0
"""How long a look at the capture is good for, while the pages of one difference are read."""
TRIM_ROWS: Final = 2_000
"""Rows that one transaction deletes."""
TRIM_ALL_EVERY: Final = 50
"""Trims after which one begins at the very first row: late transactions leave rows behind where others were deleted."""


class Page(NamedTuple):
    """Some rows of a difference, in order."""

    mark: Mark
    """What they follow."""
    edge: Edge
    """Where the difference ends."""
    view: View
    looked_at: float
    """When the view was taken and the server compared with the position, on the monotonic clock."""
    connection: Connection
    """On which."""
    rows: list[OutboxRow]
    has_more: bool
    """Whether the difference has."""

    @property
    def reached(self) -> Mark:
        """Where reading stands after them."""
        row = self.rows[-1].seq if self.rows else self.mark.row
        if self.has_more:
            return msgspec.structs.replace(self.mark, row=row, next=self.edge, inside=row)
        return Mark(self.mark.cluster, row, self.edge)


class Ahead(NamedTuple):
    """The next page of a difference, on its way before anybody asks for it."""

    after: Position
    limit: int
    page: "asyncio.Task[Page | None]"
    """None: the connection was lost meanwhile, and the server may be another one now."""


class PostgresSource:
    """A Source over the outbox of one PostgreSQL database. One reader at a time: who reads also trims."""

    def __init__(self, session: Session, catalog: Catalog, watch: Watch, clock: Clock) -> None:
        """Read on a connection of its own."""
        self._session = session
        self._catalog = catalog
        self._watch = watch
        self._clock = clock
        self._trims = 0
        self._trimmed = 0
        self._ahead: Ahead | None = None

    async def read(self, after: Position | None, limit: int) -> SourceBatch | Rewound:
        """Read rows after a position: at most `limit`, and at most 8 MiB of them.

        A row with a value that has no canonical form is an observation without that field, and the row that brought the
        value is refused beside it, once. The position may move without a row: numbers were drawn and nothing came of
        them, or a look took one.

        Raises:
            CaptureMissing: the triggers are not what they should be; `install` repairs that.
            PeerError: the database cannot be read now.
        """
        page = await self._take_ahead(after, limit) or await self._look_and_read(after, limit)
        if not isinstance(page, Page):
            return page
        if "broken" in {row.op for row in page.rows}:
            raise missing(self._catalog.peer, CaptureState.OUTDATED, capture.BROKEN)
        nonce = page.rows[-1].nonce if page.rows else after.nonce if after is not None else ""
        position = page.reached.position(page.view.capture.generation, nonce)
        if page.has_more:
            await self._go_ahead(page, position, limit)
        draft = Draft(page.view.capture, page.view.tables, self._clock.now(), read_row)
        for row in page.rows:
            draft.add(row)
        # What came while a long difference was read in pages is part of the next one.
        return draft.batch(position, has_more=page.has_more or page.mark.next is not None)

    async def wait(self, timeout_s: float) -> None:
        """Return when anything was committed in the database since the last return, at the latest after `timeout_s`."""
        await self._watch.wait(timeout_s)

    async def trim(self, before: Position) -> None:
        """Delete the rows that were taken in, in short transactions, but never the row at the position."""
        crash.point("source.before_trim")
        mark = mark_of(before)
        async with self._session.use() as connection:
            view = await self._catalog.look(connection)
            if mark is not None and view.capture.generation == before.generation:
                await self._trim(connection, mark)
        crash.point("source.after_trim")

    async def start_over(self) -> None:
        """Begin a new generation and ring for every row there is; safe to call twice."""
        await self.close()
        async with self._session.use() as connection:
            await capture.start_over(connection, self._catalog)
        self._trims = 0

    async def close(self) -> None:
        """Let go of the page that is on its way; the session is the caller's."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead.page, return_exceptions=True)

    async def _look_and_read(self, after: Position | None, limit: int) -> Page | SourceBatch | Rewound:
        """Make sure that the outbox is the one we know, and read on; a batch is one that leads nowhere."""
        mark = mark_of(after) if after is not None else None
        async with self._session.use() as connection:
            looked_at = self._clock.monotonic()
            view = await self._catalog.look(connection)
            sql = self._catalog.sql("read_state")
            state = await connection.fetchrow(sql, mark.row if mark is not None else 0)
            if state is None:
                raise RuntimeError("a statement without a table gave no row")
            found = _what_differs(view, state, after, mark)
            if found is not None:
                return Rewound(found)
            mark = mark or Mark(state["cluster"], 0, START)
            edge = mark.next or _edge_of(state, view.last)
            page = await self._read_page(Page(mark, edge, view, looked_at, connection, [], has_more=True), limit)
            if mark.next is None:
                if not page.rows and after is not None and edge.last == mark.seen.last:
                    return SourceBatch(position=after)
                await connection.execute(self._catalog.sql("make_durable"), state["written"])
        return page

    async def _read_page(self, page: Page, limit: int) -> Page:
        """Read the rows that follow a mark within a difference."""
        seen = page.mark.seen
        found = await page.connection.fetch(
            self._catalog.sql("read_outbox"),
            *(seen.snapshot, page.edge.snapshot, page.mark.inside, str(seen.end), seen.last),
            *(limit + 1, BATCH_BYTES_MAX),
        )
        rows = [OutboxRow(*row) for row in found]
        is_cut = len(rows) > limit or sum(row.size_bytes for row in rows) > BATCH_BYTES_MAX
        return page._replace(rows=rows[:-1] if is_cut and len(rows) > 1 else rows, has_more=is_cut)

    async def _go_ahead(self, page: Page, position: Position, limit: int) -> None:
        """Ask for the rows after a page: the server finds them while this one is taken in.

        What was looked at need not be looked at again for a moment: no server is restored under an open connection.
        """
        if self._clock.monotonic() - page.looked_at > LOOK_EVERY_S:
            return
        following = page._replace(mark=page.reached, rows=[])

        async def read() -> Page | None:
            async with self._session.use() as connection:
                return await self._read_page(following, limit) if connection is following.connection else None

        self._ahead = Ahead(position, limit, asyncio.create_task(read()))
        # Once to begin it, once for the loop to send it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _take_ahead(self, after: Position | None, limit: int) -> Page | None:
        """Give the page that is on its way; None: there is none, or it is another one than what is asked for."""
        ahead = self._ahead
        if ahead is None or (ahead.after, ahead.limit) != (after, limit):
            await self.close()
            return None
        self._ahead = None
        return await ahead.page

    async def _trim(self, connection: Connection, mark: Mark) -> None:
        floor = self._trimmed if self._trims % TRIM_ALL_EVERY else 0
        self._trims += 1
        await connection.execute(self._catalog.sql("note_trimmed"))
        spans = [(mark.seen.snapshot, mark.seen.last)]
        if mark.next is not None:
            spans.append((mark.next.snapshot, mark.inside))
        for snapshot, until in spans:
            floor_now, has_more = floor, True
            while has_more:
                deleted = await connection.fetch(
                    self._catalog.sql("trim_outbox"), floor_now, until, mark.row, snapshot, TRIM_ROWS
                )
                floor_now = max((row["seq"] for row in deleted), default=floor_now)
                self._trimmed = max(self._trimmed, floor_now)
                has_more = len(deleted) == TRIM_ROWS


def _what_differs(view: View, state: asyncpg.Record, after: Position | None, mark: Mark | None) -> str | None:
    """Compare our place in the outbox with the outbox and its server: after a restore the numbers are given again."""
    if after is None:
        return "its first rows were read by somebody else and deleted" if view.capture.is_trimmed else None
    if after.generation != view.capture.generation:
        return "the capture was begun anew: its generation is another"
    if mark is None:
        return "the position that was kept is not one of this database's"
    if mark.cluster != state["cluster"]:
        return "the database is now on another server, or in another history of this one"
    newest = mark.next or mark.seen
    if end_of(state["snapshot"]) < end_of(newest.snapshot) or view.last < newest.last:
        return "the database has fewer transactions behind it than when it was read last"
    if mark.row == 0:
        return "its first rows were read by somebody else and deleted" if view.capture.is_trimmed else None
    if state["nonce"] is None:
        return f"row {mark.row}, the last that was read, is gone"
    return None if state["nonce"] == after.nonce else f"row {mark.row}, the last that was read, is now another row"


def _edge_of(state: asyncpg.Record, last: int) -> Edge:
    return Edge(state["snapshot"], last, end_of(state["snapshot"]) + state["begun_since"])
