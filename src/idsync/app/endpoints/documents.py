"""What the store keeps of an endpoint: one small document, sealed (see `vault`)."""

from typing import Final

import msgspec

from idsync.app.endpoints.states import DisabledReason, EndpointState, Origin
from idsync.config import EndpointSettings
from idsync.config.values import hide, reveal
from idsync.errors import StoreError
from idsync.model.values import Instant
from idsync.pipeline.parts.health import EndpointHealth

DOCUMENT: Final = "endpoint:"
"""What the names of these documents begin with."""


class KeptSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """One secret of an endpoint."""

    text: str
    until: Instant | None = None
    """The first instant at which it signs no more; None: it is in force."""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One endpoint as it is kept."""

    name: str
    settings: EndpointSettings
    """Without its secrets."""
    origin: Origin
    secrets: tuple[KeptSecret, ...]
    """Newest first."""
    is_secret_ours: bool = True
    """Whether they can be rotated here; False where the configuration gives them."""
    made_at: Instant
    changed_at: Instant
    rev: int = 1
    stopped: DisabledReason | None = None
    """Why the service itself disabled it."""
    disabled_at: Instant | None = None
    removed_at: Instant | None = None
    """When it was removed: it is kept only until what was queued for it is settled."""

    @property
    def is_enabled(self) -> bool:
        """Whether it is delivered to, and gets what comes."""
        return self.settings.enabled and self.stopped is None and self.removed_at is None

    @property
    def disabled_reason(self) -> DisabledReason | None:
        """Why not."""
        return self.stopped or (None if self.settings.enabled else DisabledReason.OPERATOR)

    @property
    def is_read_only(self) -> bool:
        """Whether the configuration defines it; one that is not there any more may be removed here."""
        return self.origin is Origin.FILE and self.stopped is not DisabledReason.REMOVED

    def texts_at(self, now: Instant) -> tuple[str, ...]:
        """The secrets that sign at an instant, newest first."""
        return tuple(one.text for one in self.secrets if one.until is None or one.until > now)

    def expires_at(self, now: Instant) -> Instant | None:
        """When the next of them ends; None: never."""
        return min((one.until for one in self.secrets if one.until is not None and one.until > now), default=None)

    def state(self, now: Instant, health: EndpointHealth) -> EndpointState:
        """Write what may be shown of it."""
        return EndpointState(
            name=self.name,
            settings=self.settings,
            origin=self.origin,
            is_enabled=self.is_enabled,
            disabled_reason=self.disabled_reason,
            disabled_at=self.disabled_at,
            made_at=self.made_at,
            changed_at=self.changed_at,
            rev=self.rev,
            health=health,
            secrets=len(self.texts_at(now)),
            is_secret_ours=self.is_secret_ours,
        )


def write_document(document: Document) -> bytes:
    """Write it, not sealed yet."""
    return msgspec.json.encode(document, enc_hook=reveal)


def read_document(name: str, body: bytes) -> Document:
    """Read it.

    Raises:
        StoreError: these are not the words of this version.
    """
    try:
        return msgspec.json.decode(body, type=Document, dec_hook=hide)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(f"endpoint {name} cannot be read from the store ({type(error).__name__})") from None
