"""Capture: what the triggers write, that they never stand in the application's way, and how they come and go."""

import asyncio
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from idsync.connectors.sql_table import CaptureState, Pace, SqlitePeer, TableMapping
from idsync.errors import CaptureMissing, PeerError, SchemaMismatch
from idsync.model.delivery import Effect
from idsync.model.event import Observation, Op
from idsync.model.plan import Position
from idsync.model.values import Kind, PeerName
from idsync.ports import Rewound, SourceBatch
from idsync.testing.clock import FakeClock
from idsync.testing.sqlite_app import AppRefused, SqliteApp, SqlValue
from idsync.testing.target_suite import create_of
from tests.unit.connectors.people import MakePeer

OUTBOX = "SELECT op, id FROM idsync_outbox ORDER BY seq"


async def read(peer: SqlitePeer, after: Position | None = None) -> SourceBatch:
    """Read everything."""
    batch = await peer.source.read(after, 10_000)
    assert not isinstance(batch, Rewound)
    while batch.has_more:
        more = await peer.source.read(batch.position, 10_000)
        assert not isinstance(more, Rewound)
        batch = msgspec.structs.replace(
            more, observations=batch.observations + more.observations, refused=batch.refused + more.refused
        )
    return batch


async def observe(peer: SqlitePeer) -> list[Observation]:
    """Read every observation."""
    return list((await read(peer)).observations)


# --- what is written --------------------------------------------------------------------------------------


async def test_every_change_is_one_row_with_its_own_operation(app: SqliteApp, peer: SqlitePeer) -> None:
    """Insert, update and delete become created, updated and deleted, with all fields of the row."""
    app.run("INSERT INTO users (email, name, verified) VALUES ('A@example.com', 'Ada', 1)")
    app.run("UPDATE users SET name = 'Ada L.'")
    app.run("DELETE FROM users")
    seen = await observe(peer)
    assert [one.op for one in seen] == [Op.CREATED, Op.UPDATED, Op.DELETED]
    fields = {"email": "a@example.com", "name": "Ada L.", "picture": None, "email_verified": True}
    assert [one.fields for one in seen[1:]] == [fields, fields]
    assert {one.external_id for one in seen} == {"1"}
    assert {one.origin for one in seen} == {None}
    assert [one.version.number for one in seen if one.version] == [1, 2, 3]
    assert abs(seen[0].event_at - time.time() * 1000) < 60_000


async def test_only_mapped_columns_leave_the_table(app: SqliteApp, make_peer: MakePeer, users: TableMapping) -> None:
    """A secret is in no outbox row, and a change of nothing but the secret makes none."""
    app.run("ALTER TABLE users ADD COLUMN secret TEXT")
    peer = make_peer(users)
    await peer.install()
    app.run("INSERT INTO users (email, secret) VALUES ('a@example.com', 'hunter2')")
    app.run("UPDATE users SET secret = 'hunter3'")
    app.run("UPDATE users SET email = email, name = name")
    app.run("UPDATE users SET name = 'Ada', secret = 'hunter4'")
    app.run("DELETE FROM users")
    assert app.run(OUTBOX) == [["created", 1], ["updated", 1], ["deleted", 1]]
    rows = app.run("SELECT coalesce(old, '') || coalesce(new, '') FROM idsync_outbox")
    assert not any("hunter" in str(row) or b"hunter".hex().upper() in str(row) for (row,) in rows)


async def test_a_change_of_case_is_a_change_whatever_the_collation(app: SqliteApp, make_peer: MakePeer) -> None:
    """NOCASE makes texts equal that are not the same."""
    app.run("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE)")
    peer = make_peer(TableMapping(kind=Kind.USER, table="people", fields={"name": "name"}))
    await peer.install()
    app.run("INSERT INTO people (name) VALUES ('ada')")
    app.run("UPDATE people SET name = 'Ada'")
    assert [one.fields["name"] for one in await observe(peer)] == ["ada", "Ada"]


