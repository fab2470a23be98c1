"""An application with a fresh MariaDB database, and peers that look at it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from idsync.connectors.sql_mysql import MysqlPeer, capture
from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.values import PeerName
from idsync.testing.clock import FakeClock
from idsync.testing.mariadb import MariadbServer
from tests.unit.connectors.mysql.app import PEOPLE, MakePeer, MariadbApp

Connect = Callable[[], Awaitable[MariadbApp]]
Capture = Callable[..., Awaitable[MysqlPeer]]


@pytest.fixture
async def connect(mariadb: MariadbServer, mariadb_url: str) -> AsyncIterator[Connect]:
    """Open connections of the application."""
    made: list[MariadbApp] = []

    async def open_one() -> MariadbApp:
        made.append(MariadbApp(await mariadb.connect(mariadb_url.rpartition("/")[2]), mariadb_url))
        return made[-1]

    yield open_one
    for one in made:
        one.connection.close()


@pytest.fixture
async def app(connect: Connect) -> MariadbApp:
    """The application, with an empty database."""
    return await connect()


@pytest.fixture
async def make_peer(mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakePeer]:
    """Open peers on the application's database, which look at its schema each time; they are closed at the end."""
    monkeypatch.setattr(capture, "LOOK_EVERY_S", 0.0)
    made: list[MysqlPeer] = []

    def make(*mappings: TableMapping, name: str = "app", url: str = mariadb_url) -> MysqlPeer:
        peer = MysqlPeer(PeerName(name), url, mappings or (PEOPLE,), FakeClock(), Pace(busy_timeout_s=0.3))
        made.append(peer)
        return peer

    yield make
    for peer in made:
        await peer.close()


@pytest.fixture
def captured(app: MariadbApp, make_peer: MakePeer) -> Capture:
    """Make a table in the application's database and capture it."""

    async def install(schema: str, mapping: TableMapping = PEOPLE) -> MysqlPeer:
        await app.script(schema)
        peer = make_peer(mapping)
        await peer.install()
        return peer

    return install
