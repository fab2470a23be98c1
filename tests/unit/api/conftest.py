"""A running line over a store in memory, spoken to as an ASGI application or over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
import pytest

from idsync.api.asgi import HotDoors, build_asgi
from idsync.api.http import Asgi, ProblemBody
from idsync.api.keys import ApiKeys, Scope, hash_key
from idsync.api.listener import Listener, open_listener
from idsync.app import App, open_app
from idsync.config import Settings, parse_settings
from idsync.model.values import Instant
from idsync.telemetry import Log
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Secret, sign
from idsync.worker import Worker

KEY: Final = "a-key-of-the-tests-0123456789"
KEYS: Final = {
    Scope.PUBLISH: "a-key-that-may-only-publish-0",
    Scope.READ: "a-key-that-may-only-read-0123",
    Scope.ADMIN: KEY,
}
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG: Final = f"""
[store]
url = "sqlite:///:memory:"
[server]
listen = "127.0.0.1:0"
api_keys = ["{KEY}"]
[peers.crm]
connector = "webhook"
secret = "{SECRET}"
[peers.shop]
connector = "webhook"
secret = "{SECRET}"
[sync.user]
peers = ["crm", "shop"]
[sync.user.fields]
name = {{ owner = "crm" }}
[endpoints.audit]
url = "http://127.0.0.1:1/hook"
secret = "{SECRET}"
events = ["order.*"]
[delivery]
allow_cidrs = ["127.0.0.0/8"]
[delivery.retry]
attempts_max = 1
"""


class Line:
    """One running line and its API."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.keys = ApiKeys(
            [hash_key(KEY), *(hash_key(key, scope) for scope, key in KEYS.items() if scope is not Scope.ADMIN)],
            app.store,
        )
        self.asgi: Asgi = build_asgi(app, self.keys)
        self.doors = HotDoors(app, self.keys)

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Make a client that has a good key, and further headers."""
        transport = httpx.ASGITransport(app=self.asgi)
        common = {"authorization": f"Bearer {KEY}"}
        return httpx.AsyncClient(transport=transport, base_url="http://test", headers=common | headers)

    async def publish(self, **event: Any) -> httpx.Response:  # noqa: ANN401  # any event
        """Publish one event."""
        async with self.client() as client:
            return await client.post("/v1/events", json=event)

    async def person(self, number: int, peer: str = "crm", **fields: Any) -> httpx.Response:  # noqa: ANN401  # fields
        """Let a peer bring a person."""
        values = {"id": f"u{number}", "email": f"u{number}@example.com", **fields}
        return await self.publish(type="user.created", source=peer, data=values)


OpenLine = Callable[..., Awaitable[Line]]


@asynccontextmanager
async def run_line(settings: Settings, *, has_duties: bool = True) -> AsyncIterator[Line]:
    """Run a line until the block ends; without duties it takes in and answers, and another one does the rest."""
    app = await open_app(settings, log=Log(least="error"))
    worker = Worker(app, has_duties=has_duties)
    await worker.start()
    app.is_ready = True
    try:
        yield Line(app)
    finally:
        app.is_ready = False
        await worker.stop(0.0)


@pytest.fixture
async def open_line() -> AsyncIterator[OpenLine]:
    """Open lines with flags of a test's own; they are closed at its end."""
    async with AsyncExitStack() as stack:

        async def open_with(**flags: object) -> Line:
            dotted = {name.replace("__", "."): value for name, value in flags.items()}
            return await stack.enter_async_context(run_line(parse_settings(CONFIG, flags=dotted)))

        yield open_with


@pytest.fixture
async def line(open_line: OpenLine) -> Line:
    """A line as the configuration above has it."""
    return await open_line()


@pytest.fixture
async def client(line: Line) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that line with a good key."""
    async with line.client() as client:
        yield client


@asynccontextmanager
async def listen(line: Line) -> AsyncIterator[Listener]:
    """Serve a line on a real socket."""
    listener = open_listener(line.asgi, line.app.settings.server)
    listener.doors = line.doors
    serving = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        listener.stop()
        await serving


def signed(body: bytes, *, event_id: str, at: Instant, secret: str = SECRET) -> dict[str, str]:
    """Sign a webhook as the peers of the configuration do."""
    dialect = DIALECTS["standard"]
    parsed = dialect.parse_secret(secret)
    assert isinstance(parsed, Secret)
    return dict(sign(dialect, [parsed], event_id=event_id, event_type="user.created", sent_at=at, body=body))


def problem_of(response: httpx.Response) -> str:
    """Check that an answer is a whole problem (RFC 9457), and give the slug of its type."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    body = msgspec.json.decode(response.content, type=ProblemBody)
    assert body.status == response.status_code
    assert body.title
    assert body.detail
    assert body.instance is not None
    assert body.instance.startswith("urn:uuid:")
    return body.type.removeprefix("urn:idsync:problem:")
