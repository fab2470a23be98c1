"""The connections: how many, how they are set, and how long anything may take.

A connection is held only while statements run, never while anything else is waited for.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final, TypeAlias

import asyncpg

from idsync.errors import StoreBusy, StoreError
from idsync.stores.postgres import schema
from idsync.stores.postgres.db import FAULTS, SILENCES, Connection, Db, named_faults, read_texts
from idsync.stores.postgres.schema import SCHEMA

CONNECT_S: Final = 5.0
STATEMENT_S: Final = 10.0
"""How long the server works on one statement of ours."""
LOCK_S: Final = 5.0
"""How long it waits for another transaction."""
IDLE_S: Final = 10.0
"""How long it lets a transaction of ours be idle: a process that hangs, or is gone, keeps no lock."""
COMMAND_S: Final = 15.0
"""How long we wait for its answer: a connection that is silent for longer is given up."""
DOUBT_S: Final = 60.0
"""How long after a silence every connection is asked for a sign of life first: the idle ones may be as dead."""
SIGN_S: Final = 1.0
"""How long it may take to give one."""
WAITING_MAX: Final = 1_024
"""Tasks that may wait for a connection of one kind."""
STATEMENTS_MAX: Final = 256
OPENING_LOCK: Final = 0x69647379
"""`idsy`: the advisory lock of who opens lanes."""

SETTINGS: Final = {
    "application_name": "idsync",
    "search_path": SCHEMA,
    "client_min_messages": "warning",
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "statement_timeout": f"{STATEMENT_S:.0f}s",
    "lock_timeout": f"{LOCK_S:.0f}s",
    "idle_in_transaction_session_timeout": f"{IDLE_S:.0f}s",
    "tcp_user_timeout": f"{COMMAND_S:.0f}s",
    # Every row is found by an index: a plan that was made while a table was empty stays right when it has grown.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class Use(Enum):
    """What a connection is taken for."""

    WRITE = "write"
    LINE = "line"
    """What the line needs for its next batch, and leases: quick."""
    VIEW = "view"
    """What may take long: for operators, or from a backlog."""


SHARES: Final = {Use.WRITE: 2, Use.LINE: 3, Use.VIEW: 2}
"""How many connections each use may have. Two write: one runs its statements while the other waits for the disk."""
POOL_MAX: Final = sum(SHARES.values())


class Connections:
    """A pool, shared out between uses so that none of them starves another; one event loop."""

    def __init__(self, url: str, pool: Pool, known: int) -> None:
        """Take over an open pool; `known` is how many steps of the schema this process knows."""
        self.url = url
        self.place = place_of(url)
        self.known = known
        self._pool = pool
        self._verbs = read_texts("sql")
        self._turns = {use: asyncio.Semaphore(share) for use, share in SHARES.items()}
        self._waiting = dict.fromkeys(Use, 0)
        self._doubted_until = 0.0
        self.is_closed = False

    @asynccontextmanager
    async def taken(self, use: Use) -> AsyncIterator[Db]:
        """Take a connection while a few statements run; one that fails in it is not used again.

        Raises:
            StoreBusy: too many tasks wait for one.
            StoreError: the server cannot be reached, or failed; its work is undone.
            DataRefused: it refuses a row.
        """
        if self.is_closed:
            raise StoreError(f"the store {self.place} is closed; open it again")
        if self._waiting[use] >= WAITING_MAX:
            raise StoreBusy(f"{WAITING_MAX} tasks wait for the store {self.place}; try again in a moment")
        self._waiting[use] += 1
        try:
            await self._turns[use].acquire()
        finally:
            self._waiting[use] -= 1
        try:
            with named_faults(self.place):
                async with self._pool.acquire(timeout=CONNECT_S) as connection:
                    db = Db(connection, self._verbs)
                    try:
                        if time.monotonic() < self._doubted_until:
                            await connection.execute("SELECT 1", timeout=SIGN_S)
                        yield db
                    except SILENCES as silence:
                        if isinstance(silence, TimeoutError):
                            self._doubted_until = time.monotonic() + DOUBT_S
                        db.give_up()
                        raise
        finally:
            self._turns[use].release()

    async def close(self) -> None:
        """Let what runs finish, and close every connection; at once where that does not come to an end."""
        self.is_closed = True
        try:
            async with asyncio.timeout(COMMAND_S):
                await self._pool.close()
        except FAULTS:
            self._pool.terminate()


def place_of(url: str) -> str:
    """Name a database in messages: never with a password or an option."""
    return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Open one connection, set as every connection of ours is."""
    return await asyncpg.connect(url, timeout=CONNECT_S, command_timeout=COMMAND_S, server_settings=SETTINGS)


async def open_connections(url: str, steps: Sequence[str] | None = None) -> Connections:
    """Connect, and bring the schema up to date.

    Args:
        url: the database.
        steps: those of the schema; all that this version knows if None.

    Raises:
        StoreVersion: PostgreSQL is too old, or a newer idsync changed the schema in a way this one does not know.
        StoreError: the database cannot be used.
    """
    place = place_of(url)
    steps = schema.read_steps() if steps is None else steps
    with named_faults(place):
        connection = await connect(url)
        try:
            await schema.prepare(connection, place, steps)
        finally:
            await connection.close(timeout=CONNECT_S)
        pool = await asyncpg.create_pool(
            url,
            min_size=0,  # a floor would be kept up in the background, and each failure of that told on standard error
            max_size=POOL_MAX,
            timeout=CONNECT_S,
            command_timeout=COMMAND_S,
            server_settings=SETTINGS,
            statement_cache_size=STATEMENTS_MAX,
            max_cached_statement_lifetime=0,
            reset=_leave_as_it_is,
        )
    return Connections(url, pool, len(steps))


async def _leave_as_it_is(_: Connection) -> None:
    """Reset nothing: no verb of ours changes a session, and a round trip for each use costs a third of the rate."""
