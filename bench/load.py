"""The load: events over kept connections, as fast as they are answered or at a given rate.

It shares a thread with the sink and is far lighter than any server measured (about 15 µs a request), so that what runs
on the other core is what is measured.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, cast

import httptools

from bench.programs import BenchError

KEY: Final = "bench-0123456789abcdef"
"""The API key of every server that is measured."""
SECRET: Final = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
"""What every delivery is signed with."""
CONCURRENCY: Final = 64
"""Requests under way to the sink, for everything that posts."""
SUBJECTS: Final = 10_000
SPREAD: Final = 200
"""Endpoints where events are spread over many: one for each of as many types."""
SCATTER: Final = 0x9E3779B97F4A7C15
"""Odd, so that no two of 2**64 numbers meet when they are multiplied by it."""
TICK_S: Final = 0.001
RUN_S_MAX: Final = 600.0
GRACE_S: Final = 30.0
"""How long answers may take after the last request before the run is given up."""
EVENT: Final = (
    b'{"id":"bench-%010d","type":"user.updated","source":"bench","subject":"user/%05d",'
    b'"timestamp":"2026-01-01T12:00:00.000Z","version":7,"changed":["name","preferred_username"],'
    b'"data":{"id":"u_0123456789","email":"ada.lovelace@example.com","email_verified":true,"name":"Ada Lovelace",'
    b'"preferred_username":"ada","picture":"https://example.com/pictures/ada.png","active":true,"banned":false,'
    b'"roles":["member","editor"],"about":"She wrote what is held to be the first program, for the Analytical Engine '
    b'of Charles Babbage, and saw that it could work on more than numbers."}}'
)
"""About 600 bytes, as a user's event is."""


class Events:
    """Numbered events, each with an id of its own, all of one size."""

    def __init__(self) -> None:
        """Count from 1."""
        self._numbers = itertools.count(1)

    def take(self) -> tuple[bytes, bytes]:
        """Make the next event: its id and its body."""
        number = next(self._numbers)
        return b"bench-%010d" % number, EVENT % (number, number % SUBJECTS)

    def scattered(self) -> bytes:
        """Make a request body of one event whose id is as good as random: it sorts anywhere among all others."""
        number = next(self._numbers)
        event = EVENT % (number, number % SUBJECTS)
        return event.replace(b"bench-%010d" % number, b"bench-%016x" % (number * SCATTER % 2**64), 1)

    def notes(self) -> bytes:
        """Make a request body of 100 events of another type."""
        return self.hundred().replace(b'"type":"user.updated"', b'"type":"note.made"')

    def one(self) -> bytes:
        """Make a request body of one event."""
        return self.take()[1]

    def ten(self) -> bytes:
        """Make a request body of 10 events."""
        return b"[%b]" % b",".join([self.take()[1] for _ in range(10)])

    def ten_spread(self) -> bytes:
        """Make a request body of 10 events, each of the next one of `SPREAD` types."""
        numbers = [next(self._numbers) for _ in range(10)]
        events = [
            (EVENT % (one, one % SUBJECTS)).replace(b"user.updated", b"spread.%d" % (one % SPREAD)) for one in numbers
        ]
        return b"[%b]" % b",".join(events)

    def hundred(self) -> bytes:
        """Make a request body of 100 events."""
        return b"[%b]" % b",".join([self.take()[1] for _ in range(100)])

    def hundred_of_one(self, prefix: bytes) -> bytes:
        """Make a request body of 100 events of one subject of their own, whose ids begin so."""
        numbers = [next(self._numbers) for _ in range(100)]
        return b"[%b]" % b",".join([_mark(EVENT % (number, SUBJECTS), prefix) for number in numbers])


def _mark(event: bytes, prefix: bytes) -> bytes:
    return event.replace(b'"id":"', b'"id":"' + prefix, 1)


class Run(NamedTuple):
    """What a closed loop did."""

    requests: int
    began_at: float
    ended_at: float

    @property
    def elapsed_s(self) -> float:
        """From the first request to the last answer."""
        return self.ended_at - self.began_at


