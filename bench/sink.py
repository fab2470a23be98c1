"""Where deliveries arrive: answers every POST with 200 and keeps when each event came first, but for slow ones."""

import asyncio
import time
from typing import Final, cast

import httptools

from bench.programs import BenchError

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
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
        self.url = ""
        self._wanted = 0
        self._reached = asyncio.Event()

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
    server = await asyncio.get_running_loop().create_server(lambda: _Arrival(sink), "127.0.0.1", 0)
    sink.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    return sink, server


class _Arrival(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._event_id = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
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
