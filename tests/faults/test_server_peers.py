"""The whole line between two applications on a database server: what no hook sees arrives too, also across a crash."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from idsync.app import App
from idsync.model.values import PeerName
from idsync.pipeline.reach import Half, unreached
from idsync.testing.postgres import PostgresServer, Shutdown
from idsync.testing.wait import until
from tests.faults.conftest import open_line, working
from tests.servers import Server, connect_app

CONFIGURATION = """
[store]
url = "sqlite:///{folder}/idsync.db"
[ingest]
max_deletes_per_minute = 1000
[peers.auth]
connector = "better-auth"
database = "{url}"
[peers.app]
connector = "sql"
database = "{url}"
[peers.app.user]
table = "users"
key = "id"
link = "auth_id"
fields = {{ email = "email", email_verified = "verified", name = "full_name", roles = "roles" }}
on_ban = "flag:suspended"
[sync.user]
peers = ["auth", "app"]
lifecycle = {{ owner = "auth", others = "propagate" }}
[sync.user.fields]
email = {{ owner = "auth", group = "mail" }}
email_verified = {{ owner = "auth", group = "mail" }}
"""
BETTER_AUTH = Path(__file__).parents[2] / "examples" / "better-auth"
POSTGRES_SCHEMA = f"""
{(BETTER_AUTH / "schema.postgres.sql").read_text()}
CREATE TYPE role AS ENUM ('admin', 'user');
CREATE TABLE users (
  id bigserial PRIMARY KEY, auth_id text UNIQUE, email text UNIQUE, verified boolean NOT NULL DEFAULT false,
  full_name text, roles role[] NOT NULL DEFAULT '{{}}', suspended boolean
);
"""
MARIADB_SCHEMA = f"""
{(BETTER_AUTH / "schema.mysql.sql").read_text()}
CREATE TABLE users (
  id bigint AUTO_INCREMENT PRIMARY KEY, auth_id varchar(36) UNIQUE, email varchar(255) UNIQUE,
  verified boolean NOT NULL DEFAULT false, full_name varchar(255), roles json NOT NULL DEFAULT '[]', suspended boolean
);
"""
SIGN_UP = """
INSERT INTO "user" (id, name, email, "emailVerified", role)
VALUES ('u{0}', 'User {0}', 'u{0}@example.com', true, 'user')
"""

Running = Callable[[], AbstractAsyncContextManager[App]]


class Database:
    """What the applications' people do, each statement on a connection of its own: it survives any crash."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url
        self.roles = "to_json(roles)::text" if isinstance(server, PostgresServer) else "roles"

    async def run(self, sql: str) -> list[list[Any]]:
        """Run one statement and give its rows."""
        app = await connect_app(self.server, self.url)
        try:
            return await app.run(sql)
        finally:
            await app.close()

    async def sign_up(self, number: int) -> None:
        """Somebody new at the identity provider."""
        await self.run(SIGN_UP.format(number))

    async def holds(self, sql: str, *rows: list[object]) -> bool:
        """Whether a query gives exactly these rows."""
        return await self.run(sql) == list(rows)


@pytest.fixture
async def database(server: Server, server_url: str) -> Database:
    """Better Auth's real schema and an application's table, in one database."""
    app = await connect_app(server, server_url)
    await app.script(POSTGRES_SCHEMA if isinstance(server, PostgresServer) else MARIADB_SCHEMA)
    await app.close()
    return Database(server, server_url)


@pytest.fixture
def running(tmp_path: Path, database: Database) -> Running:
    """Run the line, as often as a test likes."""

    @asynccontextmanager
    async def run() -> AsyncIterator[App]:
        line = await open_line(CONFIGURATION.format(folder=tmp_path, url=database.url))
        async with working(line):
            yield line

    return run


async def test_edits_on_both_sides_arrive_on_the_other(running: Running, database: Database) -> None:
    """Who was there before, who comes, what is edited, banned and deleted."""
    await database.sign_up(1)
    users = f"SELECT auth_id, full_name, verified, {database.roles}, suspended FROM users ORDER BY id"  # noqa: S608  # ours
    async with running():
        await until(lambda: database.holds(users, ["u1", "User 1", True, '["user"]', False]))
        await database.run("UPDATE users SET full_name = 'Ada'")
        await until(lambda: database.holds('SELECT name FROM "user"', ["Ada"]))
        await database.run("UPDATE \"user\" SET role = 'admin,user', banned = true, \"banReason\" = 'spam'")
        await until(lambda: database.holds(users, ["u1", "Ada", True, '["admin","user"]', True]))
        await database.run("INSERT INTO users (email, full_name) VALUES ('new@example.com', 'Eve')")
        await until(lambda: database.holds('SELECT name FROM "user" ORDER BY name', ["Ada"], ["Eve"]))
        await database.run("DELETE FROM \"user\" WHERE name = 'Ada'")
        await until(lambda: database.holds("SELECT full_name FROM users", ["Eve"]))


async def test_everybody_is_in_step_after_a_crash_of_the_database(
    running: Running, database: Database, server: Server
) -> None:
    """The server is stopped at once while edits are on their way, and all connections are ended once more."""
    async with running():
        for number in range(30):
            await database.sign_up(number)
        await server.restart(Shutdown.IMMEDIATE)
        await database.run("UPDATE \"user\" SET name = concat(name, '!')")
        await server.terminate_connections()
        wanted = [[f"u{number}", f"User {number}!"] for number in range(30)]

        async def is_equal() -> bool:
            rows = await database.run("SELECT auth_id, full_name FROM users")
            return sorted(rows, key=str) == sorted(wanted)

        await until(is_equal, within_s=30)


async def test_server_that_is_away_is_known_until_it_is_back(
    running: Running, database: Database, server: Server
) -> None:
    """Since when and why, though every loop of ours runs."""
    async with running() as line:
        server.stop()
        try:
            await until(lambda: is_unread(line, "auth", "app"), within_s=30)
            assert "PeerError" not in {one.error for one in (await unreached(line.store)).values()}
            assert all(one.is_alive for one in line.health())
        finally:
            server.start()
        await until(lambda: is_unread(line), within_s=60)


async def is_unread(line: App, *names: str) -> bool:
    """Whether exactly these peers are known not to be readable."""
    return set(await unreached(line.store)) == {(PeerName(name), Half.READ) for name in names}


async def test_nothing_is_told_twice_after_a_restart_of_ours(running: Running, database: Database) -> None:
    """What was read and not yet deleted is known, and whoever waited meanwhile is heard."""
    async with running():
        for number in range(10):
            await database.sign_up(number)
        await until(lambda: database.holds("SELECT count(*) FROM users", [10]))
    await database.run("UPDATE \"user\" SET name = 'Ada' WHERE id = 'u1'")
    async with running():
        await until(lambda: database.holds("SELECT full_name FROM users WHERE auth_id = 'u1'", ["Ada"]))
        await until(lambda: database.holds("SELECT count(*) FROM users", [10]))


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
async def test_truncated_table_empties_the_other_side(running: Running, database: Database) -> None:
    """A TRUNCATE fires no row trigger; MariaDB tells nobody of one."""
    await database.sign_up(1)
    await database.sign_up(2)
    async with running():
        await until(lambda: database.holds("SELECT count(*) FROM users", [2]))
        await database.run('TRUNCATE "user" CASCADE')
        await until(lambda: database.holds("SELECT count(*) FROM users", [0]))
