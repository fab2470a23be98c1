"""Several workers on one PostgreSQL: of two configurations; and one that hears nothing of its leases any more."""

import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import pytest

from idsync.app import App, open_app
from idsync.app.endpoints import DisabledReason, EndpointState
from idsync.config import parse_settings
from idsync.errors import StoreError
from idsync.model.destination import Level
from idsync.model.event import Arrival, Event
from idsync.model.values import PeerName, Subject, instant_text
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.testing.sink import Answer, Sink, open_sink
from idsync.testing.wait import until
from idsync.worker import Worker

CONFIGURATION = """
[store]
url = "{url}"
[delivery]
allow_cidrs = ["127.0.0.0/8"]
lease_s = 1.5
lanes_endpoint = {lanes}
[delivery.retry]
first_s = 1
"""
ENDPOINT = """
[endpoints.{name}]
url = "{url}"
secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
events = ["{name}.*"]
breaker = {{ failure_threshold = 100 }}
"""
SUBJECTS = 8
MANY = 16
"""Lanes of which every one of two workers certainly has some."""

Start = Callable[..., AbstractAsyncContextManager[App]]


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """An endpoint that answers 200."""
    async with open_sink() as opened:
        yield opened


@pytest.fixture
def start(postgres_url: str, sink: Sink) -> Start:
    """Run a worker with so many lanes, and endpoints of these names."""

    @asynccontextmanager
    async def run(lanes: int, *endpoints: str) -> AsyncIterator[App]:
        text = CONFIGURATION.format(url=postgres_url, lanes=lanes)
        text += "".join(ENDPOINT.format(name=name, url=sink.url) for name in endpoints)
        worker = Worker(await open_app(parse_settings(text)))
        await worker.start()
        try:
            yield worker.app
        finally:
            await worker.stop(grace_s=5.0)

    return run


async def publish(app: App, kind: str, numbers: range) -> None:
    """Take in one event about each subject for every number."""
    for number in numbers:
        names = [(f"{kind}-{number}-{one}", f"{kind}/{one}") for one in range(SUBJECTS)]
        await app.submit([_arrival(app, name, f"{kind}.done", subject) for name, subject in names])


def _arrival(app: App, id_: str, type_: str, subject: str) -> Arrival:
    now = app.clock.now()
    event = Event(
        id=id_, type=type_, source="shop", subject=Subject(subject), timestamp=instant_text(now), data=msgspec.Raw(b"1")
    )
    return Arrival(peer=PeerName("@api"), id=id_, type=type_, subject=event.subject, received_at=now, event=event)


def heard(sink: Sink) -> dict[str, list[int]]:
    """What the endpoints were told of each subject, in order."""
    found = defaultdict(list)
    for one in sink.requests:
        event = json.loads(one.body)
        found[event["subject"]].append(int(event["id"].split("-")[1]))
    return found


async def test_order_is_kept_while_the_number_of_lanes_changes(start: Start, sink: Sink) -> None:
    """The older process goes on to take events in; whichever delivers, each subject is told once and in order."""
    async with start(2, "order") as older:
        await publish(older, "order", range(20))
        async with start(5, "order") as newer:
            for number in range(20, 60, 2):
                await publish(newer, "order", range(number, number + 1))
                await publish(older, "order", range(number + 1, number + 2))
            await until(lambda: len(sink.requests) == 60 * SUBJECTS)
        await publish(older, "order", range(60, 80))
        await until(lambda: len(sink.requests) == 80 * SUBJECTS)
    assert dict(heard(sink)) == {f"order/{one}": list(range(80)) for one in range(SUBJECTS)}


async def test_what_waits_in_older_lanes_is_told_before_what_came_later(start: Start, sink: Sink) -> None:
    """Its first try failed; its identity's next event stands in a newer lane, which the same worker has."""
    sink.script(*[Answer(status=500)] * SUBJECTS)
    async with start(2, "order") as older:
        await publish(older, "order", range(1))
        await sink.received(SUBJECTS)
        async with start(MANY, "order") as newer:
            await publish(newer, "order", range(1, 2))
            await until(lambda: len(sink.requests) == 3 * SUBJECTS)
            await until(lambda: _has_spread(newer))
    assert dict(heard(sink)) == {f"order/{one}": [0, 0, 1] for one in range(SUBJECTS)}


