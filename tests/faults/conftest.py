"""The line between two applications of their own, in this process: where tests of faults that were found begin."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from idsync.app import App, SystemClock, capture_peers, open_app
from idsync.app.peers import Peer
from idsync.config import parse_settings
from idsync.testing.sqlite_app import SqliteApp
from idsync.worker import Worker

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
lifecycle = {{ owner = "auth", others = "propagate" }}
[sync.user.fields]
email = {{ owner = "auth", group = "mail" }}
email_verified = {{ owner = "auth", group = "mail" }}
"""
APP_TABLE = """CREATE TABLE users (
  id INTEGER PRIMARY KEY, auth_id TEXT UNIQUE, email TEXT UNIQUE, verified INTEGER DEFAULT 0, full_name TEXT
)"""
BETTER_AUTH = Path(__file__).parents[2] / "examples" / "better-auth" / "schema.sql"

Running = Callable[..., AbstractAsyncContextManager[App]]


@pytest.fixture
def auth(tmp_path: Path) -> Iterator[SqliteApp]:
    """The identity provider, with Better Auth's real schema."""
    with SqliteApp(tmp_path / "auth.db") as opened:
        opened.run_script(BETTER_AUTH.read_text())
        yield opened


@pytest.fixture
def app(tmp_path: Path) -> Iterator[SqliteApp]:
    """The application, with its own table."""
    with SqliteApp(tmp_path / "app.db") as opened:
        opened.run_script(APP_TABLE)
        yield opened


async def open_line(configuration: str) -> App:
    """Capture every peer and open the line between them."""
    settings = parse_settings(configuration)
    for peer in capture_peers(settings, SystemClock()).values():
        await peer.install()
        await peer.close()
    return await open_app(settings)


@asynccontextmanager
async def working(line: App) -> AsyncIterator[None]:
    """Do the line's work beside the block."""
    worker = Worker(line)
    await worker.start()
    try:
        yield
    finally:
        await worker.stop(grace_s=1.0)


class Mute(Peer, frozen=True, kw_only=True):
    """A peer whose outbox nobody reads."""

    @property
    def source(self) -> None:
        """Nothing to be read."""
        return


@pytest.fixture
def running(tmp_path: Path, auth: SqliteApp, app: SqliteApp) -> Running:
    """Run the line, as often as a test likes; `deaf_to` names peers whose outboxes are not read."""

    @asynccontextmanager
    async def run(*, deaf_to: tuple[str, ...] = ()) -> AsyncIterator[App]:
        line = await open_line(CONFIGURATION.format(folder=tmp_path))
        line.peers = {
            name: Mute(**msgspec.structs.asdict(peer)) if name in deaf_to else peer for name, peer in line.peers.items()
        }
        async with working(line):
            yield line

    return run
