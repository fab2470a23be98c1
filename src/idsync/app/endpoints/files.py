"""The endpoints of the configuration, brought into the store when a process starts."""

from collections.abc import Mapping
from typing import Final

import msgspec

from idsync.app.endpoints import edits
from idsync.app.endpoints.book import Book, Submit
from idsync.app.endpoints.documents import Document, KeptSecret
from idsync.app.endpoints.edits import Change
from idsync.app.endpoints.states import DisabledReason, Origin
from idsync.app.endpoints.wiring import check_file
from idsync.config import Settings
from idsync.model.values import Instant
from idsync.ports import Clock, Store

EARLIER_SECRET: Final = "endpoint_secret:"  # noqa: S105  # a name, no secret
"""Where earlier versions kept the secret that they had made for an endpoint."""


async def line_up(settings: Settings, store: Store, book: Book, clock: Clock, submit: Submit) -> Mapping[str, str]:
    """Make the store hold the endpoints of the configuration as that says; safe to call again, by any process.

    One that is not in the configuration any more is disabled, not deleted. What is kept under an older key, or under
    none, is sealed anew. One that was removed through the API and is ending still is left alone until it has ended.

    Returns:
        The secrets that were made, by endpoint: shown once.

    Raises:
        ConfigError: an endpoint cannot sign, or what is kept is sealed under a key that is not given.
        StoreBusy: another process changes endpoints, for too long.
    """
    check_file(settings)
    made: dict[str, str] = {}
    if not _differences(settings, book, await book.all(), clock.now()):
        return made
    async with book.turn() as fences:
        stored = await book.all()
        changes: list[Change] = []
        earlier: dict[str, bytes | None] = {}
        for change in _differences(settings, book, stored, clock.now()):
            name, after = change.after.name, change.after
            if not after.secrets:
                kept = await store.setting(EARLIER_SECRET + name)
                text = kept.decode() if kept is not None else edits.make_secret()
                after = msgspec.structs.replace(after, secrets=(KeptSecret(text),))
                if kept is None:
                    made[name] = text
                else:
                    earlier[EARLIER_SECRET + name] = None
            changes.append(Change(change.before, after))
        known = [*(book.read(name, body) for name, body in stored.items()), *(one.after for one in changes)]
        is_announced = any(one.settings.operational for one in known)
        await book.write(changes, fences, submit, is_announced=is_announced, also=earlier)
    return made


def _differences(settings: Settings, book: Book, stored: Mapping[str, bytes], at: Instant) -> list[Change]:
    """Compare what is kept with what is to be; a change of nothing seals anew. Documents without a secret need one."""
    found: list[Change] = []
    for name, body in stored.items():
        before = book.read(name, body)
        after = _as_configured(before, settings, at)
        if after != before or not book.is_current(body):
            found.append(Change(before, after))
    return found + [
        Change(None, edits.made(name, one, Origin.FILE, edits.texts_of(one.secret), at))
        for name, one in settings.endpoints.items()
        if name not in stored
    ]


def _as_configured(before: Document, settings: Settings, at: Instant) -> Document:
    one = settings.endpoints.get(before.name)
    if before.removed_at is not None:
        return before
    if one is not None:
        return edits.defined_by_file(before, one, at)
    return edits.disabled(before, DisabledReason.REMOVED, at) if before.origin is Origin.FILE else before
