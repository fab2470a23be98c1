"""When an endpoint is left alone: its breaker is open, it asked for it, it is gone, or it only fails."""

import json

import msgspec
import pytest

from idsync.model.values import Instant
from idsync.pipeline.parts.health import EndpointHealth
from idsync.pipeline.sending.endpoint import DisablePolicy
from idsync.policy.endpoint.rate import RatePolicy
from idsync.policy.retry import RetryPolicy
from idsync.ports import DeliveryState, Response
from tests.unit.pipeline.conftest import Door
from tests.unit.pipeline.posting import BAD, GONE, GOOD, NEVER_OPENS, PATIENT, delivering, endpoint

# --- The breaker


async def fail_five(door: Door) -> None:
    """Open the breaker of the endpoint, and leave."""
    async with delivering(door) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(5)))
        await rig.answer(BAD)
        assert (await rig.health()).breaker == "open"


async def test_five_identities_that_fail_open_it_and_nothing_is_sent_or_tried_meanwhile(door: Door) -> None:
    """What comes in the meantime stays queued: no attempt is burnt, nothing is parked."""
    async with delivering(door) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(5)))
        await rig.answer(BAD)
        await rig.take(("late", "order/late"))
        await rig.pass_time(59.0)
        assert len(rig.sender.posts) == 5
        assert [one.state for one in await rig.standing("late")] == [DeliveryState.QUEUED]
        assert [one.type for one in rig.told] == ["breaker.opened"]
        await rig.pass_time(1.0)
        assert len(rig.open) == 3, "so many probes at once"


async def test_breaker_that_closes_begins_with_one_request_then_two_then_four(door: Door) -> None:
    """Whoever just recovered is not buried under what waited."""
    async with delivering(door, endpoint(concurrency=64)) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(40)))
        await rig.answer(BAD)
        await rig.pass_time(60.0)
        await rig.answer(count=2)
        assert [one.type for one in rig.told] == ["breaker.opened", "breaker.closed"]
        await rig.answer()
        widths = []
        while rig.open:
            widths.append(len(rig.open))
            await rig.answer()
        assert widths[:4] == [2, 4, 8, 16]
        assert len({one for post in rig.sender.posts for one in post.ids}) == 40


async def test_probe_that_fails_opens_it_again_for_as_long(door: Door) -> None:
    """From the moment of that failure on."""
    await fail_five(door)
    async with delivering(door) as rig:
        await rig.pass_time(60.0)
        await rig.answer(BAD, count=1)
        opened = await rig.health()
        assert (opened.breaker, opened.retry_at) == ("open", Instant(door.clock.now() + 60_000))
        sent = len(rig.sender.posts)
        await rig.pass_time(59.0)
        assert len(rig.sender.posts) == sent


async def test_open_breaker_is_known_to_whoever_takes_over(door: Door) -> None:
    """A restart does not send to it again at once."""
    await fail_five(door)
    async with delivering(door) as rig:
        await rig.take(("late", "order/late"))
        await rig.pass_time(55.0)
        assert rig.sender.posts == []
        await rig.pass_time(5.0)
        assert rig.sender.posts


async def test_nobody_but_who_has_every_lane_probes(door: Door) -> None:
    """Another process would send its own probes, and its own rate."""
    await fail_five(door)
    async with delivering(door, is_whole=False) as rig:
        await rig.pass_time(1_000.0)
        assert rig.sender.posts == []
    async with delivering(door, endpoint(rate=RatePolicy()), is_whole=False) as rig:
        await rig.pass_time(1_000.0)
        assert rig.sender.posts == []


async def test_process_that_hears_of_an_open_breaker_stops_and_goes_on_when_it_closed(door: Door) -> None:
    """One opened it for all; one closes it for all, and who did not hear of that finds it out."""
    opened = EndpointHealth(breaker="open", opened_at=door.clock.now())
    async with delivering(door, is_whole=False) as rig:
        await door.store.put_setting("health:audit", msgspec.json.encode(opened))
        rig.deliverer.adopt_health(opened)
        await rig.take(("e1", "order/1"))
        await rig.pass_time(1_000.0)
        assert rig.sender.posts == []
        await door.store.put_setting("health:audit", msgspec.json.encode(EndpointHealth()))
        await rig.pass_time(2.0)
        assert rig.sent == ["e1"]


async def test_only_who_has_every_lane_keeps_how_it_does(door: Door) -> None:
    """Another would write over what it knows nothing of; but that it opened the breaker, everybody must know."""
    async with delivering(door, endpoint(retry=PATIENT), is_whole=False) as rig:
        await rig.take(("e1", "order/1"))
        await rig.answer(BAD)
        await rig.pass_time(5.0)
        assert await door.store.setting("health:audit") is None
        await rig.take(*((f"f{number}", f"order/f{number}") for number in range(4)))
        await rig.answer(BAD)
        assert (await rig.health()).breaker == "open"
        assert await door.store.setting("endpoints_health") is not None


