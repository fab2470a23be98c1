"""What capture puts into an application's PostgreSQL database, what it notices, and what it never does to it."""

import asyncpg
import pytest

from idsync.connectors.sql_postgres.capture import BROKEN
from idsync.connectors.tables.captured import CaptureState
from idsync.connectors.tables.mapping import TableMapping
from idsync.errors import CaptureMissing, PeerError, SchemaMismatch
from idsync.model.event import Op
from idsync.model.values import Kind
from idsync.testing.postgres import PostgresServer, open_postgres
from tests.servers import PostgresApp
from tests.unit.connectors.servers.app import PEOPLE, PLAIN, MakePeer, observed, read
from tests.unit.connectors.servers.conftest import Capture, Connect

OURS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'idsync%'"
TRIGGERS = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'idsync%'"
SEEN = "SELECT op, id, old->>'name', new->>'name' FROM idsync_app.outbox ORDER BY seq"


ONE = "INSERT INTO people VALUES (1, 'a', 'Ada');"
TWO = "INSERT INTO people VALUES (1), (2);"
MANY = "INSERT INTO people SELECT n FROM generate_series(1, {}) AS n"


async def test_install_rings_for_every_row_and_is_safe_to_repeat(app: PostgresApp, make_peer: MakePeer) -> None:
    """The second time nothing changes: not the generation, not the outbox, not a trigger."""
    await app.script(PLAIN + MANY.format(2_500))
    peer = make_peer()
    first = await peer.install()
    assert first.state is CaptureState.INSTALLED
    assert (first.waiting, first.ringing) == (2_500, ())
    triggers = await app.run("SELECT oid FROM pg_trigger WHERE NOT tgisinternal")
    assert await peer.install() == first
    assert await app.run("SELECT oid FROM pg_trigger WHERE NOT tgisinternal") == triggers
    assert len({external_id for _, external_id in (await read(peer, None, 10_000)).rings}) == 2_500


async def test_ringing_goes_on_where_it_was_interrupted(captured: Capture, app: PostgresApp) -> None:
    """Only the keys past the last that was rung for."""
    peer = await captured(PLAIN + MANY.format(5))
    position = (await read(peer)).position
    await app.run("INSERT INTO idsync_app.rings VALUES ('user', '3')")
    assert (await peer.status()).ringing == ("user",)
    await peer.install()
    assert [external_id for _, external_id in (await read(peer, position)).rings] == ["4", "5"]


async def test_remove_takes_everything_away(captured: Capture, app: PostgresApp) -> None:
    """And what is not there can be removed, and installed anew."""
    peer = await captured(PLAIN)
    await peer.remove()
    assert await app.run(OURS) == []
    assert await app.run(TRIGGERS) == []
    await app.run("INSERT INTO people VALUES (1)")
    assert (await peer.status()).state is CaptureState.ABSENT
    with pytest.raises(CaptureMissing, match="absent"):
        await peer.source.read(None, 10)
    await peer.remove()
    assert (await peer.install()).state is CaptureState.INSTALLED
    await app.run("INSERT INTO people VALUES (2)")
    assert [one.external_id for one in await observed(peer)] == ["2"]


REPLACED = """
    CREATE OR REPLACE FUNCTION idsync_app.capture_user() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
"""


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("ALTER TABLE people DISABLE TRIGGER idsync_app_user_write", "idsync_app_user_write"),
        ("ALTER TABLE people ENABLE TRIGGER idsync_app_user_write", "idsync_app_user_write"),
        ("DROP TRIGGER idsync_app_user_clear ON people", "idsync_app_user_clear"),
        (REPLACED, "capture_user"),
        ("ALTER TABLE people ALTER id TYPE text", "capture_user"),
        ("INSERT INTO idsync_app.outbox (kind, op) VALUES ('user', 'broken')", BROKEN),
    ],
    ids=["disabled", "not always", "dropped", "replaced", "retyped", "broken"],
)
async def test_damage_is_noticed_named_and_repaired(
    captured: Capture, app: PostgresApp, damage: str, named: str
) -> None:
    """At once, by who is already connected; the repair rings for what may have been missed."""
    peer = await captured(PLAIN + ONE)
    position = (await read(peer)).position
    await app.run(damage)
    with pytest.raises(CaptureMissing, match=named):
        await peer.source.read(position, 10)
    status = await peer.status()
    assert status.state is CaptureState.OUTDATED
    assert any(named in one for one in status.differs)
    repaired = await peer.install()
    assert (repaired.state, repaired.differs) == (CaptureState.INSTALLED, ())
    assert [external_id for _, external_id in (await read(peer, position)).rings] == ["1"]


