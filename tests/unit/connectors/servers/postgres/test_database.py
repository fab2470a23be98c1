"""What is said when a peer's PostgreSQL cannot be used, and that it is used again as soon as it can."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from idsync.connectors.sql_postgres import database
from idsync.errors import PeerError
from idsync.model.values import ExternalId, Kind
from idsync.testing.postgres import PostgresServer
from tests.black_hole import BlackHole
from tests.servers import PostgresApp
from tests.unit.connectors.servers.app import PLAIN, MakePeer
from tests.unit.connectors.servers.conftest import Capture

SECRET = "hunter2"


@pytest.fixture
def ports(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """A real server, and one that takes connections and never says a word."""
    monkeypatch.setattr(database, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {"port": postgres.port, "silent": listener.getsockname()[1]}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1/x", "cannot be reached"),
        ("127.0.0.1:{port}/nowhere", "no database of this name"),
        ("127.0.0.1:{silent}/x", "does not answer"),
        ("127.0.0.1:notaport/x", "must read postgresql://"),
    ],
)
async def test_reason_is_told_and_never_the_address(
    make_peer: MakePeer, ports: dict[str, int], address: str, said: str
) -> None:
    """Nobody, another one, one who is silent, no address at all."""
    place = address.format(**ports)
    peer = make_peer(url=f"postgresql://postgres:{SECRET}@{place}")
    with pytest.raises(PeerError, match=said) as raised:
        await peer.source.read(None, 10)
    assert SECRET not in str(raised.value)


async def test_reading_that_is_cancelled_on_a_silent_network_ends_at_once(
    captured: Capture, app: PostgresApp, make_peer: MakePeer, server_url: str
) -> None:
    """Nobody waits for a rollback to be answered."""
    await captured(PLAIN)
    await app.run("INSERT INTO people VALUES (1, 'a', 'Ada')")
    hole = BlackHole(server_url)
    peer = make_peer(url=await hole.open())
    assert await peer.reader.read(Kind.USER, ExternalId("1")) is not None
    await app.script("BEGIN; UPDATE people SET name = 'Bo'")
    task = asyncio.create_task(peer.reader.read(Kind.USER, ExternalId("1")))
    waiting = "SELECT count(*) FROM pg_sleep(0.01), pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(5):
        while await app.run(waiting) == [[0]]:
            pass
    hole.is_silent = True
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.cancelled()
    await app.script("ROLLBACK")
    await hole.close()
