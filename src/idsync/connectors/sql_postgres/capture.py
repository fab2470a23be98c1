"""Capture: the schema and the triggers that idsync keeps in the application's own database.

Installing rings for every row there is, which is the first synchronisation. Nothing here is needed by the application:
`remove` takes everything away again. All of it is in one schema, `idsync_<peer>`, which no tool that manages the
application's schema looks into; only the triggers are on the application's tables.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import asyncpg
import msgspec

from idsync import crash
from idsync.connectors.sql_postgres.database import Connection, schema_of, statement, transaction
from idsync.connectors.sql_postgres.mark import START, Mark, mark_of
from idsync.connectors.sql_postgres.schema import find_tables, named
from idsync.connectors.sql_postgres.triggers import body_of, functions_of, triggers_of
from idsync.connectors.tables import captured
from idsync.connectors.tables.captured import Capture, CaptureState, CaptureStatus, check_version, missing
from idsync.connectors.tables.mapping import TableMapping
from idsync.connectors.tables.shape import Table
from idsync.connectors.tables.text import literal, quoted
from idsync.model.plan import Position
from idsync.model.values import PeerName

VERSION: Final = 1
"""Of idsync's tables in the application's database."""
STEP_ROWS: Final = 1_000
"""Rows that one transaction of a long task touches."""
BROKEN: Final = "rows that the triggers could not read"
LOCK_S: Final = 2.0
"""How long we wait for a lock on a table: whoever comes after us waits with us."""
LOCK_TRIES_MAX: Final = 5
LOCK_PAUSE_S: Final = 1.0
LONG_S: Final = 3_600.0
"""How long the one statement may take that rewrites a whole outbox."""


class View(captured.View, frozen=True):
    """A peer's captured tables at one look."""

    last: int
    """The newest number drawn, older than every snapshot taken after this look."""


class Catalog:
    """The mapped tables as they are now; they are looked up again whenever anybody changes the schema."""

    def __init__(self, peer: PeerName, mappings: Sequence[TableMapping]) -> None:
        """Nothing is looked up yet."""
        self.peer = peer
        self.schema = quoted(schema_of(peer))
        self._mappings = mappings
        self._tables: dict[str, Table] = {}
        self._differs: tuple[str, ...] = ()
        self._oids: list[int] = []
        self._print: str | None = None
        self._lock = asyncio.Lock()
        names = [name for one in mappings for name in (one.table, one.table.lower())]
        self._names = [*dict.fromkeys(name.rpartition(".")[2] for name in names)]
        self._functions = ["ring", *(f"{verb}_{one.kind}" for one in mappings for verb in ("capture", "truncate"))]
        self._look = self.sql("look", outbox_seq=f"{literal(f'{self.schema}.outbox_seq_seq')}::regclass")

    def sql(self, name: str, **parts: str) -> str:
        """Give one of our statements, about this peer's schema."""
        return statement(name).format(schema=self.schema, **parts)

    async def look(self, connection: Connection) -> View:
        """Say what is installed. One statement where nothing has changed since the last look.

        Raises:
            CaptureMissing: capture is not installed, or does not fit the configuration or the schema any more.
            SchemaMismatch: a configured table or column is missing.
        """
        row = await self._read(connection)
        if row is None:
            raise missing(self.peer, CaptureState.ABSENT)
        if row["print"] != self._print:
            row = await self._look_again(connection)
        differs = self._differs_now(row)
        if row is None or differs:
            raise missing(self.peer, CaptureState.OUTDATED, *differs)
        capture = Capture(self.peer, row["generation"], is_trimmed=row["is_trimmed"])
        return View(capture, self._tables, row["last"])

    def known(self, kind: str) -> Table | None:
        """Give a table as it was at the last look; None before the first, or where there is none."""
        return self._tables.get(kind)

    async def tables(self, connection: Connection) -> dict[str, Table]:
        """Look the tables up, captured or not.

        Raises:
            SchemaMismatch: a configured table or column is missing.
        """
        self._tables = await find_tables(connection, self._mappings)
        return self._tables

    async def differs(self, connection: Connection) -> tuple[str, ...] | None:
        """Name the functions and triggers that are missing, made for something else, or left over; None: no capture.

        Raises:
            PeerError: it was installed by another version of idsync.
        """
        row = await self._read(connection)
        if row is None:
            return None
        return self._differs_now(await self._look_again(connection))

    async def is_absent(self, connection: Connection) -> bool:
        """Whether nothing is installed; one statement that cannot fail."""
        return await connection.fetchval("SELECT to_regclass($1::text) IS NULL", f"{self.schema}.capture") is True

    async def _read(self, connection: Connection) -> asyncpg.Record | None:
        try:
            row = await connection.fetchrow(self._look, self._names, self._oids, self._functions)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return None
        if row is not None:
            check_version(self.peer, row["version"], VERSION)
        return row

    async def _look_again(self, connection: Connection) -> asyncpg.Record | None:
        """Look everything up after its print was taken: what changes meanwhile is seen by the next look."""
        async with self._lock:
            found = [await connection.fetchrow(statement("find_table"), one.table) for one in self._mappings]
            self._oids = [row["oid"] for row in found if row is not None]
            row = await self._read(connection)
            tables = await self.tables(connection)
            triggers = await connection.fetch(statement("read_triggers"), self.schema)
            functions = await connection.fetch(statement("read_functions"), self.schema)
            self._differs = self._compare(tables, triggers, functions)
            self._print = None if row is None else row["print"]
            return row

    def _compare(
        self, tables: dict[str, Table], triggers: list[asyncpg.Record], functions: list[asyncpg.Record]
    ) -> tuple[str, ...]:
        wanted = {name: body_of(sql) for name, sql in functions_of(self.peer, tables).items()}
        triggers_wanted = [one for table in tables.values() for one in triggers_of(self.peer, table)]
        wanted |= {f"{one.table}.{one.name}": one.print for one in triggers_wanted}
        there = {str(one["name"]): str(one["body"]) for one in functions}
        there |= {
            f"{quoted(one['schema'])}.{quoted(one['table'])}.{one['name']}": str(one["print"]) for one in triggers
        }
        return tuple(name for name in sorted(wanted | there) if wanted.get(name) != there.get(name))

    def _differs_now(self, row: asyncpg.Record | None) -> tuple[str, ...]:
        return (*self._differs, BROKEN) if row is not None and row["is_broken"] else self._differs


