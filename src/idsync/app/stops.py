"""Endpoints that are to be disabled because of how they answer: each is, as soon as the store takes it."""

import asyncio

from idsync.app.endpoints import DisabledReason, Endpoints
from idsync.pipeline.parts.wake import wait_for
from idsync.telemetry import Log

IDLE_S = 60.0


class Stops:
    """Carries out what deliverers ask for. It is in the endpoint's health as well: a restart asks for it again."""

    def __init__(self, endpoints: Endpoints, log: Log) -> None:
        """Wire it; nobody is to be disabled yet."""
        self._endpoints = endpoints
        self._log = log
        self._asked: dict[str, DisabledReason] = {}
        self._wake = asyncio.Event()

    def ask(self, endpoint: str, reason: str) -> None:
        """Disable an endpoint soon, for `gone` or `failing`."""
        self._asked[endpoint] = DisabledReason(reason)
        self._wake.set()

    async def tick(self) -> float:
        """Disable those that are asked for."""
        self._wake.clear()
        for endpoint, reason in list(self._asked.items()):
            await self._endpoints.disable(endpoint, reason)
            self._log.warn("an endpoint is disabled for how it answers", endpoint=endpoint, reason=reason.value)
            del self._asked[endpoint]
        return IDLE_S

    async def wait(self, timeout_s: float) -> None:
        """Return when one is asked for, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)
