"""An endpoint is away for a week; when it is back, it gets what it has missed: no event is simply gone.

The audit endpoint is disabled. People go on to sign up. Then an operator enables it, counts what it has missed, and
lets that be sent; the operator's own endpoint hears when it is done.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from idsync.app import App, open_app
from idsync.app.endpoints import Created, EndpointState
from idsync.app.replays import Count, Replay
from idsync.config import EndpointSettings, Url, parse_settings
from idsync.model.event import Arrival, Event
from idsync.model.replay import ReplayRequest, ReplayState, ReplayStatus
from idsync.model.values import PeerName, Subject, instant_text
from idsync.pipeline.replay import REPLAY
from idsync.testing.sink import Sink, open_sink
from idsync.testing.wait import until
from idsync.worker import Worker


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same on both stores."""
    found: str = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    return found or f"sqlite:///{tmp_path}/idsync.db"


async def begin_worker(store_url: str) -> Worker:
    """Start every loop of a line without peers."""
    settings = parse_settings("", flags={"store.url": store_url, "delivery.allow_cidrs": ["127.0.0.0/8"]})
    worker = Worker(await open_app(settings))
    await worker.start()
    return worker


@asynccontextmanager
async def running_line(store_url: str) -> AsyncIterator[App]:
    """A worker, stopped at the end."""
    worker = await begin_worker(store_url)
    try:
        yield worker.app
    finally:
        await worker.stop(grace_s=1.0)


async def sign_up(line: App, *names: str) -> None:
    """Somebody publishes that these people are new."""
    await line.submit([
        Arrival(
            peer=PeerName("key:shop"),
            id=f"new-{name}",
            type="user.created",
            subject=Subject(f"user/{name}"),
            received_at=line.clock.now(),
            event=Event(
                id=f"new-{name}",
                type="user.created",
                source="shop",
                subject=Subject(f"user/{name}"),
                timestamp=instant_text(line.clock.now()),
                data=msgspec.Raw(msgspec.json.encode({"name": name})),
            ),
        )
        for name in names
    ])  # fmt: skip


def received(sink: Sink) -> list[str]:
    """The people an endpoint heard of, in order."""
    return [json.loads(one.body)["data"]["name"] for one in sink.requests]


async def test_endpoint_gets_what_it_missed_while_it_was_disabled(store_url: str) -> None:
    """Counted first, each once, as it was, and not what it has already."""
    async with open_sink() as audit, open_sink() as operator, running_line(store_url) as line:
        made = await line.endpoints.create("audit", EndpointSettings(url=Url(audit.url), events=("user.*",)))
        assert isinstance(made, Created)
        await line.endpoints.create("operator", EndpointSettings(url=Url(operator.url), operational=True))

        await sign_up(line, "ada")
        await audit.received(1)
        assert isinstance(await line.endpoints.disable("audit"), EndpointState)
        await sign_up(line, "grace", "edsger", "barbara")
        assert isinstance(await line.endpoints.enable("audit"), EndpointState)
        await sign_up(line, "alan")
        await audit.received(2)
        assert received(audit) == ["ada", "alan"]

        missed = ReplayRequest(endpoint="audit", status=ReplayStatus.MISSED)
        count = await line.replays.plan(missed)
        assert isinstance(count, Count)
        assert count.events == 3

        replay = await line.replays.start(missed)
        assert isinstance(replay, Replay)
        await audit.received(5)
        assert sorted(received(audit)[2:]) == ["barbara", "edsger", "grace"]

        async def is_done() -> bool:
            found = await line.replays.get(replay.job.id)
            return isinstance(found, Replay) and found.state is ReplayState.DONE

        await until(is_done)
        await until(lambda: operator.requests and b'"replay.finished"' in operator.requests[-1].body)
        assert len(audit.requests) == 5


async def test_replay_goes_on_at_another_worker(postgres_url: str) -> None:
    """The one that carries it out ends in the middle: the other goes on, and each event is sent once."""
    people = [f"p{number}" for number in range(150)]
    workers = [await begin_worker(postgres_url), await begin_worker(postgres_url)]
    try:
        async with open_sink() as audit:
            line = workers[0].app
            await line.endpoints.create("audit", EndpointSettings(url=Url(audit.url), enabled=False))
            await sign_up(line, *people)
            assert isinstance(await line.endpoints.enable("audit"), EndpointState)
            replay = await line.replays.start(
                ReplayRequest(endpoint="audit", status=ReplayStatus.MISSED, rate_per_s=50)
            )
            assert isinstance(replay, Replay)

            async def show() -> Replay:
                found = await workers[-1].app.replays.get(replay.job.id)
                assert isinstance(found, Replay)
                return found

            async def has_begun() -> bool:
                return (await show()).progress.queued > 0

            async def is_done() -> bool:
                return (await show()).state is ReplayState.DONE

            await until(has_begun)
            workers.sort(key=lambda one: REPLAY not in one.ownership.tenures)
            await workers.pop(0).stop(grace_s=1.0)
            assert (await show()).state is ReplayState.RUNNING
            await until(is_done)
            await audit.received(len(people))
            assert sorted(received(audit)) == sorted(people)
            assert (await show()).progress.queued == len(people)
    finally:
        for worker in workers:
            await worker.stop(grace_s=1.0)
