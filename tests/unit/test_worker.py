"""The loops of the process: one that is told to end does end, whatever its part makes of that."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from idsync.app import App, SystemClock, open_app
from idsync.config import parse_settings
from idsync.connectors.webhook import fan_out_arrival
from idsync.errors import StoreError
from idsync.model.event import Arrival
from idsync.model.values import Instant, PeerName
from idsync.pipeline.ingest import Submission
from idsync.telemetry import Counters, Log
from idsync.testing.sink import Answer, Then, open_sink
from idsync.wire.envelope import Incoming, parse_batch
from idsync.worker import Loop, Worker


class Deaf:
    """A part that turns the cancellation of its tick into an error of its store, as a driver may."""

    def __init__(self) -> None:
        """It has not begun."""
        self.has_begun = asyncio.Event()

    async def tick(self) -> float:
        """Wait for ever."""
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreError("the answer did not come") from None
        return 0.0

    async def wait(self, timeout_s: float) -> None:
        """Return at once."""
        del timeout_s


async def test_loop_ends_although_its_part_made_an_error_of_the_cancellation() -> None:
    """Else whoever hands its duty over would wait for it for ever."""
    deaf = Deaf()
    log = Log(io.StringIO())
    loop = Loop("deaf", deaf, clock=SystemClock(), counters=Counters(), log=log, on_lost=lambda: None)
    task = asyncio.create_task(loop.run())
    await deaf.has_begun.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert not loop.health().is_alive


CONFIGURATION = """
[store]
url = "sqlite:///{folder}/idsync.db"
[server]
api_keys = ["key_0123456789abcdef0123456789abcdef"]
[delivery]
allow_cidrs = ["127.0.0.0/8"]
[endpoints.slow]
url = "{endpoint}"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
concurrency = 2
"""


def _event(number: int) -> Arrival:
    body = b'{"id":"evt_%d","type":"user.updated","source":"shop","subject":"%d","data":{}}' % (number, number)
    (event,) = cast("list[Incoming]", parse_batch(body))
    arrival = fan_out_arrival(event, PeerName("key"), lambda: f"evt_{number}", Instant(1))
    assert isinstance(arrival, Arrival)
    return arrival


@asynccontextmanager
async def _running(folder: Path, endpoint: str, grace_s: float) -> AsyncIterator[App]:
    log = Log(io.StringIO())
    worker = Worker(await open_app(parse_settings(CONFIGURATION.format(folder=folder, endpoint=endpoint)), log=log))
    await worker.start()
    yield worker.app
    await worker.stop(grace_s)


async def test_endpoint_is_sent_no_more_at_once_than_it_takes(tmp_path: Path) -> None:
    """What comes on top waits for an answer, and then goes."""
    async with open_sink(Answer(raw=b""), Answer(raw=b"")) as sink, _running(tmp_path, sink.url, 0.1) as app:
        await app.ingest.submit(Submission(arrivals=[_event(number) for number in range(5)]))
        await sink.received(2)
        await asyncio.sleep(0.1)  # time in which a third one would arrive
        assert len(sink.requests) == 2
        await sink.hang_up()
        await sink.received(5)


async def test_request_without_an_answer_is_given_up_at_the_end_and_sent_again_by_the_next_process(
    tmp_path: Path,
) -> None:
    """Nobody knows whether it arrived."""
    async with open_sink(Answer(raw=b"")) as sink:
        async with _running(tmp_path, sink.url, 0.05) as app:
            await app.ingest.submit(Submission(arrivals=[_event(1)]))
            await sink.received(1)
        async with _running(tmp_path, sink.url, 5.0):
            first, again = await sink.received(2)
    assert first.header("webhook-id") == again.header("webhook-id")
    assert first.connection != again.connection


async def test_request_that_is_answered_in_time_is_recorded_before_the_end(tmp_path: Path) -> None:
    """Whoever stops waits for it, so that it is not sent twice."""
    answered = Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", body=b"x", then=Then.DRIP)
    async with open_sink(answered) as sink:
        async with _running(tmp_path, sink.url, 5.0) as app:
            await app.ingest.submit(Submission(arrivals=[_event(1)]))
            await sink.received(1)
        async with _running(tmp_path, sink.url, 5.0) as app:
            await app.ingest.submit(Submission(arrivals=[_event(2)]))
            requests = await sink.received(2)
    assert len({request.header("webhook-id") for request in requests}) == len(requests) == 2