async def test_a_key_that_changes_is_an_end_and_a_beginning(app: SqliteApp, peer: SqlitePeer) -> None:
    """Nobody can be told that an id has become another one."""
    app.run("INSERT INTO users (id, email) VALUES (1, 'a@example.com')")
    app.run("UPDATE users SET id = 7, name = 'Ada'")
    assert app.run(OUTBOX) == [["created", 1], ["deleted", 1], ["created", 7]]


async def test_what_is_rolled_back_was_never_captured(app: SqliteApp, peer: SqlitePeer) -> None:
    """Whole transactions, savepoints, and statements that fail."""
    app.run("BEGIN")
    app.run("INSERT INTO users (email) VALUES ('gone@example.com')")
    app.run("ROLLBACK")
    app.run("BEGIN")
    app.run("SAVEPOINT here")
    app.run("INSERT INTO users (email) VALUES ('gone@example.com')")
    app.run("ROLLBACK TO here")
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    app.run("COMMIT")
    with pytest.raises(AppRefused):
        app.run("INSERT INTO users (email) VALUES ('b@example.com'), ('a@example.com')")
    assert [one.fields["email"] for one in await observe(peer)] == ["a@example.com"]


async def test_a_trigger_of_the_application_has_the_last_word(app: SqliteApp, peer: SqlitePeer) -> None:
    """Whichever trigger runs first, the last row of the outbox shows the row as it is."""
    body = "AFTER INSERT ON users BEGIN UPDATE users SET name = name || '!' WHERE id = NEW.id; END"
    app.run(f"CREATE TRIGGER a_first {body}")
    app.run(f"CREATE TRIGGER z_last {body}")
    app.run("INSERT INTO users (name) VALUES ('Ada')")
    assert (await observe(peer))[-1].fields["name"] == "Ada!!"


async def test_a_row_that_is_put_back_is_not_deleted(app: SqliteApp, peer: SqlitePeer) -> None:
    """An application may refuse a delete by undoing it."""
    app.run(
        "CREATE TRIGGER keep AFTER DELETE ON users BEGIN INSERT INTO users (id, email) VALUES (OLD.id, OLD.email); END"
    )
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    app.run("DELETE FROM users")
    assert [one.op for one in await observe(peer)][-1] is Op.CREATED


# --- rows that are replaced -------------------------------------------------------------------------------


async def test_rows_that_a_replace_removes_are_rung_for(app: SqliteApp, peer: SqlitePeer) -> None:
    """No delete trigger fires for them."""
    app.run("INSERT INTO users (id, email) VALUES (1, 'a@example.com'), (2, 'b@example.com')")
    app.run("INSERT OR REPLACE INTO users (id, email) VALUES (3, 'a@example.com')")
    app.run("UPDATE OR REPLACE users SET email = 'b@example.com' WHERE id = 3")
    assert app.run("SELECT id FROM users") == [[3]]
    assert (await read(peer)).rings == ((Kind.USER, "1"), (Kind.USER, "2"))


async def test_a_partial_index_rings_only_for_what_it_covers(app: SqliteApp, make_peer: MakePeer) -> None:
    """The condition of the index is the condition of the ring."""
    app.run("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, gone TEXT)")
    app.run("CREATE UNIQUE INDEX one ON people (name COLLATE NOCASE) WHERE gone IS NULL AND name <> 'where (' /* ) */")
    peer = make_peer(TableMapping(kind=Kind.USER, table="people", fields={"name": "name"}))
    assert (await peer.install()).warnings == ()
    app.run("INSERT INTO people VALUES (1, 'ada', NULL), (2, 'bob', 'long ago')")
    app.run("INSERT OR REPLACE INTO people VALUES (3, 'Ada', NULL), (4, 'Bob', NULL)")
    assert app.run("SELECT id FROM people") == [[2], [3], [4]]
    assert (await read(peer)).rings == ((Kind.USER, "1"),)
    plan = app.run(
        "EXPLAIN QUERY PLAN SELECT 1 FROM people AS r WHERE r.name COLLATE NOCASE = 'x' AND (gone IS NULL"
        " AND name <> 'where (')"
    )
    assert "USING INDEX one" in str(plan)


