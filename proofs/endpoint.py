"""A subscriber: takes signed events over HTTP, judges each by the official library, and keeps what it accepted."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from unittest import mock

import msgspec
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError, webhooks

from idsync.model.values import Instant

Now = Callable[[], Instant]

BODY_BYTES_MAX: Final = 1 << 20


class Told(msgspec.Struct, frozen=True):
    """One event that was accepted."""

    event_id: str
    subject: str
    version: int


class Subscriber:
    """What came so far; `open_subscriber` makes it."""

    def __init__(self, secret: str, now: Now | None) -> None:
        self.accepted: list[Told] = []
        self.bodies: list[bytes] = []
        """What was accepted, as it came."""
        self.refused = 0
        """Requests that were answered 500 because we were asked to."""
        self.failures_due = 0
        """Requests still to be answered 500."""
        self.unsigned = 0
        """Requests that the official library did not believe."""
        self.url = ""
        self._secret = secret
        self._now = now

    async def take(self, request: web.Request) -> web.Response:
        """Take one event."""
        body = await request.read()
        try:
            verify(self._secret, body, request.headers, self._now)
        except WebhookVerificationError:
            self.unsigned += 1
            return web.Response(status=401)
        if self.failures_due:
            self.failures_due -= 1
            self.refused += 1
            return web.Response(status=500)
        event = json.loads(body)
        self.bodies.append(body)
        self.accepted.append(Told(event["id"], event["subject"], event["version"]))
        return web.Response()


def verify(secret: str, body: bytes, headers: Mapping[str, str], now: Now | None) -> None:
    """Let the official library judge a request; `now` is the time where the endpoint lives, None for the machine's.

    Raises:
        WebhookVerificationError: it does not believe it.
    """
    judge = Webhook(secret)
    if now is None:
        judge.verify(body, dict(headers))
        return
    # The library reads the machine's clock, and can be told no other.
    there = mock.Mock(wraps=datetime, now=lambda tz: datetime.fromtimestamp(now() / 1000, tz or UTC))
    with mock.patch.object(webhooks, "datetime", there):
        judge.verify(body, dict(headers))


@contextlib.asynccontextmanager
async def open_subscriber(secret: str, *, port: int = 0, now: Now | None = None) -> AsyncIterator[Subscriber]:
    """Listen on a port of 127.0.0.1, 0 for a free one, until the block ends."""
    subscriber = Subscriber(secret, now)
    site = web.Application(client_max_size=BODY_BYTES_MAX)
    site.router.add_post("/", subscriber.take)
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, "127.0.0.1", port)
        await listener.start()
        host, port = runner.addresses[0][:2]
        subscriber.url = f"http://{host}:{port}/"
        yield subscriber
    finally:
        await runner.cleanup()
