"""The relay of an outbox, on every server: nobody is passed, however late his transaction ends."""

from tests.servers import App
from tests.unit.connectors.servers.app import PLAIN, ids, read
from tests.unit.connectors.servers.conftest import Capture, Connect


async def test_row_that_becomes_visible_late_is_not_passed(captured: Capture, app: App, connect: Connect) -> None:
    """Its number is lower than what was read; it is read once, when its transaction is over."""
    peer = await captured(PLAIN)
    late = await connect()
    await late.run("BEGIN")
    await late.run("INSERT INTO people (id) VALUES (1)")
    await app.run("INSERT INTO people (id) VALUES (2)")
    first = await read(peer)
    assert ids(first) == ["2"]
    await app.run("INSERT INTO people (id) VALUES (3)")
    await late.run("COMMIT")
    second = await read(peer, first.position)
    assert ids(second) == ["1", "3"]
    assert [one.version.number for one in second.observations if one.version] == [1, 3]
    third = await read(peer, second.position)
    assert (third.observations, third.position) == ((), second.position)
