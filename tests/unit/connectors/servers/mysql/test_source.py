"""The relay of a MySQL outbox: late transactions, pages, rewinds, what it deletes, and when it wakes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from idsync.connectors.sql_mysql import MysqlPeer
from idsync.connectors.sql_mysql.source import mark_of
from idsync.connectors.tables.outbox import BATCH_BYTES_MAX
from idsync.errors import CaptureMissing
from idsync.model.event import Op
from idsync.model.plan import Position
from idsync.ports import Rewound
from idsync.testing.mariadb import MariadbServer
from idsync.testing.postgres import Shutdown
from tests.servers import MariadbApp
from tests.unit.connectors.servers.app import PLAIN, drain, ids, look, observed, read
from tests.unit.connectors.servers.conftest import Capture, Connect

pytestmark = pytest.mark.long

ADD = "INSERT INTO people (id) VALUES ({})"
ADD_MANY = "INSERT INTO people (id) SELECT seq FROM seq_1_to_{}"
THERE = "SELECT seq FROM idsync_app_outbox ORDER BY seq"


async def test_what_is_deleted_is_what_was_read_also_while_others_write_beside_it(
    captured: Capture, app: MariadbApp, connect: Connect
) -> None:
    """Neither does the relay wait for them, nor does it touch a row between two that it took."""
    peer = await captured(PLAIN)
    late = await connect()
    await app.run(ADD.format(1))
    await late.run("START TRANSACTION")
    await late.run(ADD.format(2))
    await app.run(ADD.format(3))
    first = await read(peer)
    assert ids(first) == ["1", "3"]
    second = await asyncio.wait_for(read(peer, first.position), 0.25)  # a lock is waited for a second
    assert second.position == first.position
    assert await app.run(THERE) == [[3]]
    await late.run("COMMIT")
    assert ids(await read(peer, second.position)) == ["2"]


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_every_limit_gives_the_same(captured: Capture, app: MariadbApp, limit: int) -> None:
    """Each once, in order; at the end one row is left, by which the outbox is known again."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(10))
    seen, position = await drain(peer, None, limit)
    assert seen == [str(number) for number in range(1, 11)]
    await peer.source.trim(position)
    assert await app.run(THERE) == [[10]]
    assert position.number == 10


async def test_batch_that_was_not_taken_in_is_read_again(captured: Capture, app: MariadbApp) -> None:
    """Whoever reads from the same position gets the same rows: nothing is deleted before the next position is kept."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(6))
    first = await read(peer, None, 3)
    for _ in range(2):
        assert ids(await read(peer, first.position, 2)) == ["4", "5"]


async def test_another_process_goes_on_from_the_position_alone(
    captured: Capture, app: MariadbApp, make_peer: Callable[[], MysqlPeer]
) -> None:
    """It knows what the first one took in, and neither reads nor leaves it."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(6))
    position = (await read(peer, None, 4)).position
    other = make_peer()
    assert await drain(other, position, 10) == (["5", "6"], (await read(other, position)).position)


