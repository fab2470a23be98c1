"""The relay of a PostgreSQL outbox: late transactions, pages, rewinds, trims, and when it wakes."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from idsync.connectors.sql_postgres.mark import Mark, mark_of
from idsync.connectors.tables.outbox import BATCH_BYTES_MAX
from idsync.errors import CaptureMissing, PeerError
from idsync.model.event import Op
from idsync.model.plan import Position
from idsync.ports import Rewound
from idsync.testing.postgres import PostgresServer, Shutdown
from tests.servers import PostgresApp
from tests.unit.connectors.servers.app import PLAIN, Peer, drain, ids, look, observed, read
from tests.unit.connectors.servers.conftest import Capture, Connect

LONG = PLAIN.replace("varchar(100)", "text")
ADD = "INSERT INTO people VALUES ({})"


async def test_transaction_that_began_after_the_newest_that_was_over_is_not_passed(
    captured: Capture, app: PostgresApp, connect: Connect
) -> None:
    """A snapshot does not name it: it ends before it."""
    peer = await captured(PLAIN)
    first = await read(peer)
    late = await connect()
    await late.script("BEGIN; INSERT INTO people VALUES (1)")
    second = await read(peer, first.position)
    await late.script("COMMIT")
    await app.run("INSERT INTO people VALUES (2)")
    assert ids(await read(peer, second.position)) == ["1", "2"]


async def test_difference_is_read_in_pages_and_nothing_comes_between(
    captured: Capture, app: PostgresApp, connect: Connect
) -> None:
    """What is committed meanwhile is part of the next one, whatever its number."""
    peer = await captured(PLAIN)
    late = await connect()
    await late.script("BEGIN; INSERT INTO people VALUES (0)")
    await app.run("INSERT INTO people SELECT n FROM generate_series(1, 5) AS n")
    page = await read(peer, None, 2)
    assert (ids(page), page.has_more, page.position.number) == (["1", "2"], True, 0)
    await late.script("COMMIT")
    await app.run("INSERT INTO people VALUES (6)")
    assert await drain(peer, page.position, 2) == (["3", "4", "5", "0", "6"], (await last_of(peer, page.position)))


async def last_of(peer: Peer, after: Position) -> Position:
    """Where reading ends."""
    return (await drain(peer, after, 1_000))[1]


async def test_every_limit_gives_the_same(captured: Capture, app: PostgresApp, connect: Connect) -> None:
    """Rows of late and of new transactions, mixed."""
    peer = await captured(PLAIN)
    start = (await read(peer)).position
    late = [await connect() for _ in range(3)]
    for turn in range(4):
        for number, one in enumerate(late):
            await one.script("BEGIN" if turn == 0 else ADD.format(number * 10 + turn))
        await app.script(ADD.format(100 + turn))
    for one in late:
        await one.script("COMMIT")
    seen = [await drain(peer, start, limit) for limit in (1, 2, 3, 100)]
    assert all(one == seen[0] for one in seen)
    assert len(seen[0][0]) == 13


async def test_batch_is_limited_in_bytes(captured: Capture, app: PostgresApp) -> None:
    """But one row is always read."""
    peer = await captured(LONG)
    await app.run("INSERT INTO people SELECT n, 'e', repeat('x', 3000000) FROM generate_series(1, 5) AS n")
    batch = await read(peer)
    assert 0 < sum(len(str(one.fields["name"])) for one in batch.observations) <= BATCH_BYTES_MAX
    assert (len(batch.observations), batch.has_more) == (2, True)
    assert (await drain(peer, batch.position, 1_000))[0] == ["3", "4", "5"]


async def test_row_heavier_than_a_whole_batch_is_followed_by_what_came_after_it(
    captured: Capture, app: PostgresApp
) -> None:
    """It is a batch of its own, and not the last."""
    peer = await captured(LONG)
    await app.run("INSERT INTO people VALUES (1, repeat('x', 4000000), repeat('y', 4000000))")
    await app.run("UPDATE people SET name = repeat('z', 4000000)")
    await app.run("INSERT INTO people VALUES (2)")
    assert (await drain(peer, None, 1_000))[0] == ["1", "1", "2"]


async def test_page_that_is_on_its_way_is_not_taken_for_another(captured: Capture, app: PostgresApp) -> None:
    """Who goes back, or asks for fewer, gets what he asks for."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people SELECT generate_series(1, 9)")
    first = await read(peer, None, 4)
    assert ids(await read(peer, None, 4)) == ids(first) == ["1", "2", "3", "4"]
    assert ids(await read(peer, first.position, 1)) == ["5"]
    assert ids(await read(peer, first.position, 4)) == ["5", "6", "7", "8"]