async def test_an_index_of_an_expression_is_warned_of(app: SqliteApp, make_peer: MakePeer, users: TableMapping) -> None:
    """What it removes cannot be found by a trigger."""
    app.run("CREATE UNIQUE INDEX low ON users (lower(email))")
    status = await make_peer(users).install()
    assert [warning for warning in status.warnings if "the index low" in warning]


# --- never in the way -------------------------------------------------------------------------------------

HOSTILE: tuple[tuple[SqlValue, bool], ...] = (
    (b"\x00\xff", False),
    (b"", False),
    (float("inf"), False),
    (float("-inf"), False),
    (1.7e308, False),
    (-0.0, False),
    (2**63 - 1, False),
    (-(2**63), False),
    ("x" * 5_000_000, False),
    ("\x00", True),
    ("\x01" * 700_000, True),
    ("\\\"'`;--{}", True),
    ("\N{GRINNING FACE}", True),
)
"""What somebody writes into a column of pictures, and whether it is one."""


@pytest.mark.parametrize(("value", "is_fit"), HOSTILE, ids=range(len(HOSTILE)))
async def test_no_value_makes_the_applications_statement_fail(
    app: SqliteApp, peer: SqlitePeer, value: SqlValue, *, is_fit: bool
) -> None:
    """Whatever is written, it is written; the other fields are seen, and the row that brought the unfit is refused."""
    app.run("INSERT INTO users (email, avatar) VALUES ('a@example.com', ?)", value)
    app.run("UPDATE users SET name = 'Ada'")
    app.run("UPDATE users SET avatar = 'x'")
    app.run("UPDATE users SET avatar = ?", value)
    app.run("DELETE FROM users")
    batch = await read(peer)
    assert [one.op for one in batch.observations] == [Op.CREATED, *[Op.UPDATED] * 3, Op.DELETED]
    assert {one.fields["email"] for one in batch.observations} == {"a@example.com"}
    seen = [one.fields.get("picture", "unfit") for one in batch.observations]
    shown = value if is_fit else "unfit"
    assert seen == [shown, shown, "x", shown, shown]
    numbers = [] if is_fit else ["1", "4"]
    assert [name.split(":")[1] for name, _, _ in batch.refused] == numbers


async def test_text_that_is_no_utf8_harms_only_its_own_field(app: SqliteApp, peer: SqlitePeer) -> None:
    """Also in a column whose type says text."""
    app.run("INSERT INTO users (email, name) VALUES ('a@example.com', CAST(? AS TEXT))", b"\xffAda\xc3")
    (seen,) = await observe(peer)
    assert seen.fields["email"] == "a@example.com"
    assert "name" not in seen.fields
    image = await peer.reader.read(Kind.USER, seen.external_id)
    assert image is not None
    assert image.fields == seen.fields


async def test_triggers_run_where_the_schema_is_not_trusted(app: SqliteApp, peer: SqlitePeer) -> None:
    """They use no function that an application may have forbidden."""
    app.run("PRAGMA trusted_schema = OFF")
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    app.run("INSERT OR REPLACE INTO users (id, email) VALUES (5, 'a@example.com')")
    assert [one.op for one in await observe(peer)] == [Op.CREATED, Op.CREATED]


async def test_the_application_sees_its_own_row_ids_and_counts(app: SqliteApp, peer: SqlitePeer) -> None:
    """`last_insert_rowid` and `changes` tell of its statement, not of ours."""
    app.run("INSERT INTO users (id, email) VALUES (41, 'a@example.com')")
    assert app.run("SELECT last_insert_rowid(), changes()") == [[41, 1]]
    assert app.run("UPDATE users SET name = 'x' RETURNING id") == [[41]]


# --- coming and going -------------------------------------------------------------------------------------


