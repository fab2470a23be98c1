"""The real Better Auth server: what it stores, what others see of it, how it bears another writer.

The connector's triggers and writes rest on these facts. Needs Node: `make test-all`.
"""

import asyncio
import re
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import orjson
import pytest

from idsync.errors import PeerError
from idsync.testing.better_auth import ADMIN_EMAIL, BetterAuthServer, CallRefused
from idsync.testing.postgres import PostgresServer

pytestmark = pytest.mark.node

DIRECTORY = Path(__file__).parents[2] / "examples" / "better-auth"
PASSWORD = "a long enough password"
FAST = {"FAST_HASH": "1"}

ID = re.compile(r"[0-9A-Za-z]{32}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""How every time is stored: text, UTC, milliseconds."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "auth.db"


@pytest.fixture
async def server(database: Path) -> AsyncIterator[BetterAuthServer]:
    """Run a server with a cheap password hash."""
    async with BetterAuthServer(DIRECTORY, database, FAST) as running:
        yield running


def connect(database: Path) -> apsw.Connection:
    """Open the server's file as any other process would."""
    connection = apsw.Connection(str(database))
    connection.set_busy_timeout(5000)
    return connection


def query(database: Path, sql: str, *bindings: str) -> list[dict[str, Any]]:
    """Read rows as they are stored."""
    with closing(connect(database)) as connection:
        cursor = connection.execute(sql, bindings)
        return [dict(zip((name for name, _ in cursor.get_description()), row, strict=True)) for row in cursor]


def schema(connection: apsw.Connection) -> list[Any]:
    """List every statement of the schema, in the order of creation."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid").fetchall()


async def postgres_schema(url: str) -> set[tuple[Any, ...]]:
    """List every column, constraint and index of a PostgreSQL database."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("""
        SELECT attrelid::regclass::text AS one, attnum || ' ' || attname || ' ' || attnotnull AS two,
          format_type(atttypid, atttypmod) AS three, pg_get_expr(adbin, adrelid) AS four
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0
        UNION ALL
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT tablename, indexname, indexdef, NULL FROM pg_indexes WHERE schemaname = 'public'
    """)
    await connection.close()
    return {tuple(row) for row in rows}


def take_instants(row: dict[str, Any], *columns: str) -> None:
    """Check that these columns hold instants, and drop them."""
    for column in columns:
        assert INSTANT.fullmatch(row.pop(column)), column


@contextmanager
def another_writer(database: Path, hold_s: float, pause_s: float) -> Iterator[None]:
    """Commit without end from outside, with the write lock held for `hold_s` each time."""
    stopped = threading.Event()
    begun = threading.Event()

    def write() -> None:
        with closing(connect(database)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS foreign_rows (value INTEGER)")
            while not stopped.wait(pause_s):
                with connection:
                    connection.execute("INSERT INTO foreign_rows VALUES (1)")
                    stopped.wait(hold_s)
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert begun.wait(10)
        yield
    finally:
        stopped.set()
        thread.join()


async def test_server_creates_the_schema_we_ship(database: Path) -> None:
    """A file that was migrated twice, in WAL mode, holds schema.sql to the letter."""
    for _ in range(2):
        async with BetterAuthServer(DIRECTORY, database, FAST) as server:
            assert len(await server.list_users()) == 1
    shipped = apsw.Connection(":memory:")
    shipped.execute((DIRECTORY / "schema.sql").read_text())
    assert schema(connect(database)) == schema(shipped)
    assert query(database, "PRAGMA journal_mode") == [{"journal_mode": "wal"}]


async def test_server_creates_the_postgres_schema_we_ship(postgres_url: str, postgres: PostgresServer) -> None:
    """What it makes of an empty database is what schema.postgres.sql makes, to the last column and index."""
    shipped = await postgres.new_database()
    async with BetterAuthServer(DIRECTORY, postgres_url, FAST) as server:
        assert len(await server.list_users()) == 1
    connection = await asyncpg.connect(shipped)
    await connection.execute((DIRECTORY / "schema.postgres.sql").read_text())
    await connection.close()
    assert await postgres_schema(postgres_url) == await postgres_schema(shipped)
    await postgres.drop_database(shipped)


async def test_sign_up_stores_text_integers_and_iso_times(server: BetterAuthServer, database: Path) -> None:
    """Booleans are 0 and 1, times are text, the e-mail is lower case, ids are 32 letters and digits."""
    ann = await server.sign_up("Ann@Example.com", PASSWORD, "Ann")
    [user] = query(database, "SELECT * FROM user WHERE id = ?", ann.user_id)
    take_instants(user, "createdAt", "updatedAt")
    assert ID.fullmatch(user.pop("id"))
    assert user == {
        "name": "Ann",
        "email": "ann@example.com",
        "emailVerified": 0,
        "image": None,
        "role": "user",
        "banned": 0,
        "banReason": None,
        "banExpires": None,
    }
    [account] = query(database, "SELECT * FROM account WHERE userId = ?", ann.user_id)
    assert (account["providerId"], account["accountId"]) == ("credential", ann.user_id)
    [session] = query(database, "SELECT * FROM session WHERE userId = ?", ann.user_id)
    assert session["token"] == ann.token
    take_instants(session, "createdAt", "updatedAt", "expiresAt")


async def test_updates_move_updated_at_and_nothing_else_than_asked(server: BetterAuthServer, database: Path) -> None:
    """Own and administrative updates change the columns they name; an equal value still moves `updatedAt`."""
    ann = await server.sign_up("ann@example.com", PASSWORD, "Ann")
    await server.update_user(ann.token, {"name": "Ann B", "image": "https://example.com/a.png"})
    await server.change_email(ann.token, "Ann.B@example.com")
    await server.admin_update_user(ann.user_id, {"emailVerified": True, "role": ["user", "admin"]})
    [before] = query(database, "SELECT * FROM user WHERE id = ?", ann.user_id)
    assert (before["name"], before["email"]) == ("Ann B", "ann.b@example.com")
    assert (before["emailVerified"], before["role"]) == (1, "user,admin")
    assert before["image"] == "https://example.com/a.png"
    await server.update_user(ann.token, {"name": "Ann B", "image": None})
    [after] = query(database, "SELECT * FROM user WHERE id = ?", ann.user_id)
    assert after.pop("updatedAt") > before.pop("updatedAt")
    assert after == before | {"image": None}


async def test_ban_sets_three_columns_and_ends_the_sessions(server: BetterAuthServer, database: Path) -> None:
    """A ban with an end, lifted, then one without end and without a reason."""
    ann = await server.sign_up("ann@example.com", PASSWORD, "Ann")
    bans = "SELECT banned, banReason, banExpires FROM user WHERE id = ?"
    await server.ban_user(ann.user_id, reason="spam", expires_in_s=3600)
    [ban] = query(database, bans, ann.user_id)
    take_instants(ban, "banExpires")
    assert ban == {"banned": 1, "banReason": "spam"}
    assert query(database, "SELECT id FROM session WHERE userId = ?", ann.user_id) == []
    with pytest.raises(CallRefused, match="403 BANNED_USER"):
        await server.sign_in("ann@example.com", PASSWORD)
    await server.unban_user(ann.user_id)
    assert query(database, bans, ann.user_id) == [{"banned": 0, "banReason": None, "banExpires": None}]
    await server.ban_user(ann.user_id)
    assert query(database, bans, ann.user_id) == [{"banned": 1, "banReason": "No reason", "banExpires": None}]


async def test_sign_out_deletes_one_session_only(server: BetterAuthServer, database: Path) -> None:
    """The other session of the user lives on."""
    first = await server.sign_up("ann@example.com", PASSWORD, "Ann")
    second = await server.sign_in("ann@example.com", PASSWORD)
    await server.sign_out(first.token)
    tokens = query(database, "SELECT token FROM session WHERE userId = ?", first.user_id)
    assert tokens == [{"token": second.token}]


async def test_removed_user_leaves_the_organization_without_a_member(server: BetterAuthServer, database: Path) -> None:
    """Sessions, accounts and memberships go with the user; the organization and other users stay."""
    ann = await server.sign_up("ann@example.com", PASSWORD, "Ann")
    bob = await server.create_user("bob@example.com", "Bob", {"id": "bob", "emailVerified": True})
    acme = await server.create_organization(ann.token, "Acme", "acme")
    [member] = query(database, "SELECT * FROM member")
    take_instants(member, "createdAt")
    assert ID.fullmatch(member.pop("id"))
    assert member == {"organizationId": acme, "userId": ann.user_id, "role": "owner"}
    await server.remove_user(ann.user_id)
    for table in ("session", "account", "member"):
        mine = f"SELECT * FROM {table} WHERE userId = ?"  # noqa: S608 - three names of our own
        assert query(database, mine, ann.user_id) == [], table
    [organization] = query(database, "SELECT * FROM organization")
    take_instants(organization, "createdAt")
    assert organization == {"id": acme, "name": "Acme", "slug": "acme", "logo": None, "metadata": None}
    assert {user["id"] for user in await server.list_users()} - {server.admin.user_id} == {bob}


async def test_another_process_sees_each_commit_by_data_version(server: BetterAuthServer, database: Path) -> None:
    """`PRAGMA data_version` moves with a write and stands still with a read."""
    watcher = connect(database)
    before = watcher.pragma("data_version")
    await server.list_users()
    assert watcher.pragma("data_version") == before
    await server.create_user("ann@example.com", "Ann")
    assert watcher.pragma("data_version") != before


async def test_write_locks_of_20_ms_elsewhere_refuse_no_call(server: BetterAuthServer, database: Path) -> None:
    """Another process that holds the write lock for 20 ms, again and again, only makes calls slower."""
    with another_writer(database, hold_s=0.02, pause_s=0.02):
        signed_up = await asyncio.gather(
            *(server.sign_up(f"{number}@example.com", PASSWORD, "Someone") for number in range(30))
        )
        for someone in signed_up:
            await server.update_user(someone.token, {"name": "Someone else"})
            await server.ban_user(someone.user_id)
    assert {status for _, status in server.statuses} == {200}


async def test_deferred_sign_up_is_refused_when_another_process_commits(database: Path) -> None:
    """Why TRANSACTION is not `deferred`: a commit while the password is hashed makes the snapshot old."""
    settings = {"FAST_HASH": "0", "TRANSACTION": "deferred"}
    async with BetterAuthServer(DIRECTORY, database, settings) as server:
        with another_writer(database, hold_s=0, pause_s=0.002), pytest.raises(CallRefused) as refused:
            await server.sign_up("ann@example.com", PASSWORD, "Ann")
        assert (refused.value.status, refused.value.code) == (422, "FAILED_TO_CREATE_USER")
        assert server.statuses["/sign-up/email", 422] == 1
        assert query(database, "SELECT email FROM user") == [{"email": ADMIN_EMAIL}]


async def test_server_without_its_packages_says_why_it_does_not_start(tmp_path: Path, database: Path) -> None:
    """The error ends with what Node printed."""
    shutil.copy(DIRECTORY / "server.mjs", tmp_path)
    with pytest.raises(PeerError, match="ERR_MODULE_NOT_FOUND"):
        async with BetterAuthServer(tmp_path, database):
            pytest.fail("it started")


def test_lock_file_names_no_registry() -> None:
    """The packages come from whatever registry npm is set to, checked by their hashes."""
    packages = orjson.loads((DIRECTORY / "package-lock.json").read_bytes())["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)
