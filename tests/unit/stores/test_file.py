"""The file belongs to one process, is ours or is refused, and is brought up to date in one transaction."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import apsw
import pytest

from idsync.errors import StoreError, StoreLocked, StoreVersion
from idsync.ports import PassedOn
from idsync.stores.sqlite import SqliteStore, open_store
from idsync.stores.sqlite.file import (
    APPLICATION_ID,
    check_sqlite,
    close_file,
    connect,
    migrate,
    open_file,
    prepare,
    read_migrations,
)

OPEN_IN_ANOTHER_PROCESS = """
import asyncio, sys
from idsync.errors import StoreLocked
from idsync.stores.sqlite import open_store
try:
    asyncio.run(open_store(sys.argv[1]))
except StoreLocked as refused:
    print(refused)
    sys.exit(3)
"""


async def test_second_process_is_refused_and_told_who_has_the_file(store: SqliteStore, path: Path) -> None:
    """The message names the file, its lock and the process."""
    command = (sys.executable, "-c", OPEN_IN_ANOTHER_PROCESS, str(path))
    other = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await other.communicate()
    assert other.returncode == 3, err.decode()
    assert f"{path} is in use by process {os.getpid()}" in out.decode()
    assert f"{path}.lock" in out.decode()


async def test_second_store_of_one_process_is_refused_until_the_first_is_closed(path: Path) -> None:
    """Also through another name of the same file."""
    first = await open_store(path)
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(StoreLocked):
        await open_store(link)
    await first.close()
    await (await open_store(link)).close()


async def test_lock_that_a_dead_process_left_behind_does_not_count(path: Path) -> None:
    """The lock lives in the kernel, and the file that bears it may stay."""
    path.with_name("idsync.db.lock").write_text("999999\n")
    await (await open_store(path)).close()


async def test_every_connection_is_durable_and_keeps_the_constraints(store: SqliteStore) -> None:
    """WAL, FULL and foreign keys are set, and the log is not cut."""
    for db in (store._connections.writing, store._connections.loading, store._connections.viewing):
        settings = ("journal_mode", "synchronous", "foreign_keys", "journal_size_limit", "secure_delete")
        assert [db.connection.pragma(one) for one in settings] == ["wal", 2, 1, -1, 2]


async def test_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    """An older idsync does not touch what it does not know."""
    await (await open_store(path)).close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 999)
    connection.close()
    with pytest.raises(StoreVersion, match="schema 999"):
        await open_store(path)
    assert apsw.Connection(str(path)).pragma("user_version") == 999


@pytest.mark.parametrize("content", [b"not a database at all" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_garbage_is_refused_with_a_clear_text_and_left_alone(path: Path, content: bytes) -> None:
    """Whatever the file holds, the error is ours and names it; once it is gone, its place can be used."""
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"idsync\.db failed: .*; it is damaged or no SQLite database"):
        open_file(str(path))
    assert path.read_bytes() == content
    path.unlink()
    close_file(open_file(str(path)))


async def test_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    """No table of ours is ever made beside somebody else's."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE users (id)")
    connection.close()
    with pytest.raises(StoreError, match="database of another program"):
        await open_store(path)
    tables = apsw.Connection(str(path)).execute("SELECT name FROM sqlite_schema").fetchall()
    assert tables == [("users",)]


def test_new_file_can_be_read_by_its_owner_alone(path: Path) -> None:
    """It holds people and keys; so do its log and its lock file."""
    opened = open_file(str(path))
    modes = {one.name: oct(one.stat().st_mode & 0o777) for one in path.parent.iterdir()}
    close_file(opened)
    assert modes == {f"idsync.db{suffix}": "0o600" for suffix in ("", "-wal", "-shm", ".lock")}


def test_empty_file_becomes_a_store(path: Path) -> None:
    """As a deployment may make it beforehand, with its owner and mode."""
    path.touch()
    close_file(open_file(str(path)))
    assert apsw.Connection(str(path)).pragma("application_id") == APPLICATION_ID


@pytest.mark.parametrize("where", ["missing/idsync.db", "."])
async def test_place_that_cannot_be_used_is_refused_with_a_clear_text(tmp_path: Path, where: str) -> None:
    """No directory, or no file: the error is ours and says what to do."""
    with pytest.raises(StoreError, match=r"name a file (in a directory )?that can be written"):
        await open_store(tmp_path / where)


@pytest.mark.parametrize(
    ("version", "is_safe"), [("3.40.1", False), ("3.51.2", False), ("3.51.3", True), ("4.0.0", True)]
)
def test_sqlite_with_the_wal_reset_fault_is_refused(version: str, *, is_safe: bool) -> None:
    """3.51.3 is the first without it."""
    if is_safe:
        check_sqlite(version)
    else:
        with pytest.raises(StoreVersion, match="may damage"):
            check_sqlite(version)


async def test_file_of_the_first_schema_is_brought_up_to_date_in_place(path: Path) -> None:
    """Its rows are read, without what nobody knew of when they were written."""
    connection = connect(str(path))
    migrate(connection, read_migrations()[:1], 1)
    connection.execute(
        "INSERT INTO inbox (seq, peer, id, type, subject, received_at, verdict, event_id, version, changed, body)"
        " VALUES (1, 'auth', 'e1', 'user.updated', 'user/1', 0, 'applied', 'event-1', 0, '[]', x'')"
    )
    connection.execute(
        "INSERT INTO attempt (delivery, event, destination, subject, number, at, outcome, latency_ms, response)"
        " VALUES (1, 1, 'endpoint:audit', 'user/1', 1, 0, 'delivered', 1, x'')"
    )
    connection.close()
    store = await open_store(path)
    (entry,) = await store.passed_on(PassedOn(), 10)
    assert (entry.row.id, entry.row.not_before) == ("e1", None)
    assert [one.phases for one in await store.attempts(1)] == [None]
    await store.close()


def test_older_schema_is_brought_up_to_date_in_one_transaction(path: Path) -> None:
    """Its rows stay; a step that fails leaves the version and the tables as they were."""
    first = read_migrations()[0]
    connection = connect(str(path))
    migrate(connection, [first], 1)
    connection.execute("INSERT INTO setting (name, value) VALUES ('kept', x'01')")
    with pytest.raises(apsw.SQLError):
        migrate(connection, ["CREATE TABLE half (id)", "CREATE nonsense"], 3)
    assert connection.pragma("user_version") == 1
    migrate(connection, ["CREATE TABLE later (id)"], 2)
    assert connection.pragma("user_version") == 2
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    assert "later" in tables
    assert "half" not in tables
    assert connection.execute("SELECT name FROM setting").get == "kept"


def test_file_that_is_up_to_date_is_not_written(path: Path) -> None:
    """Opening twice changes nothing of the schema."""
    connection = connect(str(path))
    prepare(connection, str(path))
    before = connection.pragma("schema_version")
    prepare(connection, str(path))
    assert connection.pragma("schema_version") == before
    assert connection.pragma("user_version") == len(read_migrations())