async def test_install_rings_once_for_every_row_there_is(app: SqliteApp, make_peer: MakePeer) -> None:
    """That is the first synchronisation; a second install finds nothing to do."""
    app.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1234)"
        " INSERT INTO users (id, email) SELECT i, 'u' || i FROM n"
    )
    peer = make_peer()
    first = await peer.install()
    assert (first.state, first.waiting, first.ringing) == (CaptureState.INSTALLED, 1234, ())
    batch = await read(peer)
    assert [external_id for _, external_id in batch.rings] == [str(number) for number in range(1, 1235)]
    assert await peer.install() == first
    assert (await peer.status(batch.position)).waiting == 0


async def test_text_keys_are_all_rung_for_whatever_their_order(app: SqliteApp, make_peer: MakePeer) -> None:
    """Also where the column's collation is not the order of its bytes."""
    app.run("CREATE TABLE people (id TEXT PRIMARY KEY COLLATE NOCASE, name TEXT) WITHOUT ROWID")
    app.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
        " INSERT INTO people SELECT CASE i % 2 WHEN 0 THEN 'K' ELSE 'k' END || i, '' FROM n"
    )
    app.run("INSERT INTO people VALUES ('', ''), ('!', ''), ('-1', ''), (CAST(? AS TEXT), '')", b"\xff")
    peer = make_peer(TableMapping(kind=Kind.USER, table="people", fields={"name": "name"}))
    await peer.install()
    batch = await read(peer)
    assert len(batch.rings) == 503
    assert [why for _, _, why in batch.refused] == ["user: its key is neither text nor an integer"]
    assert len([image async for image in peer.reader.list(Kind.USER)]) == 503


async def test_a_changed_mapping_exchanges_the_triggers_and_rings_for_all(
    app: SqliteApp, peer: SqlitePeer, make_peer: MakePeer, users: TableMapping
) -> None:
    """What waits stays, and so does the generation: nothing was lost."""
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    before = await peer.status()
    other = make_peer(msgspec.structs.replace(users, fields={"name": "name"}))
    assert (await other.status()).state is CaptureState.OUTDATED
    with pytest.raises(CaptureMissing):
        await other.source.read(None, 10)
    after = await other.install()
    assert (after.state, after.generation) == (CaptureState.INSTALLED, before.generation)
    assert app.run(OUTBOX) == [["created", 1], ["ring", 1]]


async def test_remove_leaves_nothing_behind(app: SqliteApp, make_peer: MakePeer) -> None:
    """The schema is what it was; the application's rows are untouched. Removing twice is as good."""
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    before = app.run("SELECT name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence'")
    peer = make_peer()
    await peer.install()
    await peer.remove()
    await peer.remove()
    assert app.run("SELECT name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence'") == before
    assert (await peer.status()).state is CaptureState.ABSENT
    with pytest.raises(CaptureMissing):
        await peer.source.read(None, 10)
    assert (await peer.install()).waiting == 1


async def test_a_table_that_was_built_anew_is_noticed(app: SqliteApp, peer: SqlitePeer) -> None:
    """Migrations copy a table, drop it and rename the copy: the triggers are gone with it, and the source says so."""
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    batch = await read(peer)
    app.run_script(
        "CREATE TABLE users_new (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, avatar, verified INTEGER);"
        "INSERT INTO users_new SELECT * FROM users; DROP TABLE users; ALTER TABLE users_new RENAME TO users;"
    )
    app.run("INSERT INTO users (email) VALUES ('unseen@example.com')")
    with pytest.raises(CaptureMissing, match="capture install app"):
        await peer.source.read(batch.position, 10)
    await peer.install()
    assert (await read(peer, batch.position)).rings == ((Kind.USER, "1"), (Kind.USER, "2"))


