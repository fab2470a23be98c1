"""Claim 5: what an endpoint is promised, whether it stumbles, is away for an hour, or never answers.

The whole line runs in this process on a clock of its own; endpoints, HTTP API and command line are real.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import aiohttp
import orjson
from standardwebhooks import Webhook

from idsync.api.asgi import HotDoors, build_asgi
from idsync.api.http import Asgi, Message, Receive, Send
from idsync.api.keys import ensure_keys
from idsync.api.listener import open_listener
from idsync.app import App, open_app
from idsync.config import parse_settings
from idsync.model.values import Instant
from idsync.ports import ParkedFilter
from idsync.testing.clock import FakeClock
from idsync.testing.sink import Answer, open_sink
from idsync.testing.wait import until
from idsync.worker import Worker
from proofs.claims import Row, count
from proofs.endpoint import Subscriber, Told, open_subscriber
from proofs.pair import SECRET, scratch
from proofs.service import KEY, ask_command

STEP_S: Final = 0.01
HOUR_S: Final = 3_600.0
BACK_S: Final = 1_200.0
"""After an hour the next try is at most so far."""
ROUNDS: Final = 10
PEOPLE: Final = 20
NEVER_ANSWERS_S: Final = 0.2
SHORT_LIMIT: Final = 5
DEFAULT_LIMIT: Final = 30
TURN_S: Final = 1.2
"""Every loop of the service has looked again after this."""

SETTINGS: Final = """
[store]
url = "sqlite:///{folder}/idsync.db"
[server]
listen = "127.0.0.1:0"
api_keys = ["{key}"]
[log]
level = "error"
[delivery]
allow_cidrs = ["127.0.0.0/8"]
"""
ENDPOINT: Final = """
[endpoints.{name}]
url = "{url}"
secret = "{secret}"
timeout_s = {timeout_s}
"""


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Show the three sorts of endpoint."""
    limit = DEFAULT_LIMIT if full else SHORT_LIMIT
    return [await stumbles(), *await is_away(), *await never_answers(limit)]


class Line:
    """The line in this process, with its HTTP API, on a clock that goes as fast as we say."""

    def __init__(self, app: App, clock: FakeClock, url: str) -> None:
        """Wire it; `running` makes it."""
        self.app = app
        self.clock = clock
        self.url = url
        self._ahead_s = 0.0

    async def run_clock(self) -> None:
        """Let time pass, one second in each second, and the jumps."""
        while True:
            ahead_s, self._ahead_s = self._ahead_s, 0.0
            await self.clock.leap(ahead_s)
            await self.clock.advance(STEP_S)
            await asyncio.sleep(STEP_S)

    async def jump(self, seconds: float) -> None:
        """Let time pass at once, and wait until every loop has seen it."""
        self._ahead_s += seconds
        await asyncio.sleep(TURN_S)

    async def publish(self, events: list[dict[str, object]]) -> None:
        """Post events."""
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}, raise_for_status=True) as session,
            session.post(f"{self.url}/v1/events", json=events),
        ):
            return


@contextlib.asynccontextmanager
async def running(folder: Path, settings: str, clock: FakeClock) -> AsyncIterator[Line]:
    """Run the line on a clock."""
    merged = parse_settings(SETTINGS.format(folder=folder, key=KEY) + settings)
    ready: asyncio.Future[Asgi] = asyncio.get_running_loop().create_future()

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        await (await ready)(scope, receive, send)

    listener = open_listener(answer, merged.server)
    serving = asyncio.create_task(listener.run())
    app = await open_app(merged, clock=clock)
    worker = Worker(app)
    await worker.start()
    keys, _ = await ensure_keys(app.store, merged)
    app.is_ready = True
    ready.set_result(build_asgi(app, keys))
    listener.doors = HotDoors(app, keys)
    line = Line(app, clock, listener.url)
    ticking = asyncio.create_task(line.run_clock())
    try:
        yield line
    finally:
        listener.stop()
        await serving
        await worker.stop(grace_s=1.0)
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


def new_clock() -> FakeClock:
    """A clock that begins now."""
    return FakeClock(Instant(round(time.time() * 1000)))


def event(number: int, subject: str) -> dict[str, object]:
    """An event of an application's own, which is passed on as it is."""
    return {
        "id": f"evt_{number}",
        "type": "invoice.paid",
        "source": "shop",
        "subject": subject,
        "version": number,
        "data": {"number": number, "note": "é ☃ \u2028 1.0"},
    }


def endpoint(name: str, url: str, timeout_s: float = 5.0) -> str:
    """The settings of one endpoint."""
    return ENDPOINT.format(name=name, url=url, secret=SECRET, timeout_s=timeout_s)


async def stumbles() -> Row:
    """One that answers 500 twice, then 200."""
    judge = Webhook(SECRET)
    with scratch("webhooks") as folder:
        async with (
            open_sink(Answer(status=500), Answer(status=500)) as sink,
            running(folder, endpoint("one", sink.url), new_clock()) as line,
        ):
            await line.publish([event(1, "invoice/1")])
            requests = await sink.received(3, within_s=30)
            await asyncio.sleep(TURN_S)
    sent = event(1, "invoice/1")
    bodies = {one.body for one in requests}
    told = [judge.verify(one.body, dict(one.headers)) for one in requests]
    as_published = all(sent.items() <= one.items() for one in told)
    ids = {one.header("webhook-id") for one in requests}
    return Row(
        "an endpoint that answers 500, 500, 200",
        f"{len(requests)} requests, {len(bodies)} body, {len(ids)} id, each verified by standardwebhooks",
        "3, 1, 1",
        len(requests) == 3 and len(bodies) == 1 and len(ids) == 1 and as_published,
    )


