"""The listener: uvicorn with the bounds that it does not set itself, so that no connection costs more than its share.

Uvicorn bounds the requests under way and the time between two requests. It does not bound the size of a head, the time
that one takes to arrive, nor a client that never reads its answer; `Gate` stands before its protocol and does. What is
no HTTP at all is answered here too, so that every refusal is problem+json.

A request at one of the hot doors whose body came at once is served by `Plain` in place of uvicorn's cycle, which costs
three times as much (decision 0017). Everything else, and every connection's life around it, is uvicorn's.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Final, cast

import msgspec
import uvicorn
from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from idsync.api.events import PUBLISH_PATH, RECEIVE_PREFIX
from idsync.api.http import CLOSE, PROBLEM_JSON, TOO_SLOW, Asgi, Message, ProblemBody, ProblemType, problem_urn
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
_PUBLISH: Final = PUBLISH_PATH.encode()
_RECEIVE: Final = RECEIVE_PREFIX.encode()


def _write_refusal(kind: ProblemType, detail: str) -> bytes:
    body = msgspec.json.encode(ProblemBody(problem_urn(kind), kind.title, kind.status, detail))
    head = f"HTTP/1.1 {kind.status} {HTTPStatus(kind.status).phrase}\r\ncontent-type: {PROBLEM_JSON.decode()}\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


_NO_HTTP: Final = _write_refusal(ProblemType.MALFORMED_HTTP, "Send HTTP/1.1.")
_HEAD_TOO_LARGE: Final = _write_refusal(ProblemType.HEAD_TOO_LARGE, f"Send a head of at most {HEAD_BYTES_MAX} bytes.")
_HEAD_TOO_SLOW: Final = _write_refusal(ProblemType.TOO_SLOW, TOO_SLOW.detail)


class Plain:
    """One request at a hot door, begun when its body is whole: what uvicorn's cycle does for it, with one write.

    It has the attributes of that cycle that uvicorn's protocol looks at, `message_event` among them.
    """

    __slots__ = (
        "_head",
        "_inner",
        "_scope",
        "before",
        "body",
        "disconnected",
        "is_begun",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    def __init__(self, inner: HttpToolsProtocol) -> None:
        self._inner = inner
        self._scope = inner.scope
        self._head = b""
        self.before: RequestResponseCycle | None = inner.cycle
        self.body = bytearray()
        self.more_body = True
        self.is_begun = False
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True

    @property
    def message_event(self) -> "Plain":
        """Itself, told of each piece of the body. Not kept: a circle would hold the body until it is collected."""
        return self

    def set(self) -> None:
        """Begin once the last piece of the body is there."""
        if self.more_body or self.is_begun:
            return
        self.is_begun = True
        self.before = None  # it would hold every request that came before on this connection
        task = self._inner.loop.create_task(self._run())
        self._inner.tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        """Cut the connection where there was no answer; a fault was logged where it was answered."""
        self._inner.tasks.discard(task)
        is_fault = task.cancelled() or task.exception() is not None
        if is_fault and not self.response_complete:
            self._inner.transport.close()

    async def _run(self) -> None:
        await self._inner.app(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        """Give the body and keep nothing of it; the hot doors ask for no more."""
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Message) -> None:
        inner = self._inner
        if "status" in message:
            fields = [b"%b: %b\r\n" % field for field in (*inner.server_state.default_headers, *message["headers"])]
            if not self.keep_alive:
                fields.append(b"connection: close\r\n")
            self._head = b"%b%b\r\n" % (STATUS_LINE[message["status"]], b"".join(fields))
            self.keep_alive = self.keep_alive and CLOSE[0] not in message["headers"]
            return
        if inner.flow.write_paused:
            await inner.flow.drain()
        self.response_complete = True
        if self.disconnected:
            return
        inner.transport.write(self._head + message["body"])
        if not self.keep_alive:
            inner.transport.close()
        inner.on_response_complete()


class Gate:
    """One connection: passes everything on to uvicorn's protocol, and cuts what takes too much or too long.

    An asyncio protocol by its methods alone; a subclass would hang on uvicorn's inside even more.
    """

    def __init__(self, inner: HttpToolsProtocol, connections_max: int, head_s: float) -> None:
        self._inner = inner
        self._connections_max = connections_max
        self._head_s = head_s
        self._loop = asyncio.get_running_loop()
        self._head: object = None
        self._head_bytes = 0
        self._seen: tuple[object, bool, int] = (None, True, 0)
        self._since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False
        # Its own answer is plain text, and may come in the middle of another one.
        inner.send_400_response = lambda msg: self._refuse(_NO_HTTP)  # type: ignore[method-assign]  # noqa: ARG005
        self._plain: Plain | None = None
        inner.parser = _make_parser(inner, self._begin)

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Let a connection in, unless there are too many."""
        self._inner.connection_made(transport)
        if len(self._inner.connections) > self._connections_max + SPARE_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def data_received(self, chunk: bytes) -> None:
        """Pass bytes on; count those of a head that is not complete."""
        if self._is_refused:
            return
        inner = self._inner
        inner.data_received(chunk)
        if self._plain is not None:
            self._give_back(self._plain)
        if inner.headers is not self._head:
            self._head = inner.headers
            self._head_bytes = 0
        elif self._is_in_head():
            self._head_bytes += len(chunk)
        if len(inner.pipeline) > PIPELINE_MAX:
            inner.transport.abort()
        elif self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(_HEAD_TOO_LARGE)

    def _begin(self) -> None:
        """Take a request whose head is complete, or leave it to uvicorn."""
        inner, parser = self._inner, self._inner.parser
        is_plain = (
            (inner.url == _PUBLISH or inner.url.startswith(_RECEIVE))
            and not inner.expect_100_continue
            and self._is_waiting()
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and b"?" not in inner.url
            and b"%" not in inner.url
            and max(len(inner.connections), len(inner.tasks)) <= self._connections_max
        )
        if not is_plain:
            inner.on_headers_complete()
            return
        inner.scope |= {"method": "POST", "path": inner.url.decode("ascii"), "raw_path": inner.url, "query_string": b""}
        self._plain = Plain(inner)
        inner.cycle = cast("Any", self._plain)

    def _give_back(self, plain: Plain) -> None:
        """Let uvicorn go on with a request whose body did not come at once: that may take long, or never end."""
        self._plain = None
        inner = self._inner
        if plain.is_begun or inner.transport.is_closing():
            return
        inner.cycle = cast("Any", plain.before)
        inner.on_headers_complete()
        if plain.body:
            inner.on_body(bytes(plain.body))

    def eof_received(self) -> None:
        """Let the connection close."""
        self._inner.eof_received()

    def connection_lost(self, fault: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._inner.connection_lost(fault)

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
        seen = self._inner.cycle, self._is_waiting(), unread
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
        return bool(getattr(self._inner.cycle, "response_complete", True))

    def _is_idle(self) -> bool:
        """Whether the client sent all that it began: uvicorn's own timer runs, and closes the connection at its end."""
        return self._inner.timeout_keep_alive_task is not None and not self._inner.transport.is_closing()


def _make_parser(inner: HttpToolsProtocol, on_headers_complete: Callable[[], None]) -> HttpRequestParser:
    """Make the parser that uvicorn makes, but for who is told that a head is complete."""
    calls = SimpleNamespace(
        on_message_begin=inner.on_message_begin,
        on_url=inner.on_url,
        on_header=inner.on_header,
        on_headers_complete=on_headers_complete,
        on_body=inner.on_body,
        on_message_complete=inner.on_message_complete,
    )
    parser = HttpRequestParser(calls)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class Listener:
    """One listening socket and the server behind it; made by `open_listener`."""

    def __init__(self, server: uvicorn.Server, listening: socket.socket) -> None:
        self._server = server
        self._socket = listening

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
        return Gate(HttpToolsProtocol(**parts), settings.connections_max, settings.request_timeout_s)

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
    return Listener(uvicorn.Server(config), listening)
