"""A peer's MySQL or MariaDB: one connection for each of our halves, made when it is needed.

Every failure of the database or the network is a `PeerError`; its text never repeats what the server said, which may
quote values. Needs a connection of its own from start to end (no proxy that shares it between transactions).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncmy
import msgspec
from asyncmy.constants.CLIENT import FOUND_ROWS

from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.text import statement_of
from idsync.errors import PeerError
from idsync.model.values import PeerName

PORT: Final = 3306
CONNECT_S: Final = 10.0
SILENCE_S: Final = 15.0
"""After this a server that says nothing at all is given up."""
IDLE_S: Final = 20.0
"""A connection that nobody used for longer is made anew: the server ends those that are idle."""
IDLE_END_S: Final = 60
"""When the server ends an idle connection, and with it a transaction whose owner the network took away."""
IDLE_POLL_S: Final = 0.25
"""Seconds between two looks for changes where nothing has moved for a while: nobody can wake us."""
ACTIVE_S: Final = 1.0
LOST: Final = range(2000, 3000)
"""Numbers of what the client itself reports: nothing is known of the statement, and the connection is of no use."""
SETTINGS: Final = {
    "sql_mode": "'ANSI_QUOTES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "time_zone": "'+00:00'",
    "wait_timeout": str(IDLE_END_S),
}

statement: Final = partial(statement_of, __package__)
"""Reads one of our statements."""

REASONS: Final[Mapping[int, str]] = {
    1020: "other transactions were in the way; it is tried again",
    1021: "its disk is full",
    1040: "it has no connection left",
    1044: "the user has no right to this database",
    1045: "it refuses the user or the password",
    1049: "there is no database of this name",
    1053: "it is shutting down",
    1114: "its disk is full",
    1142: "the user lacks a right: it needs SELECT, INSERT, UPDATE, DELETE, CREATE, DROP and TRIGGER on the database",
    1203: "it has no connection left",
    1205: "somebody held a lock for too long; it is tried again",
    1213: "other transactions were in the way; it is tried again",
    1227: "the user lacks a right",
    1290: "it is read-only; name the primary",
    1317: "a statement was ended by its operator; it is tried again",
    1419: "it writes a binary log, and lets only administrators make triggers; set log_bin_trust_function_creators = 1",
    1665: "its binlog_format is STATEMENT; set it to ROW or MIXED",
    1792: "it is read-only; name the primary",
    1836: "it is read-only; name the primary",
}
"""Number of an error → what is wrong."""


class Address(msgspec.Struct, frozen=True):
    """Where a database is, read from its url."""

    host: str
    port: int
    user: str
    password: str
    database: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str) -> "Address":
        """Read `mysql://user:password@host:port/database?ssl-mode=required`.

        `ssl-mode` is `disabled` (the default), `required` (encrypted, whoever it is) or `verify_identity`; `ssl-ca`
        names a file of the authorities that are trusted instead of the machine's.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        database = unquote(parts.path.removeprefix("/"))
        if not parts.hostname or not parts.username or not database or options.keys() - {"ssl-mode", "ssl-ca"}:
            raise ValueError("a part of the address is missing or not known")
        return cls(
            host=parts.hostname,
            port=parts.port or PORT,
            user=unquote(parts.username),
            password=unquote(parts.password or ""),
            database=database,
            tls=_tls_of(options.get("ssl-mode", "disabled"), options.get("ssl-ca")),
        )


def _tls_of(mode: str, authorities: str | None) -> ssl.SSLContext | None:
    match mode:
        case "disabled":
            return None
        case "required" | "verify_identity":
            context = ssl.create_default_context(cafile=authorities)
            if mode == "required":
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            return context
        case _:
            raise ValueError("ssl-mode is disabled, required or verify_identity")


