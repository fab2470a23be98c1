"""News between processes on one database: a debounced NOTIFY after commits, a LISTEN for those of the others.

NOTIFY takes a lock that all commits share, so it is never part of one: it follows in a statement by itself, at most
once in `PAUSE_S`. It is a hint and may be lost: whoever waits also looks by himself, sooner while nobody can tell him.
"""

import asyncio
import secrets
import time
from typing import Final

import asyncpg

from idsync.errors import StoreError, StoreVersion
from idsync.stores.postgres import schema
from idsync.stores.postgres.db import FAULTS, named_faults
from idsync.stores.postgres.pool import CONNECT_S, Connections, Use, connect
from idsync.stores.postgres.schema import MIGRATED, SCHEMA

PAUSE_S: Final = 0.05
"""The least time between two notices of one process."""
POLL_MIN_S: Final = 0.05
POLL_MAX_S: Final = 1.0
"""How soon to look by himself where nobody can tell: doubled while the connection cannot be had."""
PROBE_S: Final = 10.0
"""How long the connection is believed to work, and the schema to be as it was, where nobody says otherwise."""


class News:
    """Tells other processes, and hears from them. One for each open store."""

    def __init__(self, connections: Connections) -> None:
        """Begin in silence: the connection that listens is opened by the first `wait`."""
        self._connections = connections
        self._name = secrets.token_hex(8)
        self._heard = asyncio.Event()
        self._listening: asyncpg.Connection[asyncpg.Record] | None = None
        self._probed_at = 0.0
        self._poll_s = POLL_MIN_S
        self._told_at = 0.0
        self._telling: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Let the others know soon that something was committed."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        await asyncio.sleep(self._told_at + PAUSE_S - time.monotonic())
        self._told_at = time.monotonic()
        try:
            async with self._connections.taken(Use.VIEW) as db:
                await db.connection.execute("SELECT pg_notify($1, $2)", SCHEMA, self._name)
        except StoreError:
            return  # they look by themselves

    async def wait(self, timeout_s: float) -> None:
        """Return when another process may have committed something, at the latest after `timeout_s` seconds.

        Raises:
            StoreVersion: the schema was changed beyond what this process knows.
        """
        limit_s = timeout_s if await self._is_listening() else min(timeout_s, self._poll_s)
        try:
            async with asyncio.timeout(limit_s):
                await self._heard.wait()
        except TimeoutError:
            return
        finally:
            self._heard.clear()

    async def _is_listening(self) -> bool:
        """Say whether others can reach us; connect where they cannot."""
        if self._connections.is_closed:
            return False
        listening = self._listening
        if listening is not None and not listening.is_closed() and time.monotonic() < self._probed_at + PROBE_S:
            return True
        try:
            with named_faults(self._connections.place):
                if listening is None or listening.is_closed():
                    self._listening = listening = await self._listen()
                    self._heard.set()  # whatever was told meanwhile was told to nobody
                async with asyncio.timeout(CONNECT_S):
                    await schema.check(listening, self._connections.place, self._connections.known)
        except StoreVersion:
            raise
        except StoreError:
            self._stop()
            self._poll_s = min(self._poll_s * 2, POLL_MAX_S)
            return False
        self._probed_at = time.monotonic()
        self._poll_s = POLL_MIN_S
        return True

    async def _listen(self) -> "asyncpg.Connection[asyncpg.Record]":
        connection = await connect(self._connections.url)
        await connection.add_listener(SCHEMA, self._hear)
        return connection

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == MIGRATED:
            self._probed_at = 0.0
        if payload != self._name:
            self._heard.set()

    def _stop(self) -> None:
        if self._listening is not None:
            self._listening.terminate()
            self._listening = None

    async def close(self) -> None:
        """Tell what is left to be told, and listen no more."""
        if self._telling is not None:
            await asyncio.wait([self._telling])
        if self._listening is not None:
            try:
                await self._listening.close(timeout=CONNECT_S)
            except FAULTS:
                self._stop()
