"""An application with a fresh PostgreSQL database, and peers that look at it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.values import PeerName
from idsync.testing.clock import FakeClock
from tests.unit.connectors.postgres.app import PEOPLE, MakePeer, PostgresApp

Connect = Callable[[], Awaitable[PostgresApp]]
Capture = Callable[..., Awaitable[PostgresPeer]]


@pytest.fixture
async def connect(postgres_url: str) -> AsyncIterator[Connect]:
    """Open connections of the application."""
    made: list[PostgresApp] = []

    async def open_one() -> PostgresApp:
        made.append(PostgresApp(await asyncpg.connect(postgres_url), postgres_url))
        return made[-1]

    yield open_one
    for one in made:
        await one.connection.close()


@pytest.fixture
async def app(connect: Connect) -> PostgresApp:
    """The application, with an empty database."""
    return await connect()


@pytest.fixture
async def make_peer(postgres_url: str) -> AsyncIterator[MakePeer]:
    """Open peers on the application's database; they are closed at the end."""
    made: list[PostgresPeer] = []

    def make(*mappings: TableMapping, name: str = "app", url: str = postgres_url) -> PostgresPeer:
        peer = PostgresPeer(PeerName(name), url, mappings or (PEOPLE,), FakeClock(), Pace(busy_timeout_s=0.3))
        made.append(peer)
        return peer

    yield make
    for peer in made:
        await peer.close()


@pytest.fixture
def capture(app: PostgresApp, make_peer: MakePeer) -> Capture:
    """Make a table in the application's database and capture it."""

    async def install(schema: str, mapping: TableMapping = PEOPLE) -> PostgresPeer:
        await app.script(schema)
        peer = make_peer(mapping)
        await peer.install()
        return peer

    return install
