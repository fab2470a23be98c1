"""When a delivery is sent: at its time, at its endpoint's rate, by its level, in its order."""

import asyncio

import msgspec
import pytest

from idsync.model.destination import Level
from idsync.model.plan import LaneRow, Plan
from idsync.model.values import Instant
from idsync.pipeline.sending.endpoint import BatchPolicy
from idsync.policy.endpoint.rate import RatePolicy
from idsync.ports import Response
from tests.unit.pipeline.conftest import Door
from tests.unit.pipeline.posting import BAD, Rig, delivering, endpoint


async def test_delivery_waits_until_its_time_and_what_follows_waits_behind_it(door: Door) -> None:
    """It is parked without an attempt; others are not held up."""
    async with delivering(door) as rig:
        at = Instant(door.clock.now() + 60_000)
        await rig.take(("e1", "order/1"), not_before=at)
        await rig.take(("e2", "order/1"), ("e3", "order/2"))
        assert rig.sent == ["e3"]
        rows = {one.event_id: (one.reason, one.retry_at, one.attempts) for one in await rig.parked()}
        assert rows == {"e1": ("not_before", at, 0), "e2": ("behind", None, 0)}
    async with delivering(door) as rig:
        await rig.pass_time(60.0)
        assert rig.sent == ["e3", "e1"]
        await rig.answer()
        assert rig.sent == ["e3", "e1", "e2"]


async def test_time_of_a_delivery_is_kept_while_it_is_behind_another(door: Door) -> None:
    """It was parked for that, and comes back before its own time."""
    async with delivering(door) as rig:
        at = Instant(door.clock.now() + 60_000)
        await rig.take(("e1", "order/1"))
        await rig.take(("e2", "order/1"), not_before=at)
        await rig.answer(BAD)
        await rig.pass_time(2.0)
        await rig.answer()
        await rig.pass_time(10.0)
        assert rig.sent == ["e1", "e1"]
        await rig.pass_time(60.0)
        assert rig.sent == ["e1", "e1", "e2"]


async def test_limited_endpoint_gets_no_more_than_its_rate(door: Door) -> None:
    """From an empty bucket on, so that a take-over grants nothing twice."""
    async with delivering(door, endpoint(rate=RatePolicy(requests_per_second=10.0, burst=2))) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(50)))
        counts = []
        for _ in range(10):
            await rig.pass_time(0.1)
            counts.append(len(rig.sender.posts))
            await rig.answer()
        assert counts == list(range(1, 11))
        await rig.pass_time(60.0)
        assert len(rig.sender.posts) == 12


def rate_waits(rig: Rig) -> tuple[int, float]:
    """Give how often it waited for the rate, and how long."""
    found = rig.counters.histograms.get(("idsync_rate_wait_seconds", "endpoint:audit"))
    return (found.count, round(found.sum_s, 3)) if found is not None else (0, 0.0)


@pytest.mark.parametrize("batch", [None, BatchPolicy(events_max=1, linger_ms=0)])
async def test_wait_for_the_rate_is_counted_once_with_its_length(door: Door, batch: BatchPolicy | None) -> None:
    """However often it is looked at; what goes at once, or has nothing to send, does not wait."""
    rate = RatePolicy(requests_per_second=2.0, burst=2)
    async with delivering(door, endpoint(rate=rate, batch=batch)) as rig:
        await rig.pass_time(60.0)
        await rig.take(("e1", "order/1"), ("e2", "order/2"))
        await rig.answer()
        assert (len(rig.sender.posts), rate_waits(rig)) == (2, (0, 0.0))
        await rig.take(("e3", "order/3"), ("e4", "order/4"))
        for _ in range(10):
            await rig.pass_time(0.1)
            await rig.answer()
        assert (len(rig.sender.posts), rate_waits(rig)) == (4, (2, 1.0))
        await rig.pass_time(60.0)
        assert rate_waits(rig) == (2, 1.0)


async def test_wait_for_anything_but_the_rate_is_not_counted_as_one(door: Door) -> None:
    """A batch that lingers, an endpoint that rests, and one without a rate."""
    rate = RatePolicy(requests_per_second=1.0, burst=1)
    async with delivering(door, endpoint(rate=rate, batch=BatchPolicy(linger_ms=1_000))) as rig:
        await rig.take(("e1", "order/1"))
        await rig.pass_time(1.0)
        assert (rig.sent, rate_waits(rig)) == (["e1"], (0, 0.0))
        await rig.answer()
    async with delivering(door, endpoint(rate=rate, concurrency=1)) as rig:
        await rig.pass_time(1.0)
        await rig.take(("e2", "order/2"), ("e3", "order/3"))
        await rig.answer(Response(status=503, retry_after_s=5.0))
        await rig.pass_time(4.9)
        assert (rig.sent, rate_waits(rig)) == (["e2"], (0, 0.0))
    async with delivering(door) as rig:
        await rig.take(*((f"f{number}", f"order/f{number}") for number in range(40)))
        await rig.answer()
        assert rate_waits(rig) == (0, 0.0)


