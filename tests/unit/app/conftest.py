"""A service with its worker, on each store, in this process: as often as a test likes."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from idsync.app import App, open_app
from idsync.app.endpoints import Created, EndpointState
from idsync.config import EndpointSettings, parse_endpoint, parse_settings
from idsync.connectors.webhook import fan_out_arrival
from idsync.model.event import Arrival
from idsync.model.values import Instant, PeerName
from idsync.telemetry import Log
from idsync.testing.sink import Received
from idsync.wire.dialects import DIALECTS
from idsync.wire.envelope import Incoming, parse_batch
from idsync.wire.signing import Secret, Verified, verify
from idsync.worker import Worker

BASE = """
[store]
url = "{url}"
[server]
api_keys = ["key_0123456789abcdef0123456789abcdef"]
{server}
[delivery]
allow_cidrs = ["127.0.0.0/8"]
lease_s = 2.0
"""

Running = Callable[..., AbstractAsyncContextManager[App]]


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/idsync.db"
    return cast("str", request.getfixturevalue("postgres_url"))


@pytest.fixture
def running() -> Running:
    """Run a service on a store; `more` and `server` are added to its configuration."""
    return run


@asynccontextmanager
async def run(url: str, more: str = "", *, server: str = "", has_duties: bool = True) -> AsyncIterator[App]:
    """Run one service until the block ends."""
    app = await open_app(parse_settings(BASE.format(url=url, server=server) + more), log=Log(io.StringIO()))
    worker = Worker(app, has_duties=has_duties)
    await worker.start()
    try:
        yield app
    finally:
        await worker.stop(1.0)


def definition(url: str, **fields: object) -> EndpointSettings:
    """Read a definition as the API does."""
    found = parse_endpoint({"url": url, **fields})
    assert isinstance(found, EndpointSettings), found
    return found


def event(number: int, type_: str = "order.paid") -> Arrival:
    """An event that is only passed on."""
    body = b'{"id":"evt_%d","type":"%s","source":"shop","subject":"order/%d","data":{}}' % (
        number,
        type_.encode(),
        number,
    )
    (one,) = cast("list[Incoming]", parse_batch(body))
    arrival = fan_out_arrival(one, PeerName("@api"), lambda: f"evt_{number}", Instant(1))
    assert isinstance(arrival, Arrival)
    return arrival


def is_signed(request: Received, secret_text: str) -> bool:
    """Whether a receiver with this secret takes the request."""
    dialect = DIALECTS["standard"]
    secret = dialect.parse_secret(secret_text)
    assert isinstance(secret, Secret)
    headers = {name.lower(): value for name, value in request.headers}
    now = Instant(int(headers["webhook-timestamp"]) * 1000)
    return isinstance(verify(dialect, (secret,), headers=headers, body=request.body, now=now), Verified)


async def state_of(app: App, name: str) -> EndpointState:
    """An endpoint that is there."""
    found = await app.endpoints.get(name)
    assert isinstance(found, EndpointState), found
    return found


async def make(app: App, name: str | None, settings: EndpointSettings) -> Created:
    """Make an endpoint that can be made."""
    made = await app.endpoints.create(name, settings)
    assert isinstance(made, Created), made
    return made
