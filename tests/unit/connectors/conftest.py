"""An application with an SQLite file, and peers that look at the same file."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from idsync.connectors.sql_table import Pace, SqlitePeer, TableMapping
from idsync.model.values import PeerName
from idsync.testing.clock import FakeClock
from idsync.testing.sqlite_app import SqliteApp
from tests.unit.connectors.people import USERS, MakePeer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the application keeps its users."""
    return tmp_path / "app.db"


@pytest.fixture
def app(path: Path) -> Iterator[SqliteApp]:
    """An application with an empty table of users."""
    with SqliteApp(path) as running:
        running.run("PRAGMA journal_mode = WAL")
        running.run_script(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, avatar, verified INTEGER)"
        )
        yield running


@pytest.fixture
def users() -> TableMapping:
    """The mapping of that table."""
    return USERS


@pytest.fixture
async def make_peer(path: Path) -> AsyncIterator[MakePeer]:
    """Open peers on the application's file; they are closed at the end."""
    made: list[SqlitePeer] = []

    def make(*mappings: TableMapping, name: str = "app", pace: Pace | None = None) -> SqlitePeer:
        peer = SqlitePeer(PeerName(name), path, mappings or (USERS,), FakeClock(), pace)
        made.append(peer)
        return peer

    yield make
    for peer in made:
        await peer.close()


@pytest.fixture
async def peer(app: SqliteApp, make_peer: MakePeer) -> SqlitePeer:
    """The application's table of users as a peer, captured."""
    made = make_peer(USERS)
    await made.install()
    return made
