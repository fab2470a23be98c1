"""Twenty endpoints in one place: most of them answer at once, one late, one now and then, one never.

Each request's path names the endpoint it was sent to; what arrived is kept with its time, on the monotonic clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, cast

import httptools
import msgspec

FAST: Final = tuple(f"fast-{number:02}" for number in range(1, 17))
SLOW, FLAPPING, SILENT, LIMITED = "slow", "flapping", "silent", "limited"
BAD: Final = (SLOW, FLAPPING, SILENT, LIMITED)
SLOW_S: Final = 0.1
WELL_S, ILL_S = 2.0, 1.0
"""How long the flapping one is well, and then ill."""
_GOOD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_ILL: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Body(msgspec.Struct, frozen=True):
    """What is read of an event."""

    id: str
    subject: str


class Came(NamedTuple):
    """One request."""

    event_id: str
    subject: str
    at: float
    is_taken: bool
    """Whether it was answered with 2xx."""


class Audience:
    """What came to each endpoint."""

    def __init__(self) -> None:
        """Nothing came yet."""
        self.url = ""
        self.came: dict[str, list[Came]] = {name: [] for name in (*FAST, *BAD)}
        self.taken: dict[str, set[str]] = {name: set() for name in (*FAST, *BAD)}
        self.decoder = msgspec.json.Decoder(Body)
        self.connections: set[asyncio.Transport] = set()
        self.is_healed = False
        """Whether the silent one answers at last."""

    def note(self, endpoint: str, body: bytes) -> bool:
        """Take one request; say whether it is answered well."""
        event, now = self.decoder.decode(body), time.monotonic()
        is_well = (endpoint != SILENT or self.is_healed) and (endpoint != FLAPPING or now % (WELL_S + ILL_S) < WELL_S)
        self.came[endpoint].append(Came(event.id, event.subject, now, is_well))
        if is_well:
            self.taken[endpoint].add(event.id)
        return is_well


@asynccontextmanager
async def open_audience() -> AsyncIterator[Audience]:
    """Listen on a free port of 127.0.0.1 until the block ends."""
    audience = Audience()
    server = await asyncio.get_running_loop().create_server(lambda: _Visit(audience), "127.0.0.1", 0)
    audience.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield audience
    finally:
        server.close()
        for transport in audience.connections:
            transport.abort()
        await server.wait_closed()


class _Visit(asyncio.Protocol):
    """One connection."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._endpoint = ""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)
        self._audience.connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        del exc
        if self._transport is not None:
            self._audience.connections.discard(self._transport)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Find the endpoint."""
        self._endpoint = url.decode().strip("/")
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Take the request; answer it well, ill, late or never."""
        is_well = self._audience.note(self._endpoint, bytes(self._body))
        if self._endpoint == SILENT and not is_well:
            return
        if self._endpoint == SLOW:
            asyncio.get_running_loop().call_later(SLOW_S, self._answer, _GOOD)
            return
        self._answer(_GOOD if is_well else _ILL)

    def _answer(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)
