"""The outbox is read in order and without gaps, and what is not the outbox that was read is noticed."""

import asyncio
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from idsync.connectors.sql_table import Pace, SqlitePeer, TableMapping
from idsync.connectors.tables.outbox import BATCH_BYTES_MAX
from idsync.errors import PeerError
from idsync.model.event import Op
from idsync.model.plan import Position
from idsync.model.values import Kind
from idsync.ports import Rewound, SourceBatch
from idsync.testing.sqlite_app import SqliteApp
from tests.unit.connectors.people import MakePeer

INSERT_MANY = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    " INSERT INTO users (email) SELECT 'u' || i FROM n"
)


async def read(peer: SqlitePeer, after: Position | None = None, limit: int = 10_000) -> SourceBatch:
    """Read one batch."""
    batch = await peer.source.read(after, limit)
    assert isinstance(batch, SourceBatch)
    return batch


def insert_many(app: SqliteApp, count: int) -> None:
    """Let the application make many users in one statement."""
    app.run(INSERT_MANY, count)


async def test_batches_follow_each_other_without_gap(app: SqliteApp, peer: SqlitePeer) -> None:
    """Each begins where the one before ended; the last says that there is no more and can be read again."""
    insert_many(app, 10)
    seen: list[str] = []
    position: Position | None = None
    sizes: list[tuple[int, bool]] = []
    for _ in range(4):
        batch = await read(peer, position, 4)
        seen += [one.event_id for one in batch.observations]
        sizes.append((len(batch.observations), batch.has_more))
        position = batch.position
    assert sizes == [(4, True), (4, True), (2, False), (0, False)]
    assert [name.rpartition(":")[2] for name in seen] == [str(number) for number in range(1, 11)]
    again = await read(peer, position)
    assert again.position == position


async def test_an_empty_outbox_has_a_position_too(peer: SqlitePeer, app: SqliteApp) -> None:
    """Reading goes on from it once there is something."""
    batch = await read(peer)
    assert batch.position.number == 0
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    assert len((await read(peer, batch.position)).observations) == 1


async def test_a_batch_is_bounded_by_its_size_too(app: SqliteApp, peer: SqlitePeer) -> None:
    """Large rows come in small batches; one that is larger than a batch comes alone."""
    for _ in range(3):
        app.run("INSERT INTO users (email, name) VALUES (NULL, ?)", "x" * (BATCH_BYTES_MAX // 5))
    first = await read(peer)
    assert (len(first.observations), first.has_more) == (2, True)
    assert len((await read(peer, first.position)).observations) == 1


# --- another outbox than the one that was read --------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE idsync_outbox SET nonce = 'another' WHERE seq = 3", "now another row"),
        ("DELETE FROM idsync_outbox WHERE seq >= 3", "is gone"),
        ("UPDATE idsync_capture SET generation = 'another'", "begun anew"),
    ],
)
async def test_a_rewound_outbox_is_noticed(app: SqliteApp, peer: SqlitePeer, damage: str, found: str) -> None:
    """The row at our position has to be there, and the same; `start_over` then rings for everybody."""
    insert_many(app, 3)
    position = (await read(peer)).position
    app.run(damage)
    app.run("INSERT INTO users (email) VALUES ('later@example.com')")
    rewound = await peer.source.read(position, 10)
    assert isinstance(rewound, Rewound)
    assert found in rewound.found
    await peer.source.start_over()
    assert isinstance(await peer.source.read(position, 10), Rewound)
    batch = await read(peer)
    assert {external_id for _, external_id in batch.rings} == {"1", "2", "3", "4"}
    assert batch.observations == ()
    assert batch.position.generation != position.generation


async def test_what_waited_before_a_new_generation_only_rings(app: SqliteApp, peer: SqlitePeer) -> None:
    """It may be history: who was deleted is looked for and not found, which is the truth."""
    app.run("INSERT INTO users (id, email) VALUES (1, 'a@example.com'), (2, 'b@example.com')")
    app.run("DELETE FROM users WHERE id = 1")
    await peer.source.start_over()
    await peer.source.start_over()
    batch = await read(peer)
    assert batch.observations == ()
    assert set(batch.rings) == {(Kind.USER, "1"), (Kind.USER, "2")}
    assert await peer.reader.read(Kind.USER, batch.rings[0][1]) is None
    app.run("UPDATE users SET name = 'new'")
    (seen,) = (await read(peer, batch.position)).observations
    assert seen.version is not None
    assert seen.version.generation == batch.position.generation