class Connection:
    """A connection whose every answer has a limit of time."""

    def __init__(self, raw: asyncmy.Connection) -> None:
        """Take over an open connection."""
        self._raw = raw
        self.is_over = False
        """Whether it is of no more use."""

    async def fetch(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement and give its rows. Each `%s` is a value; `%%` stands for one `%`."""
        return (await self._run(sql, values))[1]

    async def fetchval(self, sql: str, *values: object) -> Any:  # noqa: ANN401  # whatever the column holds
        """Give the first value of the first row; None where there is no row."""
        rows = await self.fetch(sql, *values)
        return rows[0][0] if rows else None

    async def execute(self, sql: str, *values: object) -> int:
        """Run a statement and say how many rows it found."""
        return (await self._run(sql, values))[0]

    async def insert(self, sql: str, *values: object) -> int:
        """Run an INSERT of one row into a table that counts, and give the row's number."""
        return (await self._run(sql, values))[2]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commit what is done in the block, or nothing of it where it is left by an error."""
        await self.execute("START TRANSACTION")
        try:
            yield
            await self.execute("COMMIT")
        except asyncio.CancelledError:
            self.end()
            raise
        except BaseException:
            if not self.is_over:
                await self.execute("ROLLBACK")
            raise

    def end(self) -> None:
        """Drop the connection: the server undoes what was not committed."""
        self.is_over = True
        self._raw.close()

    async def close(self) -> None:
        """Take leave of the server."""
        self.is_over = True
        async with asyncio.timeout(CONNECT_S):
            await self._raw.ensure_closed()

    async def _run(self, sql: str, values: tuple[object, ...]) -> tuple[int, list[tuple[Any, ...]], int]:
        try:
            async with asyncio.timeout(SILENCE_S), self._raw.cursor() as cursor:
                found = await cursor.execute(sql, values)
                return found, list(await cursor.fetchall()), cursor.lastrowid
        except asyncmy.MySQLError as error:
            if is_lost(error):
                self.end()
            raise
        except BaseException:
            self.end()
            raise


class Session:
    """One connection for one user at a time, made when it is needed and made anew after it was lost."""

    def __init__(self, peer: PeerName, url: str, lock_s: float) -> None:
        """Nothing is opened before it is needed; `lock_s` seconds are waited for what somebody else has locked."""
        self._peer = peer
        self._url = url
        # The server counts in whole seconds.
        wait_s = str(max(1, round(lock_s)))
        self._settings = SETTINGS | {"innodb_lock_wait_timeout": wait_s, "lock_wait_timeout": wait_s}
        self._connection: Connection | None = None
        self._used_at = 0.0
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
                raise
            except asyncmy.MySQLError as error:
                raise PeerError(f"{self._peer}: {reason_of(error)}") from error
            except (OSError, TimeoutError) as error:
                self._end()
                raise PeerError(f"{self._peer}: {reason_of(error)}") from error
            except BaseException:
                self._end()
                raise
            finally:
                self._used_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Close the connection once its user is done."""
        async with self._lock:
            if self._connection is not None and not self._connection.is_over:
                try:
                    await self._connection.close()
                except (asyncmy.MySQLError, OSError, TimeoutError):
                    self._connection.end()
            self._connection = None

    async def _opened(self) -> Connection:
        if self._connection is not None and asyncio.get_running_loop().time() > self._used_at + IDLE_S:
            self._end()
        if self._connection is None or self._connection.is_over:
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> Connection:
        try:
            address = Address.of(self._url)
        except (ValueError, OSError) as error:
            raise PeerError(
                f"{self._peer}: its address must read mysql://user:password@host/name, or end with"
                " ?ssl-mode=required or ?ssl-mode=verify_identity&ssl-ca=file"
            ) from error
        async with asyncio.timeout(CONNECT_S):
            raw = await asyncmy.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password,
                database=address.database,
                ssl=address.tls,
                charset="utf8mb4",
                autocommit=True,
                client_flag=FOUND_ROWS,
                program_name=f"idsync {self._peer}",
            )
        connection = Connection(raw)
        await connection.execute("SET NAMES utf8mb4 COLLATE utf8mb4_bin")
        await connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        settings = ", ".join(f"{name} = {value}" for name, value in self._settings.items())
        await connection.execute(f"SET SESSION {settings}")
        return connection

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.end()
            self._connection = None


class Watch:
    """Says when somebody may have committed something: nobody can tell us, so it is looked for, ever less often."""

    def __init__(self, pace: Pace) -> None:
        """Nothing has moved yet."""
        self._pace = pace
        self._news = asyncio.Event()
        self._moved_at = 0.0

    def ring(self) -> None:
        """One of our own halves has committed something."""
        self._news.set()

    async def wait(self, timeout_s: float, has_news: Callable[[], Awaitable[bool]]) -> None:
        """Return when a look shows something, at the latest after `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        while (left_s := ends_at - loop.time()) > 0:
            self._news.clear()
            if await has_news():
                self._moved_at = loop.time()
                return
            is_active = loop.time() < self._moved_at + ACTIVE_S
            pause_s = min(left_s, self._pace.poll_s if is_active else max(self._pace.poll_s, IDLE_POLL_S))
            try:
                async with asyncio.timeout(pause_s):
                    await self._news.wait()
            except TimeoutError:
                continue


def number_of(error: asyncmy.MySQLError) -> int:
    """Give the number of an error; 0 where it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def is_lost(error: asyncmy.MySQLError) -> bool:
    """Whether it is about the connection: the client has no answer, or the server has gone."""
    return number_of(error) in LOST or isinstance(error, asyncmy.InterfaceError)


def reason_of(error: Exception) -> str:
    """Say what is wrong with the database, in words that hold no value of it."""
    match error:
        case TimeoutError():
            return "it does not answer"
        case asyncmy.MySQLError() if not is_lost(error):
            number = number_of(error)
            return REASONS.get(number, f"the database refuses with error {number}")
        case _:
            return "it cannot be reached, or the connection was lost"
