"""What names mean: looked up once for all who ask at the same time, and believed for a while."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from idsync.senders.resolver import Resolver

NAMES_MAX: Final = 4096
"""Names that are remembered: only a shortcut."""
ADDRESSES_MAX: Final = 16
"""Addresses of one name that are tried; the rest is dropped unseen."""


class Names:
    """The look-ups of one sender."""

    def __init__(self, resolver: Resolver, ttl_s: float) -> None:
        self._resolver = resolver
        self._ttl_s = ttl_s
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, tuple[float, Sequence[str]]] = {}
        self._under_way: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def look_up(self, name: str) -> Sequence[str]:
        """Give the addresses of a name, best first; none where it has none. Whoever is cancelled stops nobody else."""
        known = self._known.get(name)
        if known is not None and known[0] > self._loop.time():
            return known[1]
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = self._loop.create_task(self._ask(name))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End every look-up, and the resolver."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._resolver.close()

    async def _ask(self, name: str) -> Sequence[str]:
        try:
            found: Sequence[str] = ()
            with suppress(OSError):
                found = (await self._resolver.resolve(name))[:ADDRESSES_MAX]
            if found:
                self._remember(name, found)
            return found
        finally:
            del self._under_way[name]

    def _remember(self, name: str, addresses: Sequence[str]) -> None:
        if len(self._known) >= NAMES_MAX:
            self._known.clear()
        self._known[name] = (self._loop.time() + self._ttl_s, addresses)