@pytest.mark.parametrize("others", [{}, {"is_ordered": False}, {"batch": BatchPolicy(linger_ms=0)}])
async def test_what_is_under_way_is_known_at_each_try_and_nothing_else_is(
    door: Door, others: dict[str, object]
) -> None:
    """Not before it is sent, not while it waits for the next try, not once it is done."""
    async with delivering(door, endpoint(**others)) as rig:
        seen = []
        await rig.take(("e1", "order/1"), ("e2", "order/2"), ("other", "order/3"))
        first = next(one for one in door.queued if one.event_id == "e1" and one.lane in rig.deliverer._queue.feed.lanes)

        def note() -> None:
            seen.append(rig.deliverer.is_sending(first.id, first.subject))

        note()
        await rig.answer(BAD)
        while rig.open:  # a batch that failed is halved first
            await rig.answer(BAD)
        note()
        await rig.pass_time(2.0)
        note()
        assert not rig.deliverer.is_sending(first.id + 1_000, first.subject)
        await rig.answer()
        note()
        assert seen == [True, False, True, False]


async def test_without_order_one_that_fails_holds_up_nobody(door: Door) -> None:
    """Each delivery is by itself, also after a restart."""
    async with delivering(door, endpoint(is_ordered=False)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/1"), ("e3", "order/1"))
        assert len(rig.open) == 3
        await rig.answer(BAD, count=1)
        await rig.answer()
        assert [one.event_id for one in await rig.parked()] == ["e1"]
    async with delivering(door, endpoint(is_ordered=False)) as rig:
        await rig.pass_time(2.0)
        assert rig.sent == ["e1"]
        await rig.answer()
        assert await rig.parked() == []


async def test_what_is_live_goes_first_and_one_in_eight_is_bulk(door: Door) -> None:
    """Whatever is queued first."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        old = [f"old{number}" for number in range(4)]
        await rig.take(*((one, f"order/{one}") for one in old))
        for _ in old:
            await rig.answer()
        await rig.take(("first", "order/first"))
        await rig.take_bulk(*old)
        await rig.take(*((f"new{number}", f"order/new{number}") for number in range(20)))
        begin = len(rig.sent)
        while rig.open:
            await rig.answer()
        levels = ["old" if one.startswith("old") else "new" for one in rig.sent[begin:]]
        assert levels.count("old") == 4
        assert [number for number, one in enumerate(levels) if one == "old"][:2] == [7, 15]


async def test_identity_is_serial_across_levels(door: Door) -> None:
    """What is sent again waits for what is under way of it."""
    async with delivering(door) as rig:
        await rig.take(("e1", "order/1"))
        await rig.take_bulk("e1")
        assert len(rig.open) == 1
        await rig.answer()
        assert [one.ids for one in rig.open] == [["e1"]]


async def test_deliverer_says_when_it_must_be_begun_anew(door: Door) -> None:
    """Its keys do not fit another order; anything else it follows at once."""
    async with delivering(door) as rig:
        rig.deliverer.adopt(endpoint(concurrency=1, url="https://elsewhere.example/"))
        await rig.take(("e1", "order/1"), ("e2", "order/2"))
        assert [one.request.url for one in rig.open] == ["https://elsewhere.example/"]
        assert not rig.deliverer.is_outdated
        rig.deliverer.adopt(endpoint(is_ordered=False))
        assert rig.deliverer.is_outdated


async def test_a_newer_generation_is_read_as_soon_as_all_of_the_older_is_written(door: Door) -> None:
    """The flush that writes the last of the older one wakes whoever waits for it; nothing is waited for beyond that."""
    await door.take(door.event("e1"))
    (delivery,) = door.queued
    door.destination = msgspec.structs.replace(door.destination, lanes=3)
    opened = [lane for lane, _ in await door.store.open([door.destination]) if lane.level is Level.LIVE]
    newer = max(opened, key=lambda lane: lane.generation)
    assert newer.generation > 0
    row = LaneRow(newer.id, delivery.subject, 0, seq=delivery.event)
    await door.store.commit(Plan(epoch=door.epoch, deliveries=(row,)))
    async with delivering(door) as rig:
        assert rig.sent == ["e1"]
        assert await rig.deliverer.tick() > 0
        rig.open[0].answer()
        await door.clock.settle()
        assert rig.sent == ["e1"]
        await rig.settler.flush()
        await asyncio.wait_for(rig.deliverer.wait(60.0), 0.5)
        await rig.turn()
        assert rig.sent == ["e1", "e1"]
