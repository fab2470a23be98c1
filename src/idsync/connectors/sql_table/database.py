"""A peer's SQLite file: one thread and one connection for all work, another of each that only looks whether it changed.

The file is the application's. Its journal mode is never changed, it is never checkpointed, locks are held for
milliseconds, and between two transactions in a row the application gets its turn.

The application must be another process. File locks belong to processes: another SQLite library in this one, such as
Python's `sqlite3`, would not see ours and would damage the file.

Time here is the time of file locks, which other programs share: it is the machine's own, never a test's clock.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw

from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.text import statement_of
from idsync.errors import PeerError

T = TypeVar("T")

statement: Final = partial(statement_of, __package__)
"""Reads one of our statements."""


@contextmanager
def write_transaction(connection: apsw.Connection) -> Iterator[None]:
    """Hold the write lock; commit at the end, undo everything if anything raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def read_transaction(connection: apsw.Connection) -> Iterator[None]:
    """See one snapshot in several statements."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def write_in_slices(connection: apsw.Connection, step: Callable[[], bool], pace: Pace) -> None:
    """Repeat a step in short write transactions until it says that nothing is left."""
    has_more = True
    while has_more:
        began_at = time.monotonic()
        with write_transaction(connection):
            while has_more and time.monotonic() < began_at + pace.slice_s:
                has_more = step()
        if has_more:
            give_way(began_at, pace)


def give_way(began_at: float, pace: Pace) -> None:
    """Let the application have the lock for as long as we had it: whoever waits for one only looks now and then."""
    time.sleep(min(time.monotonic() - began_at, pace.transaction_s))


class Database:
    """One peer's file. Jobs run one after the other in its thread; every failure of SQLite is a `PeerError`."""

    def __init__(self, path: Path, pace: Pace) -> None:
        """Nothing is opened before it is needed."""
        self.path = path
        self.pace = pace
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"idsync {path.name}")
        self._watcher = ThreadPoolExecutor(1, thread_name_prefix=f"idsync watches {path.name}")
        self._work = _File(path, pace.busy_timeout_s)
        self._watch = _File(path, 0)
        self._watched: tuple[int, ...] | None = None

    async def run(self, job: Callable[[apsw.Connection], T]) -> T:
        """Run a job on the connection. A caller that is cancelled does not stop a job that has begun.

        Raises:
            PeerError: the file is missing, locked, damaged or not what the configuration says.
        """
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._run, job)

    async def wait(self, timeout_s: float) -> None:
        """Return when anybody committed anything since the last return, at the latest after `timeout_s` seconds."""
        stop = threading.Event()
        try:
            await asyncio.get_running_loop().run_in_executor(self._watcher, self._poll, timeout_s, stop)
        finally:
            stop.set()

    async def close(self) -> None:
        """Finish what has begun and close the connections, without a checkpoint."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self._work.close)
        await loop.run_in_executor(self._watcher, self._watch.close)
        self._worker.shutdown()
        self._watcher.shutdown()

    def _run(self, job: Callable[[apsw.Connection], T]) -> T:
        try:
            return job(self._work.connection())
        except apsw.Error as error:
            if not isinstance(error, apsw.BusyError | apsw.LockedError):
                self._work.close()
            raise PeerError(f"{self.path}: {_reason_of(error, self.pace)}") from error

    def _poll(self, timeout_s: float, stop: threading.Event) -> None:
        ends_at = time.monotonic() + timeout_s
        while (left_s := ends_at - time.monotonic()) > 0 and not stop.is_set():
            found = self._watched
            try:
                found = self._watch.look()
            except (apsw.BusyError, apsw.LockedError):
                pass
            except (apsw.Error, PeerError):
                # The next read says what is wrong; until then nothing can have changed.
                self._watch.close()
                stop.wait(left_s)
                return
            if found != self._watched:
                self._watched = found
                return
            stop.wait(min(self.pace.poll_s, left_s))


class _File:
    """A connection that is opened when it is needed, and anew when the path has come to lead to another file."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_ms = int(busy_timeout_s * 1000)
        self._connection: apsw.Connection | None = None
        self._identity = (0, 0)

    def connection(self) -> apsw.Connection:
        identity = self._identify()
        if self._connection is None or identity != self._identity:
            self.close()
            self._connection = self._open()
            self._identity = identity
        return self._connection

    def look(self) -> tuple[int, ...]:
        """Give what changes with every commit of anybody: cheap, a look at shared memory or 16 bytes of the file."""
        found = self.connection().pragma("data_version")
        return (*self._identity, int(str(found)))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _identify(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)  # noqa: PTH116  # fifty times a second
        except OSError as error:
            raise PeerError(
                f"{self._path.absolute()}: there is no database file, or it may not be looked at"
            ) from error
        return found.st_dev, found.st_ino

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(self._busy_timeout_ms)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("foreign_keys", 1)
        encoding = connection.pragma("encoding")
        if encoding != "UTF-8":
            connection.close()
            raise PeerError(f"{self._path}: its texts are stored as {encoding}; only UTF-8 is read")
        return connection


def _reason_of(error: apsw.Error, pace: Pace) -> str:
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return f"another program held its lock for longer than {pace.busy_timeout_s:g} s; it is tried again"
        case apsw.CantOpenError():
            return "it cannot be opened; look at the path and the permissions of the file and its directory"
        case apsw.NotADBError() | apsw.CorruptError():
            return "it is not a readable SQLite database; look at the path, or restore a backup"
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return "it may not be written; look at the permissions of the file and its directory"
        case apsw.FullError():
            return "its disk is full"
        case _:
            return f"SQLite refuses: {error}"
