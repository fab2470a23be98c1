"""A peer whose server ends connections or makes us wait: it is used again as soon as it can be."""

import asyncio

import pytest

from idsync.errors import PeerError
from idsync.model.values import ExternalId, Kind
from tests.servers import App, Server
from tests.unit.connectors.servers.app import PLAIN, TWO, look, read
from tests.unit.connectors.servers.conftest import Capture


async def test_every_half_goes_on_after_its_connection_was_ended(captured: Capture, server: Server) -> None:
    """The call that meets it fails at most once."""
    peer = await captured(PLAIN + TWO)

    async def use_all() -> None:
        await read(peer)
        await peer.reader.read(Kind.USER, ExternalId("1"))
        await peer.target.write([])
        await peer.source.wait(0.01)

    await use_all()
    await server.terminate_connections()
    for _ in range(5):
        try:
            await use_all()
        except PeerError:
            continue
        break
    await use_all()


async def test_call_that_is_given_up_leaves_no_transaction(captured: Capture, app: App) -> None:
    """Who cancels a look that waits for a lock gets his next look from a new connection."""
    peer = await captured(PLAIN + TWO)
    await app.run("BEGIN")
    await app.run("UPDATE people SET name = 'Eve'")
    looking = asyncio.create_task(peer.reader.read(Kind.USER, ExternalId("1")))
    await asyncio.wait({looking}, timeout=0.1)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    await app.run("COMMIT")
    assert (await look(peer, "1")).fields["name"] == "Eve"


async def test_look_does_not_wait_long_for_who_holds_the_row(captured: Capture, app: App) -> None:
    """All other looks would wait with it."""
    peer = await captured(PLAIN + TWO)
    await app.run("BEGIN")
    await app.run("UPDATE people SET name = 'Eve'")
    with pytest.raises(PeerError, match="lock"):
        await asyncio.wait_for(peer.reader.read(Kind.USER, ExternalId("1")), 3)
