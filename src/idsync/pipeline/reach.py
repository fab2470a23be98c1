"""Reach: whether a peer can be read and written, kept where every process shows it: `peer_health:<half>:<peer>`.

Written by whoever reads or writes the peer, through ingest and with the fences of its turn.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from idsync.errors import PeerError
from idsync.model.event import Receipt
from idsync.model.values import Instant, PeerName
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.tenure import Tenure
from idsync.ports import Clock, Registry

PREFIX: Final = "peer_health:"


class Half(StrEnum):
    """What is done at a peer."""

    READ = "read"
    WRITE = "write"


class PeerHealth(msgspec.Struct, frozen=True):
    """That half of a peer cannot be reached; nothing is kept of one that can."""

    failing_since: Instant
    """The first failure since the last success."""
    error: str
    """The kind of the last failure, as `ConnectionRefusedError`: never the other side's text."""


class Reach:
    """Keeps what is known of one half of a peer.

    Several processes may write to one peer, each its lanes: every failure is written, not only the first, so that one
    that goes on is soon known again after another process got through.
    """

    def __init__(
        self,
        half: Half,
        peer: PeerName,
        *,
        registry: Registry,
        submit: Callable[[Submission], Awaitable[list[Receipt]]],
        tenure: Tenure,
        clock: Clock,
    ) -> None:
        """Wire it; `start` finds out what is known."""
        self._setting = _setting(half, peer)
        self._registry = registry
        self._submit = submit
        self._tenure = tenure
        self._clock = clock
        self._known: PeerHealth | None = None

    async def start(self) -> None:
        """Go on with what is known: since when it fails outlives a process."""
        body = await self._registry.setting(self._setting)
        self._known = None if body is None else _decode(body)

    async def lose(self, error: PeerError) -> None:
        """Write that it failed just now.

        Raises:
            StoreError: the store failed; the next failure is written.
        """
        since = self._clock.now() if self._known is None else self._known.failing_since
        await self._write(PeerHealth(since, type(error.__cause__ or error).__name__))

    async def regain(self) -> None:
        """Forget that it failed; where it did not, nothing is written.

        Raises:
            StoreError: the store failed; the next success is written.
        """
        if self._known is not None:
            await self._write(None)

    async def _write(self, health: PeerHealth | None) -> None:
        body = None if health is None else msgspec.json.encode(health)
        await self._submit(Submission(settings={self._setting: body}, fences=self._tenure.fences))
        self._known = health


async def unreached(registry: Registry) -> Mapping[tuple[PeerName, Half], PeerHealth]:
    """Give the halves of peers that cannot be reached, as of their last try."""
    kept = await registry.settings(PREFIX)
    found = {name: _decode(body) for name, body in kept.items()}
    return {_key(name): health for name, health in found.items() if health is not None}


def _decode(body: bytes) -> PeerHealth | None:
    try:
        return msgspec.json.decode(body, type=PeerHealth)
    except msgspec.DecodeError:
        return None


def _setting(half: Half, peer: PeerName) -> str:
    return f"{PREFIX}{half}:{peer}"


def _key(setting: str) -> tuple[PeerName, Half]:
    half, _, peer = setting.removeprefix(PREFIX).partition(":")
    return PeerName(peer), Half(half)
