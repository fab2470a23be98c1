"""Every change of an endpoint, as a pure function from the document before to the one after."""

import base64
import secrets as randomness
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from idsync.app.endpoints.documents import Document, KeptSecret
from idsync.app.endpoints.states import DisabledReason, Origin
from idsync.config import EndpointSettings, SecretText
from idsync.model.values import Instant

SECRET_BYTES: Final = 32
"""Length of a secret we make ourselves; Standard Webhooks asks for 24 to 64."""
OLD_SECRETS_MAX: Final = 10
"""Old secrets that sign beside the newest while rotations overlap; the oldest go first."""


class Change(msgspec.Struct, frozen=True):
    """One endpoint before and after."""

    before: Document | None
    after: Document

    @property
    def kinds(self) -> tuple[str, ...]:
        """The operational events that it is."""
        before, after = self.before, self.after
        if before is None or (before.removed_at is not None and after.removed_at is None):
            return ("endpoint.created",)
        if after.removed_at is not None:
            return ("endpoint.deleted",)
        switched: tuple[str, ...] = ()
        if before.is_enabled is not after.is_enabled:
            switched = ("endpoint.enabled" if after.is_enabled else "endpoint.disabled",)
        is_updated = _defined(before) != _defined(after)
        return (*(("endpoint.updated",) if is_updated else ()), *switched)


def _defined(document: Document) -> tuple[object, ...]:
    settings = msgspec.structs.replace(document.settings, enabled=True)
    return settings, document.secrets, document.origin


def make_secret() -> str:
    """Draw a secret of an endpoint."""
    return "whsec_" + base64.b64encode(randomness.token_bytes(SECRET_BYTES)).decode()


def made(name: str, settings: EndpointSettings, origin: Origin, texts: Sequence[str], at: Instant) -> Document:
    """Make an endpoint with its first secrets."""
    plain = msgspec.structs.replace(settings, secret=())
    return Document(
        name=name,
        settings=plain,
        origin=origin,
        secrets=_in_force(texts),
        is_secret_ours=origin is Origin.API or not settings.secret,
        made_at=at,
        changed_at=at,
        disabled_at=None if plain.enabled else at,
    )


def redefined(before: Document, settings: EndpointSettings, at: Instant) -> Document:
    """Give it another definition. Secrets that it has replace the old ones at once; without any, those stay.

    What the service itself disabled it for was of the old definition: a changed one lifts it.
    """
    texts = texts_of(settings.secret)
    after = msgspec.structs.replace(
        before,
        settings=msgspec.structs.replace(settings, secret=()),
        secrets=_in_force(texts) if texts else before.secrets,
    )
    return before if after == before else _moved(before, msgspec.structs.replace(after, stopped=None), at)


def defined_by_file(before: Document, settings: EndpointSettings, at: Instant) -> Document:
    """Bring an endpoint in line with the configuration, whoever defined it before. It may lack secrets after that."""
    texts = texts_of(settings.secret)
    kept = before.secrets if before.is_secret_ours else ()
    given = before.secrets if [one.text for one in before.secrets] == [*texts] else _in_force(texts)
    after = msgspec.structs.replace(
        before,
        settings=msgspec.structs.replace(settings, secret=()),
        origin=Origin.FILE,
        secrets=given if texts else kept,
        is_secret_ours=not texts,
        stopped=None if before.stopped is DisabledReason.REMOVED else before.stopped,
    )
    return before if after == before else _moved(before, msgspec.structs.replace(after, stopped=None), at)


def enabled(before: Document, at: Instant) -> Document:
    """Deliver to it again. Where the configuration defines it, only what the service itself did is undone."""
    settings = before.settings
    if before.origin is Origin.API:
        settings = msgspec.structs.replace(settings, enabled=True)
    return _moved(before, msgspec.structs.replace(before, settings=settings, stopped=None), at)


def disabled(before: Document, reason: DisabledReason, at: Instant) -> Document:
    """Deliver to it no more; one that is disabled already stays so for its first reason."""
    if before.stopped is reason or (not before.is_enabled and reason is not DisabledReason.REMOVED):
        return before
    if reason is DisabledReason.OPERATOR:
        after = msgspec.structs.replace(before, settings=msgspec.structs.replace(before.settings, enabled=False))
    else:
        after = msgspec.structs.replace(before, stopped=reason)
    return _moved(before, after, at)


def rotated(before: Document, text: str, overlap_s: float, at: Instant) -> Document:
    """Put a new secret first; those in force sign beside it for `overlap_s` seconds."""
    until = Instant(at + round(overlap_s * 1000))
    old = [
        msgspec.structs.replace(one, until=until if one.until is None else min(one.until, until))
        for one in before.secrets
    ]
    kept = [one for one in old if one.until is not None and one.until > at and one.text != text]
    after = msgspec.structs.replace(before, secrets=(KeptSecret(text), *kept[:OLD_SECRETS_MAX]))
    return _moved(before, after, at)


def removed(before: Document, at: Instant) -> Document:
    """Take it away: what is left says only that what was queued is still to be settled."""
    after = msgspec.structs.replace(before, removed_at=at, secrets=(), settings=_emptied(before.settings))
    return _moved(before, after, at)


def merge_patch(target: Mapping[str, object], patch: Mapping[str, object]) -> dict[str, object]:
    """Apply a JSON merge patch to an object (RFC 7396): null takes away, tables are merged, all else replaces."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            inner = merged.get(key)
            merged[key] = merge_patch(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def texts_of(given: Sequence[SecretText]) -> tuple[str, ...]:
    """Take secrets out of their covers, as they are parsed: without the end of a line."""
    return tuple(one.reveal().rstrip("\r\n") for one in given)


def _in_force(texts: Sequence[str]) -> tuple[KeptSecret, ...]:
    return tuple(KeptSecret(text) for text in texts)


def _emptied(settings: EndpointSettings) -> EndpointSettings:
    return msgspec.structs.replace(settings, headers={})


def _moved(before: Document, after: Document, at: Instant) -> Document:
    """Date a change; one that changes nothing is none."""
    if after == before:
        return before
    disabled_at = None if after.is_enabled else before.disabled_at or at
    return msgspec.structs.replace(after, rev=before.rev + 1, changed_at=at, disabled_at=disabled_at)
