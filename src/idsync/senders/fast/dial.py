"""Connecting: look the name up, vet its addresses, connect to just those, shake hands (DESIGN §8, the SSRF guard)."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from idsync.model.delivery import Phases
from idsync.ports import Clock, SendError
from idsync.senders.fast.connection import Connection
from idsync.senders.fast.names import Names
from idsync.senders.route import Route
from idsync.senders.sockets import Socket
from idsync.wire.address import Network, may_connect

STAGGER_S: Final = 0.25
"""How long an address is tried alone before the next one is tried beside it (RFC 8305 §5)."""

MakeConnection = Callable[[], Connection]
Found = Connection | SendError


class _Way(NamedTuple):
    """One connecting: to what, and how far it is; moments are the clock's."""

    route: Route
    make: MakeConnection
    began_at: float
    looked_up_at: float


class Dialer:
    """Connects for one class of requests: those that the guard lets pass to `allowed` besides public addresses."""

    def __init__(
        self, clock: Clock, names: Names, allowed: Sequence[Network], get_tls: Callable[[], ssl.SSLContext]
    ) -> None:
        self._clock = clock
        self._names = names
        self._allowed = allowed
        self._get_tls = get_tls
        self._loop = asyncio.get_running_loop()

    async def connect(self, route: Route, make: MakeConnection) -> Found:
        """Connect to a route's host, or say why not. Cancelled, it leaves no connection behind."""
        began_at = looked_up_at = self._clock.monotonic()
        found: Sequence[str] = [route.host]
        if not _is_address(route.host):
            found = await self._names.look_up(route.host)
            looked_up_at = self._clock.monotonic()
        if not found:
            return SendError.DNS
        # The address that is vetted here is the one that is connected to: no name is resolved after this line.
        addresses = [address for address in found if may_connect(address, self._allowed)]
        if not addresses:
            return SendError.BLOCKED
        way = _Way(route, make, began_at, looked_up_at)
        if len(addresses) == 1:
            return await self._try(way, addresses[0])
        return await self._try_all(way, addresses)

    async def _try_all(self, way: _Way, addresses: Sequence[str]) -> Found:
        """Try one address after the other, each with a head start over the next; the first that connects is taken."""
        tries: set[asyncio.Task[Found]] = set()
        found: Found | None = None
        try:
            for address in addresses:
                tries.add(self._loop.create_task(self._try(way, address)))
                found = await _await_first(tries, STAGGER_S)
                if isinstance(found, Connection):
                    return found
            return await _await_first(tries, None) or found or SendError.CONNECT
        finally:
            for task in tries:
                task.cancel()
                task.add_done_callback(_drop)

    async def _try(self, way: _Way, address: str) -> Found:
        route = way.route
        try:
            if route.is_tls:
                stream = await self._open_stream(address, route.port)
                connected_at = self._clock.monotonic()
                _, connection = await self._loop.create_connection(
                    way.make, sock=stream, ssl=self._get_tls(), server_hostname=route.host.rstrip(".")
                )
                ready_at = self._clock.monotonic()
            else:
                _, connection = await self._loop.create_connection(way.make, address, route.port)
                connected_at = ready_at = self._clock.monotonic()
        except (ssl.SSLError, ValueError):  # the latter for a name that no certificate could hold
            return SendError.TLS
        except OSError:
            return SendError.CONNECT
        connection.opening = Phases(
            (way.looked_up_at - way.began_at) * 1000,
            (connected_at - way.looked_up_at) * 1000,
            (ready_at - connected_at) * 1000,
        )
        return connection

    async def _open_stream(self, address: str, port: int) -> Socket:
        """Connect alone: `create_connection` does not tell when the handshake begins."""
        stream = Socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            stream.setblocking(False)  # noqa: FBT003  # the name says it
            await self._loop.sock_connect(stream, (address, port))
        except BaseException:
            stream.close()
            raise
        return stream


async def _await_first(tries: set[asyncio.Task[Found]], within_s: float | None) -> Found | None:
    """Wait for a connection, or the failure of all; None: neither within `within_s` seconds. What ended is removed."""
    fault: Found | None = None
    while tries:
        done, _ = await asyncio.wait(tries, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return None
        task = done.pop()
        tries.remove(task)
        fault = task.result()
        if isinstance(fault, Connection):
            return fault
    return fault


def _drop(task: asyncio.Task[Found]) -> None:
    """Cut a connection that came second."""
    if not task.cancelled() and isinstance(found := task.result(), Connection):
        found.cut_off()


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