async def install(connection: Connection, catalog: Catalog) -> None:
    """Make the triggers what they should be, and ring for every row if anything was missing. Safe to call again.

    The generation and the rows that wait are kept. The triggers are exchanged in one transaction; the ringing is done
    in short ones, and goes on where it was if it is interrupted.

    Raises:
        PeerError: somebody kept a lock on a table for too long, or the user lacks a right.
    """
    differs = await catalog.differs(connection)
    if differs != ():
        await _try_again(connection, catalog, _install)
    await _ring_all(connection, catalog)


async def remove(connection: Connection, catalog: Catalog) -> None:
    """Take everything of idsync out of the database: the triggers go with the functions that they call."""
    await _try_again(connection, catalog, _remove)


async def status(connection: Connection, catalog: Catalog, after: Position | None) -> CaptureStatus:
    """Say how capture stands, and how many rows wait past a position."""
    differs = await catalog.differs(connection)
    tables = await catalog.tables(connection)
    state = CaptureState.ABSENT if differs is None else CaptureState.OUTDATED if differs else CaptureState.INSTALLED
    known = CaptureStatus(
        state=state,
        tables={kind: table.name for kind, table in tables.items()},
        warnings=tuple(warning for table in tables.values() for warning in table.warnings),
        differs=differs or (),
    )
    if differs is None:
        return known
    generation = await connection.fetchval(f"SELECT generation FROM {catalog.schema}.capture")  # noqa: S608  # our schema
    ringing = await connection.fetch(f"SELECT kind FROM {catalog.schema}.rings ORDER BY kind")  # noqa: S608  # our schema
    mark = mark_of(after) if after is not None and after.generation == generation else None
    mark = mark or Mark("", 0, START)
    seen = (mark.seen.snapshot, (mark.next or mark.seen).snapshot, mark.inside)
    return msgspec.structs.replace(
        known,
        generation=generation,
        waiting=await connection.fetchval(catalog.sql("count_waiting"), *seen),
        ringing=tuple(str(row["kind"]) for row in ringing),
    )


async def start_over(connection: Connection, catalog: Catalog) -> None:
    """Begin a new generation and ring for every row. The first transaction decides it; the ringing may be interrupted.

    Raises:
        CaptureMissing: there is no capture to begin anew.
    """
    tables = (await catalog.look(connection)).tables
    async with transaction(connection):
        await connection.execute("SET LOCAL statement_timeout = 0")
        update = f"UPDATE {catalog.schema}.capture SET generation = $1, is_trimmed = false"  # noqa: S608  # our schema
        await connection.execute(update, _new_generation())
        await connection.execute(catalog.sql("start_over"), timeout=LONG_S)
        await _begin_ringing(connection, catalog, tables)
        crash.point("rewind.in_transaction")
    await _ring_all(connection, catalog)


