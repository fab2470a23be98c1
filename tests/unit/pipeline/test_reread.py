"""Reread: what a look found is ingested once, and never before the events that led to it."""

from idsync.model.plan import Position, Reread
from idsync.model.values import ExternalId
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.looks import arrival_of
from idsync.pipeline.reread import EARLY_PAUSE_S, Rereader
from idsync.telemetry import Counters, Log
from idsync.testing.halves import FakeReader
from idsync.testing.peer import FakePeer
from tests.unit.pipeline.conftest import APP, Door


async def test_look_waits_for_the_events_before_it(door: Door) -> None:
    """An edit keeps the time of its event, however early somebody looks at what it has made (decision 0009)."""
    peer = FakePeer("app", door.clock.now)
    ada = peer.create("user", {"email": "ada@example.com", "name": "Ada"})
    rereader = make_rereader(door, peer)
    await take_in(door, peer, 1)
    await door.clock.advance(1)
    edited_at = door.clock.now()
    peer.edit("user", ada, {"name": "Ada Lovelace"})
    await door.clock.advance(60)
    await ring(door, ada)
    assert await rereader.tick() == EARLY_PAUSE_S
    (entity,) = await door.store.find("ada@example.com")
    assert entity.value_of("name") == "Ada"
    await take_in(door, peer, 2)
    assert await rereader.tick() == 0.0
    (entity,) = await door.store.find("ada@example.com")
    assert (entity.value_of("name"), entity.fields["name"].stamp.at) == ("Ada Lovelace", edited_at)
    assert await door.store.due_rereads(door.clock.now(), 9) == []


async def test_look_that_finds_nobody_waits_for_them_too(door: Door) -> None:
    """Else an older create that comes after it would bring back whom it found gone."""
    peer = FakePeer("app", door.clock.now)
    ada = peer.create("user", {"email": "ada@example.com", "name": "Ada"})
    rereader = make_rereader(door, peer)
    await take_in(door, peer, 1)
    peer.delete("user", ada)
    peer.create("user", {"email": "ada@example.com", "name": "Ada"}, ada)
    peer.delete("user", ada)
    await ring(door, ada)
    assert await rereader.tick() == EARLY_PAUSE_S
    for number in (2, 3, 4):
        (entity,) = await door.store.find("ada@example.com")
        assert entity.link_at(APP).is_live is (number != 3)
        await take_in(door, peer, number)
    await rereader.tick()
    (entity,) = await door.store.find("ada@example.com")
    assert not entity.link_at(APP).is_live


def make_rereader(door: Door, peer: FakePeer) -> Rereader:
    """Look at one peer."""
    readers = {APP: FakeReader(peer)}
    return Rereader(readers, store=door.store, submit=door.submit, clock=door.clock, counters=Counters(), log=Log())


async def take_in(door: Door, peer: FakePeer, number: int) -> None:
    """Ingest one row of the peer's outbox, and its place with it."""
    arrivals = [arrival_of(seen) for found, seen in peer.log if found == number]
    await door.submit(Submission(arrivals=arrivals, peer=APP, position=Position("1", number, "")))


async def ring(door: Door, external_id: ExternalId) -> None:
    """Ask for a look."""
    now = door.clock.now()
    job = Reread(peer=APP, kind="user", external_id=external_id, asked_at=now, retry_at=now)
    await door.submit(Submission(rereads=[job]))
