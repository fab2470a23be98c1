"""The connections of one class of requests: how many are used, who waits for one, which are kept.

An exchange needs a turn with its host, then a turn with the pool; where there is none it waits, within its own
time-out, and turns are given in the order in which they were asked for: no host can starve another. With both it
takes the host's connection that was used last, or a new one. No task runs but for connecting.
"""

import asyncio
from functools import partial

from idsync.deadlines import Watch
from idsync.ports import SendError
from idsync.senders.fast.connection import Connection
from idsync.senders.fast.dial import Dialer, Found
from idsync.senders.fast.exchange import Exchange
from idsync.senders.limits import Limits


class Host:
    """What one scheme, host and port has of the pool. A place: here waits who has no turn with the host."""

    __slots__ = ("busy", "idle", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        """Turns taken: exchanges on a connection, connecting, or waiting for the pool."""
        self.idle: dict[Connection, None] = {}
        """In the order in which they were used."""
        self.waiting: dict[Exchange, None] = {}

    def leave(self, exchange: Exchange) -> None:
        """Wait no longer."""
        del self.waiting[exchange]


class Dial:
    """A place: a connection is being made for just this exchange."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[Found]) -> None:
        self._task = task

    def leave(self, exchange: Exchange) -> None:  # noqa: ARG002  # there is only one
        """Stop."""
        self._task.cancel()


class Pool:
    """Puts exchanges on connections. A place: here waits who has a turn with the host only."""

    def __init__(self, dialer: Dialer, limits: Limits) -> None:
        self._dialer = dialer
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._hosts: dict[str, Host] = {}
        self._waiting: dict[Exchange, Host] = {}
        self._busy = 0
        """Turns taken: exchanges on a connection, or connecting."""
        self._dials: set[asyncio.Task[Found]] = set()
        self._connections: dict[Connection, Host] = {}
        self._idle = Watch(limits.idle_s)
        self._is_closed = False

    def place(self, exchange: Exchange) -> None:
        """Begin an exchange, or let it wait."""
        if self._is_closed:
            self._loop.call_soon(exchange.finish, SendError.READ)
            return
        host = self._hosts.get(exchange.route.origin)
        if host is None:
            host = self._hosts[exchange.route.origin] = Host()
        if host.busy >= self._limits.connections_per_host:
            exchange.place = host
            host.waiting[exchange] = None
            return
        host.busy += 1
        if self._busy >= self._limits.connections:
            exchange.place = self
            self._waiting[exchange] = host
        else:
            self._begin(exchange, host, exchange.began_at)

    def leave(self, exchange: Exchange) -> None:
        """Wait no longer: the turn with the host goes to the next."""
        host = self._waiting.pop(exchange)
        host.busy -= 1
        self._begin_next(host)
        self._tidy(host, exchange.route.origin)

    def take_back(self, connection: Connection) -> None:
        """End the turns of an exchange whose connection may be kept."""
        host = self._connections[connection]
        if self._limits.idle_s <= 0:
            connection.cut_off()
            return
        host.idle[connection] = None
        self._idle.begin(connection)
        self._end_turns(host)
        if len(self._idle) > self._limits.connections:
            self._idle.cut_off_first()

    def forget(self, connection: Connection) -> None:
        """Take a connection that is gone off the books, and end the turns of the exchange that was on it."""
        host = self._connections.pop(connection, None)
        if host is None:
            return
        if connection in host.idle:
            del host.idle[connection]
            self._idle.end(connection)
        else:
            self._end_turns(host)
        self._tidy(host, connection.origin)

    async def close(self) -> None:
        """Cut every connection; what is under way fails as `read`."""
        self._is_closed = True
        waiting = [*self._waiting, *(exchange for host in self._hosts.values() for exchange in host.waiting)]
        for exchange in waiting:
            exchange.fail(SendError.READ)
        for connection in list(self._connections):
            connection.connection_lost(None)
        dials = list(self._dials)
        for task in dials:
            task.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes descriptors in its next round

    def _begin(self, exchange: Exchange, host: Host, now: float) -> None:
        """Take the pool's turn, and the connection that was used last, or the way to a new one."""
        self._busy += 1
        while host.idle:
            connection = next(reversed(host.idle))
            if connection.begin(exchange, now):
                del host.idle[connection]
                self._idle.end(connection)
                return
            connection.cut_off()
        self._dial(exchange, host)

    def _dial(self, exchange: Exchange, host: Host) -> None:
        make = partial(Connection, self, exchange.route.origin, self._limits.body_bytes)
        task = self._loop.create_task(self._dialer.connect(exchange.route, make))
        exchange.place = Dial(task)
        self._dials.add(task)
        task.add_done_callback(partial(self._end_dial, exchange, host))

    def _end_dial(self, exchange: Exchange, host: Host, task: asyncio.Task[Found]) -> None:
        self._dials.remove(task)
        found = SendError.READ if task.cancelled() else task.result()
        if isinstance(found, SendError):
            self._end_turns(host)
            self._tidy(host, exchange.route.origin)
            exchange.finish(found)
            return
        self._connections[found] = host
        if exchange.is_over:
            found.cut_off()
        else:
            found.begin_first(exchange)

    def _end_turns(self, host: Host) -> None:
        """Give both turns to the next ones."""
        self._busy -= 1
        host.busy -= 1
        if host.waiting or self._waiting:
            self._begin_next(host)

    def _begin_next(self, host: Host) -> None:
        """Give a free turn with the host to whoever waits for it, and those with the pool to all that wait for them."""
        if host.waiting:
            exchange = next(iter(host.waiting))
            del host.waiting[exchange]
            host.busy += 1
            exchange.place = self
            self._waiting[exchange] = host
        while self._waiting and self._busy < self._limits.connections:
            exchange = next(iter(self._waiting))
            self._begin(exchange, self._waiting.pop(exchange), exchange.now())

    def _tidy(self, host: Host, origin: str) -> None:
        """Forget a host that has nothing here."""
        if not host.busy and not host.idle and self._hosts.get(origin) is host:
            del self._hosts[origin]