async def test_batch_is_limited_in_bytes(captured: Capture, app: MariadbApp) -> None:
    """About 8 MiB at once; a row that is larger comes alone."""
    peer = await captured(PLAIN.replace("name varchar(100)", "name longtext"))
    for number in range(4):
        await app.run("INSERT INTO people (id, name) VALUES (%s, %s)", number, "x" * (BATCH_BYTES_MAX // 3))
    batch = await read(peer)
    assert (ids(batch), batch.has_more) == (["0", "1"], True)
    assert await drain(peer, batch.position, 10) == (["2", "3"], (await read(peer, batch.position)).position)


async def lose_the_row(app: MariadbApp) -> None:
    """The row at the position is not there."""
    await app.run("DELETE FROM idsync_app_outbox")


async def give_it_to_another(app: MariadbApp) -> None:
    """The number of the row at the position belongs to another."""
    await app.run("UPDATE idsync_app_outbox SET nonce = 'another'")


async def begin_anew(app: MariadbApp) -> None:
    """Somebody began another generation."""
    await app.run("UPDATE idsync_app_capture SET generation = 'another'")


@pytest.mark.parametrize("damage", [lose_the_row, give_it_to_another, begin_anew])
async def test_outbox_that_is_another_one_is_a_rewind(
    captured: Capture, app: MariadbApp, damage: Callable[[MariadbApp], Awaitable[None]]
) -> None:
    """As after a restore: then everybody is rung for, and reading goes on."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(3))
    position = (await read(peer)).position
    await damage(app)
    assert isinstance(await peer.source.read(position, 10), Rewound)
    await peer.source.start_over()
    batch = await read(peer)
    assert {one for _, one in batch.rings} == {"1", "2", "3"}
    assert batch.observations == ()
    await app.run(ADD.format(4))
    assert ids(await read(peer, batch.position)) == ["4"]


async def test_outbox_whose_beginning_was_deleted_cannot_be_begun_with(captured: Capture, app: MariadbApp) -> None:
    """Whoever has no position has missed what was read by somebody else."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(3))
    await read(peer, (await read(peer)).position)
    assert isinstance(await peer.source.read(None, 10), Rewound)


async def test_position_of_another_kind_of_peer_is_a_rewind(captured: Capture) -> None:
    """A mark that is none of ours says nothing."""
    peer = await captured(PLAIN)
    generation = (await read(peer)).position.generation
    assert isinstance(await peer.source.read(Position(generation, 1, "", "not ours"), 10), Rewound)


async def test_trim_of_another_generation_deletes_nothing(captured: Capture, app: MariadbApp) -> None:
    """Its numbers are other rows."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(3))
    position = (await read(peer)).position
    await begin_anew(app)
    await peer.source.trim(position)
    assert await app.run(THERE) == [[1], [2], [3]]


async def test_status_counts_what_waits(captured: Capture, app: MariadbApp) -> None:
    """Not what was read and is still there, and not the numbers of those who looked."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(5))
    assert (await peer.status()).waiting == 5
    position = (await read(peer, None, 3)).position
    await look(peer, "1")
    assert (await peer.status(position)).waiting == 2


async def test_wait_returns_soon_after_somebody_commits(captured: Capture, app: MariadbApp) -> None:
    """Nobody can tell us, so we look; when all is quiet it takes its time."""
    peer = await captured(PLAIN)
    await app.run(ADD.format(1))
    position = (await drain(peer, None, 10))[1]
    await peer.source.trim(position)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    await peer.source.wait(0.4)
    assert loop.time() - began_at > 0.3
    waiting = asyncio.create_task(peer.source.wait(20.0))
    await asyncio.wait({waiting}, timeout=0.1)
    await app.run(ADD.format(2))
    await asyncio.wait_for(waiting, 2.0)
    assert ids(await read(peer, position)) == ["2"]


async def test_wait_without_capture_is_quiet(captured: Capture) -> None:
    """Whoever reads is told; the wait only ends."""
    peer = await captured(PLAIN)
    await peer.remove()
    await peer.source.wait(0.01)
    with pytest.raises(CaptureMissing, match="absent"):
        await peer.source.read(None, 10)


async def test_what_a_row_says_of_its_write(captured: Capture, app: MariadbApp) -> None:
    """Who, what, and when: in UTC, whatever the zone of the application."""
    peer = await captured(PLAIN)
    await app.run("SET time_zone = '+05:30'")
    await app.run("INSERT INTO people VALUES (1, 'a', 'Ada')")
    await app.run("UPDATE people SET name = 'Eve'")
    await app.run("DELETE FROM people")
    ((at,),) = await app.run("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS int)")
    seen = await observed(peer)
    assert [one.op for one in seen] == [Op.CREATED, Op.UPDATED, Op.DELETED]
    assert [one.fields["name"] for one in seen] == ["Ada", "Eve", "Eve"]
    assert {one.origin for one in seen} == {None}
    assert all(abs(one.event_at - int(str(at))) < 60_000 for one in seen)


async def test_a_look_comes_after_whatever_it_shows(captured: Capture, app: MariadbApp, connect: Connect) -> None:
    """Once the position has reached its number, everything that it shows was read; who is late is not shown."""
    peer = await captured(PLAIN)
    await app.run(ADD.format(1))
    late = await connect()
    await late.run("START TRANSACTION")
    await late.run(ADD.format(2))
    await app.run("UPDATE people SET name = 'Eve' WHERE id = 1")
    image = await look(peer, "1")
    batch = await read(peer)
    assert image.fields["name"] == "Eve"
    assert [one.event_id.rpartition(":")[2] for one in batch.observations] == ["1", "3"]
    assert image.version is not None
    assert batch.position.number == image.version.number == 4
    await late.run("COMMIT")
    assert ids(await read(peer, batch.position)) == ["2"]


async def test_position_outlives_a_crash_of_the_server(
    captured: Capture, app: MariadbApp, mariadb: MariadbServer, connect: Connect
) -> None:
    """No number is given twice, and nothing that was read is read again."""
    peer = await captured(PLAIN)
    await app.run(ADD_MANY.format(3))
    position = (await read(peer)).position
    await mariadb.restart(Shutdown.IMMEDIATE)
    await peer.close()
    back = await connect()
    await back.run(ADD.format(4))
    batch = await read(peer, position)
    assert ids(batch) == ["4"]
    assert batch.position.number > position.number
    mark = mark_of(batch.position)
    assert mark is not None
    assert mark.taken == ((3, 3),)
