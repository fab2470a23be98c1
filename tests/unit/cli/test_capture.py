"""`idsync capture`, on the databases of the configuration that `idsync init` writes."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import Result

from idsync.testing.postgres import PostgresServer

Run = Callable[..., Result]

BETTER_AUTH = Path(__file__).resolve().parents[3] / "examples" / "better-auth" / "schema.sql"
USERS = """
CREATE TABLE users (
  id INTEGER PRIMARY KEY, auth_id TEXT, email TEXT, verified INTEGER, full_name TEXT, role TEXT,
  deleted_at TEXT, suspended INTEGER
);
INSERT INTO users (email, verified, full_name) VALUES ('ada@example.com', 1, 'Ada');
"""

POSTGRES = """
[peers.auth]
connector = "better-auth"
database = "{url}"
"""
SIGN_UP = """
INSERT INTO user (id, name, email, emailVerified, createdAt, updatedAt, role)
VALUES ('u_1', 'Eve', 'eve@example.com', 1, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 'user');
"""


def _change(file: str, sql: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(sql)


def _objects_of_idsync(file: str) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'idsync*'")]


@pytest.fixture(autouse=True)
def _databases(run: Run) -> None:
    """Make what the configuration of `idsync init` speaks of."""
    run("init")
    _change("auth.db", BETTER_AUTH.read_text())
    _change("app.db", USERS)


def _states(result: Result) -> dict[str, Any]:
    return {name: one.get("capture", {}).get("state") for name, one in json.loads(result.stdout)["peers"].items()}


def test_capture_is_installed_looked_at_and_removed(run: Run) -> None:
    """From nothing to triggers in both databases and back; `status` fails while there are none."""
    assert run("capture", "status").exit_code == 1
    assert _states(run("capture", "install", "--json")) == {"auth": "installed", "app": "installed"}
    status = run("capture", "status")
    assert status.exit_code == 0
    lines = [" ".join(line.split()) for line in status.stdout.splitlines()]
    assert "app installed user: users 1" in lines
    assert run("capture", "remove").exit_code == 0
    assert _objects_of_idsync("auth.db") == _objects_of_idsync("app.db") == []


def test_capture_works_on_one_peer_alone(run: Run) -> None:
    """The other peer's database is not touched."""
    assert _states(run("capture", "install", "app", "--json")) == {"app": "installed"}
    assert _objects_of_idsync("auth.db") == []
    assert _states(run("capture", "status", "--json")) == {"auth": "absent", "app": "installed"}


def test_a_lost_trigger_is_told_until_it_is_installed_again(run: Run) -> None:
    """An operator learns that edits may be missed, and mends it with one command."""
    run("capture", "install")
    _change("app.db", "DROP TRIGGER idsync_user_insert")
    outdated = run("capture", "status", "--json")
    assert outdated.exit_code == 1
    assert _states(outdated) == {"auth": "installed", "app": "outdated"}
    assert _states(run("capture", "install", "--json")) == {"auth": "installed", "app": "installed"}


def test_one_peer_that_fails_does_not_keep_the_next_from_its_turn(run: Run) -> None:
    """The reason stands beside its peer, and the exit code tells of it."""
    Path("auth.db").unlink()
    result = run("capture", "install", "--json")
    assert result.exit_code == 1
    assert _states(result) == {"auth": None, "app": "installed"}
    assert "auth.db: there is no database file" in json.loads(result.stdout)["peers"]["auth"]["error"]
    assert "auth.db: there is no database file" in run("capture", "status").stdout


def test_a_peer_that_has_no_database_is_wrong_usage(run: Run) -> None:
    """The message names those that have one."""
    result = run("capture", "install", "crm")
    assert result.exit_code == 2
    assert "auth, app" in result.stderr


def test_the_commands_that_init_names_bring_an_edit_to_the_other_side(run: Run, start: Callable[..., Any]) -> None:
    """A newcomer who follows them sees a sign-up of one database in the other."""
    run("capture", "install")
    service = start("--watch")
    _change("auth.db", SIGN_UP)
    event = service.read_line()
    while event["subject"] != "user/u_1":
        event = service.read_line()
    entity = event["entity"]
    while (event["peer"], event["entity"]) != ("app", entity):
        event = service.read_line()
    assert event["verdict"] == "echo"
    with closing(sqlite3.connect("app.db")) as connection:
        rows = connection.execute("SELECT auth_id, full_name FROM users WHERE email = 'eve@example.com'").fetchall()
    assert rows == [("u_1", "Eve")]


def test_capture_is_installed_shown_and_removed_in_postgresql(run: Run, postgres: PostgresServer) -> None:
    """The same words for a peer whose database is a server."""
    url = asyncio.run(postgres.new_database())
    Path("idsync.toml").write_text(POSTGRES.format(url=url))
    assert run("capture", "status", "--json").exit_code == 1
    asyncio.run(_script(url, BETTER_AUTH.with_name("schema.postgres.sql").read_text()))
    assert _states(run("capture", "install", "--json")) == {"auth": "installed"}
    asyncio.run(_script(url, 'ALTER TABLE "user" DISABLE TRIGGER ALL'))
    outdated = run("capture", "status")
    assert outdated.exit_code == 1
    assert "idsync_auth_user_write" in "".join(outdated.stdout.split())
    assert _states(run("capture", "install", "--json")) == {"auth": "installed"}
    assert _states(run("capture", "remove", "--json")) == {"auth": "absent"}
    asyncio.run(postgres.drop_database(url))


async def _script(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()
