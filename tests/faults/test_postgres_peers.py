"""The whole line between two applications on PostgreSQL: what no hook sees arrives too, also across a crash."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from idsync.app import App, SystemClock, capture_peers, open_app
from idsync.config import parse_settings
from idsync.testing.postgres import PostgresServer, Shutdown
from idsync.testing.wait import until
from idsync.worker import Worker

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
CREATE TYPE role AS ENUM ('admin', 'user');
CREATE TABLE users (
  id bigserial PRIMARY KEY, auth_id text UNIQUE, email text UNIQUE, verified boolean NOT NULL DEFAULT false,
  full_name text, roles role[] NOT NULL DEFAULT '{}', suspended boolean
);
"""
BETTER_AUTH = Path(__file__).parents[2] / "examples" / "better-auth" / "schema.postgres.sql"

Running = Callable[[], AbstractAsyncContextManager[App]]


class Database:
    """What the applications' people do, each statement on a connection of its own: it survives any crash."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, sql: str, *values: object) -> list[list[Any]]:
        """Run one statement and give its rows."""
        connection = await asyncpg.connect(self.url)
        try:
            return [list(row.values()) for row in await connection.fetch(sql, *values)]
        finally:
            await connection.close()

    async def holds(self, sql: str, *rows: list[object]) -> bool:
        """Whether a query gives exactly these rows."""
        return await self.run(sql) == list(rows)


@pytest.fixture
async def database(postgres_url: str) -> Database:
    """Better Auth's real schema and an application's table, in one database."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(BETTER_AUTH.read_text() + APP_TABLE)
    await connection.close()
    return Database(postgres_url)


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


async def sign_up(database: Database, number: int) -> None:
    """Somebody new at the identity provider."""
    await database.run(
        'INSERT INTO "user" (id, name, email, "emailVerified", role) VALUES ($1, $2, $3, true, \'user\')',
        f"u{number}",
        f"User {number}",
        f"u{number}@example.com",
    )


async def test_edits_on_both_sides_arrive_on_the_other(running: Running, database: Database) -> None:
    """Who was there before, who comes, what is edited, banned and deleted."""
    await sign_up(database, 1)
    async with running():
        users = "SELECT auth_id, full_name, verified, roles::text, suspended FROM users ORDER BY id"
        await until(lambda: database.holds(users, ["u1", "User 1", True, "{user}", False]))
        await database.run("UPDATE users SET full_name = 'Ada'")
        await until(lambda: database.holds('SELECT name FROM "user"', ["Ada"]))
        await database.run("UPDATE \"user\" SET role = 'admin,user', banned = true, \"banReason\" = 'spam'")
        await until(lambda: database.holds(users, ["u1", "Ada", True, "{admin,user}", True]))
        await database.run("INSERT INTO users (email, full_name) VALUES ('new@example.com', 'Eve')")
        await until(lambda: database.holds('SELECT name FROM "user" ORDER BY name', ["Ada"], ["Eve"]))
        await database.run("DELETE FROM \"user\" WHERE name = 'Ada'")
        await until(lambda: database.holds("SELECT full_name FROM users", ["Eve"]))


async def test_everybody_is_in_step_after_a_crash_of_the_database(
    running: Running, database: Database, postgres: PostgresServer
) -> None:
    """The server is stopped at once while edits are on their way, and all connections are ended once more."""
    async with running():
        for number in range(30):
            await sign_up(database, number)
        await postgres.restart(Shutdown.IMMEDIATE)
        await database.run("UPDATE \"user\" SET name = name || '!'")
        await postgres.terminate_connections()
        wanted = [[f"u{number}", f"User {number}!"] for number in range(30)]

        async def is_equal() -> bool:
            rows = await database.run("SELECT auth_id, full_name FROM users")
            return sorted(rows) == sorted(wanted)

        await until(is_equal, within_s=30)


async def test_truncated_table_empties_the_other_side(running: Running, database: Database) -> None:
    """A TRUNCATE fires no row trigger."""
    await sign_up(database, 1)
    await sign_up(database, 2)
    async with running():
        await until(lambda: database.holds("SELECT count(*) FROM users", [2]))
        await database.run('TRUNCATE "user" CASCADE')
        await until(lambda: database.holds("SELECT count(*) FROM users", [0]))
