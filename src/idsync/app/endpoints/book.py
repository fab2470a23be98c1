"""The one write of the registry of endpoints: a change, its history and its announcement, in one transaction.

Whoever changes anything takes a lease first, so that no two processes change at once; the plan carries its fence, so
that one which was held up for too long writes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from idsync import crash
from idsync.app.endpoints.documents import DOCUMENT, Document, read_document, write_document
from idsync.app.endpoints.edits import Change
from idsync.app.endpoints.history import HISTORY, extend, is_over, read_history, write_history
from idsync.app.endpoints.states import FilterSpan
from idsync.app.endpoints.vault import Vault
from idsync.errors import LeaseLost, StoreBusy
from idsync.model.event import Arrival, Receipt
from idsync.model.plan import REVISION
from idsync.model.values import Instant, instant_text
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.announce import Fields, announcement
from idsync.pipeline.parts.health import health_setting
from idsync.ports import Clock, Store

LEASE: Final = "endpoints"
LEASE_S: Final = 5.0
"""A process that dies while it changes something holds others up for so long."""
PATIENCE_S: Final = 15.0
PAUSE_S: Final = 0.05

NOTHING: Final[Mapping[str, bytes | None]] = {}

Submit = Callable[[Submission], Awaitable[list[Receipt]]]
Fences = Mapping[str, int]


class Book:
    """The documents of the endpoints, as the store has them."""

    def __init__(self, store: Store, clock: Clock, vault: Vault, *, kept_s: float) -> None:
        """Wire it.

        Args:
            store: where the documents are.
            clock: time and ids.
            vault: what seals them.
            kept_s: how long events are kept, and so the histories that judge them, in seconds.
        """
        self._store = store
        self._clock = clock
        self._vault = vault
        self._kept_ms = round(kept_s * 1000)
        self._holder = clock.new_id()
        self._lock = asyncio.Lock()

    def read(self, name: str, stored: bytes) -> Document:
        """Open one document.

        Raises:
            ConfigError: it is sealed under a key that is not given.
            StoreError: it is damaged.
        """
        return read_document(name, self._vault.open(DOCUMENT + name, stored))

    async def find(self, name: str) -> Document | None:
        """Read one document, that of an endpoint that is ending included."""
        stored = await self._store.setting(DOCUMENT + name)
        return None if stored is None else self.read(name, stored)

    async def all(self) -> dict[str, bytes]:
        """Every document as it is stored, by the endpoint's name."""
        found = await self._store.settings(DOCUMENT)
        return {name.removeprefix(DOCUMENT): stored for name, stored in found.items()}

    async def history(self, name: str) -> Sequence[FilterSpan]:
        """What the endpoint was to get when."""
        return read_history(name, await self._store.setting(HISTORY + name))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Fences]:
        """Be the only one who changes endpoints, in all processes.

        Raises:
            StoreBusy: somebody else is, for too long.
        """
        async with self._lock:
            fences = await self._take()
            try:
                yield fences
            except LeaseLost:
                raise StoreBusy("another process changes endpoints at this moment; try again") from None
            finally:
                await self._store.release(self._holder, [LEASE])

    async def write(
        self,
        changes: Sequence[Change],
        fences: Fences,
        submit: Submit,
        *,
        is_announced: bool,
        also: Mapping[str, bytes | None] = NOTHING,
    ) -> None:
        """Write changes, what follows from them and what is told of them: all of it or nothing.

        Args:
            changes: what is to be.
            fences: those of the turn.
            submit: where it is ingested.
            is_announced: whether there is anybody to hear of it.
            also: further values to be kept.

        Raises:
            LeaseLost: the turn is over; nothing was written.
            StoreError: the store failed.
        """
        at = self._clock.now()
        settings = {**also, **self._revision()}
        arrivals: list[Arrival] = []
        for change in changes:
            settings |= await self._values(change, at)
            if is_announced:
                arrivals += announcements(change)
        crash.point("endpoint.before_commit")
        await submit(Submission(arrivals=arrivals, settings=settings, fences=fences))
        crash.point("endpoint.after_commit")

    async def forget(self, name: str, fences: Fences, submit: Submit) -> None:
        """Forget an endpoint of which nothing is queued any more; its history stays as long as events do."""
        oldest = Instant(self._clock.now() - self._kept_ms)
        ended = [
            one
            for one, body in (await self._store.settings(HISTORY)).items()
            if is_over(read_history(one, body), oldest)
        ]
        gone: dict[str, bytes | None] = dict.fromkeys([DOCUMENT + name, *ended])
        await submit(Submission(settings=self._revision() | gone, fences=fences))

    def is_current(self, stored: bytes) -> bool:
        """Whether a document is sealed as it would be now."""
        return self._vault.is_current(stored)

    def _revision(self) -> dict[str, bytes | None]:
        """Write what makes every process look before it takes in more: an id that no other one draws."""
        return {REVISION: self._clock.new_id().encode()}

    async def _take(self) -> Fences:
        patience = self._clock.monotonic() + PATIENCE_S
        while not (held := await self._store.lease(self._holder, [LEASE], LEASE_S)):
            if self._clock.monotonic() > patience:
                raise StoreBusy("another process changes endpoints at this moment; try again")
            await self._clock.sleep(PAUSE_S)
        return held

    async def _values(self, change: Change, at: Instant) -> dict[str, bytes | None]:
        """Write what the store is to keep of one change."""
        after, name = change.after, change.after.name
        values: dict[str, bytes | None] = {
            DOCUMENT + name: self._vault.seal(DOCUMENT + name, write_document(after)),
        }
        before = await self.history(name)
        spans = extend(before, after, at, oldest=Instant(at - self._kept_ms))
        if spans is not before:
            values[HISTORY + name] = write_history(spans)
        if _begins_anew(change):
            values[health_setting(name)] = None
        return values


def _begins_anew(change: Change) -> bool:
    """Whether what is known of its health says nothing of it any more."""
    before, after = change.before, change.after
    return before is None or after.removed_at is not None or (after.is_enabled and not before.is_enabled)


def announcements(change: Change) -> list[Arrival]:
    """Write the operational events of one change; each rev of an endpoint announces the same only once."""
    after = change.after
    fields: Fields = {
        "endpoint": after.name,
        "rev": after.rev,
        "enabled": after.is_enabled,
        "reason": after.disabled_reason if not after.is_enabled else None,
        "origin": after.origin,
        "made_at": instant_text(after.made_at),
    }
    return [announcement(kind, f"endpoint/{after.name}", fields, after.changed_at) for kind in change.kinds]
