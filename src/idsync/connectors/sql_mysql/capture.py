"""Capture: the tables and the triggers that idsync keeps in the application's own database.

Installing rings for every row there is, which is the first synchronisation. Nothing here is needed by the application:
`remove` takes everything away again. Everything of ours has a name that begins with `idsync_<peer>_`.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncmy
import msgspec

from idsync import crash
from idsync.connectors.sql_mysql.database import Connection, number_of, statement
from idsync.connectors.sql_mysql.rows import key_value, literal, quoted, text_in_sql
from idsync.connectors.sql_mysql.schema import Child, find_children, find_tables
from idsync.connectors.sql_mysql.triggers import NOW, mark_of, names_of, prefix_of, triggers_of
from idsync.connectors.tables.captured import Capture, CaptureState, CaptureStatus, View, check_version, missing
from idsync.connectors.tables.mapping import TableMapping
from idsync.connectors.tables.shape import Table
from idsync.errors import PeerError
from idsync.model.values import PeerName

VERSION: Final = 1
"""Of idsync's tables in the application's database."""
STEP_ROWS: Final = 1_000
"""Rows that one transaction of a long task touches."""
LOOK_EVERY_S: Final = 1.0
"""How long a look at the schema and the triggers counts: it takes milliseconds."""
BROKEN: Final = "rows that the triggers could not read"
LOCK_S: Final = 2
"""How long we wait for a lock on a table: whoever comes after us waits with us."""
LOCK_TRIES_MAX: Final = 5
LOCK_PAUSE_S: Final = 1.0
INSTALL_S: Final = 10
"""How long one who installs waits for another who does."""
NO_TABLE: Final = 1146
LOCKED: Final = (1205, 1213)
LENIENT: Final = "SET SESSION sql_mode = 'ANSI_QUOTES'"
"""What the triggers run under: where a row is too big to be told it is nothing, and no error."""


class Catalog:
    """The mapped tables as they are now; they are looked up again every second."""

    def __init__(self, peer: PeerName, mappings: Sequence[TableMapping]) -> None:
        """Nothing is looked up yet."""
        self.peer = peer
        self._names = names_of(peer)
        self._mappings = mappings
        self._tables: dict[str, Table] = {}
        self._children: list[Child] = []
        self._differs: tuple[str, ...] = ()
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()

    def sql(self, name: str, **parts: str) -> str:
        """Give one of our statements, about this peer's tables."""
        return statement(name).format(**self._names, **parts)

    async def look(self, connection: Connection) -> View:
        """Say what is installed.

        Raises:
            CaptureMissing: capture is not installed, or does not fit the configuration or the schema any more.
            SchemaMismatch: a configured table or column is missing.
        """
        row = await self._read(connection)
        if row is None:
            raise missing(self.peer, CaptureState.ABSENT)
        if asyncio.get_running_loop().time() > self._looked_at + LOOK_EVERY_S:
            await self._look_again(connection)
        differs = self._differs_now(row)
        if differs:
            raise missing(self.peer, CaptureState.OUTDATED, *differs)
        _, generation, rings_until, is_trimmed, _ = row
        return View(Capture(self.peer, generation, bool(is_trimmed), int(rings_until)), self._tables)

    def known(self, kind: str) -> Table | None:
        """Give a table as it was at the last look; None before the first, or where there is none."""
        return self._tables.get(kind)

    async def tables(self, connection: Connection) -> dict[str, Table]:
        """Look the tables up, captured or not.

        Raises:
            SchemaMismatch: a configured table or column is missing.
        """
        tables = await find_tables(connection, self._mappings)
        self._children = await find_children(connection, tables.values())
        self._tables = tables
        return tables

    async def differs(self, connection: Connection) -> tuple[str, ...] | None:
        """Name the triggers that are missing, made for something else, or left over; None: no capture.

        Raises:
            PeerError: it was installed by another version of idsync.
        """
        row = await self._read(connection)
        if row is None:
            return None
        await self._look_again(connection)
        return self._differs_now(row)

    def wanted(self, tables: dict[str, Table]) -> dict[str, str]:
        """Write every trigger that there should be, by its name."""
        return {one.name: one.sql for table in tables.values() for one in triggers_of(self.peer, table, self._children)}

    async def there(self, connection: Connection) -> list[str]:
        """Name every trigger of ours that there is."""
        rows = await connection.fetch(self.sql("read_triggers", mark=literal(mark_of(self.peer))))
        return [str(row[0]) for row in rows]

    def warnings(self) -> tuple[str, ...]:
        """Say what capture cannot see of the tables, and what would be refused there."""
        known = tuple(warning for table in self._tables.values() for warning in table.warnings)
        return (*known, *(_warning_of(one) for one in self._children if not self._is_rung(one)))

    def _is_rung(self, child: Child) -> bool:
        """Whether the triggers of the other table see every removal: it is captured, and loses no row unseen itself."""
        is_captured = child.parent in {table.name for table in self._tables.values()}
        return is_captured and not child.is_update and child.parent not in {one.table.name for one in self._children}

    async def _read(self, connection: Connection) -> tuple[Any, ...] | None:
        try:
            rows = await connection.fetch(self.sql("look"))
        except asyncmy.MySQLError as error:
            if number_of(error) != NO_TABLE:
                raise
            rows = []
        if rows:
            check_version(self.peer, rows[0][0], VERSION)
        return rows[0] if rows else None

    async def _look_again(self, connection: Connection) -> None:
        async with self._lock:
            looked_at = asyncio.get_running_loop().time()
            wanted = self.wanted(await self.tables(connection))
            self._differs = tuple(sorted(wanted.keys() ^ set(await self.there(connection))))
            self._looked_at = looked_at

    def _differs_now(self, row: tuple[Any, ...]) -> tuple[str, ...]:
        return (*self._differs, BROKEN) if row[4] else self._differs


