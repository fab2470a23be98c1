"""The fast Sender: what a request becomes, and where it goes."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import Final

from idsync.deadlines import Deadlines
from idsync.ports import Cancel, Clock, Request, Response, SendError
from idsync.senders.fast.dial import Dialer
from idsync.senders.fast.exchange import Exchange
from idsync.senders.fast.names import Names
from idsync.senders.fast.pool import Pool
from idsync.senders.limits import Limits
from idsync.senders.resolver import Resolver, ThreadResolver
from idsync.senders.route import ROUTES_MAX, parse_route, render_request
from idsync.wire.address import Network, parse_networks

_EVERYWHERE: Final = parse_networks(("0.0.0.0/0", "::/0"))


class FastSender:
    """A Sender on connections of our own. Made inside the running loop, closed after its last request ended.

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
        limits = limits or Limits()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines()
        self._find_route = lru_cache(ROUTES_MAX)(parse_route)
        self._names = Names(resolver or ThreadResolver(), limits.dns_s)
        # Read when it is first needed: the authorities take a moment.
        get_tls = cache(lambda: tls or _trust_authorities())
        # Two pools, so that a connection to where only the operator's own peers may be serves nobody else.
        self._guarded = Pool(Dialer(clock, self._names, allowed, get_tls), limits)
        self._exempt = Pool(Dialer(clock, self._names, _EVERYWHERE, get_tls), limits)

    def post(self, request: Request, on_done: Callable[[Response], None]) -> Cancel:
        """Post as `send` does, and call `on_done` with what came of it, later and once, unless it is cancelled.

        Raises:
            ValueError: as `send`.
        """
        route = self._find_route(request.url)
        if route is None:
            return self._loop.call_soon(on_done, Response(error=SendError.INVALID_URL)).cancel
        exchange = Exchange(
            route,
            render_request(route, request),
            on_done,
            clock=self._clock,
            watch=self._deadlines.watch(request.timeout_s),
        )
        (self._exempt if request.is_exempt else self._guarded).place(exchange)
        return exchange.give_up

    async def send(self, request: Request) -> Response:
        """Post, follow no redirect, read at most the cap, end within the time-out.

        The status decides and the body is only evidence: what breaks after the head shortens the body and is
        no error. Where the other side closes a kept connection just as we write, nobody knows whether the
        request arrived; that is the error `read`, and sending again is left to the caller.

        Raises:
            ValueError: a header holds CR, LF, NUL or a lone surrogate; such text is refused where it enters.
        """
        answered: asyncio.Future[Response] = self._loop.create_future()
        cancel = self.post(request, partial(_settle, answered))
        try:
            return await answered
        finally:
            cancel()

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self._guarded.close()
        await self._exempt.close()
        await self._names.close()


def _settle(answered: "asyncio.Future[Response]", response: Response) -> None:
    if not answered.done():  # cancelled, and its task has not run since
        answered.set_result(response)


def _trust_authorities() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