async def is_away() -> list[Row]:
    """One that is away for an hour, beside one that is not."""
    async with open_subscriber(SECRET) as gone:
        address = gone.url
        port = int(address.rstrip("/").rpartition(":")[2])
    with scratch("webhooks") as folder:
        clock = new_clock()
        async with open_subscriber(SECRET, now=clock.now) as steady:  # noqa: SIM117  # the second needs the first
            async with running(folder, endpoint("away", address) + endpoint("steady", steady.url), clock) as line:
                slowest_s, steady_before = await _publish_for_an_hour(line, steady)
                async with open_subscriber(SECRET, port=port, now=clock.now) as back:
                    await line.jump(BACK_S)
                    await until(lambda: len(_ids(back)) == ROUNDS * PEOPLE, within_s=30)
                    await asyncio.sleep(TURN_S)
                    after = list(back.accepted)
    total = ROUNDS * PEOPLE
    swapped = _misplaced(after)
    return [
        Row(
            "one endpoint away for an hour: the other",
            f"{steady_before} of {total} events within {slowest_s * 1000:.0f} ms of their round meanwhile",
            f"all, {HOUR_S:.0f} s before the first is back",
            steady_before == total and steady.unsigned == 0,
        ),
        Row(
            "one endpoint away for an hour: itself",
            f"{len({one.event_id for one in after})} of {total} events afterwards, {count(swapped, 'out of order')}",
            "all, 0",
            len(after) == total and swapped == 0 and back.unsigned == 0,
        ),
    ]


async def _publish_for_an_hour(line: Line, steady: Subscriber) -> tuple[float, int]:
    """Publish a round, see it at the steady endpoint, let time pass; again and again. Give its slowest round."""
    slowest_s = 0.0
    for number in range(ROUNDS):
        began = time.monotonic()
        await line.publish([event(number * PEOPLE + one, f"invoice/{one}") for one in range(PEOPLE)])
        wanted = (number + 1) * PEOPLE
        with contextlib.suppress(TimeoutError):
            await until(lambda wanted=wanted: len(steady.accepted) >= wanted, within_s=10)
        slowest_s = max(slowest_s, time.monotonic() - began)
        await line.jump(HOUR_S / ROUNDS)
    return slowest_s, len(steady.accepted)


def _ids(subscriber: Subscriber) -> set[str]:
    return {one.event_id for one in subscriber.accepted}


def _misplaced(told: list[Told]) -> int:
    """How many events came after a later one of their subject."""
    runs: dict[str, list[int]] = defaultdict(list)
    for one in told:
        runs[one.subject].append(one.version)
    return sum(after <= before for run in runs.values() for before, after in pairwise(run))


async def never_answers(limit: int) -> list[Row]:
    """One that takes every request and never answers."""
    silence = [Answer(raw=b"")] * limit
    with scratch("webhooks") as folder:
        async with open_sink(*silence) as sink:
            settings = endpoint("silent", sink.url, NEVER_ANSWERS_S)
            settings += f"[delivery.retry]\nattempts_max = {limit}\n"
            async with running(folder, settings, new_clock()) as line:
                await line.publish([event(1, "invoice/1")])
                for number in range(1, limit):
                    await sink.received(number, within_s=30)
                    await line.jump(await _wait_of(line, number))
                await sink.received(limit, within_s=30)
                await asyncio.sleep(TURN_S)
                tries = len(sink.requests)
                where = ("--url", line.url, "--key", f"file:{_key_file(folder)}")
                status, listed = await ask_command("dead", "list", "--json", *where)
                dead = orjson.loads(listed)["deliveries"]["items"]
                requeued, _ = await ask_command("dead", "requeue", "--all", *where)
                with contextlib.suppress(TimeoutError):
                    await sink.received(limit + 1, within_s=10)
                await asyncio.sleep(TURN_S)
                stats = await line.app.store.stats()
    given_up = [one for one in dead if one["destination"] == "endpoint:silent" and one["attempts"] == limit]
    left = sum(stats.dead.values()) + sum(stats.parked.values()) + sum(stats.queued.values())
    return [
        Row(
            "one that never answers",
            f"dead after {tries} tries, {count(len(given_up), 'listed')} by `idsync dead list`",
            f"{limit}, 1",
            tries == limit and len(given_up) == 1 and status == 0,
        ),
        Row(
            "one command requeues it",
            f"{len(sink.requests) - tries} more request, {left} left",
            "1, 0",
            requeued == 0 and len(sink.requests) == limit + 1 and left == 0,
        ),
    ]


async def _wait_of(line: Line, number: int) -> float:
    """Seconds until the next try, once the one before has failed; the endpoint takes its time to fail."""
    async with asyncio.timeout(30):
        while True:
            rows = await line.app.store.parked(ParkedFilter(destination="endpoint:silent"), 2)
            if [one.attempts for one in rows] == [number] and (due := rows[0].retry_at) is not None:
                return (due - line.clock.now()) / 1000
            await asyncio.sleep(STEP_S)


def _key_file(folder: Path) -> Path:
    file = folder / "api-key"
    file.write_text(KEY)
    return file
