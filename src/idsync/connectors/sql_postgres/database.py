"""A peer's PostgreSQL: one connection for each of our halves, made when it is needed, and one that listens.

Every failure of the database or the network is a `PeerError`; its text never repeats what the server said, which may
quote values. Needs a connection of its own from start to end (no pooler that shares it between transactions).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import asyncpg

from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.text import statement_of
from idsync.errors import PeerError
from idsync.model.values import PeerName

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_S: Final = 10.0
ANSWER_S: Final = 10.0
"""How long one statement may take; where it works on many rows at once it says so itself."""
SILENCE_S: Final = 15.0
"""After this a server that says nothing at all is given up."""
IDLE_POLL_S: Final = 0.25
"""Seconds between two looks for changes where nothing has moved for a while: whoever writes then wakes us."""
ACTIVE_S: Final = 1.0
SCHEMA_CHARS_MAX: Final = 63
SILENCES: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What ends a statement that was not answered."""

statement: Final = partial(statement_of, __package__)
"""Reads one of our statements."""

REASONS: Final[Mapping[str, str]] = {
    "08": "the connection was lost",
    "25006": "it is read-only; name the primary",
    "28": "it refuses the user or the password",
    "3D000": "there is no database of this name",
    "40": "other transactions were in the way; it is tried again",
    "42501": "the user lacks a right: it needs those of the tables' owner, and CREATE on the database to install",
    "53100": "its disk is full",
    "53300": "it has no connection left",
    "55000": "it cannot do this now; a standby cannot, name the primary",
    "55P03": "somebody held a lock for too long; it is tried again",
    "57014": "a statement took too long; it is tried again",
    "57P": "it is shutting down or starting",
}
"""SQLSTATE, or how it begins → what is wrong."""


def schema_of(peer: PeerName) -> str:
    """Name the schema that holds everything of ours at a peer.

    Raises:
        PeerError: the peer's name makes it too long for PostgreSQL, which would cut it.
    """
    name = f"idsync_{peer}"
    if len(name) > SCHEMA_CHARS_MAX:
        raise PeerError(f"{peer}: its name is too long to be captured in PostgreSQL; at most 56 characters fit")
    return name


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """Do all of it or nothing; without an answer the connection is given up: ROLLBACK would wait for one, too."""
    begun = connection.transaction(isolation="read_committed")
    await begun.start()
    try:
        yield
    except (asyncio.CancelledError, *SILENCES):
        connection.terminate()
        raise
    except BaseException:
        await begun.rollback()
        raise
    await begun.commit()


class Session:
    """One connection for one user at a time, made when it is needed and made anew after it was lost."""

    def __init__(self, peer: PeerName, url: str, pace: Pace, settings: Mapping[str, str] | None = None) -> None:
        """Nothing is opened before it is needed. `settings` are the server's, for this connection."""
        self._peer = peer
        self._url = url
        self._settings = {
            "application_name": f"idsync {peer}",
            "synchronous_commit": "on",
            "lock_timeout": f"{max(1, round(pace.busy_timeout_s * 1000))}ms",
            "statement_timeout": f"{round(ANSWER_S * 1000)}ms",
            "idle_in_transaction_session_timeout": f"{round(ANSWER_S * 1000)}ms",
            "timezone": "UTC",
            "jit": "off",
            **(settings or {}),
        }
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """Have the connection alone. Whatever goes wrong in the block, no transaction of it stays open.

        Raises:
            PeerError: the database cannot be used now.
        """
        async with self._lock:
            try:
                yield await self._opened()
            except PeerError:
                self._end_unless_idle()
                raise
            except asyncpg.PostgresError as error:
                self._end_unless_idle()
                raise PeerError(f"{self._peer}: {reason_of(error)}") from error
            except SILENCES as error:
                self._end()
                raise PeerError(f"{self._peer}: {reason_of(error)}") from error
            except BaseException:
                self._end()
                raise

    async def close(self) -> None:
        """Close the connection once its user is done."""
        async with self._lock:
            if self._connection is not None:
                try:
                    await self._connection.close(timeout=CONNECT_S)
                except (asyncpg.PostgresError, *SILENCES):
                    self._connection.terminate()
                self._connection = None

    async def _opened(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            try:
                self._connection = await asyncpg.connect(
                    self._url, timeout=CONNECT_S, command_timeout=SILENCE_S, server_settings=self._settings
                )
            except ValueError as error:
                raise PeerError(f"{self._peer}: its address must read postgresql://user:password@host/name") from error
        return self._connection

    def _end_unless_idle(self) -> None:
        if self._connection is not None and self._connection.is_in_transaction():
            self._end()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class Watch:
    """Says when somebody may have committed something: told by the triggers, and looked for all the same."""

    def __init__(self, peer: PeerName, session: Session, pace: Pace) -> None:
        """Listen on this session."""
        self._channel = schema_of(peer)
        self._session = session
        self._pace = pace
        self._listens_on: Connection | None = None
        self._news = asyncio.Event()
        self._seen = ""
        self._moved_at = 0.0

    def ring(self) -> None:
        """One of our own halves has committed something."""
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when anything was committed since the last return, at the latest after `timeout_s` seconds.

        What is compared is the server's own list of the transactions that are over: nobody can commit without it.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        while (left_s := ends_at - loop.time()) > 0:
            self._news.clear()
            if await self._has_moved():
                self._moved_at = loop.time()
                return
            is_active = loop.time() < self._moved_at + ACTIVE_S
            pause_s = min(left_s, self._pace.poll_s if is_active else max(self._pace.poll_s, IDLE_POLL_S))
            try:
                async with asyncio.timeout(pause_s):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _has_moved(self) -> bool:
        async with self._session.use() as connection:
            if self._listens_on is not connection:
                await connection.add_listener(self._channel, self._on_notice)
                self._listens_on = connection
            snapshot = str(await connection.fetchval("SELECT pg_current_snapshot()::text"))
        has_moved, self._seen = snapshot != self._seen, snapshot
        return has_moved

    def _on_notice(self, *_: object) -> None:
        self._news.set()


def reason_of(error: Exception) -> str:
    """Say what is wrong with the database, in words that hold no value of it."""
    match error:
        case asyncpg.PostgresError():
            code = error.sqlstate or "none"
            known = (reason for begin, reason in REASONS.items() if code.startswith(begin))
            return next(known, f"PostgreSQL refuses with SQLSTATE {code}")
        case TimeoutError():
            return "it does not answer"
        case _:
            return "it cannot be reached, or the connection was lost"
