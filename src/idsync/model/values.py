"""The small types every other module speaks in: names, ids, instants, field values."""

from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from time import gmtime, strftime
from typing import NewType

PeerName = NewType("PeerName", str)
"""A peer's name in the configuration: `[a-z][a-z0-9_-]*`."""

ExternalId = NewType("ExternalId", str)
"""An identity's own id at one peer. Integer keys are kept as their decimal text."""

EntityId = NewType("EntityId", str)
"""A UUIDv7, given by idsync; the same identity at every peer."""

Subject = NewType("Subject", str)
"""`<kind>/<entity id>` inside and outgoing; `<kind>/<the peer's own id>` as it arrives; any text for bare events."""

Instant = NewType("Instant", int)
"""Milliseconds since 1970-01-01T00:00:00Z."""

Value = None | bool | int | float | str | list[str]
"""A canonical field's value. A missing field is absent from its mapping: `missing != null != ""`."""

INSTANT_MAX = Instant(253_402_300_799_999)
"""9999-12-31T23:59:59.999Z, the last instant that RFC 3339 can write."""


SECONDS_MAX = 1_024
"""Seconds whose text is remembered: most instants are of just now."""


class Kind(StrEnum):
    """What an entity is (MISSION R10)."""

    USER = "user"
    ORGANIZATION = "organization"
    MEMBERSHIP = "organizationMembership"
    SESSION = "session"
    OAUTH_CLIENT = "oauth_client"
    API_KEY = "api_key"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400

KINDS = frozenset(kind.value for kind in Kind)


def subject_of(kind: str, identity: str) -> Subject:
    """Name one identity: `user/018e…`."""
    return Subject(f"{kind}/{identity}")


def instant_text(at: Instant) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds, the form every wire format of ours uses."""
    seconds, rest = divmod(at, 1000)
    return f"{_second_text(seconds)}.{rest:03d}Z"


@lru_cache(SECONDS_MAX)
def _second_text(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def parse_instant(text: str) -> Instant | None:
    """Read RFC 3339 text (a missing zone is UTC) or return None where it is no instant between 1970 and 9999."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    at = (since.days * _DAY_S + since.seconds) * 1000 + since.microseconds // 1000
    return Instant(at) if 0 <= at <= INSTANT_MAX else None