async def test_process_that_starts_last_decides_which_endpoints_there_are(start: Start, sink: Sink) -> None:
    """The older one follows: it queues for the new endpoint and delivers to it, and no more to what is gone."""
    async with start(4, "order", "old") as older, start(4, "order", "new") as newer:
        assert older.endpoints.wired("old") is not None
        await until(lambda: older.ingest.routes.endpoints_for("new.done"))
        for app, kind in ((older, "old"), (older, "new"), (newer, "new"), (older, "order"), (newer, "order")):
            numbers = range(3) if app is older else range(3, 6)
            await publish(app, kind, numbers)
        await until(lambda: len(sink.requests) == 12 * SUBJECTS)
        old = await older.endpoints.get("old")
        assert isinstance(old, EndpointState)
        assert old.disabled_reason is DisabledReason.REMOVED
    told = heard(sink)
    assert {len(one) for one in told.values()} == {6}
    assert not any(subject.startswith("old") for subject in told)


async def test_lanes_that_were_emptied_and_filled_again_are_not_forgotten(start: Start, sink: Sink) -> None:
    """A process that began when the older lanes were empty still sees what an older process queues."""
    async with start(2, "order") as older, start(3, "order"):
        await publish(older, "order", range(5))
        await until(lambda: len(sink.requests) == 5 * SUBJECTS)
    assert dict(heard(sink)) == {f"order/{one}": list(range(5)) for one in range(SUBJECTS)}


async def test_try_under_way_is_aborted_when_another_may_begin(start: Start, sink: Sink) -> None:
    """Its worker hears nothing of its leases any more; the try may last 30 s, a lease 1.5: nothing of it is written."""
    sink.script(*[Answer(raw=b"")] * SUBJECTS)
    async with start(2, "order") as silent:
        await publish(silent, "order", range(1))
        await sink.received(SUBJECTS)
        (deliverer,) = silent.deliverers.values()
        assert isinstance(deliverer, EndpointDeliverer)
        assert deliverer.sending == SUBJECTS
        silent.store.lease = _fail  # type: ignore[method-assign]  # the way to the store is cut off for leases alone
        await until(lambda: deliverer.sending == 0, within_s=4)
        async with start(2, "order") as heir:
            await until(lambda: len(sink.requests) == 2 * SUBJECTS)
            await until(lambda: _is_settled(heir))
            tries = [await heir.store.attempts(one.seq) for one in await heir.store.recent(0, 100)]
    assert [len(one) for one in tries] == [1] * SUBJECTS


async def test_workers_that_stop_in_order_are_followed_at_once(start: Start, sink: Sink) -> None:
    """Nobody waits for a lease to be over: the heir has everything within its next look."""
    async with start(MANY, "order") as heir:
        async with start(MANY, "order") as leaving:
            await until(lambda: bool(leaving.deliverers))
        began = time.monotonic()
        await until(lambda: _has_all(heir))
        assert time.monotonic() - began < 1.0
        await publish(heir, "order", range(1))
        await until(lambda: len(sink.requests) == SUBJECTS)


async def _fail(holder: str, wanted: Sequence[str], ttl_s: float) -> dict[str, int]:
    del holder, wanted, ttl_s
    raise StoreError("no answer")


async def _is_settled(app: App) -> bool:
    return not (await app.store.stats()).queued


async def _has_spread(app: App) -> bool:
    """Whether both workers have some of the newer lanes, and the older ones have been given up."""
    holders = await app.store.holders("lane:")
    return len(holders) == MANY * len(Level) and len(set(holders.values())) == 2


async def _has_all(app: App) -> bool:
    holders = await app.store.holders("lane:")
    return len(holders) == MANY * len(Level) and len(set(holders.values())) == 1