async def test_connection_that_is_lost_between_two_pages_loses_no_row(captured: Capture, app: PostgresApp) -> None:
    """What was on its way is read again on the next connection, after a look at the server."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people SELECT generate_series(1, 40)")
    after, seen, failures = None, [], 0
    has_more = True
    while has_more:
        try:
            batch = await read(peer, after, 4)
        except PeerError:
            failures += 1
            continue
        seen += ids(batch)
        after, has_more = batch.position, batch.has_more
        await app.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'idsync app'")
    assert seen == [str(number) for number in range(1, 41)]
    assert failures > 0


Damage = Callable[[PostgresApp], Awaitable[None]]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE idsync_app.outbox SET nonce = gen_random_uuid()", "another row"),
        ("DELETE FROM idsync_app.outbox", "is gone"),
        ("UPDATE idsync_app.capture SET generation = 'x'", "generation"),
    ],
)
async def test_outbox_that_is_another_one_is_a_rewind(
    captured: Capture, app: PostgresApp, damage: str, found: str
) -> None:
    """A restore, or a capture that was begun anew."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people VALUES (1)")
    position = (await read(peer)).position
    await app.run(damage)
    rewound = await peer.source.read(position, 10)
    assert isinstance(rewound, Rewound)
    assert found in rewound.found


async def test_server_that_is_another_one_is_a_rewind(captured: Capture, app: PostgresApp) -> None:
    """By its own name, by its history, or because it has forgotten something."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people VALUES (1)")
    position = (await read(peer)).position
    mark = mark_of(position)
    assert mark is not None
    server, _, timeline = mark.cluster.partition("/")
    seen = mark.seen
    later = msgspec.structs.replace(seen, snapshot=f"{seen.end + 1000}:{seen.end + 1000}:")
    others = [
        msgspec.structs.replace(mark, cluster=f"1{server}/{timeline}"),
        msgspec.structs.replace(mark, cluster=f"{server}/000000FF"),
        msgspec.structs.replace(mark, seen=later),
        msgspec.structs.replace(mark, seen=msgspec.structs.replace(seen, last=seen.last + 1)),
        msgspec.structs.replace(mark, next=later),
    ]
    for other in others:
        moved = msgspec.structs.replace(position, mark=msgspec.json.encode(other).decode())
        assert isinstance(await peer.source.read(moved, 10), Rewound), other
    for text in ("", "{}", "[1]"):
        assert isinstance(await peer.source.read(msgspec.structs.replace(position, mark=text), 10), Rewound)


async def test_outbox_whose_beginning_was_trimmed_cannot_be_begun_with(captured: Capture, app: PostgresApp) -> None:
    """Somebody else has read it: whoever has no position starts over."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people VALUES (1)")
    await peer.source.trim((await read(peer)).position)
    assert isinstance(await peer.source.read(None, 10), Rewound)
    await peer.source.start_over()
    batch = await read(peer)
    assert (batch.observations, set(batch.rings)) == ((), {("user", "1")})


async def test_starting_over_rings_also_for_what_is_gone(captured: Capture, app: PostgresApp) -> None:
    """What the old outbox holds may be history, but it names who was there; what comes later is told as ever."""
    peer = await captured(PLAIN)
    await app.script("INSERT INTO people VALUES (1), (2); DELETE FROM people WHERE id = 1")
    before = await read(peer)
    await peer.source.start_over()
    await app.run("INSERT INTO people VALUES (3)")
    batch = await read(peer)
    assert batch.position.generation != before.position.generation
    assert {external_id for _, external_id in batch.rings} == {"1", "2"}
    assert ids(batch) == ["3"]


async def test_trim_leaves_the_row_at_the_position_and_what_is_still_to_come(
    captured: Capture, app: PostgresApp, connect: Connect
) -> None:
    """Also in the middle of a difference."""
    peer = await captured(PLAIN)
    late = await connect()
    await late.script("BEGIN; INSERT INTO people VALUES (0)")
    await app.run("INSERT INTO people SELECT n FROM generate_series(1, 5) AS n")
    page = await read(peer, None, 2)
    await peer.source.trim(page.position)
    assert await app.run("SELECT id FROM idsync_app.outbox ORDER BY seq") == [["2"], ["3"], ["4"], ["5"]]
    await late.script("COMMIT")
    seen, position = await drain(peer, page.position, 2)
    assert seen == ["3", "4", "5", "0"]
    await peer.source.trim(position)
    mark = mark_of(position)
    assert mark is not None
    assert await app.run("SELECT seq FROM idsync_app.outbox") == [[mark.row]]
    assert (await peer.status(position)).waiting == 0


