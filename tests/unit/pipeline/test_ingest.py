"""Ingest: one transaction for the mark, the effect and what follows from it; bad input harms only itself."""

import asyncio

import msgspec
import pytest

from idsync.errors import DataRefused, StoreBusy, StoreFenced
from idsync.model.delivery import FIRST_PLACE
from idsync.model.event import Op, Verdict
from idsync.model.plan import CommitResult, LaneCursor, Plan, Position
from idsync.model.values import Instant, PeerName, Value
from idsync.pipeline.ingest import Submission
from idsync.testing.clock import FakeClock
from tests.unit.pipeline.conftest import APP, AUTH, Door

ADA: dict[str, Value] = {"email": "ada@example.com", "email_verified": True, "name": "Ada"}


async def test_a_new_identity_is_dispatched_to_every_other_peer_and_endpoint(door: Door) -> None:
    """One event: the truth, a doorbell for the peer that lacks it, a delivery for the endpoint."""
    (receipt,) = await door.take(door.seen(AUTH, "u_1", Op.CREATED, ADA))
    assert receipt.verdict is Verdict.APPLIED
    assert sorted(one.event_type for one in door.queued) == ["user.created", "user.created"]
    event = msgspec.json.decode(next(one.body for one in door.queued))
    assert event["data"] == {"id": "u_1", **ADA}
    assert event["subject"] == f"user/{receipt.entity}"
    assert event["ids"] == {"auth": "u_1"}


async def test_second_receipt_of_same_event_is_ignored(door: Door) -> None:
    """The mark commits with the effect, so a repeat finds both or neither (S1)."""
    arrival = door.seen(AUTH, "u_1", Op.CREATED, ADA)
    first, again = await door.take(arrival, arrival)
    (later,) = await door.take(arrival)
    assert [first.verdict, again.verdict, later.verdict] == [Verdict.APPLIED, Verdict.DUPLICATE, Verdict.DUPLICATE]
    assert len(door.queued) == 2
    assert later.entity == first.entity


async def test_events_of_one_identity_in_one_batch_are_merged_one_after_the_other(door: Door) -> None:
    """The batch writes the entity once, at its last version."""
    receipts = await door.take(
        door.seen(AUTH, "u_1", Op.CREATED, ADA),
        door.seen(AUTH, "u_1", Op.UPDATED, {**ADA, "name": "Ada L."}),
        door.seen(AUTH, "u_1", Op.UPDATED, {**ADA, "name": "Ada Lovelace"}),
    )
    (entity,) = await door.store.find("ada@example.com")
    assert (entity.version, entity.value_of("name")) == (3, "Ada Lovelace")
    assert {one.entity for one in receipts} == {entity.id}


async def test_an_older_version_is_stale(door: Door) -> None:
    """What comes late is recognised and changes nothing (R12)."""
    await door.take(
        door.seen(AUTH, "u_1", Op.CREATED, ADA, number=1), door.seen(AUTH, "u_1", Op.UPDATED, ADA, number=5)
    )
    (receipt,) = await door.take(door.seen(AUTH, "u_1", Op.UPDATED, {**ADA, "name": "Old"}, number=3))
    assert receipt.verdict is Verdict.STALE
    (entity,) = await door.store.find("ada@example.com")
    assert entity.value_of("name") == "Ada"


async def test_an_event_without_an_entity_goes_to_its_endpoints_unchanged(door: Door) -> None:
    """The publisher's data are the bytes that come out."""
    (receipt,) = await door.take(door.event("evt_1"))
    assert receipt.verdict is Verdict.APPLIED
    (delivery,) = door.queued
    assert (delivery.event_id, delivery.subject) == ("evt_1", "order/1")
    assert b'"data":{"n":1}' in delivery.body


async def test_an_event_that_is_held_back_says_so_to_its_endpoints(door: Door) -> None:
    """From memory as from the store: whoever delivers it knows the earliest time."""
    await door.take(msgspec.structs.replace(door.event("evt_1"), not_before=Instant(7)))
    (delivery,) = door.queued
    assert delivery.not_before == 7
    page = await door.store.read([LaneCursor(delivery.lane, FIRST_PLACE)], 10)
    assert list(page.deliveries) == [delivery]


async def test_what_refers_to_an_unknown_identity_waits_for_its_arrival(door: Door) -> None:
    """The application's row names an id that the identity provider has not told of yet."""
    (early,) = await door.take(door.seen(APP, "7", Op.CREATED, ADA, link="u_1"))
    assert (early.verdict, early.reason) == (Verdict.PARKED, "link_unknown")
    await door.take(door.seen(AUTH, "u_1", Op.CREATED, ADA))
    (due,) = await door.store.due_waits(door.clock.now(), 10)
    assert due.reason == "link_unknown"


async def test_an_unverified_stranger_with_a_known_email_is_parked(door: Door) -> None:
    """An account is never taken over by its e-mail (S11)."""
    await door.take(door.seen(AUTH, "u_1", Op.CREATED, ADA))
    (receipt,) = await door.take(door.seen(APP, "7", Op.CREATED, {"email": "ada@example.com", "name": "Eve"}))
    assert (receipt.verdict, receipt.reason) == (Verdict.PARKED, "link_undecided")
    (entity,) = await door.store.find("ada@example.com")
    assert entity.value_of("name") == "Ada"


async def test_more_deletes_than_the_limit_are_parked(door: Door) -> None:
    """An emptied table does not empty every other one (DESIGN §4.6)."""
    people = [str(number) for number in range(5)]
    await door.take(*(door.seen(AUTH, one, Op.CREATED, {"email": f"{one}@example.com", "name": one}) for one in people))
    receipts = await door.take(*(door.seen(AUTH, one, Op.DELETED) for one in people))
    assert [one.verdict for one in receipts] == [Verdict.APPLIED] * 3 + [Verdict.PARKED] * 2
    assert {one.reason for one in receipts[3:]} == {"mass_delete"}
    assert len(await door.store.waits(0, 10)) == 2


