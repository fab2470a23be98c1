"""HTTP out through aiohttp: the reference Sender.

aiohttp looks names up, connects, does TLS, keeps the pool and parses. Its `ClientSession` is left out:
cookies, redirects, proxies and a task for every body are what we must not or need not have, and a request
through it takes 2.7 times the CPU of one written to the pooled connection here. The price is three names that
aiohttp does not document (`connect`, `set_response_params`, `read`); the tests drive each over real sockets.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Final, cast

import aiohttp
import msgspec
from aiohttp import ClientRequest, ClientTimeout, StreamReader, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType, Connection, SocketFactoryType
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from idsync.deadlines import Deadlines
from idsync.ports import Cancel, Clock, Request, Response, SendError
from idsync.senders.limits import HEAD_BYTES_MAX, Limits
from idsync.senders.resolver import Resolver, ThreadResolver
from idsync.senders.retry_after import parse_retry_after
from idsync.senders.route import ROUTES_MAX, Route, parse_route, render_request
from idsync.senders.sockets import Socket
from idsync.senders.timing import TIMING, Timing
from idsync.wire.address import Network, may_connect, parse_networks

_UNTIMED: Final = ClientTimeout()  # our one deadline bounds everything, so aiohttp keeps none
_EVERYWHERE: Final = parse_networks(("0.0.0.0/0", "::/0"))


class AiohttpSender:
    """A Sender on aiohttp's connections. Made inside the running loop, closed after its last `send` ended.

    Args:
        clock: measures latency and counts a `Retry-After` date; time-outs follow the loop's own clock.
        allowed: networks that the SSRF guard lets pass besides public addresses.
        limits: what is taken at most.
        tls: how certificates are verified; None: against the system's authorities.
        resolver: looks names up and is closed with the sender; None: the system's, in threads of its own.
    """

    def __init__(
        self,
        clock: Clock,
        allowed: Sequence[Network] = (),
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits or Limits()
        self._deadlines = Deadlines()
        # aiohttp's base class only asks for the two methods that ours has, so there is nothing to inherit.
        self._resolver = cast("AbstractResolver", _Names(resolver or ThreadResolver()))
        self._guarded = self._connector(tls, allowed)
        self._exempt = self._connector(tls, _EVERYWHERE)
        self._plan = lru_cache(ROUTES_MAX)(_plan)
        self._tasks: set[asyncio.Task[Response]] = set()

    def post(self, request: Request, on_done: Callable[[Response], None]) -> Cancel:
        """Post as `send` does, in a task; raises as `send`, but at once."""
        plan = self._plan(request.url)
        loop = asyncio.get_running_loop()
        if plan is None:
            return loop.call_soon(on_done, Response(error=SendError.INVALID_URL)).cancel
        task = loop.create_task(self._exchange(plan, render_request(plan.route, request), request))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, on_done))
        return partial(self._give_up, task)

    async def send(self, request: Request) -> Response:
        """Post, follow no redirect, read at most the cap, end within the time-out.

        The status decides and the body is only evidence: what breaks after the head shortens the body and is
        no error. Where the other side closes a kept connection just as we write, nobody knows whether the
        request arrived; that is the error `read`, and sending again is left to the caller.

        Raises:
            ValueError: a header holds CR, LF, NUL or a lone surrogate; such text is refused where it enters.
        """
        plan = self._plan(request.url)
        if plan is None:
            return Response(error=SendError.INVALID_URL)
        return await self._exchange(plan, render_request(plan.route, request), request)

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._guarded.close()
        await self._exempt.close()
        await self._resolver.close()

    async def _exchange(self, plan: "_Plan", written: bytes, request: Request) -> Response:
        began = self._clock.monotonic()
        timing = Timing(self._clock)
        TIMING.set(timing)
        connector = self._exempt if request.is_exempt else self._guarded
        connection: Connection | None = None
        head: RawResponseMessage | None = None
        error: SendError | None = None
        body = bytearray()
        try:
            with self._deadlines.within(request.timeout_s):
                connection = await connector.connect(plan.opening, [], _UNTIMED)
                timing.note_ready()
                head, payload = await _ask(connection, written, self._limits.body_bytes, timing)
                await _read(payload, body, self._limits.body_bytes)
                _give_back(connection)
        except TimeoutError:
            error = SendError.TIMEOUT
        except (aiohttp.ClientError, HttpProcessingError) as raised:
            error = _explain(raised)
        finally:
            if connection is not None:
                _drop(connection)
        now = self._clock.monotonic()
        latency_s, phases = now - began, timing.divide(now, is_tls=plan.route.is_tls)
        if head is None:
            return Response(error=error, latency_s=latency_s, phases=phases)
        return Response(
            status=head.code,
            retry_after_s=self._retry_after_s(head),
            body=bytes(body),
            latency_s=latency_s,
            phases=phases,
        )

    def _end(self, on_done: Callable[[Response], None], task: "asyncio.Task[Response]") -> None:
        if task in self._tasks:
            self._tasks.remove(task)
            on_done(Response(error=SendError.READ) if task.cancelled() else task.result())

    def _give_up(self, task: "asyncio.Task[Response]") -> None:
        self._tasks.discard(task)
        task.cancel()

    def _connector(self, tls: ssl.SSLContext | None, allowed: Sequence[Network]) -> TCPConnector:
        return TCPConnector(
            resolver=self._resolver,
            ssl=tls or True,
            limit=self._limits.connections,
            limit_per_host=self._limits.connections_per_host,
            keepalive_timeout=self._limits.idle_s,
            ttl_dns_cache=self._limits.dns_s,
            socket_factory=_guard(allowed),
        )

    def _retry_after_s(self, head: RawResponseMessage) -> float | None:
        text = head.headers.get("Retry-After")
        if text is None:
            return None
        return parse_retry_after(text, head.headers.get("Date"), self._clock.now())


class _Plan(msgspec.Struct, frozen=True):
    """A route as aiohttp takes it."""

    route: Route
    opening: ClientRequest
    """Tells the connector the scheme, host and port; it is never sent itself."""


def _plan(text: str) -> _Plan | None:
    """Plan requests to a URL; None: it cannot be posted to."""
    route = parse_route(text)
    if route is None:
        return None
    try:
        return _Plan(route, ClientRequest("POST", route.url, loop=asyncio.get_running_loop()))
    except ValueError:
        return None


async def _ask(
    connection: Connection, written: bytes, read_ahead_bytes: int, timing: Timing
) -> tuple[RawResponseMessage, StreamReader]:
    """Write a request and wait for the head of its final answer."""
    protocol = connection.protocol
    if protocol is None or protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    if protocol.should_close:
        # What came in before we asked would be taken for the answer.
        raise HttpProcessingError(message="the endpoint spoke before it was asked")
    protocol.set_response_params(
        read_until_eof=True,
        auto_decompress=False,
        read_bufsize=read_ahead_bytes,
        max_line_size=HEAD_BYTES_MAX,  # aiohttp bounds each line, not the head
        max_field_size=HEAD_BYTES_MAX,
    )
    protocol.transport.write(written)
    timing.note_written()
    while True:
        head, payload = await protocol.read()
        timing.note_heard()
        if head.code >= HTTPStatus.OK or head.code == HTTPStatus.SWITCHING_PROTOCOLS:
            return head, payload


async def _read(payload: StreamReader, body: bytearray, limit_bytes: int) -> None:
    """Append to `body` until the answer ends or the limit is reached; what came stays if the rest breaks."""
    while len(body) < limit_bytes and not payload.at_eof():
        body += await payload.read(limit_bytes - len(body))


def _give_back(connection: Connection) -> None:
    """Return the connection to the pool, which itself closes one whose answer was not read to its end."""
    transport = connection.transport
    # An answer may come before the whole request was written; the rest would be read as the next request.
    if transport is not None and transport.get_write_buffer_size() == 0:
        connection.release()


def _drop(connection: Connection) -> None:
    """Cut the connection unless it was given back; a TLS farewell may never come, so none is waited for."""
    if connection.protocol is not None:
        connection.protocol.abort()
        connection.close()


def _explain(raised: Exception) -> SendError:
    match raised:
        case aiohttp.ClientConnectorDNSError():
            return SendError.DNS
        case aiohttp.ClientConnectorError(os_error=_RefusedError()):
            return SendError.BLOCKED
        case aiohttp.ClientSSLError():
            return SendError.TLS
        case aiohttp.ClientConnectorError():
            return SendError.CONNECT
        case aiohttp.InvalidURL():
            return SendError.INVALID_URL
        case HttpProcessingError(__cause__=LineTooLong()):
            return SendError.TOO_LARGE
        case HttpProcessingError():
            return SendError.PROTOCOL
        case _:
            return SendError.READ


class _RefusedError(OSError):
    """The guard refused an address. An OSError, so that the connector tries the host's other addresses."""


def _guard(allowed: Sequence[Network]) -> SocketFactoryType:
    """Make the SSRF guard: no socket for an address that is not vetted.

    aiohttp asks for a socket for every address it is about to connect to, whether a look-up found it or the
    URL spells it, and connects to just that address: nothing can change between the check and its use.
    """

    def open_socket(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (host, *_) = address
        if not may_connect(str(host), allowed):
            # Always the same text: where several addresses fail, only equal errors keep their type.
            raise _RefusedError(errno.EACCES, "the address is not public and not in allow_cidrs")
        timing = TIMING.get()
        timing.note_opened()
        return Socket(family, kind, protocol, timing.note_connected)

    return open_socket


class _Names:
    """Our resolver, as aiohttp asks one."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:  # noqa: ARG002  # the family is whatever a name has
        """Look a name up; raises OSError where it has no address."""
        timing = TIMING.get()
        timing.note_looking_up()
        addresses = await self._resolver.resolve(host)
        timing.note_looked_up()
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()
