"""The file: who may use it, whether it is ours, how its connections are set, how an old one is brought up to date."""

import fcntl
import os
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import apsw

from idsync.errors import StoreError, StoreLocked, StoreVersion
from idsync.stores.sqlite.db import Db, named_faults, read_verbs

MEMORY: Final = ":memory:"
APPLICATION_ID: Final = 0x69647379
"""`idsy`: marks a file as ours, so that another program's database is never taken for an old one of ours."""
SQLITE_MIN: Final = (3, 51, 3)
"""Older ones may damage a file that two connections write or checkpoint (the WAL-reset fault, sqlite.org/wal.html)."""
PRIVATE: Final = 0o600
BUSY_MS: Final = 500
"""How long to wait where another program reads our file."""
ROW_BYTES_MAX: Final = 64 * 1024 * 1024
WAL_PAGES: Final = 1_000
"""Pages in the write-ahead log (4 MiB) after which a commit copies it into the database: 2 to 4 ms on a quiet disk, and
linear in the pages. The log is begun anew but keeps its size: writing over it costs less than growing it."""
WRITING_CACHE_KIB: Final = 16 * 1024
READING_CACHE_KIB: Final = 2 * 1024
"""What one read needs: a connection forgets all its pages as soon as another one has committed."""
STATEMENTS_MAX: Final = 256


class Connections(NamedTuple):
    """An open store: its name in messages, its three connections, and the lock that makes it ours."""

    path: str
    writing: Db
    loading: Db
    viewing: Db
    lock: int | None


def open_file(path: str) -> Connections:
    """Take a file, make it ours or bring it up to date, and connect to it.

    Raises:
        StoreLocked: another process has the file.
        StoreVersion: a newer idsync wrote it, or this SQLite is too old to be safe.
        StoreError: the file cannot be used.
    """
    check_sqlite(apsw.sqlite_lib_version())
    if path == MEMORY:
        return _connect_all(f"file:/idsync-{uuid4().hex}?vfs=memdb", path, None)
    name = Path(path).resolve()
    descriptor = lock(name)
    try:
        _make(name)
        return _connect_all(str(name), path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _connect_all(name: str, path: str, descriptor: int | None) -> Connections:
    connections: list[apsw.Connection] = []
    verbs = read_verbs()
    try:
        with named_faults(path):
            connections.append(connect(name, WRITING_CACHE_KIB))
            prepare(connections[0], path)
            connections += [connect(name), connect(name)]
    except BaseException:
        for connection in connections:
            connection.close()
        raise
    writing, loading, viewing = (Db(connection, verbs) for connection in connections)
    return Connections(path, writing, loading, viewing, descriptor)


def close_file(connections: Connections) -> None:
    """Close the connections, the writing one last, and let the file go."""
    with named_faults(connections.path):
        for db in (connections.viewing, connections.loading, connections.writing):
            db.connection.close()
    if connections.lock is not None:
        os.close(connections.lock)


def check_sqlite(version: str) -> None:
    """Refuse a SQLite that may damage the file.

    Raises:
        StoreVersion: it is too old.
    """
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_MIN:
        needed = ".".join(map(str, SQLITE_MIN))
        raise StoreVersion(
            f"SQLite {version} may damage a database in WAL mode; install an apsw with SQLite >= {needed}"
        )


def lock(path: Path) -> int:
    """Take the file for this process until the descriptor given back is closed, at the latest until the process ends.

    Raises:
        StoreLocked: another process has it, or another store of this one.
        StoreError: the lock file cannot be made.
    """
    name = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, PRIVATE)
    except OSError as fault:
        raise StoreError(
            f"cannot make the lock file {name}: {fault.strerror}; name a file in a directory that can be written"
        ) from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreLocked(
            f"the store {path} is in use by process {owner}, which holds {name}; stop that process or name another file"
        ) from fault
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _make(path: Path) -> None:
    """Make an empty file that only its owner can read, where there is none: it will hold people and keys.

    Only under the lock: to close a file lets go of what SQLite holds of it in this process.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))
    except OSError as fault:
        raise StoreError(
            f"cannot use {path} as the store: {fault.strerror}; name a file that can be written"
        ) from fault


def connect(name: str, cache_kib: int = READING_CACHE_KIB) -> apsw.Connection:
    """Open one connection, set as every connection of ours is."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(name, flags=flags, statementcachesize=STATEMENTS_MAX)
    connection.set_busy_timeout(BUSY_MS)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, ROW_BYTES_MAX)
    connection.wal_autocheckpoint(WAL_PAGES)
    for setting, value in (
        ("foreign_keys", True),
        ("synchronous", "FULL"),
        ("temp_store", "MEMORY"),
        ("cache_size", -cache_kib),
        ("journal_size_limit", -1),
        ("secure_delete", "FAST"),
    ):
        connection.pragma(setting, value)
    return connection


def prepare(connection: apsw.Connection, path: str) -> None:
    """Make a new file ours, bring an older one of ours up to date in one transaction, and refuse any other.

    Raises:
        StoreVersion: a newer idsync wrote it.
        StoreError: it is another program's.
    """
    owner, version = connection.pragma("application_id"), connection.pragma("user_version")
    if owner != APPLICATION_ID and (owner or version or connection.execute("SELECT count(*) FROM sqlite_schema").get):
        raise StoreError(f"{path} is the database of another program; name another file for the store")
    steps = read_migrations()
    if version > len(steps):
        raise StoreVersion(
            f"{path} has schema {version}, this idsync knows {len(steps)}; start the newer idsync that wrote it"
        )
    if connection.pragma("journal_mode") != "wal":
        connection.pragma("journal_mode", "wal")
    migrate(connection, steps[version:], len(steps))


def migrate(connection: apsw.Connection, steps: list[str], version: int) -> None:
    """Run steps and mark the file as being of a version, in one transaction."""
    if not steps:
        return
    with connection:
        for step in steps:
            connection.execute(step)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", version)


def read_migrations() -> list[str]:
    """Read the steps from an empty file to the newest schema, in order."""
    folder = files(__package__).joinpath("migrations")
    found = sorted((path.name, path.read_text()) for path in folder.iterdir() if path.name.endswith(".sql"))
    return [text for _, text in found]
