"""The listener: uvicorn with the bounds that it does not set itself, so that no connection costs more than its share.

Uvicorn bounds the requests under way and the time between two requests. It does not bound the size of a head, the time
that one takes to arrive, nor a client that never reads its answer; `Gate` stands before its protocol and does. What is
no HTTP at all is answered here too, so that every refusal is problem+json.

A whole request at one of the hot doors is served past uvicorn, at a third of the cost (decision 0017). Everything else,
and every connection's life around it, is uvicorn's.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from idsync.api.events import PUBLISH_PATH, RECEIVE_PREFIX
from idsync.api.http import (
    CLOSE,
    COMMON,
    PROBLEM_JSON,
    TOO_SLOW,
    Answer,
    Asgi,
    ProblemBody,
    ProblemType,
    Reader,
    Reply,
    problem_urn,
)
from idsync.config import ServerSettings
from idsync.errors import ConfigError

HEAD_BYTES_MAX: Final = 32_768
"""Bytes of a head, as far as it came in more than one piece; what came in one is bounded by the socket's buffer."""
PIPELINE_MAX: Final = 128
"""Requests that may wait behind the one under way: none of ours sends any."""
KEEP_ALIVE_S: Final = 30
"""How long an idle connection stays open."""
STUCK_S: Final = 60.0
"""How long one request may be under way without a byte of its answer read: longer than the longest poll."""
SPARE_CONNECTIONS: Final = 64
"""Connections beyond the limit that are still told so with a 503; others are cut."""
LINGER_S: Final = 1.0
"""How long a refused client may go on sending before the connection is cut: at once, it might not see the answer."""
BACKLOG: Final = 1_024
_HOT: Final = (f"POST {PUBLISH_PATH} ".encode(), f"POST {RECEIVE_PREFIX}".encode())
"""How requests to the hot doors begin."""
_ANSWER: Final = b"%%bcontent-type: %%b\r\ncontent-length: %%d\r\n%b%%b\r\n%%b" % b"".join(
    b"%b: %b\r\n" % field for field in COMMON
)
"""Status line, media type, size, further fields, body."""


def _write_refusal(kind: ProblemType, detail: str) -> bytes:
    body = msgspec.json.encode(ProblemBody(problem_urn(kind), kind.title, kind.status, detail))
    head = f"HTTP/1.1 {kind.status} {HTTPStatus(kind.status).phrase}\r\ncontent-type: {PROBLEM_JSON.decode()}\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


_NO_HTTP: Final = _write_refusal(ProblemType.MALFORMED_HTTP, "Send HTTP/1.1.")
_HEAD_TOO_LARGE: Final = _write_refusal(ProblemType.HEAD_TOO_LARGE, f"Send a head of at most {HEAD_BYTES_MAX} bytes.")
_HEAD_TOO_SLOW: Final = _write_refusal(ProblemType.TOO_SLOW, TOO_SLOW.detail)


class HotRoutes(Protocol):
    """What serves whole requests to the hot doors; `asgi.HotDoors` is one."""

    def take(self, path: str, lines: list[tuple[bytes, bytes]], body: bytes, reply: Reply) -> bool:
        """Serve a POST and tell its answer once; False: nothing was done, it is to be served as ASGI."""
        ...


