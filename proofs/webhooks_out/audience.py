"""Twenty endpoints in one place: most of them answer at once, one late, one now and then, one never.

Each request's path names the endpoint it was sent to; what arrived is kept with its time, on the monotonic clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeAlias, cast

import httptools
import msgspec

FAST: Final = tuple(f"fast-{number:02}" for number in range(1, 17))
SLOW, FLAPPING, SILENT, LIMITED = "slow", "flapping", "silent", "limited"
BAD: Final = (SLOW, FLAPPING, SILENT, LIMITED)
SLOW_S: Final = 0.1
WELL_S, ILL_S = 2.0, 1.0
"""How long the flapping one is well, and then ill."""
GOOD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ILL: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Reply(NamedTuple):
    """How a request is answered."""

    answer: bytes | None
    """None: never; empty: the connection is cut."""
    after_s: float = 0.0


Take: TypeAlias = Callable[[str, Mapping[bytes, bytes], bytes], Reply]
"""Takes a request: the endpoint, the headers by their names in small letters, and the body."""


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
        self.is_healed = False
        """Whether the silent one answers at last."""

    def take(self, endpoint: str, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        """Take one request; answer it well, ill, late or never."""
        del headers
        event, now = self.decoder.decode(body), time.monotonic()
        is_well = (endpoint != SILENT or self.is_healed) and (endpoint != FLAPPING or now % (WELL_S + ILL_S) < WELL_S)
        self.came[endpoint].append(Came(event.id, event.subject, now, is_well))
        if is_well:
            self.taken[endpoint].add(event.id)
        elif endpoint == SILENT:
            return Reply(None)
        return Reply(GOOD if is_well else ILL, SLOW_S if endpoint == SLOW else 0.0)


@asynccontextmanager
async def open_audience() -> AsyncIterator[Audience]:
    """Listen until the block ends."""
    audience = Audience()
    async with listen(audience.take) as audience.url:
        yield audience


@asynccontextmanager
async def listen(take: Take) -> AsyncIterator[str]:
    """Take requests on a free port of 127.0.0.1 until the block ends; give the URL."""
    connections: set[asyncio.Transport] = set()
    server = await asyncio.get_running_loop().create_server(lambda: _Visit(take, connections), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for transport in connections:
            transport.abort()
        await server.wait_closed()


class _Visit(asyncio.Protocol):
    """One connection."""

    def __init__(self, take: Take, connections: set[asyncio.Transport]) -> None:
        self._take = take
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._endpoint = ""
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        del exc
        if self._transport is not None:
            self._connections.discard(self._transport)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Find the endpoint."""
        self._endpoint = url.decode().strip("/")
        self._headers.clear()
        self._body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Take the request, and answer it."""
        reply = self._take(self._endpoint, self._headers, bytes(self._body))
        if reply.after_s:
            asyncio.get_running_loop().call_later(reply.after_s, self._answer, reply.answer)
        else:
            self._answer(reply.answer)

    def _answer(self, answer: bytes | None) -> None:
        if self._transport is None or answer is None:
            return
        if answer:
            self._transport.write(answer)
        else:
            self._transport.abort()
