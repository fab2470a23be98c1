"""What a Target on a server does beyond the contract of every Target: knots, locks, deadlocks, lost connections."""

import asyncio

import pytest

from idsync.connectors.tables.untangle import KNOT_WRITES_MAX
from idsync.errors import PeerError
from idsync.model.delivery import Effect
from idsync.testing.target_suite import update_of
from tests.servers import App, Server
from tests.unit.connectors.servers.app import PLAIN, TWO, look, observed, write
from tests.unit.connectors.servers.conftest import Capture, Connect

UNIQUE = PLAIN.replace("email varchar(100)", "email varchar(100) UNIQUE")


async def test_a_ring_of_unique_values_is_untangled_and_nobody_is_told_of_the_way(captured: Capture, app: App) -> None:
    """Each takes the next one's e-mail; the outbox shows one row for each write."""
    count = KNOT_WRITES_MAX
    peer = await captured(UNIQUE)
    people = ", ".join(f"({number}, 'e{number}')" for number in range(1, count + 1))
    await app.run(f"INSERT INTO people (id, email) VALUES {people}")  # noqa: S608  # our own numbers
    images = [await look(peer, str(number)) for number in range(1, count + 1)]
    wanted = [f"e{number % count + 1}" for number in range(1, count + 1)]
    writes = [
        update_of(one, {"email": email}, number=number)
        for number, (one, email) in enumerate(zip(images, wanted, strict=True))
    ]
    results = await write(peer, *writes)
    assert {result.effect for result in results} == {Effect.WRITTEN}
    assert await app.run("SELECT email FROM people ORDER BY id") == [[email] for email in wanted]
    seen = [one for one in await observed(peer) if one.origin is not None]
    assert [one.origin for one in seen] == [one.intent for one in writes]
    assert [one.fields["email"] for one in seen] == wanted
    assert [one.version for one in seen] == [one.image.version for one in results if one.image is not None]


async def test_a_knot_with_a_stranger_in_it_is_refused_and_the_rest_is_done(captured: Capture, app: App) -> None:
    """He keeps what he has."""
    peer = await captured(UNIQUE)
    await app.run("INSERT INTO people (id, email) VALUES (1, 'e1'), (2, 'e2'), (3, 'e3'), (4, 'e4')")
    images = [await look(peer, str(number)) for number in range(1, 4)]
    wanted = ["e2", "e1", "e4"]
    results = await write(
        peer, *(update_of(one, {"email": to}, number=n) for n, (one, to) in enumerate(zip(images, wanted, strict=True)))
    )
    assert [one.error for one in results] == [None, None, "unique"]
    assert await app.run("SELECT email FROM people ORDER BY id") == [["e2"], ["e1"], ["e3"], ["e4"]]


async def test_row_that_somebody_holds_is_left_for_later_and_the_others_are_written(
    captured: Capture, connect: Connect
) -> None:
    """Nobody waits for longer than we were told to."""
    peer = await captured(PLAIN + TWO)
    images = [await look(peer, "1"), await look(peer, "2")]
    other = await connect()
    await other.run("BEGIN")
    await other.run("UPDATE people SET name = 'theirs' WHERE id = 1")
    writes = [update_of(one, {"name": "ours"}, number=number) for number, one in enumerate(images)]
    results = await write(peer, *writes)
    assert [(one.effect, one.error) for one in results] == [(Effect.UNAVAILABLE, "locked"), (Effect.WRITTEN, None)]
    await other.run("COMMIT")
    assert [one.effect for one in await write(peer, *writes)] == [Effect.DIVERGED, Effect.UNCHANGED]


async def test_write_waits_for_who_changes_the_row_and_sees_what_he_did(captured: Capture, connect: Connect) -> None:
    """What he wrote is not overwritten."""
    peer = await captured(PLAIN + TWO)
    image = await look(peer, "1")
    other = await connect()
    await other.run("BEGIN")
    await other.run("UPDATE people SET name = 'theirs' WHERE id = 1")
    writing = asyncio.create_task(write(peer, update_of(image, {"name": "ours"})))
    done, _ = await asyncio.wait({writing}, timeout=0.1)
    assert not done
    await other.run("COMMIT")
    (result,) = await writing
    assert result.effect is Effect.DIVERGED
    assert result.image is not None
    assert result.image.fields["name"] == "theirs"


async def test_deadlock_with_the_application_is_got_over(captured: Capture, app: App, connect: Connect) -> None:
    """Each has what the other waits for; where ours is undone, all of it is begun anew."""
    peer = await captured(PLAIN + TWO)
    images = [await look(peer, "1"), await look(peer, "2")]
    other = await connect()
    await other.run("BEGIN")
    for number in range(10, 110):  # MariaDB does not undo who has done more
        await other.run(f"INSERT INTO people (id) VALUES ({number})")  # noqa: S608  # our own number
    await other.run("UPDATE people SET email = 'theirs' WHERE id = 2")

    async def cross() -> None:
        await other.run("UPDATE people SET email = 'theirs too' WHERE id = 1")
        await other.run("COMMIT")

    writes = [update_of(one, {"name": f"ours {number}"}, number=number) for number, one in enumerate(images, 1)]
    results, _ = await asyncio.gather(write(peer, *writes), cross())
    later = [one for one, result in zip(writes, results, strict=True) if result.effect is Effect.UNAVAILABLE]
    assert {one.effect for one in await write(peer, *later)} <= {Effect.WRITTEN}
    assert await app.run("SELECT name, email FROM people WHERE id < 10 ORDER BY id") == [
        ["ours 1", "theirs too"],
        ["ours 2", "theirs"],
    ]
    assert len([one for one in await observed(peer) if one.origin is not None]) == 2


async def test_lost_connection_is_an_error_and_the_next_write_works(
    captured: Capture, app: App, server: Server, connect: Connect
) -> None:
    """Nothing is known of the write, which is not half done."""
    peer = await captured(PLAIN + TWO)
    wanted = update_of(await look(peer, "1"), {"name": "ours"})
    await app.run("BEGIN")
    await app.run("UPDATE people SET email = 'theirs' WHERE id = 1")
    writing = asyncio.create_task(write(peer, wanted))
    await asyncio.wait({writing}, timeout=0.1)
    await server.terminate_connections()
    with pytest.raises(PeerError, match=r"lost|shutting down"):
        await writing
    assert await (await connect()).run("SELECT name FROM people WHERE id = 1") == [[None]]
    (result,) = await write(peer, wanted)
    assert result.effect is Effect.WRITTEN
