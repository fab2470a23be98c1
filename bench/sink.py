"""Where deliveries arrive: answers every POST with 200 and keeps when each event came first, but for slow ones."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, cast

import httptools

from bench.programs import BenchError

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WHOLE: Final = re.compile(
    rb"POST [^\r]*\r\n(?:[^\r]+\r\n)*?webhook-id: ([^\r]*)\r\n(?:[^\r]+\r\n)*?content-length: ([0-9]+)\r\n"
    rb"(?:[^\r]+\r\n)*\r\n",
    re.IGNORECASE,
)
"""A head that names the event's id before its length."""
SLOW: Final = b"slow-"
"""An event whose id begins so is answered late."""
SLOW_S: Final = 0.05


class Sink:
    """What arrived so far, in the event loop that runs it."""

    def __init__(self) -> None:
        """Nothing arrived yet; `open_sink` listens."""
        self.arrivals: dict[bytes, float] = {}
        """Event id → when it came first, on the monotonic clock."""
        self.last_at = 0.0
        self.urls: list[str] = []
        self._wanted = 0
        self._reached = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the first of them is."""
        return self.urls[0]

    def clear(self) -> None:
        """Forget what arrived."""
        self.arrivals.clear()

    def note(self, event_id: bytes) -> None:
        """Take one arrival; what comes again counts once."""
        if event_id in self.arrivals:
            return
        self.last_at = self.arrivals[event_id] = time.monotonic()
        if len(self.arrivals) == self._wanted:
            self._reached.set()

    async def wait_for(self, count: int, timeout_s: float) -> None:
        """Return when `count` different events arrived since `clear`.

        Raises:
            BenchError: fewer came within the time.
        """
        if len(self.arrivals) >= count:
            return
        self._wanted = count
        self._reached.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._reached.wait()
        except TimeoutError:
            raise BenchError(f"{len(self.arrivals)} of {count} events arrived within {timeout_s:.0f} s") from None


async def open_sink() -> tuple[Sink, asyncio.Server]:
    """Listen on a free port of 127.0.0.1; the caller closes the server."""
    sink = Sink()
    return sink, await _listen(sink)


@asynccontextmanager
async def open_sinks(count: int) -> AsyncIterator[Sink]:
    """Listen on many ports."""
    sink = Sink()
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(await _listen(sink))
        yield sink


async def _listen(sink: Sink) -> asyncio.Server:
    server = await asyncio.get_running_loop().create_server(lambda: _Arrival(sink), "127.0.0.1", 0)
    sink.urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook")
    return server


class _Arrival(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._event_id = b""
        self._is_parsed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on. A request that comes whole, as all of ours do, needs no parser: the sink must be the faster side."""
        found = None if self._is_parsed else WHOLE.match(data)
        if found is not None and found.end() + int(found[2]) == len(data):
            self._event_id = found[1]
            self.on_message_complete()
            return
        self._is_parsed = True
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Find the event's id."""
        if name.lower() == b"webhook-id":
            self._event_id = value

    def on_message_complete(self) -> None:
        """Take the arrival and answer; slow ones are not noted."""
        if self._event_id.startswith(SLOW):
            asyncio.get_running_loop().call_later(SLOW_S, self._answer)
            return
        self._sink.note(self._event_id)
        self._answer()

    def _answer(self) -> None:
        if self._transport is not None:
            self._transport.write(ANSWER)
