"""An application with a fresh database, and peers that look at it: on every server, or on the one a folder names."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from idsync.connectors.sql_mysql import MysqlPeer, capture
from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.values import PeerName
from idsync.testing.clock import FakeClock
from tests.servers import App, Server, connect_app
from tests.unit.connectors.servers.app import PEOPLE, MakePeer, Peer

Connect = Callable[[], Awaitable[App]]
Capture = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def connect(server: Server, server_url: str) -> AsyncIterator[Connect]:
    """Open connections of the application."""
    made: list[App] = []

    async def open_one() -> App:
        made.append(await connect_app(server, server_url))
        return made[-1]

    yield open_one
    for one in made:
        await one.close()


@pytest.fixture
async def app(connect: Connect) -> App:
    """The application, with an empty database."""
    return await connect()


@pytest.fixture
async def make_peer(server_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakePeer]:
    """Open peers on the application's database, which look at its schema each time; they are closed at the end."""
    monkeypatch.setattr(capture, "LOOK_EVERY_S", 0.0)
    made: list[Peer] = []

    def make(*mappings: TableMapping, name: str = "app", url: str = server_url) -> Peer:
        kind = PostgresPeer if url.startswith("postgresql:") else MysqlPeer
        made.append(kind(PeerName(name), url, mappings or (PEOPLE,), FakeClock(), Pace(busy_timeout_s=0.3)))
        return made[-1]

    yield make
    for peer in made:
        await peer.close()


@pytest.fixture
def captured(app: App, make_peer: MakePeer) -> Capture:
    """Make a table in the application's database and capture it."""

    async def install(schema: str, mapping: TableMapping = PEOPLE) -> Peer:
        await app.script(schema)
        peer = make_peer(mapping)
        await peer.install()
        return peer

    return install
