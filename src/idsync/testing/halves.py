"""The three halves of a fake peer, as the ports have them. While the peer is away each verb raises PeerError."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from idsync.errors import PeerError
from idsync.model.delivery import Image, WriteResult
from idsync.model.event import Version
from idsync.model.plan import Position
from idsync.model.values import ExternalId
from idsync.ports import Rewound, SourceBatch, Write
from idsync.testing.peer import FakePeer


class FakeSource:
    """A fake peer's outgoing half: gives what was captured, in order and without gaps."""

    def __init__(self, peer: FakePeer) -> None:
        """Read this peer."""
        self._peer = peer
        self._rings: list[tuple[str, ExternalId]] = []

    async def read(self, after: Position | None, limit: int) -> SourceBatch | Rewound:
        """Give the rows after a position."""
        peer = self._peer
        peer.answer()
        generation = str(peer.generation)
        if after is not None and after.generation != generation:
            return Rewound(found=f"generation {generation} where {after.generation} was read")
        position = after if after is not None else Position(generation, 0, "0")
        rows = [(number, one) for number, one in peer.log if number > position.number]
        page = rows[:limit]
        received_at = peer.now()
        rings, self._rings = self._rings, []
        last = page[-1][0] if page else position.number
        return SourceBatch(
            observations=tuple(msgspec.structs.replace(one, received_at=received_at) for _, one in page),
            rings=tuple(rings),
            position=Position(generation, last, str(last)),
            has_more=len(rows) > limit,
        )

    async def wait(self, timeout_s: float) -> None:
        """Return when something was captured since the last wait, at the latest after `timeout_s` real seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._peer.moved.wait()
        except TimeoutError:
            return
        self._peer.moved.clear()

    async def trim(self, before: Position) -> None:
        """Forget what was read, but never the row at the position itself."""
        self._peer.answer()
        self._peer.log[:] = [(number, one) for number, one in self._peer.log if number >= before.number]

    async def start_over(self) -> None:
        """Begin a new generation and ring for every identity."""
        self._peer.answer()
        self._peer.rewind()
        self._rings = list(self._peer.rows)
        self._peer.moved.set()


class FakeReader:
    """A fake peer as a look shows it."""

    def __init__(self, peer: FakePeer) -> None:
        """Read this peer."""
        self._peer = peer

    async def read(self, kind: str, external_id: ExternalId) -> Image | None:
        """What it holds of one identity now; None: it is not there."""
        self._peer.answer()
        return self._peer.image(kind, external_id)

    async def place(self) -> Version | None:
        """Where its journal ends."""
        self._peer.answer()
        return self._peer.place()

    async def list(self, kind: str) -> AsyncIterator[Image]:
        """Every identity of a kind, by id."""
        self._peer.answer()
        for found_kind, external_id in sorted(self._peer.rows):
            image = self._peer.image(found_kind, external_id)
            if found_kind == kind and image is not None:
                yield image


class FakeTarget:
    """A fake peer's incoming half."""

    def __init__(self, peer: FakePeer) -> None:
        """Write to this peer."""
        self._peer = peer

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Carry out the writes, each by itself."""
        peer = self._peer
        peer.answer()
        results = peer.apply_all(writes)
        if peer.replies_lost > 0:
            peer.replies_lost -= 1
            raise PeerError(f"peer {peer.name}: the answer was lost; nothing is known of {len(writes)} writes")
        return results

    def choose_id(self, kind: str) -> ExternalId | None:  # noqa: ARG002  # every kind has the same ids here
        """An id for a create, or None where the peer gives its own."""
        return None if self._peer.habits.gives_ids else self._peer.new_id()
