"""The whole line between two applications on MariaDB: what no hook sees arrives too, also across a crash."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from idsync.app import App, SystemClock, capture_peers, open_app
from idsync.config import parse_settings
from idsync.testing.mariadb import MariadbServer, run_script, run_sql
from idsync.testing.postgres import Shutdown
from idsync.testing.wait import until
from idsync.worker import Worker

pytestmark = pytest.mark.long

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
APP_TABLE = """
CREATE TABLE users (
  id bigint AUTO_INCREMENT PRIMARY KEY, auth_id varchar(36) UNIQUE, email varchar(255) UNIQUE,
  verified boolean NOT NULL DEFAULT false, full_name varchar(255), roles json NOT NULL DEFAULT '[]', suspended boolean
);
"""
BETTER_AUTH = Path(__file__).parents[2] / "examples" / "better-auth" / "schema.mysql.sql"
USERS = "SELECT auth_id, full_name, verified, roles, suspended FROM users ORDER BY id"

Running = Callable[[], AbstractAsyncContextManager[App]]


class Database:
    """What the applications' people do, each statement on a connection of its own: it survives any crash."""

    def __init__(self, server: MariadbServer, url: str) -> None:
        self.server = server
        self.url = url

    async def run(self, sql: str, *values: object) -> list[list[object]]:
        """Run one statement and give its rows."""
        connection = await self.server.connect(self.url.rpartition("/")[2])
        try:
            return [list(row) for row in await run_sql(connection, sql, *values)]
        finally:
            connection.close()

    async def holds(self, sql: str, *rows: list[object]) -> bool:
        """Whether a query gives exactly these rows."""
        return await self.run(sql) == list(rows)

    async def sign_up(self, number: int) -> None:
        """Somebody new at the identity provider."""
        await self.run(
            "INSERT INTO user (id, name, email, emailVerified, role) VALUES (%s, %s, %s, true, 'user')",
            f"u{number}",
            f"User {number}",
            f"u{number}@example.com",
        )


@pytest.fixture
async def database(mariadb: MariadbServer, mariadb_url: str) -> Database:
    """Better Auth's real schema and an application's table, in one database."""
    connection = await mariadb.connect(mariadb_url.rpartition("/")[2])
    await run_script(connection, BETTER_AUTH.read_text() + APP_TABLE)
    connection.close()
    return Database(mariadb, mariadb_url)


@pytest.fixture
def running(tmp_path: Path, database: Database) -> Running:
    """Run the line, as often as a test likes."""

    @asynccontextmanager
    async def run() -> AsyncIterator[App]:
        settings = parse_settings(CONFIGURATION.format(folder=tmp_path, url=database.url))
        for peer in capture_peers(settings, SystemClock()).values():
            await peer.install()
            await peer.close()
        line = await open_app(settings)
        worker = Worker(line)
        await worker.start()
        try:
            yield line
        finally:
            await worker.stop(grace_s=1.0)

    return run


async def test_edits_on_both_sides_arrive_on_the_other(running: Running, database: Database) -> None:
    """Who was there before, who comes, what is edited, banned and deleted."""
    await database.sign_up(1)
    async with running():
        await until(lambda: database.holds(USERS, ["u1", "User 1", 1, '["user"]', 0]))
        await database.run("UPDATE users SET full_name = 'Ada'")
        await until(lambda: database.holds("SELECT name FROM user", ["Ada"]))
        await database.run("UPDATE user SET role = 'admin,user', banned = true, banReason = 'spam'")
        await until(lambda: database.holds(USERS, ["u1", "Ada", 1, '["admin","user"]', 1]))
        await database.run("INSERT INTO users (email, full_name) VALUES ('new@example.com', 'Eve')")
        await until(lambda: database.holds("SELECT name FROM user ORDER BY name", ["Ada"], ["Eve"]))
        await database.run("DELETE FROM user WHERE name = 'Ada'")
        await until(lambda: database.holds("SELECT full_name FROM users", ["Eve"]))


async def test_everybody_is_in_step_after_a_crash_of_the_database(
    running: Running, database: Database, mariadb: MariadbServer
) -> None:
    """The server is killed while edits are on their way, and all connections are ended once more."""
    async with running():
        for number in range(30):
            await database.sign_up(number)
        await mariadb.restart(Shutdown.IMMEDIATE)
        await database.run("UPDATE user SET name = concat(name, '!')")
        await mariadb.terminate_connections()
        wanted = [[f"u{number}", f"User {number}!"] for number in range(30)]

        async def is_equal() -> bool:
            rows = await database.run("SELECT auth_id, full_name FROM users")
            return sorted(rows, key=str) == sorted(wanted)

        await until(is_equal, within_s=30)


async def test_nothing_is_told_twice_after_a_restart_of_ours(running: Running, database: Database) -> None:
    """What was read and not yet deleted is known, and whoever waited meanwhile is heard."""
    async with running():
        for number in range(10):
            await database.sign_up(number)
        await until(lambda: database.holds("SELECT count(*) FROM users", [10]))
    await database.run("UPDATE user SET name = 'Ada' WHERE id = 'u1'")
    async with running():
        await until(lambda: database.holds("SELECT full_name FROM users WHERE auth_id = 'u1'", ["Ada"]))
        await until(lambda: database.holds("SELECT count(*) FROM users", [10]))