class Load:
    """Connections to one server, each with at most one request under way. Made by `connect`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._head = (
            f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        self.connections: list[_Connection] = []
        self._listen: Callable[[_Connection], None] = lambda _: None
        self._ended: asyncio.Future[None] | None = None
        self._statuses: Counter[int] = Counter()

    async def closed_loop(
        self, make_body: Callable[[], bytes], *, for_s: float = RUN_S_MAX, requests_max: int = sys.maxsize
    ) -> Run:
        """Keep every connection busy for a time or a number of requests, whichever ends first.

        Raises:
            BenchError: an answer was no 2xx, or did not come.
        """
        began = time.monotonic()
        deadline = began + for_s
        asked = 0
        open_requests = len(self.connections)
        ended = self._begin()

        def go_on(connection: _Connection) -> None:
            nonlocal asked, open_requests
            if asked < requests_max and time.monotonic() < deadline:
                asked += 1
                self._post(connection, make_body())
                return
            open_requests -= 1
            if not open_requests and not ended.done():
                ended.set_result(None)

        self._listen = go_on
        for connection in self.connections:
            go_on(connection)
        await self._end(ended, for_s)
        return Run(asked, began, time.monotonic())

    async def open_loop(self, events: Events, rate: float, for_s: float) -> dict[bytes, float]:
        """Send events at a rate, whatever the server does; give when each was meant to be sent.

        An event that finds no free connection waits for one, and its time counts from when it was due: a server that
        stops for a while is charged for every event that would have come meanwhile (no coordinated omission).

        Raises:
            BenchError: an answer was no 2xx, or did not come.
        """
        count = int(rate * for_s)
        due: dict[bytes, float] = {}
        idle = deque(self.connections)
        answered = 0
        ended = self._begin()
        loop = asyncio.get_running_loop()
        began = time.monotonic()

        def take_answer(connection: _Connection) -> None:
            nonlocal answered
            answered += 1
            idle.append(connection)
            if answered == count and not ended.done():
                ended.set_result(None)

        def send_due() -> None:
            now = time.monotonic()
            while idle and len(due) < count and (at := began + len(due) / rate) <= now:
                event_id, body = events.take()
                due[event_id] = at
                self._post(idle.popleft(), body)
            if len(due) < count:
                loop.call_later(TICK_S, send_due)

        self._listen = take_answer
        send_due()
        await self._end(ended, for_s)
        return due

    def _begin(self) -> "asyncio.Future[None]":
        self._ended = asyncio.get_running_loop().create_future()
        self._statuses.clear()
        return self._ended

    async def _end(self, ended: "asyncio.Future[None]", for_s: float) -> None:
        try:
            async with asyncio.timeout(for_s + GRACE_S):
                await ended
        except TimeoutError:
            raise BenchError(f"port {self.port} did not answer everything within {for_s + GRACE_S:.0f} s") from None
        wrong = {status: count for status, count in self._statuses.items() if not 200 <= status < 300}
        if wrong:
            raise BenchError(f"port {self.port} answered {wrong} (status: times); see its log")

    def _post(self, connection: "_Connection", body: bytes) -> None:
        connection.write(self._head % len(body) + body)

    def take_answer(self, connection: "_Connection", status: int) -> None:
        """Count an answer and go on."""
        self._statuses[status] += 1
        self._listen(connection)

    def lose(self) -> None:
        """End the run: a connection that closes loses a request."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(BenchError(f"port {self.port} closed a connection; see its log"))


@asynccontextmanager
async def connect(port: int, connections: int) -> AsyncIterator[Load]:
    """Open the connections to one server, and close them at the end."""
    load = Load(port)
    loop = asyncio.get_running_loop()
    try:
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port)
            load.connections.append(connection)
        yield load
    finally:
        for connection in load.connections:
            connection.close()


class _Connection(asyncio.Protocol):
    """One kept connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what requests are written to."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # the protocol's own signature
        """Give the run up, unless it was we who closed."""
        if self._transport is not None:
            self._load.lose()

    def write(self, request: bytes) -> None:
        """Send one request."""
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        """Close it for good."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Take the answer."""
        self._load.take_answer(self, self._parser.get_status_code())
