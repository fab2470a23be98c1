"""Where an identity's fields stand in the JSON of the systems that tell of it, and how they are found there. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import UNSET

from idsync.model.values import ExternalId, Kind
from idsync.wire.envelope import WRAPPERS

ID_CHARS_MAX: Final = 256

FIELD_NAMES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType({
    Kind.USER: {
        "email": ("email",),
        "email_verified": ("email_verified", "emailVerified"),
        "name": ("name", "displayName", "fullName"),
        "picture": ("picture", "image", "avatarUrl"),
        "preferred_username": ("preferred_username", "username"),
        "roles": ("roles", "role"),
        "active": ("active",),
        "banned": ("banned", "isBanned"),
        "ban_reason": ("ban_reason", "banReason"),
        "ban_expires_at": ("ban_expires_at", "banExpires", "banExpiresAt"),
    },
    Kind.ORGANIZATION: {"name": ("name",), "slug": ("slug",), "logo": ("logo",)},
    Kind.MEMBERSHIP: {
        "user_id": ("user_id", "userId", "user.id"),
        "organization_id": ("organization_id", "organizationId", "organization.id"),
        "role": ("role",),
    },
    Kind.SESSION: {
        "user_id": ("user_id", "userId"),
        "expires_at": ("expires_at", "expiresAt"),
        "created_at": ("created_at", "createdAt"),
        "ip_address": ("ip_address", "ipAddress"),
        "user_agent": ("user_agent", "userAgent"),
    },
    Kind.OAUTH_CLIENT: {"name": ("name", "client_name"), "redirect_uris": ("redirect_uris", "redirectUris")},
    Kind.API_KEY: {
        "name": ("name",),
        "user_id": ("user_id", "userId"),
        "enabled": ("enabled",),
        "expires_at": ("expires_at", "expiresAt"),
        "created_at": ("created_at", "createdAt"),
    },
})  # fmt: skip
"""Canonical field → the names that we and the systems of the seeds give it. No token and no secret is among them."""

ID_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    Kind.USER: ("userId", "user_id", "id"),
    Kind.ORGANIZATION: ("organizationId", "organization_id", "id"),
    Kind.MEMBERSHIP: ("membershipId", "membership_id", "id"),
    Kind.SESSION: ("sessionId", "session_id", "id"),
    Kind.OAUTH_CLIENT: ("clientId", "client_id", "id"),
    Kind.API_KEY: ("apiKeyId", "api_key_id", "id"),
})  # fmt: skip
"""`id` comes last: beside a name that says whose it is, it may be something else's."""

LINK_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({Kind.USER: ("betterAuthUserId",)})


class Record(msgspec.Struct, frozen=True):
    """An identity's own values, and the data that they stand in."""

    own: dict[str, Any]
    data: dict[str, Any]

    @classmethod
    def of(cls, kind: str, data: dict[str, Any]) -> "Record":
        """Find the identity: under its kind's name, else the data is the identity itself."""
        wrapped = (data.get(name) for name in WRAPPERS[kind])
        return cls(next((one for one in wrapped if isinstance(one, dict)), data), data)

    def find(self, key: str | None, names: Iterable[str]) -> object:
        """The first value under a configured key, in the identity or around it, else under one of the names in it.

        Returns:
            UNSET where there is none; None is a value.
        """
        return next(self._values(key, names), UNSET)

    def find_id(self, key: str | None, names: Iterable[str]) -> ExternalId | None:
        """As `find`, but what is no id does not count."""
        return next((found for value in self._values(key, names) if (found := id_of(value)) is not None), None)

    def _values(self, key: str | None, names: Iterable[str]) -> Iterator[object]:
        places = ((self.own, name) for name in names) if key is None else ((self.own, key), (self.data, key))
        return (value for place, name in places if (value := _walk(place, name)) is not UNSET)


def id_of(value: object) -> ExternalId | None:
    """An id as text, a whole number as its decimal text; None for what is not 1 to 256 printable characters."""
    if isinstance(value, int) and not isinstance(value, bool):
        return ExternalId(str(value))
    is_id = isinstance(value, str) and 0 < len(value) <= ID_CHARS_MAX and value.isprintable()
    return ExternalId(str(value)) if is_id else None


def _walk(place: object, key: str) -> object:
    """What stands under the key, or under its parts, one inside the other."""
    if not isinstance(place, dict):
        return UNSET
    if key in place:
        return place[key]
    name, _, rest = key.partition(".")
    return _walk(place.get(name), rest) if rest else UNSET
