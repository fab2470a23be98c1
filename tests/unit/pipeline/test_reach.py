"""That a peer cannot be read or written is kept, since when and why, until it can be again."""

import asyncio
import io

import pytest

from idsync.errors import CaptureMissing, PeerError
from idsync.pipeline.capture import Relay
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.reach import PREFIX, Half, PeerHealth, Reach, unreached
from idsync.telemetry import Counters, Log
from idsync.testing.halves import FakeSource
from idsync.testing.peer import FakePeer, Habits
from tests.unit.pipeline.conftest import APP, AUTH, FIELDS, Door
from tests.unit.pipeline.test_apply import desk_of


def reach_of(door: Door) -> Reach:
    """Begin to keep it, as a process does that takes over."""
    return Reach(Half.READ, AUTH, registry=door.store, submit=door.submit, tenure=Tenure(door.clock), clock=door.clock)


async def test_peer_that_cannot_be_read_is_known_until_it_can(door: Door) -> None:
    """Since the first failure, however often it is tried."""
    peer = FakePeer("auth", door.clock.now, Habits(fields=FIELDS))
    relay = Relay(
        AUTH,
        FakeSource(peer),
        tenure=Tenure(door.clock),
        registry=door.store,
        submit=door.submit,
        clock=door.clock,
        counters=Counters(),
        log=Log(io.StringIO()),
    )
    await relay.start()
    await relay.tick()
    assert await unreached(door.store) == {}
    peer.is_away, since = True, door.clock.now()
    for _ in range(3):
        await tick_through(door, relay)
        assert await unreached(door.store) == {(AUTH, Half.READ): PeerHealth(since, "PeerError")}
    peer.is_away = False
    await relay.tick()
    assert await unreached(door.store) == {}


async def test_peer_that_cannot_be_written_is_known_until_it_can(door: Door) -> None:
    """Nothing is said of one for which nothing waits."""
    desk = await desk_of(door)
    await desk.deliverer.start()
    desk.peer.is_away, since = True, door.clock.now()
    await desk.run()
    assert await unreached(door.store) == {}
    await desk.tell("u1", email="ada@example.com", email_verified=True, name="Ada")
    await desk.run()
    assert await unreached(door.store) == {(APP, Half.WRITE): PeerHealth(since, "PeerError")}
    desk.peer.is_away = False
    await door.clock.advance(60)
    await desk.run()
    assert await unreached(door.store) == {}


async def test_peer_for_which_nothing_waits_any_more_is_forgotten(door: Door) -> None:
    """Whoever takes over finds nothing to write, so nobody would ever find out that it is back."""
    left = Reach(Half.WRITE, APP, registry=door.store, submit=door.submit, tenure=Tenure(door.clock), clock=door.clock)
    await left.lose(failure(TimeoutError()))
    desk = await desk_of(door)
    await desk.deliverer.start()
    await desk.deliverer.tick()
    assert await unreached(door.store) == {}


async def test_next_process_knows_since_when_and_the_newest_kind_of_failure(door: Door) -> None:
    """What stands behind an error is its kind; its text is in the log."""
    first, since = reach_of(door), door.clock.now()
    await first.start()
    await first.lose(failure(ConnectionRefusedError("secret")))
    await door.clock.advance(60)
    later = reach_of(door)
    await later.start()
    await later.lose(CaptureMissing("secret"))
    assert await unreached(door.store) == {(AUTH, Half.READ): PeerHealth(since, "CaptureMissing")}
    await later.regain()
    assert await unreached(door.store) == {}


async def test_failure_is_known_again_after_another_process_got_through(door: Door) -> None:
    """Both write to the peer, each its lanes; only one of them reaches it."""
    one, other = reach_of(door), reach_of(door)
    await one.lose(failure(TimeoutError()))
    await other.start()
    await other.regain()
    await one.lose(failure(TimeoutError()))
    assert await unreached(door.store) == {(AUTH, Half.READ): PeerHealth(door.clock.now(), "TimeoutError")}


@pytest.mark.parametrize("kept", [b"", b"nonsense", b'{"failing_since": "x"}'])
async def test_what_cannot_be_read_counts_as_nothing(kept: bytes, door: Door) -> None:
    """The next failure writes it anew."""
    await door.store.put_setting(f"{PREFIX}read:{AUTH}", kept)
    assert await unreached(door.store) == {}
    reach = reach_of(door)
    await reach.start()
    await reach.lose(failure(OSError()))
    assert await unreached(door.store) == {(AUTH, Half.READ): PeerHealth(door.clock.now(), "OSError")}


def failure(cause: Exception) -> PeerError:
    """What a connector makes of an error."""
    error = PeerError("it does not answer")
    error.__cause__ = cause
    return error


async def tick_through(door: Door, relay: Relay) -> None:
    """Let a tick end that waits before it ends."""
    tick = asyncio.ensure_future(relay.tick())
    while not tick.done():
        await door.clock.advance(1)
    await tick
