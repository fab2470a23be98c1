"""One event, from an edit in one database to the other database and to a webhook: read this first.

Ada signs up. Her row appears in the identity provider's database, idsync notices, creates her in the application's own
table, and tells an endpoint. Then the application renames her, and the identity provider has the new name.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from idsync.app import App, SystemClock, capture_peers, open_app
from idsync.config import parse_settings
from idsync.testing.sink import Sink, open_sink
from idsync.testing.sqlite_app import SqliteApp
from idsync.testing.wait import until
from idsync.worker import Worker

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIGURATION = """
[store]
url = "sqlite:///{folder}/idsync.db"

[peers.auth]
connector = "better-auth"
database = "sqlite:///{folder}/auth.db"

[peers.app]
connector = "sql"
database = "sqlite:///{folder}/app.db"
[peers.app.user]
table = "users"
key = "id"
link = "auth_id"
fields = {{ email = "email", email_verified = "verified", name = "full_name" }}

[sync.user]
peers = ["auth", "app"]
lifecycle = {{ owner = "auth", others = "unlink" }}
[sync.user.fields]
email = {{ owner = "auth", group = "mail" }}
email_verified = {{ owner = "auth", group = "mail" }}

[endpoints.audit]
url = "{endpoint}"
secret = "{secret}"
events = ["user.*"]

[delivery]
allow_cidrs = ["127.0.0.0/8"]
"""

APP_TABLE = """CREATE TABLE users (
  id INTEGER PRIMARY KEY, auth_id TEXT UNIQUE, email TEXT UNIQUE, verified INTEGER, full_name TEXT
)"""
BETTER_AUTH = Path(__file__).parents[2] / "examples" / "better-auth" / "schema.sql"


@asynccontextmanager
async def running_line(folder: Path, endpoint: str) -> AsyncIterator[App]:
    """Capture installed in both databases, and every loop of the line."""
    settings = parse_settings(CONFIGURATION.format(folder=folder, endpoint=endpoint, secret=SECRET))
    for peer in capture_peers(settings, SystemClock()).values():
        await peer.install()
        await peer.close()
    worker = Worker(await open_app(settings))
    await worker.start()
    try:
        yield worker.app
    finally:
        await worker.stop(grace_s=1.0)


def received(sink: Sink) -> list[dict[str, object]]:
    """The events that the endpoint got, each judged by the official library before it is believed."""
    judge = Webhook(SECRET)
    return [json.loads(json.dumps(judge.verify(one.body, dict(one.headers)))) for one in sink.requests]


@pytest.fixture
def auth(tmp_path: Path) -> Iterator[SqliteApp]:
    """The identity provider: a process of its own on a database with Better Auth's real schema."""
    with SqliteApp(tmp_path / "auth.db") as opened:
        opened.run_script(BETTER_AUTH.read_text())
        yield opened


@pytest.fixture
def app(tmp_path: Path) -> Iterator[SqliteApp]:
    """The application: a process of its own on a database with its own table."""
    with SqliteApp(tmp_path / "app.db") as opened:
        opened.run_script(APP_TABLE)
        yield opened


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """An endpoint that answers 200."""
    async with open_sink() as opened:
        yield opened


async def test_one_event_travels_the_whole_line(tmp_path: Path, auth: SqliteApp, app: SqliteApp, sink: Sink) -> None:
    """An edit in either database reaches the other one and the endpoint, signed, once, and never comes back."""
    async with running_line(tmp_path, sink.url) as line:
        auth.run(
            'INSERT INTO "user" (id, name, email, emailVerified, createdAt, updatedAt) VALUES (?, ?, ?, ?, ?, ?)',
            *("u_1", "Ada", "ada@example.com", 1, "2026-01-01T12:00:00.000Z", "2026-01-01T12:00:00.000Z"),
        )
        await until(lambda: app.run("SELECT * FROM users") == [[1, "u_1", "ada@example.com", 1, "Ada"]])

        app.run("UPDATE users SET full_name = 'Ada Lovelace' WHERE auth_id = 'u_1'")
        await until(lambda: auth.run('SELECT name FROM "user"') == [["Ada Lovelace"]])

        await until(lambda: len(sink.requests) == 2)
        created, updated = received(sink)
        assert (created["type"], created["source"], created["version"]) == ("user.created", "auth", 1)
        assert (updated["type"], updated["source"], updated["version"]) == ("user.updated", "app", 2)
        assert updated["changed"] == ["name"]
        assert updated["ids"] == {"app": "1", "auth": "u_1"}

        (entity,) = await line.store.find("ada@example.com")
        assert (entity.fields["name"].peer, entity.fields["email"].peer) == ("app", "auth")

        async def has_heard_its_own_echoes() -> bool:
            verdicts = sorted(entry.row.verdict for entry in await line.store.timeline(entity.id, 20))
            return verdicts == ["applied", "applied", "echo", "echo"]

        await until(has_heard_its_own_echoes)
