"""What the service of endpoints answers: an endpoint as it stands, its history, and every outcome of a change."""

from enum import StrEnum

import msgspec

from idsync.config import EndpointSettings
from idsync.model.values import Instant
from idsync.pipeline.parts.health import EndpointHealth


class Origin(StrEnum):
    """Who defined an endpoint."""

    FILE = "file"
    """The configuration: read-only in the API."""
    API = "api"


class DisabledReason(StrEnum):
    """Why an endpoint is not delivered to."""

    OPERATOR = "operator"
    """Its definition says `enabled = false`."""
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """It failed for longer, and more often, than its `disable` allows."""
    REMOVED = "removed"
    """It is not in the configuration any more."""


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint as it stands."""

    name: str
    settings: EndpointSettings
    """Its definition; `secret` is always empty: secrets are never shown again."""
    origin: Origin
    is_enabled: bool
    disabled_reason: DisabledReason | None = None
    disabled_at: Instant | None = None
    made_at: Instant
    changed_at: Instant
    rev: int
    """Moves by one with every change, also of whether it is enabled; what `replace` and `change` compare."""
    health: EndpointHealth = EndpointHealth()
    secrets: int = 1
    """How many secrets sign now: more than one while a rotation overlaps."""
    is_secret_ours: bool = True
    """Whether its secrets can be rotated here; False where the configuration gives them."""

    @property
    def is_read_only(self) -> bool:
        """Whether the configuration defines it; one that was removed from there may be removed here too."""
        return self.origin is Origin.FILE and self.disabled_reason is not DisabledReason.REMOVED


class FilterSpan(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint was to get in one span of time: what makes "unmatched" and "missed" computable."""

    since: Instant
    until: Instant | None = None
    """The first instant that is not of it; None: it lasts."""
    events: tuple[str, ...]
    is_operational: bool = False
    is_enabled: bool = True
    reason: DisabledReason | None = None
    """Why it was not enabled."""


class Created(msgspec.Struct, frozen=True):
    """A new endpoint, and the secret that was made for it: shown once; None where one was given."""

    state: EndpointState
    secret_text: str | None = None


class Rotated(msgspec.Struct, frozen=True):
    """An endpoint with a new secret."""

    state: EndpointState
    secret_text: str | None
    """The secret that was made: shown once; None where one was given."""


class Removed(msgspec.Struct, frozen=True):
    """The endpoint is gone. What is queued for it is settled as skipped; until then its name cannot be taken."""

    name: str


class NotFound(msgspec.Struct, frozen=True):
    """There is no endpoint of this name."""

    name: str


class Taken(msgspec.Struct, frozen=True):
    """The name cannot be given to a new endpoint."""

    name: str
    is_ending: bool = False
    """Whether it becomes free in a moment: what was queued for the removed endpoint is being settled."""


class Changed(msgspec.Struct, frozen=True):
    """The endpoint is not as it was read: nothing was written."""

    state: EndpointState
    """As it is now."""


class ReadOnly(msgspec.Struct, frozen=True):
    """The configuration defines the endpoint: change it there."""

    name: str


class Invalid(msgspec.Struct, frozen=True):
    """The definition cannot be used."""

    problems: tuple[str, ...]
    """Every reason, each naming its field; never with a secret's text."""