async def test_trim_of_another_generation_deletes_nothing(captured: Capture, app: PostgresApp) -> None:
    """Its position means nothing here."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people VALUES (1)")
    position = (await read(peer)).position
    await peer.source.trim(msgspec.structs.replace(position, generation="another"))
    await peer.source.trim(msgspec.structs.replace(position, mark=""))
    assert await app.run("SELECT count(*) FROM idsync_app.outbox") == [[1]]


async def test_status_counts_what_waits(captured: Capture, app: PostgresApp) -> None:
    """Before the first read, in the middle of a difference, at the end."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people SELECT n FROM generate_series(1, 5) AS n")
    page = await read(peer, None, 2)
    assert ((await peer.status()).waiting, (await peer.status(page.position)).waiting) == (5, 3)
    assert (await peer.status(await last_of(peer, page.position))).waiting == 0


async def test_wait_returns_as_soon_as_somebody_commits(captured: Capture, app: PostgresApp) -> None:
    """Not before, and not for what was committed before the last return."""
    peer = await captured(PLAIN)
    await peer.source.wait(5)
    waiting = asyncio.create_task(peer.source.wait(30))
    await app.script("BEGIN; INSERT INTO people VALUES (1)")
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    await app.script("COMMIT")
    await asyncio.wait_for(waiting, 5)
    async with asyncio.timeout(5):
        await peer.source.wait(0.05)


async def test_what_a_row_says_of_its_write(captured: Capture, app: PostgresApp) -> None:
    """Its time is that of the statement, its name is the outbox's own, and nobody's intent is nobody's."""
    peer = await captured(PLAIN)
    ((now_ms,),) = await app.run("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    await app.run("INSERT INTO people VALUES (1, 'A@Example.com', 'Ada')")
    (seen,) = await observed(peer)
    assert (seen.op, seen.origin, seen.names_writer) == (Op.CREATED, None, True)
    assert seen.fields == {"email": "a@example.com", "name": "Ada"}
    assert seen.version is not None
    assert seen.event_id == f"{seen.version.generation}:{seen.version.number}"
    assert 0 <= seen.event_at - now_ms < 5_000


async def test_row_of_a_kind_that_is_no_longer_configured_is_refused(captured: Capture, app: PostgresApp) -> None:
    """It is parked, never skipped."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO idsync_app.outbox (kind, op, id) VALUES ('session', 'deleted', '1')")
    batch = await read(peer)
    assert batch.observations == ()
    assert [why for _, _, why in batch.refused] == ["session: its kind is not configured at this peer any more"]


async def test_row_that_no_trigger_could_read_stops_the_relay(captured: Capture, app: PostgresApp) -> None:
    """It is no word of anybody's."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO idsync_app.outbox (kind, op, id) VALUES ('user', 'broken', '1')")
    with pytest.raises(CaptureMissing):
        await peer.source.read(None, 10)


async def test_a_look_comes_after_whatever_it_shows(captured: Capture, app: PostgresApp, connect: Connect) -> None:
    """The position passes a look's number only when all that the look shows was read (decision 0009).

    A number that was only looked at would not do: here the event has drawn the newest one, and commits after the relay.
    """
    peer = await captured(PLAIN)
    writer = await connect()
    await writer.script("BEGIN; INSERT INTO people VALUES (1, 'a', 'Ada')")
    before = await read(peer)
    await writer.script("COMMIT")
    seen = await look(peer, "1")
    assert seen.version is not None
    assert seen.version.number > before.position.number
    after = await read(peer, before.position)
    assert [one.version.number < seen.version.number for one in after.observations if one.version] == [True]
    assert after.position.number >= seen.version.number
    await look(peer, "1")
    moved = await read(peer, after.position)
    assert (moved.observations, moved.position.number) == ((), after.position.number + 1)


async def test_position_outlives_a_crash_of_the_server(
    captured: Capture, app: PostgresApp, postgres: PostgresServer, connect: Connect
) -> None:
    """Whatever was not committed is gone, and its numbers are not taken for read."""
    peer = await captured(PLAIN)
    await app.run("INSERT INTO people VALUES (1)")
    late = await connect()
    await late.script("BEGIN; INSERT INTO people VALUES (2)")
    batch = await read(peer)
    await postgres.restart(Shutdown.IMMEDIATE)
    again = await connect()
    await again.run("INSERT INTO people VALUES (3)")
    await peer.close()
    seen, _ = await drain(peer, batch.position, 10)
    assert (ids(batch), seen) == (["1"], ["3"])
    assert isinstance(mark_of(batch.position), Mark)
