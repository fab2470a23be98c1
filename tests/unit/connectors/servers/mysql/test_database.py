"""What is said when a peer's MariaDB cannot be used, and that it is used again as soon as it can."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from idsync.connectors.sql_mysql import database
from idsync.errors import PeerError
from idsync.model.values import ExternalId, Kind
from idsync.testing.mariadb import MariadbServer
from tests.servers import MariadbApp
from tests.unit.connectors.servers.app import PLAIN, MakePeer, read
from tests.unit.connectors.servers.conftest import Capture

pytestmark = pytest.mark.long

SECRET = "hunter2"
ONE = PLAIN + "INSERT INTO people VALUES (1, 'a', 'Ada');\n"  # noqa: S608


@pytest.fixture
def ports(mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """A real server, and one that takes connections and never says a word."""
    monkeypatch.setattr(database, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {"port": mariadb.port, "silent": listener.getsockname()[1]}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1/x", "cannot be reached"),
        ("127.0.0.1:{port}/nowhere", "refuses the user or the password"),
        ("127.0.0.1:{silent}/x", "does not answer"),
        ("127.0.0.1:{port}/", "must read mysql://"),
        ("127.0.0.1:{port}/x?ssl-mode=maybe", "must read mysql://"),
        ("127.0.0.1:{port}/x?ssl-mode=verify_identity&ssl-ca=nowhere", "must read mysql://"),
    ],
)
async def test_reason_is_told_and_never_the_address(
    make_peer: MakePeer, ports: dict[str, int], address: str, said: str
) -> None:
    """Nobody, a stranger, one who is silent, no address at all."""
    peer = make_peer(url=f"mysql://somebody:{SECRET}@{address.format(**ports)}")
    with pytest.raises(PeerError, match=said) as raised:
        await peer.source.read(None, 10)
    assert SECRET not in str(raised.value)


async def test_connection_that_nobody_used_for_long_is_made_anew(
    captured: Capture, mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends those: nobody fails for that."""
    peer = await captured(PLAIN)
    await read(peer)
    await mariadb.terminate_connections()
    monkeypatch.setattr(database, "IDLE_S", 0.0)
    await read(peer)


class Tunnel:
    """Between us and a server: it can stop carrying what the server says, and keeps the connections."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_silent = False

    @asynccontextmanager
    async def run(self) -> AsyncIterator[int]:
        """Be there, and say on which port."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, ours: asyncio.StreamReader, to_us: asyncio.StreamWriter) -> None:
        theirs, to_them = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink, may_be_silent in ((ours, to_them, False), (theirs, to_us, True)):
            task = asyncio.create_task(self._carry(source, sink, may_be_silent=may_be_silent))
            self._tasks.add(task)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, may_be_silent: bool) -> None:
        try:
            while some := await source.read(65_536):
                if not (may_be_silent and self.is_silent):
                    sink.write(some)
        finally:
            sink.close()


async def test_server_that_falls_silent_is_given_up_and_nothing_hangs(
    captured: Capture, app: MariadbApp, mariadb: MariadbServer, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the midst of a transaction, before one, while it connects, and when the connection is closed."""
    monkeypatch.setattr(database, "SILENCE_S", 0.3)
    monkeypatch.setattr(database, "CONNECT_S", 0.3)
    await captured(ONE)
    tunnel = Tunnel(mariadb.port)
    async with tunnel.run() as port:
        peer = make_peer(url=app.url.replace(f":{mariadb.port}/", f":{port}/"))
        await peer.reader.read(Kind.USER, ExternalId("1"))
        await peer.target.write([])
        tunnel.is_silent = True
        async with asyncio.timeout(5):
            for use in (peer.reader.read(Kind.USER, ExternalId("1")), peer.target.write([]), peer.source.wait(1)):
                with pytest.raises(PeerError, match="does not answer"):
                    await use
            await peer.close()