async def test_one_identity_that_always_fails_opens_nothing(door: Door) -> None:
    """It is that event's fault."""
    async with delivering(door, endpoint(retry=PATIENT)) as rig:
        await rig.take(("bad", "order/bad"))
        for _ in range(10):
            await rig.answer(BAD)
            await rig.pass_time(10_000.0)
        await rig.take(("good", "order/good"))
        assert rig.open[-1].ids == ["good"]


# --- Asked to wait, gone, failing


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_endpoint_that_asks_to_wait_is_left_alone_as_a_whole(door: Door, status: int) -> None:
    """Not only the identity whose event it was; and then it begins with one request."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(4)))
        await rig.answer(Response(status=status, retry_after_s=30.0))
        await rig.pass_time(29.0)
        assert len(rig.sender.posts) == 1
        assert len(await rig.parked()) == 1
        await rig.pass_time(1.1)
        assert len(rig.open) == 1
        while rig.open:
            await rig.answer()
        assert sorted(set(rig.sent)) == ["e0", "e1", "e2", "e3"]


async def test_too_many_requests_is_no_failure_of_the_endpoint(door: Door) -> None:
    """It answers, and asks for less: the breaker stays closed."""
    async with delivering(door) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(9)))
        await rig.answer(Response(status=429, retry_after_s=1.0))
        assert (await rig.health()).breaker == "closed"


async def test_gone_endpoint_is_to_be_disabled_and_its_other_deliveries_stay(door: Door) -> None:
    """The one that was answered is dead; nothing more is sent; whoever starts again says so again."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"))
        await rig.answer(GONE)
        assert rig.disabled == [("audit", "gone")]
        assert [(one.type, json.loads(bytes(one.event.data))["reason"]) for one in rig.told if one.event] == [
            ("delivery.dead", "gone")
        ]
        assert [(one.state, one.reason) for one in await rig.standing("e1")] == [(DeliveryState.DEAD, "gone")]
        assert [one.state for one in await rig.standing("e2")] == [DeliveryState.QUEUED]
    async with delivering(door) as rig:
        await rig.pass_time(100_000.0)
        assert rig.sender.posts == []
        assert rig.disabled == [("audit", "gone")]


async def test_endpoint_that_was_enabled_again_is_sent_to_again(door: Door) -> None:
    """Also where the process that stopped still has its lanes."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"))
        health = await rig.health()
        await rig.answer(GONE)
        rig.deliverer.adopt_health(health)
        await rig.turn()
        assert rig.open[0].ids == ["e2"]


async def test_endpoint_is_disabled_only_when_it_failed_long_and_often(door: Door) -> None:
    """Neither alone is enough, and a success begins anew."""
    limits = DisablePolicy(after_s=100.0, failures_min=6)
    retry = RetryPolicy(first_s=1.0, factor=1.0, jitter=0.0, attempts_max=1_000)
    async with delivering(door, endpoint(retry=retry, disable=limits, breaker=NEVER_OPENS)) as rig:
        await rig.take(("e1", "order/1"))
        for _ in range(10):
            await rig.answer(BAD)
            await rig.pass_time(1.0)
        assert rig.disabled == [], "often, but not long"
        await rig.answer()
        await rig.take(("e2", "order/2"))
        for _ in range(3):
            await rig.answer(BAD)
            await rig.pass_time(200.0)
        assert rig.disabled == [], "long, but not often"
        for _ in range(3):
            await rig.answer(BAD)
            await rig.pass_time(1.0)
        assert rig.disabled == [("audit", "failing")]


async def test_success_at_the_last_moment_disables_nothing(door: Door) -> None:
    """Whatever came before it."""
    limits = DisablePolicy(after_s=1.0, failures_min=2)
    retry = RetryPolicy(first_s=1.0, factor=1.0, jitter=0.0)
    async with delivering(door, endpoint(retry=retry, disable=limits)) as rig:
        await rig.take(("e1", "order/1"))
        await rig.answer(BAD)
        await rig.pass_time(100.0)
        await rig.answer(GOOD)
        await rig.pass_time(100.0)
        assert rig.disabled == []
        assert (await rig.health()).failures == 0


@pytest.mark.parametrize(("status", "error"), [(301, "redirect"), (308, "redirect"), (404, "http_404")])
async def test_redirect_is_a_failure_of_its_own_name(door: Door, status: int, error: str) -> None:
    """It is followed nowhere."""
    async with delivering(door) as rig:
        await rig.take(("e1", "order/1"))
        await rig.answer(Response(status=status))
        assert [one.error for one in await rig.attempts("e1")] == [error]


async def test_nothing_is_told_of_an_operational_endpoint(door: Door) -> None:
    """Or what is told would be told of again, for ever."""
    async with delivering(door, endpoint(is_operational=True, retry=RetryPolicy(attempts_max=1))) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(5)))
        await rig.answer(BAD)
        assert len(await rig.parked()) == 5
        assert rig.told == []
