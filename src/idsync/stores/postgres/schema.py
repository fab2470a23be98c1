"""The schema: numbered steps, made by one process at a time while older ones work on (docs/operations/upgrade.md).

A step only adds; what older processes must not meet any more is dropped by a later one. Its second line,
`-- oldest: N`, shuts out every process that knows less than N steps: one that starts is refused, one that runs hears of
it and ends.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Final

import asyncpg

from idsync.errors import StoreError, StoreVersion
from idsync.stores.postgres.db import Connection, Db, read_texts

SCHEMA: Final = "idsync"
"""All that is ours in the database; also the channel of our notices."""
MIGRATED: Final = "migrated"
"""The notice that the schema has changed."""
POSTGRES_MIN: Final = 15
MIGRATING_LOCK: Final = 0x6964736D
"""`idsm`: the advisory lock of who changes the schema."""
MIGRATION_S: Final = 600.0
"""How long one step may take, and how long it is tried to get its locks."""
PATIENCE_MS: Final = 200
"""How long one try waits for a lock: all who come later wait behind it, so a long transaction would stop the line."""
PAUSE_MIN_S: Final = 0.1
PAUSE_MAX_S: Final = 5.0
"""How long the line has for itself between two tries: doubled each time, from the one to the other."""
GONE_MS: Final = 1_000
"""How soon the server notices that a process which changes the schema was killed."""
_NOTICE_THE_END: Final = """
    SELECT set_config(name, $1, true) FROM pg_settings
    WHERE name = 'client_connection_check_interval' AND version() !~* 'windows|mingw|visual'
"""
_OLDEST: Final = "SELECT coalesce(max(oldest), 0) FROM migration"


def read_steps() -> tuple[str, ...]:
    """Read every step that this version knows, in order."""
    return tuple(step for _, step in sorted(read_texts("migrations").items()))


async def prepare(connection: Connection, place: str, steps: Sequence[str]) -> None:
    """Make the schema, or bring an older one up to date: each step with its number in one transaction.

    Raises:
        StoreVersion: PostgreSQL is too old, or the schema too new.
        StoreError: the database has no UTF-8, or another transaction kept what a step must lock.
    """
    version = connection.get_server_version().major
    if version < POSTGRES_MIN:
        raise StoreVersion(f"{place} is PostgreSQL {version}; use {POSTGRES_MIN} or newer")
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise StoreError(f"the database {place} is not in UTF-8; create one with ENCODING 'UTF8'")
    deadline = time.monotonic() + MIGRATION_S
    pause_s = PAUSE_MIN_S
    while True:
        try:
            if await _advance(connection, place, steps):
                return
            pause_s = PAUSE_MIN_S
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the schema of {place} cannot be brought up to date: another transaction keeps what must be "
                    "locked; end it and start again"
                ) from None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)


async def check(connection: Connection, place: str, known: int) -> None:
    """Make sure that nobody has changed the schema beyond what this process can work with.

    Raises:
        StoreVersion: somebody has.
    """
    _check_oldest(place, await connection.fetchval(_OLDEST), known)


async def _advance(connection: Connection, place: str, steps: Sequence[str]) -> bool:
    """Make the next step that is missing, or say that none is; in one transaction, never in anybody's way for long."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL statement_timeout = {MIGRATION_S * 1000:.0f}")
        await connection.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
        await connection.execute(_NOTICE_THE_END, str(GONE_MS))
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATING_LOCK)
        done = await _find_version(connection)
        _check_oldest(place, await connection.fetchval(_OLDEST), len(steps))
        if done >= len(steps):
            await Db(connection, read_texts("sql")).write("adopt_ticks")
            return True
        await connection.execute(steps[done], timeout=MIGRATION_S)
        await connection.execute(
            "INSERT INTO migration (number, oldest) VALUES ($1, $2)", done + 1, _oldest_of(steps[done])
        )
        await connection.execute("SELECT pg_notify($1, $2)", SCHEMA, MIGRATED)
        return False


async def _find_version(connection: Connection) -> int:
    """Give the number of the last step that was made."""
    if await connection.fetchval("SELECT to_regclass('idsync.migration')") is None:
        if await connection.fetchval("SELECT to_regnamespace('idsync')") is None:
            await connection.execute("CREATE SCHEMA idsync")
        await connection.execute(
            "CREATE TABLE migration (number integer PRIMARY KEY, oldest integer NOT NULL, at timestamptz DEFAULT now())"
        )
    return int(await connection.fetchval("SELECT coalesce(max(number), 0) FROM migration"))


def _check_oldest(place: str, oldest: int, known: int) -> None:
    if oldest > known:
        raise StoreVersion(
            f"{place} needs an idsync that knows schema {oldest}, this one knows {known}; start the newer one"
        )


def _oldest_of(step: str) -> int:
    found = re.match(r"--[^\n]*\n-- oldest: (\d+)\n", step)
    if found is None:
        raise ValueError('the second line of a migration is "-- oldest: N"')
    return int(found[1])