async def test_migrations_of_the_application_work_and_so_do_its_statements(captured: Capture, app: PostgresApp) -> None:
    """Whatever becomes of the columns that we capture: we stop, and ring for everybody once that is put right."""
    peer = await captured(PLAIN + ONE)
    position = (await read(peer)).position
    await app.run("ALTER TABLE people ALTER name TYPE varchar(100)")
    await app.run("ALTER TABLE people RENAME email TO mail")
    await app.run("UPDATE people SET mail = 'renamed'")
    with pytest.raises(SchemaMismatch, match="email"):
        await peer.source.read(position, 10)
    await app.run("ALTER TABLE people DROP COLUMN mail")
    await app.run("INSERT INTO people VALUES (2)")
    await app.run("ALTER TABLE people ADD COLUMN email text")
    with pytest.raises(CaptureMissing):
        await peer.source.read(position, 10)
    await peer.install()
    assert {external_id for _, external_id in (await read(peer, position)).rings} == {"1", "2"}


async def test_right_that_is_taken_from_us_harms_only_us(
    app: PostgresApp, make_peer: MakePeer, server_url: str
) -> None:
    """Nobody sees it in the catalogue: the trigger itself says that it could not read the row."""
    await app.script(
        "DROP ROLE IF EXISTS owner; CREATE ROLE owner LOGIN; CREATE SCHEMA theirs AUTHORIZATION owner;"
        f"GRANT CREATE ON DATABASE {server_url.rpartition('/')[2]} TO owner;"
        "ALTER ROLE owner SET search_path = theirs;"
    )
    peer = make_peer(url=server_url.replace("postgres@", "owner@"))
    try:
        await app.script("SET ROLE owner; SET search_path = theirs;" + PLAIN + "RESET ROLE")
        await peer.install()
        await app.script("REVOKE SELECT ON people FROM owner")
        await app.run("INSERT INTO people VALUES (1)")
        await app.script("GRANT SELECT ON people TO owner")
        with pytest.raises(CaptureMissing, match=BROKEN):
            await peer.source.read(None, 10)
        await peer.install()
        assert [external_id for _, external_id in (await read(peer)).rings] == ["1"]
    finally:
        await peer.close()
        await app.script("DROP OWNED BY owner CASCADE; DROP ROLE owner")


async def test_only_mapped_columns_leave_the_table(captured: Capture, app: PostgresApp) -> None:
    """A change of another column is not even noticed."""
    peer = await captured("CREATE TABLE people (id integer PRIMARY KEY, email text, name text, password text);")
    await app.run("INSERT INTO people VALUES (1, 'a@example.com', 'Ada', 'secret')")
    await app.run("UPDATE people SET password = 'secret too'")
    await app.run("UPDATE people SET name = 'Eve', password = 'secret three'")
    assert "secret" not in str(await app.run("SELECT old::text, new::text FROM idsync_app.outbox"))
    assert [one.op for one in await observed(peer)] == [Op.CREATED, Op.UPDATED]


async def test_whoever_writes_is_captured_whatever_his_rights(captured: Capture, app: PostgresApp) -> None:
    """A role without a right to our schema, a replica's session, row level security, a trap in the search path."""
    peer = await captured(PLAIN)
    await app.script("""
        DROP ROLE IF EXISTS clerk; CREATE ROLE clerk; GRANT SELECT, INSERT, UPDATE ON people TO clerk;
        ALTER TABLE people ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON people USING (true);
        CREATE SCHEMA trap;
        CREATE FUNCTION trap.to_jsonb(text) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"trap"'::jsonb $$;
        GRANT USAGE ON SCHEMA trap TO clerk;
        SET search_path = trap, public, pg_catalog; SET ROLE clerk;
        INSERT INTO people VALUES (1, 'a@example.com', 'Ada');
        RESET ROLE; SET session_replication_role = replica;
        UPDATE people SET name = 'Eve'; RESET session_replication_role; RESET search_path;
    """)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.script("SET ROLE clerk; SELECT * FROM idsync_app.outbox")
    await app.script("RESET ROLE")
    assert [one.fields["name"] for one in await observed(peer)] == ["Ada", "Eve"]
    await app.script("DROP OWNED BY clerk; DROP ROLE clerk")


async def test_rows_that_are_hidden_from_us_are_refused_not_missed(
    app: PostgresApp, make_peer: MakePeer, server_url: str
) -> None:
    """A user whom row level security concerns cannot capture the table."""
    await app.script(
        PLAIN + "ALTER TABLE people ENABLE ROW LEVEL SECURITY; DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN"
    )
    peer = make_peer(url=server_url.replace("postgres@", "guest@"))
    try:
        with pytest.raises(PeerError, match="row level security"):
            await peer.install()
    finally:
        await app.script("DROP ROLE guest")


