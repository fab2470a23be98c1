"""Services on a store of each kind, on a clock that may be ahead, and with HTTP that fails as it is told."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from idsync.app import App, SystemClock, open_app
from idsync.config import parse_settings
from idsync.model.values import Instant
from idsync.ports import Cancel, DeliveryRecord, DeliveryState, Request, Response, Sender
from idsync.telemetry import Log
from idsync.testing.wait import until
from idsync.worker import Worker
from tests.unit.app.conftest import store_url

__all__ = ["store_url"]

SETTINGS = """
[store]
url = "{url}"
[delivery]
allow_cidrs = {allowed}
lease_s = {lease_s}
"""
HOUR_S = 3_600.0
LEASE_S = 2.0


class AheadClock:
    """The machine's clock, so many seconds ahead."""

    def __init__(self, ahead_s: float) -> None:
        clock = SystemClock()
        self._clock, self._ahead_ms = clock, round(ahead_s * 1000)
        self.monotonic, self.sleep, self.new_id, self.spread = clock.monotonic, clock.sleep, clock.new_id, clock.spread

    def now(self) -> Instant:
        """Read the wall clock as it will be."""
        return Instant(self._clock.now() + self._ahead_ms)


class ScriptedSender:
    """HTTP that gives these answers, and 200 when there are no more."""

    def __init__(self, *answers: Response) -> None:
        self.requests: list[Request] = []
        self._answers = list(answers)

    def post(self, request: Request, on_done: Callable[[Response], None]) -> Cancel:
        """Answer at the next turn of the loop."""
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else Response(status=200)
        return asyncio.get_running_loop().call_soon(on_done, answer).cancel

    async def send(self, request: Request) -> Response:
        """Answer as `post` does."""
        raise NotImplementedError(request.url)

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def living(
    url: str, *, ahead_s: float = 0.0, sender: Sender | None = None, allowed: str = '["127.0.0.0/8"]'
) -> AsyncIterator[App]:
    """One life of a service on this store, until the block ends."""
    settings = parse_settings(SETTINGS.format(url=url, allowed=allowed, lease_s=LEASE_S))
    app = await open_app(settings, log=Log(io.StringIO()), clock=AheadClock(ahead_s), sender=sender)
    worker = Worker(app)
    await worker.start()
    try:
        yield app
    finally:
        await worker.stop(1.0)


async def delivery_of(app: App, event_id: str) -> tuple[DeliveryRecord, int]:
    """What became of an event at its one endpoint, and how many tries of it are kept."""
    [entry] = [one for one in await app.store.recent(0, 100) if one.row.id == event_id]
    [record] = await app.store.deliveries(entry.seq)
    return record, len(await app.store.attempts(entry.seq))


async def reached(app: App, event_id: str, state: DeliveryState, tries: int) -> int:
    """Wait until an event's one delivery is in this state, after so many tries; return its id."""

    async def is_there() -> bool:
        record, kept = await delivery_of(app, event_id)
        return (record.state, kept) == (state, tries)

    await until(is_there)
    return (await delivery_of(app, event_id))[0].id
