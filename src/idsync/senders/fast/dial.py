"""Connecting: look the name up, vet its addresses, connect to just those, shake hands (DESIGN §8, the SSRF guard)."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from idsync.ports import SendError
from idsync.senders.fast.connection import Connection
from idsync.senders.fast.names import Names
from idsync.senders.route import Route
from idsync.wire.address import Network, may_connect

STAGGER_S: Final = 0.25
"""How long an address is tried alone before the next one is tried beside it (RFC 8305 §5)."""

MakeConnection = Callable[[], Connection]
Found = Connection | SendError


class Dialer:
    """Connects for one class of requests: those that the guard lets pass to `allowed` besides public addresses."""

    def __init__(self, names: Names, allowed: Sequence[Network], get_tls: Callable[[], ssl.SSLContext]) -> None:
        self._names = names
        self._allowed = allowed
        self._get_tls = get_tls
        self._loop = asyncio.get_running_loop()

    async def connect(self, route: Route, make: MakeConnection) -> Found:
        """Connect to a route's host, or say why not. Cancelled, it leaves no connection behind."""
        found = [route.host] if _is_address(route.host) else await self._names.look_up(route.host)
        if not found:
            return SendError.DNS
        # The address that is vetted here is the one that is connected to: no name is resolved after this line.
        addresses = [address for address in found if may_connect(address, self._allowed)]
        if not addresses:
            return SendError.BLOCKED
        if len(addresses) == 1:
            return await self._try(route, addresses[0], make)
        return await self._try_all(route, addresses, make)

    async def _try_all(self, route: Route, addresses: Sequence[str], make: MakeConnection) -> Found:
        """Try one address after the other, each with a head start over the next; the first that connects is taken."""
        tries: set[asyncio.Task[Found]] = set()
        found: Found | None = None
        try:
            for address in addresses:
                tries.add(self._loop.create_task(self._try(route, address, make)))
                found = await _await_first(tries, STAGGER_S)
                if isinstance(found, Connection):
                    return found
            return await _await_first(tries, None) or found or SendError.CONNECT
        finally:
            for task in tries:
                task.cancel()
                task.add_done_callback(_drop)

    async def _try(self, route: Route, address: str, make: MakeConnection) -> Found:
        try:
            if route.is_tls:
                _, connection = await self._loop.create_connection(
                    make, address, route.port, ssl=self._get_tls(), server_hostname=route.host.rstrip(".")
                )
            else:
                _, connection = await self._loop.create_connection(make, address, route.port)
        except (ssl.SSLError, ValueError):  # the latter for a name that no certificate could hold
            return SendError.TLS
        except OSError:
            return SendError.CONNECT
        return connection


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
