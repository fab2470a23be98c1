"""One connection that speaks in verbs: each is a file in `sql/`, and this is where PostgreSQL's errors become ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files
from typing import Any, Final, TypeAlias

import asyncpg

from idsync.errors import DataRefused, StoreError
from idsync.stores.common.rows import Row

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

SILENCES: Final = (asyncio.CancelledError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError, OSError)
"""What ends a statement that was not answered, or whose answer nobody waited for."""

ESCAPE: Final = "\x10"
"""PostgreSQL keeps every character but NUL: `\\x00` is kept as `\\x10\\x12`, and `\\x10` as `\\x10\\x11`."""


def read_texts(folder: str) -> dict[str, str]:
    """Read every .sql file of a folder beside this one, by its name."""
    found = files(__package__).joinpath(folder)
    return {path.name.removesuffix(".sql"): path.read_text() for path in found.iterdir() if path.name.endswith(".sql")}


def _escape(text: str) -> str:
    return text.replace(ESCAPE, "\x10\x11").replace("\x00", "\x10\x12")


def _unescape(text: str) -> str:
    return text.replace("\x10\x12", "\x00").replace("\x10\x11", ESCAPE)


def _is_odd(text: str) -> bool:
    return "\x00" in text or ESCAPE in text


def to_argument(value: Any) -> Any:  # noqa: ANN401  # whatever PostgreSQL can store
    """Escape a text, or every text of a list: one look finds that a whole list needs nothing."""
    if isinstance(value, str):
        return _escape(value) if _is_odd(value) else value
    if isinstance(value, list) and _is_odd("".join([one for one in value if isinstance(one, str)])):
        return [_escape(one) if isinstance(one, str) else one for one in value]
    return value


def _to_row(record: Any) -> Row:  # noqa: ANN401  # a Record, typed where its columns become values of ours
    row = tuple(record)
    for value in row:
        if isinstance(value, str) and ESCAPE in value:
            return tuple(_unescape(one) if isinstance(one, str) else one for one in row)
    return row


class Db:
    """One connection, in one task at a time."""

    def __init__(self, connection: Connection, verbs: Mapping[str, str]) -> None:
        """Speak over an open connection."""
        self.connection = connection
        self._verbs = verbs

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Do all of it or nothing; without an answer the connection is given up: ROLLBACK would wait for one, too."""
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            yield
        except SILENCES:
            self.give_up()
            raise
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()

    def give_up(self) -> None:
        """Close the connection without a word; safe to call twice."""
        with suppress(asyncpg.InterfaceError):  # it went back to the pool when it was closed
            self.connection.terminate()

    async def read(self, verb: str, *arguments: Any) -> list[Row]:  # noqa: ANN401  # whatever PostgreSQL can store
        """Run a statement and give all its rows."""
        found = await self.connection.fetch(self._verbs[verb], *map(to_argument, arguments))
        return [_to_row(record) for record in found]

    async def read_one(self, verb: str, *arguments: Any) -> Row | None:  # noqa: ANN401  # as above
        """Run a statement and give its first row, or None."""
        rows = await self.read(verb, *arguments)
        return rows[0] if rows else None

    async def read_pairs(self, verb: str, *arguments: Any) -> dict[Any, Any]:  # noqa: ANN401  # as above
        """Run a statement that gives two columns, and map one to the other."""
        return dict((row[0], row[1]) for row in await self.read(verb, *arguments))  # noqa: C402  # typed pairs

    async def write(self, verb: str, *arguments: Any) -> int:  # noqa: ANN401  # as above
        """Run one change and give the number of rows it touched."""
        status = await self.connection.execute(self._verbs[verb], *map(to_argument, arguments))
        return int(status.rpartition(" ")[2])

    async def write_many(self, verb: str, rows: Sequence[Row], *more: Any) -> int:  # noqa: ANN401  # as above
        """Run one change for many rows, each column as one array, and give the number of rows it touched."""
        return await self.write(verb, *columns_of(rows), *more) if rows else 0

    async def write_each(self, verb: str, rows: Sequence[Row]) -> None:
        """Run one change for each of a few rows, without waiting in between."""
        await self.connection.executemany(self._verbs[verb], [[to_argument(one) for one in row] for row in rows])


def columns_of(rows: Sequence[Row]) -> list[list[Any]]:
    """Turn rows into columns."""
    return [list(column) for column in zip(*rows, strict=True)]


REPEATED: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
)
"""Faults of two writers who met, or of one who met a changed schema: the same transaction, tried again, sees what was
done."""

DATA_FAULTS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeEncodeError,
)
"""What the rows are to blame for, wherever they would be written."""

FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError, OSError)
"""What a server, a network or a lost connection raises."""


@contextmanager
def named_faults(place: str) -> Iterator[None]:
    """Turn what PostgreSQL or the network raises into errors of ours that name the database.

    Raises:
        DataRefused: rows are refused. What PostgreSQL says of them may quote a value, so it is left out.
        StoreError: anything else.
    """
    try:
        yield
    except DATA_FAULTS as fault:
        cause = type(fault).__name__
        text = f"the store refuses a row of this plan: {cause}; commit the others without it"
        raise DataRefused(text) from None
    except FAULTS as fault:
        raise StoreError(_describe(place, fault)) from fault


def _describe(place: str, fault: Exception) -> str:
    match fault:
        case asyncpg.TooManyConnectionsError():
            advice = "it has no connection left; raise max_connections or run fewer processes"
        case asyncpg.LockNotAvailableError() | asyncpg.QueryCanceledError() | TimeoutError():
            advice = "it took too long; look for a transaction that was left open, or for an overloaded server"
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InsufficientPrivilegeError():
            advice = "check the user, its password and its rights"
        case asyncpg.DiskFullError():
            advice = "its disk is full; free some space"
        case asyncpg.ReadOnlySQLTransactionError():
            advice = "it is read-only; name the primary"
        case asyncpg.InvalidCatalogNameError():
            advice = "create the database first"
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError():
            advice = "its schema was changed: start the newest idsync, or restore it from a backup"
        case OSError():
            advice = "it cannot be reached; start it, or correct its address"
        case _:
            advice = "it is tried again"
    return f"the store {place} failed: {type(fault).__name__}; {advice}"
