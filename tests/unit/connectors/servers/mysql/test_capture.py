"""What capture puts into an application's MariaDB database, what it notices, and what it never does to it."""

import pytest

from idsync.connectors.sql_mysql import capture
from idsync.connectors.sql_mysql.capture import BROKEN
from idsync.connectors.tables.captured import CaptureState
from idsync.connectors.tables.mapping import TableMapping
from idsync.errors import CaptureMissing, PeerError, SchemaMismatch
from idsync.model.event import Op
from idsync.model.values import Kind
from tests.servers import MariadbApp
from tests.unit.connectors.servers.app import PEOPLE, PLAIN, MakePeer, observed, read
from tests.unit.connectors.servers.conftest import Capture, Connect

pytestmark = pytest.mark.long

OURS = "SHOW TABLES LIKE 'idsync%%'"
TRIGGERS = "SELECT trigger_name, created FROM information_schema.triggers WHERE trigger_schema = database()"
SEEN = """
    SELECT op, id, json_value(CAST(old AS char), '$.name'), json_value(CAST(new AS char), '$.name')
    FROM idsync_app_outbox WHERE op <> 'ring' ORDER BY seq
"""
TEAMS = """
CREATE TABLE teams (id int PRIMARY KEY, name varchar(100));
CREATE TABLE people (
  id int PRIMARY KEY, email varchar(100), name varchar(100), team int,
  CONSTRAINT by_team FOREIGN KEY (team) REFERENCES teams (id) ON DELETE CASCADE
);
"""
TEAM = TableMapping(kind=Kind.ORGANIZATION, table="teams", fields={"name": "name"})


async def test_install_rings_for_every_row_and_is_safe_to_repeat(app: MariadbApp, make_peer: MakePeer) -> None:
    """The second time nothing changes: not the generation, not the outbox, not a trigger."""
    await app.script(PLAIN + "INSERT INTO people (id) SELECT seq FROM seq_1_to_2500;\n")  # noqa: S608
    peer = make_peer()
    first = await peer.install()
    assert first.state is CaptureState.INSTALLED
    assert (first.waiting, first.ringing, first.warnings) == (2_500, (), ())
    triggers = await app.run(TRIGGERS)
    assert len(triggers) == 5
    assert await peer.install() == first
    assert await app.run(TRIGGERS) == triggers
    rings = [external_id for _, external_id in (await read(peer, None, 10_000)).rings]
    assert sorted(map(int, rings)) == list(range(1, 2_501))


async def test_ringing_goes_on_where_it_was_interrupted(captured: Capture, app: MariadbApp) -> None:
    """Only the keys past the last that was rung for."""
    peer = await captured(PLAIN + "INSERT INTO people (id) SELECT seq FROM seq_1_to_12;\n")  # noqa: S608
    position = (await read(peer)).position
    await app.run("INSERT INTO idsync_app_rings VALUES ('user', '9')")
    assert (await peer.status()).ringing == ("user",)
    await peer.install()
    assert [external_id for _, external_id in (await read(peer, position)).rings] == ["10", "11", "12"]


async def test_remove_takes_everything_away(captured: Capture, app: MariadbApp) -> None:
    """And what is not there can be removed, and installed anew."""
    peer = await captured(PLAIN)
    await peer.remove()
    assert await app.run(OURS) == []
    assert await app.run(TRIGGERS) == []
    await app.run("INSERT INTO people (id) VALUES (1)")
    assert (await peer.status()).state is CaptureState.ABSENT
    await peer.remove()
    assert (await peer.install()).state is CaptureState.INSTALLED