async def _install(connection: Connection, catalog: Catalog) -> None:
    peer = catalog.peer
    tables = await catalog.tables(connection)
    if await catalog.is_absent(connection):
        await connection.execute(catalog.sql("migrations/0001_capture"))
        insert = f"INSERT INTO {catalog.schema}.capture (version, generation) VALUES ($1, $2)"  # noqa: S608  # our schema
        await connection.execute(insert, VERSION, _new_generation())
    for row in await connection.fetch(statement("read_functions"), catalog.schema):
        await connection.execute(f"DROP FUNCTION {catalog.schema}.{quoted(row['name'])} CASCADE")
    for sql in functions_of(peer, tables).values():
        await connection.execute(sql)
    for table in sorted(tables.values(), key=named):
        for one in triggers_of(peer, table):
            await connection.execute(one.sql)
            await connection.execute(f"ALTER TABLE {one.table} ENABLE ALWAYS TRIGGER {quoted(one.name)}")
            await connection.execute(f"COMMENT ON TRIGGER {quoted(one.name)} ON {one.table} IS {literal(one.print)}")
    await connection.execute(f"DELETE FROM {catalog.schema}.outbox WHERE op = 'broken'")  # noqa: S608  # our schema
    await _begin_ringing(connection, catalog, tables)
    crash.point("capture.in_transaction")


async def _remove(connection: Connection, catalog: Catalog) -> None:
    await connection.execute(f"DROP SCHEMA IF EXISTS {catalog.schema} CASCADE")


async def _try_again(
    connection: Connection, catalog: Catalog, work: Callable[[Connection, Catalog], Awaitable[None]]
) -> None:
    """Change the tables' triggers in one transaction.

    Everybody who writes waits while we wait for a lock: so we give up soon, let them pass, and come again.
    """
    for number in range(1, LOCK_TRIES_MAX + 1):
        try:
            async with transaction(connection):
                await connection.execute(f"SET LOCAL lock_timeout = {round(LOCK_S * 1000)}")
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1::text))", catalog.schema)
                await work(connection, catalog)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if number == LOCK_TRIES_MAX:
                raise
            await asyncio.sleep(LOCK_PAUSE_S)
        else:
            return


async def _begin_ringing(connection: Connection, catalog: Catalog, tables: dict[str, Table]) -> None:
    await connection.execute(
        f"INSERT INTO {catalog.schema}.rings (kind) SELECT unnest($1::text[])"  # our schema
        " ON CONFLICT (kind) DO UPDATE SET after = NULL",
        list(tables),
    )


async def _ring_all(connection: Connection, catalog: Catalog) -> None:
    tables = (await catalog.look(connection)).tables
    for row in await connection.fetch(f"SELECT kind FROM {catalog.schema}.rings ORDER BY kind"):  # noqa: S608  # our schema
        while await _ring_some(connection, catalog, tables.get(row["kind"]), row["kind"]):
            pass


async def _ring_some(connection: Connection, catalog: Catalog, table: Table | None, kind: str) -> bool:
    """Ring for the next rows of a table; say whether there are more."""
    rings = f"{catalog.schema}.rings"
    async with transaction(connection):
        after = await connection.fetchrow(f"SELECT after FROM {rings} WHERE kind = $1 FOR UPDATE", kind)  # noqa: S608  # ours
        if after is None:
            return False
        count, last = 0, None
        if table is not None:
            await connection.execute("SELECT pg_current_xact_id()")
            key = quoted(table.key)
            sql = catalog.sql(
                "ring_rows",
                kind=literal(kind),
                table=named(table),
                key=key,
                after=f"AND r.{key} > {literal(after['after'])}::{table.types[table.key]}" if after["after"] else "",
            )
            count, last = await connection.fetchrow(sql, STEP_ROWS) or (0, None)
            await connection.execute("SELECT pg_notify($1::text, '')", schema_of(catalog.peer))
        if count < STEP_ROWS:
            await connection.execute(f"DELETE FROM {rings} WHERE kind = $1", kind)  # noqa: S608  # our schema
            return False
        await connection.execute(f"UPDATE {rings} SET after = $2 WHERE kind = $1", kind, last)  # noqa: S608  # our schema
        return True


def _new_generation() -> str:
    return secrets.token_hex(8)