async def test_a_body_that_cannot_be_understood_is_parked_whole(door: Door) -> None:
    """It does not vanish, and it blocks nobody."""
    broken = msgspec.structs.replace(door.event("evt_1"), event=None, refusal="unreadable", body=b"\xff\x00{")
    (receipt,) = await door.take(broken)
    assert (receipt.verdict, receipt.reason) == (Verdict.PARKED, "unreadable")
    (waiting,) = await door.store.waits(0, 10)
    assert msgspec.json.decode(waiting.body, type=type(broken)).body == b"\xff\x00{"


async def test_a_poison_event_harms_only_itself(door: Door) -> None:
    """A batch that the database refuses is halved until the one arrival that fails alone is found and parked."""
    poison = door.event("evt_poison", subject="order/\ud800")
    waiting = [
        asyncio.ensure_future(door.ingest.submit(Submission(arrivals=[one])))
        for one in (door.event("evt_1"), poison, door.event("evt_2"), door.event("evt_3"))
    ]
    await door.clock.settle()
    while not all(one.done() for one in waiting):
        await door.ingest.tick()
        await door.clock.settle()
    receipts = [one.result()[0] for one in waiting]
    assert [one.verdict for one in receipts] == [Verdict.APPLIED, Verdict.PARKED, Verdict.APPLIED, Verdict.APPLIED]
    assert sorted(one.event_id for one in door.queued) == ["evt_1", "evt_2", "evt_3"]


async def test_a_full_queue_says_so_and_takes_nothing(door: Door) -> None:
    """The sender is told to come again; what waits is bounded."""
    first = asyncio.ensure_future(
        door.ingest.submit(Submission(arrivals=[door.event(f"evt_{number}") for number in range(1_000)]))
    )
    await door.clock.settle()
    with pytest.raises(StoreBusy):
        await door.ingest.submit(Submission(arrivals=[door.event("evt_late")]))
    await door.ingest.tick()
    assert len(await first) == 1_000


async def test_a_fenced_plan_ends_ingest(door: Door) -> None:
    """Once another process owns the store, nothing of ours is written."""
    await door.store.start()
    with pytest.raises(StoreFenced):
        await door.take(door.event("evt_1"))
    assert door.queued == []


async def test_a_batch_whose_keys_moved_is_merged_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer between our load and our commit costs a second pass, never an edit."""
    await door.take(door.seen(AUTH, "u_1", Op.CREATED, ADA))
    commit, plans = door.store.commit, list[Plan]()

    async def meddle(plan: Plan) -> CommitResult:
        plans.append(plan)
        if len(plans) == 1:
            (write,) = plan.entities
            other = msgspec.structs.replace(write.entity, fields={**write.entity.fields}, updated_at=door.clock.now())
            await commit(Plan(epoch=plan.epoch, entities=(msgspec.structs.replace(write, entity=other),)))
        return await commit(plan)

    monkeypatch.setattr(door.store, "commit", meddle)
    (receipt,) = await door.take(door.seen(AUTH, "u_1", Op.UPDATED, {**ADA, "name": "Ada L."}))
    assert len(plans) == 2
    assert receipt.verdict in {Verdict.APPLIED, Verdict.ECHO, Verdict.REREAD}


async def test_position_commits_with_its_rows(door: Door) -> None:
    """A crash repeats rows at worst; it never passes one over."""
    position = Position("g", 9, "ab")
    await door.submit(
        Submission(arrivals=[door.seen(AUTH, "u_1", Op.CREATED, ADA)], peer=PeerName("auth"), position=position)
    )
    assert await door.store.position(PeerName("auth")) == position


def test_the_fake_clock_stands_still() -> None:
    """The tests above depend on it."""
    clock = FakeClock()
    assert clock.now() == clock.now()


async def test_data_refused_without_an_end_is_not_hidden(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """If even the parked form is refused, the sender gets the error and sends again."""

    async def refuse(plan: Plan) -> CommitResult:
        raise DataRefused(f"{len(plan.inbox)} rows refused")

    monkeypatch.setattr(door.store, "commit", refuse)
    with pytest.raises(DataRefused):
        await door.take(door.event("evt_1"))


async def test_a_peer_that_is_not_synced_links_to_nobody(door: Door) -> None:
    """Its word is kept where operators see it, and claims no e-mail."""
    (receipt,) = await door.take(door.seen(PeerName("crm"), "9", Op.CREATED, {"email": "ada@example.com"}))
    assert (receipt.verdict, receipt.reason) == (Verdict.PARKED, "peer_not_synced")
    assert await door.store.find("ada@example.com") == []


async def test_arrival_that_waits_for_an_email_is_tried_again_once_its_identity_is_known(door: Door) -> None:
    """A row took somebody's e-mail and went without a word: what it said meanwhile must not wait for ever."""
    await door.take(door.seen(AUTH, "u_1", Op.CREATED, {**ADA, "email_verified": False}))
    (said,) = await door.take(door.seen(APP, "48", Op.CREATED, {**ADA, "email_verified": False}))
    assert (said.verdict, said.reason) == (Verdict.PARKED, "link_undecided")
    assert not await door.store.due_waits(door.clock.now(), 9)
    await door.take(door.seen(APP, "48", Op.ABSENT))
    assert [one.reason for one in await door.store.due_waits(door.clock.now(), 9)] == ["link_undecided"]