async def test_user_without_rights_is_told_which(app: PostgresApp, make_peer: MakePeer, server_url: str) -> None:
    """And nothing is left half installed."""
    await app.script(PLAIN + "DROP ROLE IF EXISTS visitor; CREATE ROLE visitor LOGIN")
    peer = make_peer(url=server_url.replace("postgres@", "visitor@"))
    try:
        with pytest.raises(PeerError, match="lacks a right"):
            await peer.install()
    finally:
        await app.script("DROP ROLE visitor")
    assert await app.run(OURS) == []


async def test_what_is_undone_leaves_nothing(captured: Capture, app: PostgresApp) -> None:
    """Neither a transaction nor a savepoint."""
    peer = await captured(PLAIN)
    await app.script("""
        BEGIN; INSERT INTO people VALUES (1); ROLLBACK;
        BEGIN; INSERT INTO people VALUES (2); SAVEPOINT s; INSERT INTO people VALUES (3); ROLLBACK TO s; COMMIT;
    """)
    assert [one.external_id for one in await observed(peer)] == ["2"]


async def test_newest_row_of_the_outbox_shows_the_row_as_it_is(captured: Capture, app: PostgresApp) -> None:
    """Also where triggers of the application change rows again, this one or its neighbour, before ours or after."""
    peer = await captured(PLAIN)
    await app.script("""
        CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          UPDATE people SET name = name || '+' WHERE length(name) < 3; RETURN NULL; END $$;
        CREATE TRIGGER "a tidy" AFTER INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION tidy();
        CREATE TRIGGER "z tidy" AFTER INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION tidy();
        INSERT INTO people VALUES (1, 'a', 'x'), (2, 'b', 'y');
    """)
    assert await app.run("SELECT id, name FROM people ORDER BY id") == [[1, "x++"], [2, "y++"]]
    newest = {one.external_id: one.fields["name"] for one in await observed(peer)}
    assert newest == {"1": "x++", "2": "y++"}


async def test_row_that_gets_another_key_is_deleted_and_created(captured: Capture, app: PostgresApp) -> None:
    """In this order; a key that comes back in the same statement is neither."""
    await captured(PLAIN + ONE)
    await app.run("DELETE FROM idsync_app.outbox")
    await app.run("UPDATE people SET id = 2")
    assert await app.run(SEEN) == [["deleted", "1", "Ada", None], ["created", "2", None, "Ada"]]


async def test_row_that_moves_to_another_partition_is_not_deleted(captured: Capture, app: PostgresApp) -> None:
    """PostgreSQL deletes it in one and inserts it into the other."""
    peer = await captured(
        """
        CREATE TABLE people (id integer, email text, name text) PARTITION BY LIST (name);
        CREATE TABLE p1 PARTITION OF people FOR VALUES IN ('Ada'); CREATE TABLE p2 PARTITION OF people DEFAULT;
        INSERT INTO people VALUES (1, 'a', 'Ada');
    """,
        PEOPLE_BY_ID,
    )
    await app.run("DELETE FROM idsync_app.outbox")
    await app.run("UPDATE people SET name = 'Eve'")
    await app.run("INSERT INTO p1 VALUES (2, 'b', 'Ada')")
    assert await app.run("SELECT op, new->>'name' FROM idsync_app.outbox ORDER BY seq") == [
        ["created", "Eve"],
        ["created", "Ada"],
    ]
    assert any("TRUNCATE" in one for one in (await peer.status()).warnings)


PEOPLE_BY_ID = TableMapping(kind=Kind.USER, table="people", key="id", fields={"email": "email", "name": "name"})


async def test_truncate_rings_for_every_row(captured: Capture, app: PostgresApp) -> None:
    """And a truncate that is undone rings for nobody."""
    peer = await captured(PLAIN + TWO)
    position = (await read(peer)).position
    await app.script("BEGIN; TRUNCATE people; ROLLBACK")
    assert (await read(peer, position)).rings == ()
    await app.script("TRUNCATE people")
    assert [external_id for _, external_id in (await read(peer, position)).rings] == ["1", "2"]