async def test_trigger_that_is_dropped_is_noticed_named_and_repaired(captured: Capture, app: MariadbApp) -> None:
    """Neither is read nor written meanwhile; the rows that waited are kept."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people (id) VALUES (1)")
    name = str((await app.run(TRIGGERS))[0][0])
    await app.run(f"DROP TRIGGER {name}")
    with pytest.raises(CaptureMissing, match=name):
        await peer.source.read(None, 10)
    with pytest.raises(CaptureMissing):
        await peer.target.write([])
    assert (await peer.status()).differs == (name,)
    assert (await peer.install()).state is CaptureState.INSTALLED
    batch = await read(peer)
    assert [one.external_id for one in batch.observations] == ["1"]
    assert [external_id for _, external_id in batch.rings] == ["1"]


@pytest.mark.parametrize("change", ["DROP COLUMN name", "RENAME COLUMN name TO title"])
async def test_statements_of_the_application_work_without_a_column_of_ours(
    captured: Capture, app: MariadbApp, change: str
) -> None:
    """The rows that could not be read are noticed, and rung for once the configuration fits again."""
    peer = await captured(PLAIN)
    await app.run(f"ALTER TABLE people {change}")
    await app.run("INSERT INTO people (id, email) VALUES (1, 'a'), (2, 'b')")
    await app.run("UPDATE people SET email = 'c' WHERE id = 1")
    await app.run("DELETE FROM people WHERE id = 2")
    with pytest.raises(SchemaMismatch, match="name"):
        await peer.source.read(None, 10)
    await app.run("ALTER TABLE people ADD COLUMN IF NOT EXISTS name varchar(100)")
    with pytest.raises(CaptureMissing, match=BROKEN):
        await peer.source.read(None, 10)
    await peer.install()
    assert [external_id for _, external_id in (await read(peer)).rings][-1] == "1"


async def test_only_mapped_columns_leave_the_table(captured: Capture, app: MariadbApp) -> None:
    """A change of any other is none for us."""
    peer = await captured(PLAIN.replace(");", ", password text);"))
    await app.run("INSERT INTO people VALUES (1, 'a', 'Ada', 'secret')")
    await app.run("UPDATE people SET password = 'hidden'")
    assert len(await observed(peer)) == 1
    assert "secret" not in str(await app.run("SELECT CAST(new AS char) FROM idsync_app_outbox"))


async def test_what_every_statement_leaves(captured: Capture, app: MariadbApp) -> None:
    """Those of MySQL's own too: REPLACE is a deletion and a creation, ON DUPLICATE KEY a change."""
    await captured(PLAIN)
    await app.run("INSERT INTO people VALUES (1, 'a', 'Ada')")
    await app.run("INSERT INTO people VALUES (1, 'b', 'Bob') ON DUPLICATE KEY UPDATE name = 'Bea'")
    await app.run("INSERT IGNORE INTO people VALUES (1, 'c', 'Cem')")
    await app.run("UPDATE people SET name = 'bea'")
    await app.run("UPDATE people SET name = 'bea'")
    await app.run("REPLACE INTO people VALUES (1, 'd', 'Dan')")
    await app.run("UPDATE people SET id = 2")
    await app.run("DELETE FROM people")
    assert await app.run(SEEN) == [
        ["created", b"1", None, "Ada"],
        ["updated", b"1", "Ada", "Bea"],
        ["updated", b"1", "Bea", "bea"],
        ["deleted", b"1", "bea", None],
        ["created", b"1", None, "Dan"],
        ["deleted", b"1", "Dan", None],
        ["created", b"2", None, "Dan"],
        ["deleted", b"2", "Dan", None],
    ]


async def test_old_row_is_what_the_statement_saw_in_a_long_transaction(
    captured: Capture, app: MariadbApp, connect: Connect
) -> None:
    """Its snapshot is older than what it changes."""
    await captured(PLAIN + "INSERT INTO people VALUES (1, 'a', 'Ada');\n")  # noqa: S608
    long = await connect()
    await long.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    await long.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    await app.run("UPDATE people SET name = 'Bea'")
    await long.run("UPDATE people SET name = 'Cem'")
    await long.run("COMMIT")
    assert (await app.run(SEEN))[-1] == ["updated", b"1", "Bea", "Cem"]


async def test_what_is_undone_leaves_nothing(captured: Capture, app: MariadbApp) -> None:
    """Neither a transaction nor a savepoint."""
    peer = await captured(PLAIN)
    await app.run("START TRANSACTION")
    await app.run("INSERT INTO people (id) VALUES (1)")
    await app.run("SAVEPOINT s")
    await app.run("INSERT INTO people (id) VALUES (2)")
    await app.run("ROLLBACK TO SAVEPOINT s")
    await app.run("COMMIT")
    assert [one.external_id for one in await observed(peer)] == ["1"]


async def test_rows_that_the_database_removes_with_a_captured_one_are_rung_for(
    app: MariadbApp, make_peer: MakePeer
) -> None:
    """No trigger fires for a cascade."""
    await app.script(TEAMS)
    peer = make_peer(PEOPLE, TEAM)
    assert (await peer.install()).warnings == ()
    await app.run("INSERT INTO teams VALUES (1, 'one'), (2, 'two')")
    await app.run("INSERT INTO people (id, team) VALUES (1, 1), (2, 1), (3, 2)")
    position = (await read(peer)).position
    await app.run("DELETE FROM teams WHERE id = 1")
    batch = await read(peer, position)
    assert [(one.kind, one.op) for one in batch.observations] == [(Kind.ORGANIZATION, Op.DELETED)]
    assert batch.rings == ((Kind.USER, "1"), (Kind.USER, "2"))


@pytest.mark.parametrize("rule", ["ON DELETE CASCADE", "ON UPDATE CASCADE"])
async def test_cascade_that_cannot_be_seen_is_warned_of(app: MariadbApp, make_peer: MakePeer, rule: str) -> None:
    """From a table that is not captured, or by a change of its key: the constraint is named."""
    await app.script(TEAMS.replace("ON DELETE CASCADE", rule))
    mapping = TableMapping(kind=Kind.USER, table="people", fields={"name": "name", "team": "team"})
    (warning,) = (await make_peer(mapping).install()).warnings
    assert "by_team" in warning


@pytest.mark.parametrize(
    "value", ["repeat('x', 5000000)", "'\\0\\\\\\'\"\\n'", "json_quote('1')", "NULL", "'\N{GRINNING FACE}'"]
)
async def test_values_that_cannot_be_told_do_not_fail_the_statement(
    captured: Capture, app: MariadbApp, value: str
) -> None:
    """They are refused, once, or come as they are."""
    peer = await captured(PLAIN.replace("name varchar(100)", "name longtext, photo longblob"))
    await app.run(f"INSERT INTO people (id, name, photo) VALUES (1, {value}, x'00ff')")  # noqa: S608
    assert len(await observed(peer)) == 1


