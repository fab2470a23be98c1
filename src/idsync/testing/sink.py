"""A small real HTTP server on 127.0.0.1: answers as it is told, well or badly, and keeps what it was sent.

    async with open_sink(Answer(status=500), Answer(body=b"fine")) as sink:
        ...  # post to sink.url
        first, second = await sink.received(2)

It understands requests with a Content-Length, which is what a Sender writes.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable
from enum import StrEnum
from typing import Final, assert_never

import msgspec

_HEAD_BYTES_MAX: Final = 65_536
_BODY_BYTES_MAX: Final = 16 * 1024 * 1024


class Then(StrEnum):
    """What the sink does with the connection once an answer is written."""

    KEEP = "keep"
    """Waits for the next request."""
    CLOSE = "close"
    HALF_CLOSE = "half_close"
    """Says that nothing more will come, and reads on."""
    RESET = "reset"
    """Cuts the connection without a farewell."""
    REPEAT = "repeat"
    """Writes the body again and again until the other side is gone."""
    DRIP = "drip"
    """As `REPEAT`, with a pause before each."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One scripted answer."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    """Content-Length is added to them unless they hold it or Transfer-Encoding."""
    body: bytes = b""
    raw: bytes | None = None
    """Written instead of status, headers and body; b"" answers nothing at all."""
    then: Then = Then.KEEP
    drip_s: float = 0.02
    """The pause of `DRIP`."""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """In the order and spelling of the wire."""
    body: bytes
    connection: int
    """Which connection brought it, counted from 1."""

    def header(self, name: str) -> str | None:
        """Return the first header of that name, in whatever case, or None."""
        return _find(self.headers, name)


class Sink:
    """What came so far, and the answers still to give; `open_sink` makes it."""

    def __init__(self, answers: Iterable[Answer], scheme: str) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._scheme = scheme
        self._answers = deque(answers)
        self._arrival = asyncio.Condition()
        self._talks: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """Where the sink listens, by address; the port is free for any path after it."""
        return f"{self._scheme}://127.0.0.1:{self.port}/"

    def script(self, *answers: Answer) -> None:
        """Queue answers, one for each request to come; where none is left the answer is an empty 200."""
        self._answers.extend(answers)

    async def received(self, count: int, within_s: float = 10.0) -> list[Received]:
        """Wait until at least `count` requests came in all; return every request so far.

        Raises:
            TimeoutError: fewer came within `within_s` seconds.
        """
        async with asyncio.timeout(within_s), self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it; what `asyncio.start_server` calls."""
        self.connections += 1
        task = asyncio.current_task()
        self._talks[task] = writer
        # The other side may leave at any point, or not speak HTTP at all; both just end the talk.
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._serve(reader, writer)
        writer.close()
        del self._talks[task]

    async def hang_up(self) -> None:
        """Cut every open connection and wait until its talk has ended."""
        talks = dict(self._talks)
        for writer in talks.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in talks if task is not None), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self.connections
        is_kept = True
        while is_kept:
            request = await _read_request(reader, connection)
            async with self._arrival:
                self.requests.append(request)
                self._arrival.notify_all()
            answer = self._answers.popleft() if self._answers else Answer()
            writer.write(_render(answer))
            await writer.drain()
            is_kept = await _follow(answer, reader, writer)


@contextlib.asynccontextmanager
async def open_sink(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Sink]:
    """Serve on a free port of 127.0.0.1 until the block ends; with `tls` as https."""
    sink = Sink(answers, "https" if tls else "http")
    server = await asyncio.start_server(sink.talk, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await sink.hang_up()
        await server.wait_closed()


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Received:
    """Read one request.

    Raises:
        ValueError: it is not HTTP, or larger than the sink takes.
    """
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in rest))
    size_bytes = int(_find(headers, "Content-Length") or 0)
    if not 0 <= size_bytes <= _BODY_BYTES_MAX:
        raise ValueError(f"a body of {size_bytes} bytes, the limit is {_BODY_BYTES_MAX}")
    body = await reader.readexactly(size_bytes)
    return Received(method=method, target=target, headers=headers, body=body, connection=connection)


def _find(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name.lower()), None)


def _render(answer: Answer) -> bytes:
    if answer.raw is not None:
        return answer.raw
    headers = answer.headers
    if _find(headers, "Content-Length") is None and _find(headers, "Transfer-Encoding") is None:
        headers = (*headers, ("Content-Length", str(len(answer.body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {answer.status} Scripted\r\n{lines}\r\n".encode() + answer.body


async def _follow(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Do what comes after the answer; return whether the connection may bring another request."""
    match answer.then:
        case Then.KEEP:
            return True
        case Then.CLOSE:
            return False
        case Then.HALF_CLOSE:
            writer.write_eof()
            await reader.read()
            return False
        case Then.RESET:
            # Lingering for no time at all makes the kernel send a reset instead of an orderly end.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        case Then.REPEAT | Then.DRIP:
            while True:
                await asyncio.sleep(answer.drip_s if answer.then is Then.DRIP else 0)
                writer.write(answer.body)
                await writer.drain()
        case _:
            assert_never(answer.then)