async def test_values_that_cannot_be_told_do_not_fail_the_statement(captured: Capture, app: PostgresApp) -> None:
    """A text of five megabytes, JSON that jsonb refuses, infinity: refused at our side, kept at theirs."""
    mapping = TableMapping(
        kind=Kind.USER,
        table="people",
        fields={"email": "email", "name": "name", "roles": "roles", "ban_expires_at": "until"},
    )
    peer = await captured(
        "CREATE TABLE people (id integer PRIMARY KEY, email text, name text, roles json, until timestamptz);", mapping
    )
    await app.run("INSERT INTO people VALUES (1, 'a', repeat('x', 5000000), '[\"\\u0000\"]', 'infinity')")
    batch = await read(peer)
    assert batch.observations[0].fields == {"email": "a", "roles": ["\x00"]}
    ((_, _, why),) = batch.refused
    assert "name: it is binary, infinite, or longer" in why
    assert "ban_expires_at: it is no instant" in why


async def test_names_of_columns_do_not_matter(captured: Capture, app: PostgresApp) -> None:
    """Those of our own variables, of PL/pgSQL, with quotes, and fifty of them."""
    names = ["writer", "old", 'a "quoted" {one}', "now_s", "id", *(f"c{n}" for n in range(50))]
    columns = ", ".join('"' + name.replace('"', '""') + '" text' for name in names)
    mapping = TableMapping(kind=Kind.USER, table="Odd 'table", fields={f"f{n}": name for n, name in enumerate(names)})
    peer = await captured(f'CREATE TABLE "Odd \'table" ("key" text PRIMARY KEY, {columns})', mapping)
    await app.run("INSERT INTO \"Odd 'table\" (\"key\", writer, c49) VALUES ('k', 'w', 'last')")
    (seen,) = await observed(peer)
    assert (seen.external_id, seen.fields["f0"], seen.fields["f54"]) == ("k", "w", "last")


async def test_two_peers_share_a_database(app: PostgresApp, make_peer: MakePeer) -> None:
    """Each has its own outbox, of its own tables; one can go."""
    await app.script(PLAIN + "CREATE TABLE staff (id integer PRIMARY KEY, email text, name text)")
    first = make_peer(PEOPLE, name="app")
    second = make_peer(TableMapping(kind=Kind.USER, table="staff", fields=PEOPLE.fields), name="crm-2")
    await first.install()
    await second.install()
    await app.script("INSERT INTO people VALUES (1); INSERT INTO staff VALUES (2)")
    assert [one.external_id for one in await observed(first)] == ["1"]
    await first.remove()
    assert [one.external_id for one in await observed(second)] == ["2"]


async def test_lock_that_somebody_holds_is_told_and_nobody_waits_behind_us(
    captured: Capture, app: PostgresApp, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a transaction has the table; afterwards it is installed."""
    monkeypatch.setattr("idsync.connectors.sql_postgres.capture.LOCK_S", 0.05)
    monkeypatch.setattr("idsync.connectors.sql_postgres.capture.LOCK_PAUSE_S", 0.01)
    await app.script(PLAIN)
    other = await connect()
    await other.script("BEGIN; INSERT INTO people VALUES (1)")
    with pytest.raises(PeerError, match="lock"):
        await captured("SELECT 1")
    await other.script("COMMIT")
    peer = await captured("SELECT 1")
    assert [external_id for _, external_id in (await read(peer)).rings] == ["1"]


async def test_prepared_transactions_still_work(make_peer: MakePeer) -> None:
    """PostgreSQL refuses to prepare a transaction that has notified."""
    with open_postgres(options={"max_prepared_transactions": "5"}) as server:
        await _prepare_a_transaction(server, make_peer)


async def _prepare_a_transaction(server: PostgresServer, make_peer: MakePeer) -> None:
    connection = await asyncpg.connect(server.url())
    await connection.execute(PLAIN)
    peer = make_peer(url=server.url())
    await peer.install()
    await connection.execute("BEGIN; INSERT INTO people VALUES (1); PREPARE TRANSACTION 'later'")
    batch = await read(peer)
    assert batch.observations == ()
    await connection.execute("INSERT INTO people VALUES (2)")
    batch = await read(peer, batch.position)
    assert [one.external_id for one in batch.observations] == ["2"]
    await connection.execute("COMMIT PREPARED 'later'")
    assert [one.external_id for one in (await read(peer, batch.position)).observations] == ["1"]
    await peer.close()
    await connection.close()


async def test_peer_name_that_postgresql_would_cut_is_refused(app: PostgresApp, make_peer: MakePeer) -> None:
    """Two such peers could come to share a schema."""
    await app.script(PLAIN)
    with pytest.raises(PeerError, match="too long"):
        await make_peer(name="a" * 50).install()
    with pytest.raises(PeerError, match="too long"):
        make_peer(name="a" * 60)