def _warning_of(child: Child) -> str:
    return (
        f"{child.table.name}: {child.constraint} lets the database change its rows by itself with those of"
        f" {child.parent}; no trigger fires for that, and it is not noticed"
    )


async def install(connection: Connection, catalog: Catalog) -> None:
    """Make the triggers what they should be, and ring for every row if anything was missing. Safe to call again.

    The generation and the rows that wait are kept. New triggers are made before old ones go, so nothing is missed in
    between; whatever is interrupted goes on where it was when it is called again.

    Raises:
        PeerError: somebody kept a lock on a table for too long, or the user lacks a right.
    """
    lock = literal(prefix_of(catalog.peer))
    if await connection.fetchval(f"SELECT GET_LOCK({lock}, {INSTALL_S})") != 1:
        raise PeerError(f"{catalog.peer}: somebody else is installing its capture; try again")
    try:
        if await catalog.differs(connection) != ():
            await _install(connection, catalog)
        await _ring_all(connection, catalog)
    finally:
        if not connection.is_over:
            await connection.execute(f"DO RELEASE_LOCK({lock})")


async def remove(connection: Connection, catalog: Catalog) -> None:
    """Take everything of idsync out of the database: first the triggers, then the tables."""
    for name in await catalog.there(connection):
        await _try_again(connection, f"DROP TRIGGER IF EXISTS {quoted(name)}")
    await _try_again(connection, f"DROP TABLE IF EXISTS {', '.join(names_of(catalog.peer).values())}")


async def status(connection: Connection, catalog: Catalog, taken: Callable[[str], str]) -> CaptureStatus:
    """Say how capture stands, and how many rows wait.

    Args:
        connection: any.
        catalog: of the peer.
        taken: gives the numbers of the rows that were read in a generation, as a JSON list.
    """
    differs = await catalog.differs(connection)
    tables = await catalog.tables(connection)
    state = CaptureState.ABSENT if differs is None else CaptureState.OUTDATED if differs else CaptureState.INSTALLED
    known = CaptureStatus(
        state=state,
        tables={kind: table.name for kind, table in tables.items()},
        warnings=catalog.warnings(),
        differs=differs or (),
    )
    if differs is None:
        return known
    generation = str(await connection.fetchval(catalog.sql("read_generation")))
    return msgspec.structs.replace(
        known,
        generation=generation,
        waiting=await connection.fetchval(catalog.sql("count_waiting"), taken(generation)),
        ringing=tuple(str(row[0]) for row in await connection.fetch(catalog.sql("read_rings"))),
    )