async def test_a_new_column_of_a_plugin_makes_capture_outdated(
    app: SqliteApp, make_peer: MakePeer, users: TableMapping
) -> None:
    """Until then the optional field is simply not held."""
    mapping = msgspec.structs.replace(users, fields={**users.fields, "roles": "role"}, optional=frozenset({"roles"}))
    peer = make_peer(mapping)
    await peer.install()
    assert "roles" not in (await peer.held_fields())[Kind.USER]
    app.run("ALTER TABLE users ADD COLUMN role TEXT")
    assert (await peer.status()).state is CaptureState.OUTDATED
    assert (await peer.install()).state is CaptureState.INSTALLED
    assert "roles" in (await peer.held_fields())[Kind.USER]


async def test_a_database_belongs_to_one_peer(app: SqliteApp, peer: SqlitePeer, make_peer: MakePeer) -> None:
    """Two would exchange each other's triggers and trim each other's rows."""
    with pytest.raises(PeerError, match="captured for the peer app"):
        await make_peer(name="other").install()


async def test_a_table_that_does_not_exist_is_named(app: SqliteApp, make_peer: MakePeer, users: TableMapping) -> None:
    """The operator has to know what to correct."""
    with pytest.raises(SchemaMismatch, match="the table persons is needed and there is none"):
        await make_peer(msgspec.structs.replace(users, table="persons")).install()


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_the_journal_is_the_applications_own(tmp_path: Path, users: TableMapping, mode: str) -> None:
    """We write in whichever mode we find, and never checkpoint: not after 1,000 pages, not on closing."""
    with SqliteApp(tmp_path / "app.db") as app:
        app.run(f"PRAGMA journal_mode = {mode}")
        app.run("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, avatar, verified INTEGER)")
    size_bytes = (tmp_path / "app.db").stat().st_size
    peer = SqlitePeer(PeerName("app"), tmp_path / "app.db", [users], FakeClock())
    await peer.install()
    for number in range(20):
        write = create_of(number, picture="x" * 300_000)
        assert [one.effect for one in await peer.target.write([write])] == [Effect.WRITTEN]
    await peer.close()
    if mode == "wal":
        assert (tmp_path / "app.db").stat().st_size == size_bytes
        assert (tmp_path / "app.db-wal").stat().st_size > 4096 * 1000
    with SqliteApp(tmp_path / "app.db") as app:
        assert app.run("PRAGMA journal_mode") == [[mode]]
        assert app.run("SELECT count(*) FROM users") == [[20]]


async def test_the_application_keeps_writing_while_a_large_table_is_rung_for(
    app: SqliteApp, make_peer: MakePeer
) -> None:
    """The lock is held for milliseconds, and let go long enough for others to take it."""
    app.run("PRAGMA busy_timeout = 5000")
    app.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
        " INSERT INTO users (id, email) SELECT i, 'u' || i FROM n"
    )
    peer = make_peer(pace=Pace(transaction_s=0.01))

    async def share_of_the_longest_wait() -> float:
        began_at, slowest_s = time.monotonic(), 0.0
        installing = asyncio.create_task(peer.install())
        while not installing.done():
            asked_at = time.monotonic()
            await asyncio.to_thread(app.run, "UPDATE users SET name = 'x' || coalesce(name, '') WHERE id = 1")
            slowest_s = max(slowest_s, time.monotonic() - asked_at)
        share = slowest_s / (time.monotonic() - began_at)
        assert (await installing).waiting >= 100_000
        await peer.remove()
        return share

    # One run may be unlucky on a busy machine; without a pause every run is.
    assert min([await share_of_the_longest_wait() for _ in range(3)]) < 0.5


async def test_a_restored_file_is_noticed_without_a_restart(app: SqliteApp, peer: SqlitePeer, path: Path) -> None:
    """The path leads to another file than the one that is open."""
    app.run("INSERT INTO users (email) VALUES ('a@example.com')")
    app.run("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    app.run("UPDATE users SET name = 'lost'")
    batch = await read(peer)
    app.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    backup.replace(path)
    found = await peer.source.read(batch.position, 10)
    assert isinstance(found, Rewound)
    await peer.source.start_over()
    assert (await read(peer)).rings == ((Kind.USER, "1"),)
