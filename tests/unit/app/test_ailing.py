"""Endpoints that do badly, in the whole service: disabled, told of, sent to by one process alone, nothing lost."""

import asyncio
import json
import sys
from itertools import chain
from pathlib import Path

import pytest

from idsync.app import App
from idsync.app.endpoints import DisabledReason, EndpointState
from idsync.model.values import Instant
from idsync.ports import DeliveryState
from idsync.testing.sink import Answer, Sink, open_sink
from idsync.testing.wait import until
from tests.unit.app.conftest import Running, definition, event

PROGRAM = """
import asyncio, sys
sys.path[:0] = [{root!r}]
from tests.unit.app.conftest import event, run

async def main():
    async with run({url!r}) as app:
        await app.submit([event(1)])
        await asyncio.sleep(60)

asyncio.run(main())
"""


def types_in(sink: Sink) -> list[str]:
    """What an operational endpoint was told."""
    return [json.loads(one.body)["type"] for one in sink.requests]


async def tries(app: App, events: int) -> list[Instant]:
    """Wait until so many events were tried, and say when each try began."""
    found: dict[int, list[Instant]] = {}

    async def is_each_tried() -> bool:
        for entry in await app.store.recent(0, 1_000):
            found[entry.seq] = [one.at for one in await app.store.attempts(entry.seq)]
        return len(list(filter(None, found.values()))) == events

    await until(is_each_tried)
    return sorted(chain.from_iterable(found.values()))


@pytest.mark.parametrize("point", ["settle.announced", "health.before_commit", "settle.after_commit"])
async def test_endpoint_that_is_gone_is_disabled_and_told_of_once_whatever_dies(
    running: Running, store_url: str, point: str
) -> None:
    """Killed before or after what it answered is written: whoever comes next finds the same out, or reads it."""
    async with open_sink(*[Answer(status=410)] * 3) as sink, open_sink() as ops:
        async with running(store_url) as app:
            await app.endpoints.create("ops", definition(ops.url, operational=True, events=["delivery.*"]))
            await app.endpoints.create("audit", definition(sink.url))
        program = PROGRAM.format(root=str(Path(__file__).parents[3]), url=store_url)
        environment = {"IDSYNC_CRASH": point, "PYTHONPATH": ":".join(sys.path)}
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment)
        assert await asyncio.wait_for(process.wait(), 30) == -9
        async with running(store_url) as app:

            async def is_disabled() -> bool:
                state = await app.endpoints.get("audit")
                assert isinstance(state, EndpointState)
                return state.disabled_reason is DisabledReason.GONE

            await until(is_disabled, within_s=30)
            await until(lambda: not any(one.is_enabled for one in app.destinations if one.name == "endpoint:audit"))
            (entry,) = [one for one in await app.store.recent(0, 20) if one.row.id == "evt_1"]
            records = await app.store.deliveries(entry.seq)
            assert [(one.state, one.reason) for one in records] == [(DeliveryState.DEAD, "gone")]
            await ops.received(1)
            told = [one for one in await app.store.recent(0, 20) if one.row.type == "delivery.dead"]
            assert len(told) == 1
            await app.submit([event(2)])
            (later,) = [one for one in await app.store.recent(0, 20) if one.row.id == "evt_2"]
            assert await app.store.deliveries(later.seq) == []


async def test_operator_hears_when_a_breaker_opens_and_closes(running: Running, store_url: str) -> None:
    """And that it was the endpoint, not some identity."""
    async with open_sink(*[Answer(status=500)] * 4) as sink, open_sink() as ops, running(store_url) as app:
        await app.endpoints.create("ops", definition(ops.url, operational=True, events=["breaker.*"]))
        breaker = {"failure_threshold": 4, "timeout_s": 0.2, "success_threshold": 1}
        retry = {"first_s": 0.1, "factor": 1}
        await app.endpoints.create("audit", definition(sink.url, breaker=breaker, retry=retry))
        await app.submit([event(number) for number in range(1, 5)])
        await ops.received(2, within_s=30)
        assert types_in(ops) == ["breaker.opened", "breaker.closed"]


async def test_two_workers_keep_to_the_rate_of_an_endpoint(running: Running, postgres_url: str) -> None:
    """One of them has all of it, also while the other takes it over."""
    rate = {"requests_per_second": 20, "burst": 4}
    async with open_sink() as sink, running(postgres_url) as first:
        await first.endpoints.create("slow", definition(sink.url, rate=rate))
        await first.submit([event(number) for number in range(60)])
        async with running(postgres_url):
            begun = await tries(first, 60)
    for begin, since in enumerate(begun):
        for end in range(begin, len(begun)):
            assert end - begin + 1 <= 4 + 20 * (begun[end] - since) / 1000 + 1


async def test_endpoint_follows_another_order_while_the_service_runs(running: Running, store_url: str) -> None:
    """What is in memory does not fit it: its deliverer is begun anew, and nothing is lost."""
    async with open_sink(Answer(status=500)) as sink, running(store_url) as app:
        await app.endpoints.create("audit", definition(sink.url, retry={"first_s": 0.3}))
        await app.submit([event(1)])
        await sink.received(1)
        await app.endpoints.change("audit", {"ordering": "none", "batch": {"linger_ms": 0}})
        await sink.received(2)
        assert isinstance(json.loads(sink.requests[-1].body), list)


async def test_breaker_that_one_worker_opened_is_open_for_both(running: Running, postgres_url: str) -> None:
    """Nothing is sent by either until its time is over; then one of them probes, and everything arrives."""
    breaker = {"failure_threshold": 3, "timeout_s": 2.0}
    retry = {"first_s": 0.2, "factor": 1}
    async with open_sink(*[Answer(status=500)] * 200) as sink, running(postgres_url) as one:
        await one.endpoints.create("audit", definition(sink.url, breaker=breaker, retry=retry))
        async with running(postgres_url) as two:
            await one.submit([event(number) for number in range(8)])
            await until(lambda: all(app.endpoints.health("audit").breaker == "open" for app in (one, two)))
            opened_at, before = one.endpoints.health("audit").opened_at, len(sink.requests)
            assert opened_at is not None
            sink._answers.clear()
            await two.submit([event(number) for number in range(8, 12)])
            seen = before
            while one.clock.now() < opened_at + 2_000:  # what was counted before that was sent while it was open
                assert seen == before
                seen = len(sink.requests)
                await asyncio.sleep(0.02)
            await until(lambda: len({request.header("webhook-id") for request in sink.requests}) == 12)
            await until(lambda: all(app.endpoints.health("audit").breaker == "closed" for app in (one, two)))