async def test_row_that_is_too_big_to_be_told_is_rung_for(captured: Capture, app: MariadbApp) -> None:
    """Each value may leave, all of them together exceed what the server puts together."""
    names = [f"n{number}" for number in range(6)]
    columns = ", ".join(f"{name} longtext" for name in names)
    mapping = TableMapping(kind=Kind.USER, table="people", fields={name: name for name in names})
    peer = await captured(f"CREATE TABLE people (id int PRIMARY KEY, {columns});\n", mapping)
    await app.run("INSERT INTO people (id, n0) VALUES (1, repeat('x', 3000000))")
    await app.run(f"UPDATE people SET {', '.join(f'{name} = repeat(0x78, 3000000)' for name in names)}")  # noqa: S608
    batch = await read(peer)
    assert len(batch.observations) == 1
    assert batch.rings == ((Kind.USER, "1"),)


async def test_names_of_columns_do_not_matter(captured: Capture, app: MariadbApp) -> None:
    """Quotes of every kind, signs that are none, words of SQL."""
    mapping = TableMapping(kind=Kind.USER, table='100% "user"', fields={"name": "it's `a` \\ %s", "email": "order"})
    names = '`100% "user"` (id int PRIMARY KEY, `it\'s ``a`` \\ %s` varchar(10), `order` varchar(10))'
    peer = await captured(f"CREATE TABLE {names};\n", mapping)
    await app.script("INSERT INTO `100% \"user\"` VALUES (1, 'Ada', 'a');\n")
    (one,) = await observed(peer)
    assert (one.fields["name"], one.fields["email"]) == ("Ada", "a")


async def test_two_peers_share_a_database(app: MariadbApp, make_peer: MakePeer) -> None:
    """Each has its own outbox, and one is removed without the other."""
    await app.script(PLAIN)
    one, other = make_peer(), make_peer(name="app_user")
    await one.install()
    await other.install()
    await app.run("INSERT INTO people (id) VALUES (1)")
    assert len(await observed(one)) == len(await observed(other)) == 1
    await one.remove()
    assert (await other.status()).state is CaptureState.INSTALLED


async def test_lock_that_somebody_holds_is_told(
    app: MariadbApp, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that has used the table keeps its triggers from being changed; later it works."""
    monkeypatch.setattr(capture, "LOCK_S", 1)
    monkeypatch.setattr(capture, "LOCK_TRIES_MAX", 1)
    await app.script(PLAIN)
    await app.run("START TRANSACTION")
    await app.run("SELECT * FROM people")
    with pytest.raises(PeerError, match="lock"):
        await make_peer().install()
    await app.run("COMMIT")
    assert (await make_peer().install()).state is CaptureState.INSTALLED


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("CREATE TABLE people (id int, email text, name text);\n", "no primary key"),
        ("CREATE TABLE people (id int PRIMARY KEY, email text, name text) ENGINE = MyISAM;\n", "no table of InnoDB"),
        ("CREATE TABLE people (id varbinary(9) PRIMARY KEY, email text, name text);\n", "binary"),
        ("CREATE VIEW people AS SELECT 1 AS id;\n", "no table of InnoDB"),
        ("CREATE TABLE others (id int);\n", "none in the database"),
    ],
)
async def test_what_cannot_be_captured_is_refused_with_a_reason(
    app: MariadbApp, make_peer: MakePeer, schema: str, why: str
) -> None:
    """Nothing is made then."""
    await app.script(schema)
    with pytest.raises(SchemaMismatch, match=why):
        await make_peer().install()
    assert await app.run(OURS) == []


async def test_key_that_nothing_makes_unique_is_refused(app: MariadbApp, make_peer: MakePeer) -> None:
    """The triggers find the row by it."""
    await app.script(PLAIN)
    mapping = TableMapping(kind=Kind.USER, table="people", key="email", fields={"name": "name"})
    with pytest.raises(SchemaMismatch, match="unique"):
        await make_peer(mapping).install()


async def test_user_without_rights_is_told_which(app: MariadbApp, make_peer: MakePeer) -> None:
    """And nothing of what the server said, which may quote values."""
    await app.script(PLAIN)
    name = app.url.rpartition("/")[2]
    await app.run("CREATE OR REPLACE USER poor IDENTIFIED BY 'hunter2'")
    await app.run(f"GRANT SELECT ON {name}.* TO poor")
    url = app.url.replace("root@", "poor:hunter2@")
    with pytest.raises(PeerError, match="lacks a right: it needs") as raised:
        await make_peer(url=url).install()
    assert "hunter2" not in str(raised.value)


def test_peer_name_that_mysql_would_refuse_is_refused(make_peer: MakePeer) -> None:
    """Names have at most 64 characters there."""
    with pytest.raises(PeerError, match="too long"):
        make_peer(name="a" * 60)
