"""Faults of other delivery engines in what comes after a failure, each by its name (docs/peers-bugs.md)."""

import pytest

from idsync.app.endpoints import EndpointState
from idsync.model.plan import CommandName
from idsync.ports import DeliveryState, Response, SendError
from idsync.testing.sink import Answer, open_sink
from tests.faults.peers_bugs.conftest import HOUR_S, ScriptedSender, living, reached
from tests.unit.app.conftest import definition, event

SLOW = {"first_s": HOUR_S, "factor": 1, "jitter": 0}
BAD = Answer(status=500)


async def test_retry_that_was_due_while_nobody_ran_is_made_at_once(store_url: str) -> None:
    """Convoy #1667: a retry whose time was already past was never picked up."""
    async with open_sink(BAD) as sink:
        async with living(store_url) as app:
            await app.endpoints.create("audit", definition(sink.url, retry=SLOW))
            await app.submit([event(1)])
            await reached(app, "evt_1", DeliveryState.PARKED, 1)
        async with living(store_url, ahead_s=3 * HOUR_S) as app:
            await reached(app, "evt_1", DeliveryState.DELIVERED, 2)
        assert len(sink.requests) == 2


async def test_attempts_are_counted_over_restarts_and_come_to_an_end(store_url: str) -> None:
    """Convoy #1833: attempts were not counted, and a delivery was tried without end."""
    async with open_sink(*[BAD] * 10) as sink:
        async with living(store_url) as app:
            await app.endpoints.create("audit", definition(sink.url, retry={**SLOW, "attempts_max": 3}))
            await app.submit([event(1)])
            await reached(app, "evt_1", DeliveryState.PARKED, 1)
        async with living(store_url, ahead_s=2 * HOUR_S) as app:
            await reached(app, "evt_1", DeliveryState.PARKED, 2)
        async with living(store_url, ahead_s=4 * HOUR_S) as app:
            await reached(app, "evt_1", DeliveryState.DEAD, 3)
        async with living(store_url, ahead_s=6 * HOUR_S) as app:
            await app.submit([event(2)])
            await reached(app, "evt_2", DeliveryState.PARKED, 1)
            await reached(app, "evt_1", DeliveryState.DEAD, 3)
        assert len(sink.requests) == 4


async def test_second_requeue_of_a_delivery_sends_it_like_the_first(store_url: str) -> None:
    """Outpost #670: the second retry by hand was taken for a repetition of the first, and did nothing."""
    async with open_sink(BAD, BAD) as sink, living(store_url) as app:
        await app.endpoints.create("audit", definition(sink.url, retry={**SLOW, "attempts_max": 1}))
        await app.submit([event(1)])
        dead = await reached(app, "evt_1", DeliveryState.DEAD, 1)
        await app.ask(CommandName.REQUEUE, deliveries=[dead])
        dead = await reached(app, "evt_1", DeliveryState.DEAD, 2)
        await app.ask(CommandName.REQUEUE, deliveries=[dead])
        await reached(app, "evt_1", DeliveryState.DELIVERED, 3)
        assert {one.header("webhook-id") for one in sink.requests} == {"evt_1"}


async def test_success_at_the_last_try_by_hand_never_disables_the_endpoint(store_url: str) -> None:
    """Convoy: a 200 that came when the tries were used up, as of a retry by hand, switched the endpoint off."""
    limits = {"after_s": HOUR_S, "failures_min": 1}
    async with open_sink(BAD) as sink:
        async with living(store_url) as app:
            await app.endpoints.create("audit", definition(sink.url, retry={**SLOW, "attempts_max": 1}, disable=limits))
            await app.submit([event(1)])
            dead = await reached(app, "evt_1", DeliveryState.DEAD, 1)
        async with living(store_url, ahead_s=2 * HOUR_S) as app:
            await app.ask(CommandName.REQUEUE, deliveries=[dead])
            await reached(app, "evt_1", DeliveryState.DELIVERED, 2)
            await app.submit([event(2)])
            await reached(app, "evt_2", DeliveryState.DELIVERED, 1)
            state = await app.endpoints.get("audit")
            assert isinstance(state, EndpointState)
            assert state.is_enabled


@pytest.mark.parametrize("error", SendError)
async def test_failure_of_any_kind_is_tried_again(store_url: str, error: SendError) -> None:
    """Outpost #314: a name that could not be looked up was taken for final."""
    sender = ScriptedSender(Response(error=error))
    async with living(store_url, sender=sender) as app:
        await app.endpoints.create("audit", definition("https://receiver.example/", retry={**SLOW, "first_s": 0.05}))
        await app.submit([event(1)])
        await reached(app, "evt_1", DeliveryState.DELIVERED, 2)
    assert len(sender.requests) == 2