async def start_over(connection: Connection, catalog: Catalog) -> None:
    """Begin a new generation and ring for every row. The first transaction decides it; the ringing may be interrupted.

    Raises:
        CaptureMissing: there is no capture to begin anew.
    """
    tables = (await catalog.look(connection)).tables
    async with connection.transaction():
        last = await connection.fetchval(catalog.sql("last_number"))
        await connection.execute(catalog.sql("start_over"), _new_generation(), last)
        await _begin_ringing(connection, catalog, tables)
        crash.point("rewind.in_transaction")
    await _ring_all(connection, catalog)


async def _install(connection: Connection, catalog: Catalog) -> None:
    """Every statement is a transaction of its own here; so what is due is noted before the triggers look complete."""
    tables = await catalog.tables(connection)
    made = catalog.sql("migrations/0001_capture", version=str(VERSION), generation=literal(_new_generation()))
    for sql in made.split(";\n"):
        await connection.execute(sql)
    await _begin_ringing(connection, catalog, tables)
    await connection.execute(LENIENT)
    wanted = catalog.wanted(tables)
    there = await catalog.there(connection)
    for name, sql in wanted.items():
        if name not in there:
            await _try_again(connection, sql)
            crash.point("capture.in_transaction")
    for name in there:
        if name not in wanted:
            await _try_again(connection, f"DROP TRIGGER IF EXISTS {quoted(name)}")
    await connection.execute(catalog.sql("forget_broken"))


async def _try_again(connection: Connection, sql: str) -> None:
    """Run a statement that waits until nobody uses a table.

    Everybody who writes waits while we wait: so we give up soon, let them pass, and come again.
    """
    for number in range(1, LOCK_TRIES_MAX + 1):
        try:
            await connection.execute(f"SET SESSION lock_wait_timeout = {LOCK_S}")
            await connection.execute(sql)
        except asyncmy.MySQLError as error:
            if number == LOCK_TRIES_MAX or number_of(error) not in LOCKED:
                raise
            await asyncio.sleep(LOCK_PAUSE_S)
        else:
            return


async def _begin_ringing(connection: Connection, catalog: Catalog, tables: dict[str, Table]) -> None:
    for kind in tables:
        await connection.execute(catalog.sql("begin_ringing"), kind)


async def _ring_all(connection: Connection, catalog: Catalog) -> None:
    tables = await catalog.tables(connection)
    for (kind,) in await connection.fetch(catalog.sql("read_rings")):
        while await _ring_some(connection, catalog, tables.get(kind), kind):
            pass


async def _ring_some(connection: Connection, catalog: Catalog, table: Table | None, kind: str) -> bool:
    """Ring for the next rows of a table; say whether there are more."""
    async with connection.transaction():
        held = await connection.fetch(catalog.sql("lock_rings"), kind)
        if not held:
            return False
        last = await _ring_page(connection, catalog, table, held[0][0]) if table is not None else None
        if last is None:
            await connection.execute(catalog.sql("end_ringing"), kind)
        else:
            await connection.execute(catalog.sql("note_ringing"), last, kind)
        return last is not None


async def _ring_page(connection: Connection, catalog: Catalog, table: Table, after: str | None) -> str | None:
    """Ring for a page and give its last key; None: there are no more."""
    key, base = quoted(table.key), table.types[table.key]
    parts = {"table": quoted(table.name), "key": key, "text": text_in_sql("r", table.key, base)}
    past, values = ("", []) if after is None else (f"AND r.{key} > %s", [key_value(base, after)])
    sql = catalog.sql("last_key", after=past, rows=str(STEP_ROWS - 1), **parts)
    last: str | None = await connection.fetchval(sql, *values)
    until = "" if last is None else f" AND r.{key} <= %s"
    sql = catalog.sql("ring_rows", after=past + until, now=NOW, kind=literal(table.kind), **parts)
    await connection.execute(sql, *values, *([] if last is None else [key_value(base, last)]))
    return last


def _new_generation() -> str:
    return secrets.token_hex(8)