async def test_nobody_begins_with_an_outbox_whose_beginning_is_gone(app: SqliteApp, peer: SqlitePeer) -> None:
    """A new store would never hear of who was trimmed away: it has to start over."""
    insert_many(app, 3)
    await peer.source.trim((await read(peer)).position)
    assert isinstance(await peer.source.read(None, 10), Rewound)
    await peer.source.start_over()
    assert len((await read(peer)).rings) == 3


async def test_trimming_keeps_the_row_at_the_position(app: SqliteApp, peer: SqlitePeer) -> None:
    """It is what a restore is recognised by; numbers are never given again, also not after a trim."""
    insert_many(app, 250)
    position = (await read(peer)).position
    await peer.source.trim(position)
    assert app.run("SELECT seq FROM idsync_outbox") == [[250]]
    await peer.source.trim(msgspec.structs.replace(position, generation="another", number=1000))
    assert app.run("SELECT count(*) FROM idsync_outbox") == [[1]]
    app.run("DELETE FROM idsync_outbox")
    app.run("UPDATE users SET name = 'x' WHERE id = 1")
    assert app.run("SELECT seq FROM idsync_outbox") == [[251]]


async def test_an_old_backup_that_was_written_to_is_noticed(app: SqliteApp, peer: SqlitePeer, path: Path) -> None:
    """Its new rows have numbers that were read already, of other rows."""
    insert_many(app, 5)
    app.run("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, path.with_name("backup.db"))
    app.run("INSERT INTO users (email) VALUES ('x')")
    position = (await read(peer)).position
    app.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.with_name("backup.db").replace(path)
    with SqliteApp(path) as restored:
        restored.run("INSERT INTO users (email) VALUES ('y'), ('z')")
    assert isinstance(await peer.source.read(position, 10), Rewound)


# --- what rows mean -----------------------------------------------------------------------------------------


async def test_a_soft_delete_is_a_delete_and_its_undoing_a_create(app: SqliteApp, make_peer: MakePeer) -> None:
    """For us a row that is marked is not there: not in events, not in looks, not in lists."""
    app.run("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, deleted_at TEXT)")
    mapping = TableMapping(kind=Kind.USER, table="people", fields={"name": "name"}, on_delete="soft:deleted_at")
    peer = make_peer(mapping)
    await peer.install()
    app.run("INSERT INTO people (id, name) VALUES (1, 'Ada')")
    app.run("UPDATE people SET deleted_at = 'now'")
    app.run("UPDATE people SET name = 'still dead'")
    assert await peer.reader.read(Kind.USER, (await read(peer)).observations[0].external_id) is None
    assert [image async for image in peer.reader.list(Kind.USER)] == []
    app.run("UPDATE people SET deleted_at = NULL")
    app.run("DELETE FROM people")
    seen = (await read(peer)).observations
    assert [one.op for one in seen] == [Op.CREATED, Op.DELETED, Op.DELETED, Op.CREATED, Op.DELETED]


@pytest.mark.parametrize(
    ("on_ban", "values", "banned"),
    [
        ("flag:state", [0, 1, None, "1"], [False, True, False, True]),
        ("deactivate:state", [1, 0, None, "false"], [False, True, False, True]),
    ],
)
async def test_a_ban_is_a_flag_either_way(
    app: SqliteApp, make_peer: MakePeer, on_ban: str, values: list[int | str | None], banned: list[bool]
) -> None:
    """No answer never bans anybody."""
    app.run("CREATE TABLE people (id INTEGER PRIMARY KEY, state)")
    peer = make_peer(TableMapping(kind=Kind.USER, table="people", fields={}, on_ban=on_ban))
    await peer.install()
    for value in values:
        app.run("INSERT INTO people (state) VALUES (?)", value)
    assert [one.fields for one in (await read(peer)).observations] == [{"banned": one} for one in banned]


async def test_a_row_nobody_can_name_is_refused_and_reading_goes_on(app: SqliteApp, make_peer: MakePeer) -> None:
    """A key that is neither text nor an integer, and a kind that is not configured any more."""
    app.run("CREATE TABLE people (id PRIMARY KEY, name TEXT)")
    peer = make_peer(TableMapping(kind=Kind.USER, table="people", fields={"name": "name"}))
    await peer.install()
    app.run(
        "INSERT INTO people VALUES (?, 'bytes'), (1.5, 'real'), (CAST(? AS TEXT), 'odd'), ('u_1', 'Ada'), (NULL, '')",
        b"\x01",
        b"\xff",
    )
    app.run("INSERT INTO idsync_outbox (kind, op, id) VALUES ('session', 'ring', 's_1')")
    batch = await read(peer)
    assert [one.external_id for one in batch.observations] == ["u_1"]
    assert [why for _, _, why in batch.refused] == [
        *["user: its key is neither text nor an integer"] * 3,
        "session: its kind is not configured at this peer any more",
    ]
    assert batch.position.number == 5


async def test_outbox_rows_of_an_older_mapping_are_still_understood(
    app: SqliteApp, peer: SqlitePeer, make_peer: MakePeer, users: TableMapping
) -> None:
    """A column they do not have is not spoken of."""
    app.run("INSERT INTO users (email, name) VALUES ('a@example.com', 'Ada')")
    app.run("ALTER TABLE users ADD COLUMN nick TEXT")
    other = make_peer(msgspec.structs.replace(users, fields={"name": "name", "preferred_username": "nick"}))
    await other.install()
    (seen,) = (await read(other)).observations
    assert seen.fields == {"name": "Ada"}


# --- waiting and failing ------------------------------------------------------------------------------------


async def test_waiting_ends_when_somebody_commits(app: SqliteApp, peer: SqlitePeer) -> None:
    """Also what was committed between two waits ends the second; a quiet file lets it run out."""
    await peer.source.wait(5)
    began_at = time.monotonic()
    waiting = asyncio.create_task(peer.source.wait(10))
    await asyncio.to_thread(app.run, "INSERT INTO users (email) VALUES ('a@example.com')")
    await waiting
    app.run("INSERT INTO users (email) VALUES ('b@example.com')")
    await peer.source.wait(10)
    assert time.monotonic() - began_at < 5
    began_at = time.monotonic()
    await peer.source.wait(0.1)
    assert time.monotonic() - began_at >= 0.1


async def test_a_wait_that_is_given_up_ends_its_thread(peer: SqlitePeer) -> None:
    """A stopping process does not hang on a quiet peer."""
    await peer.source.wait(5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await peer.source.wait(60)
    async with asyncio.timeout(5):
        await peer.source.wait(0.01)


async def test_a_missing_file_is_the_peers_error(make_peer: MakePeer) -> None:
    """It is not made: the application's database is not ours to begin. Waiting for it is no busy loop."""
    peer = make_peer()
    with pytest.raises(PeerError, match=r"app\.db: there is no database file"):
        await peer.source.read(None, 1)
    began_at = time.monotonic()
    await peer.source.wait(0.05)
    assert time.monotonic() - began_at >= 0.05


async def test_a_file_that_is_no_database_is_the_peers_error(make_peer: MakePeer, path: Path) -> None:
    """The text says what to look at."""
    shutil.copy(__file__, path)
    with pytest.raises(PeerError, match="not a readable SQLite database"):
        await make_peer().install()


async def test_a_database_in_utf16_is_refused_with_a_reason(make_peer: MakePeer, path: Path) -> None:
    """Its texts would be read as something else."""
    made = sqlite3.connect(path)
    made.execute("PRAGMA encoding = 'UTF-16le'")
    made.execute("CREATE TABLE users (id INTEGER PRIMARY KEY)")
    made.close()
    with pytest.raises(PeerError, match="UTF-16le; only UTF-8 is read"):
        await make_peer().status()


async def test_a_lock_that_is_held_too_long_is_the_peers_error(app: SqliteApp, make_peer: MakePeer) -> None:
    """And is over when the lock is."""
    peer = make_peer(pace=Pace(busy_timeout_s=0.05))
    app.run("BEGIN IMMEDIATE")
    with pytest.raises(PeerError, match="held its lock"):
        await peer.install()
    app.run("ROLLBACK")
    await peer.install()


async def test_reading_does_not_wait_for_a_writer(app: SqliteApp, make_peer: MakePeer) -> None:
    """An application in a long transaction does not keep us from what is committed."""
    peer = make_peer(pace=Pace(busy_timeout_s=0.05))
    await peer.install()
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    app.run("BEGIN IMMEDIATE")
    app.run("INSERT INTO users (email) VALUES ('b@example.com')")
    assert len((await read(peer)).observations) == 1
    app.run("COMMIT")
    assert len((await read(peer)).observations) == 2