class Gate:
    """One connection: serves whole hot requests, passes the rest on to uvicorn, cuts what takes too much or long.

    An asyncio protocol by its methods alone; a subclass would hang on uvicorn's inside even more.
    """

    def __init__(
        self, inner: HttpToolsProtocol, connections_max: int, head_s: float, doors: Callable[[], HotRoutes | None]
    ) -> None:
        self._inner = inner
        self._connections_max = connections_max
        self._head_s = head_s
        self._loop = asyncio.get_running_loop()
        self._head: object = None
        self._head_bytes = 0
        self._seen: tuple[object, int, bool, int] = (None, 0, True, 0)
        self._since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False
        # Its own answer is plain text, and may come in the middle of another one.
        inner.send_400_response = lambda msg: self._refuse(_NO_HTTP)  # type: ignore[method-assign]  # noqa: ARG005
        inner.shutdown = self._shutdown  # type: ignore[method-assign]
        self._doors = doors
        self._reader = Reader()
        self._is_serving = False
        self._is_stopping = False
        self._served = 0
        self._held = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Let a connection in, unless there are too many."""
        self._inner.connection_made(transport)
        if len(self._inner.connections) > self._connections_max + SPARE_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def data_received(self, chunk: bytes) -> None:
        """Serve what is one hot request; pass all else on, and count the bytes of a head that is not complete."""
        inner = self._inner
        if self._is_serving:
            inner.flow.pause_reading()
            self._held += chunk
            return
        if self._is_refused or self._take(chunk):
            return
        inner.data_received(chunk)
        if inner.headers is not self._head:
            self._head = inner.headers
            self._head_bytes = 0
        elif self._is_in_head():
            self._head_bytes += len(chunk)
        if len(inner.pipeline) > PIPELINE_MAX:
            inner.transport.abort()
        elif self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(_HEAD_TOO_LARGE)

    def _take(self, chunk: bytes) -> bool:
        """Serve one plain request to a hot door here; False: it is uvicorn's, and nothing has happened."""
        inner, doors = self._inner, self._doors()
        if doors is None or not chunk.startswith(_HOT) or not self._is_quiet():
            return False
        request = self._reader.read(chunk)
        if request is None:
            return False
        inner._unset_keepalive_if_required()  # noqa: SLF001  # what it does itself with every piece that it is given
        self._is_serving = True
        if not doors.take(request.path, request.lines, request.body, self._reply):
            self._is_serving = False
            return False
        self._served += 1
        return True

    def _is_quiet(self) -> bool:
        """Whether uvicorn is between two requests, would take one more, and what was answered so far is being read."""
        inner = self._inner
        cycle, scope = getattr(inner, "cycle", None), getattr(inner, "scope", None)
        is_between = scope is None or (
            cycle is not None and cycle.scope is scope and cycle.response_complete and not cycle.more_body
        )
        return (
            is_between
            and not inner.flow.write_paused
            and len(inner.connections) <= self._connections_max
            and not inner.transport.is_closing()
        )

    def _reply(self, answer: Answer) -> None:
        """Write the answer of a request that was taken here, and go on as uvicorn does after one of its own."""
        self._is_serving = False
        inner, transport = self._inner, self._inner.transport
        if transport.is_closing():
            return
        is_last = self._is_stopping or CLOSE[0] in answer.headers
        transport.write(_write_answer(answer, inner.server_state.default_headers, is_last=is_last))
        if is_last:
            transport.close()
            return
        inner.on_response_complete()
        if self._held:
            held, self._held = self._held, b""
            self.data_received(held)

    def _shutdown(self) -> None:
        """Let a request that was taken here be answered before the connection closes."""
        if self._is_serving:
            self._is_stopping = True
        else:
            HttpToolsProtocol.shutdown(self._inner)

    def eof_received(self) -> None:
        """Let the connection close."""
        self._inner.eof_received()

    def connection_lost(self, fault: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._inner.connection_lost(fault)
        self._held = b""

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._inner.resume_writing()

    def _watch(self) -> None:
        """Look again and again whether the connection has moved on; cut it if it has not for too long."""
        now = self._loop.time()
        unread = self._inner.transport.get_write_buffer_size()
        seen = self._inner.cycle, self._served, self._is_waiting(), unread
        if seen != self._seen or (self._is_idle() and not unread):
            self._seen, self._since = seen, now
        if now - self._since >= (self._head_s if self._is_waiting() else STUCK_S):
            self._give_up()
            return
        self._timer = self._loop.call_later(self._head_s / 2, self._watch)

    def _give_up(self) -> None:
        """Cut a connection that stands still; if it was sending a head, say so."""
        if self._is_waiting() and self._head is not None and self._is_in_head() and not self._is_refused:
            self._refuse(_HEAD_TOO_SLOW)
        else:
            self._inner.transport.abort()

    def _refuse(self, answer: bytes) -> None:
        """Take no more of this connection: let the request under way be answered, or give this answer."""
        self._is_refused = True
        transport = self._inner.transport
        if transport.is_closing():
            return
        if self._is_waiting():
            if self._timer is not None:
                self._timer.cancel()
            transport.write(answer)
            transport.write_eof()
            self._timer = self._loop.call_later(LINGER_S, transport.abort)
        elif self._inner.pipeline:
            transport.abort()
        elif self._inner.cycle.more_body:
            transport.write(answer)
            transport.close()
        else:
            self._inner.shutdown()

    def _is_in_head(self) -> bool:
        """Whether the head of a request is not complete; before the first byte there is none."""
        return "method" not in (getattr(self._inner, "scope", None) or ())

    def _is_waiting(self) -> bool:
        """Whether nothing is under way: the next request, or the rest of one already answered, is still to come."""
        return not self._is_serving and bool(getattr(self._inner.cycle, "response_complete", True))

    def _is_idle(self) -> bool:
        """Whether the client sent all that it began: uvicorn's own timer runs, and closes the connection at its end."""
        return self._inner.timeout_keep_alive_task is not None and not self._inner.transport.is_closing()


def _write_answer(answer: Answer, defaults: list[tuple[bytes, bytes]], *, is_last: bool) -> bytes:
    """Write an answer as it stands on the wire."""
    fields = b"".join([b"%b: %b\r\n" % field for field in (*defaults, *answer.headers)])
    if is_last and CLOSE[0] not in answer.headers:
        fields += b"connection: close\r\n"
    size = len(answer.body)
    return _ANSWER % (STATUS_LINE[answer.status], answer.media, size, fields, answer.body)


class Listener:
    """One listening socket and the server behind it; made by `open_listener`."""

    def __init__(self, server: uvicorn.Server, listening: socket.socket) -> None:
        self._server = server
        self._socket = listening
        self.doors: HotRoutes | None = None
        """What serves the hot doors past ASGI; None: everything is served as ASGI."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port as they are: the port that was taken where 0 was asked for."""
        host, port, *_ = self._socket.getsockname()
        return str(host), int(port)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def run(self) -> None:
        """Serve until `stop`, then let the requests under way end within the configured time. Catches no signal."""
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[self._socket])
        try:
            await self._server.main_loop()
        finally:
            await self._server.shutdown(sockets=[self._socket])

    def stop(self) -> None:
        """Take no further requests; `run` returns soon after."""
        self._server.should_exit = True


def open_listener(app: Asgi, settings: ServerSettings) -> Listener:
    """Bind the address of the settings; nothing is answered before `run`.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).partition(" (while")[0]
        raise ConfigError(f"server.listen: cannot listen on {settings.listen}: {reason}; choose another") from error
    listening.setblocking(False)  # noqa: FBT003  # the name says what it is
    # asyncio sets it only where the socket names its protocol, which `create_server` does not; connections inherit it.
    # Without it the body of an answer waits 40 ms, until the client acknowledges its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def open_gate(**parts: Any) -> Gate:  # noqa: ANN401  # passed on as uvicorn gives them
        inner = HttpToolsProtocol(**parts)
        return Gate(inner, settings.connections_max, settings.request_timeout_s, lambda: listener.doors)

    config = uvicorn.Config(
        cast("Any", app),
        http=cast("Any", open_gate),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=settings.connections_max + 1,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_s),
    )
    listener = Listener(uvicorn.Server(config), listening)
    return listener
