"""The shapes in which events go out: as they are stored, unless the receivers are those of a seed. Pure; never raises.

Whatever is written here, `idsync.wire.envelope` understands.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from idsync.model.event import Event
from idsync.model.values import parse_instant
from idsync.wire.envelope import WRAPPERS, kind_and_op
from idsync.wire.signing import ORIGIN, is_header_text

_DECODE: Final = msgspec.json.Decoder().decode
_DECODE_EVENT: Final = msgspec.json.Decoder(Event).decode
_ENCODE: Final = msgspec.json.Encoder().encode


def render(dialect_name: str, body: bytes) -> tuple[bytes, str]:
    """Bring a stored event to the shape that the dialect's receivers expect; the same body gives the same bytes.

    Returns:
        The body to send, and the origin to name beside it: the source of the event where a seed's receiver may ask for
        it. Those of seed 000 take events from `better-auth` or from `payload` only: a peer must then have that name.
    """
    shape = _SHAPES.get(dialect_name)
    if shape is None:
        return body, ORIGIN
    try:
        event = _DECODE_EVENT(body)
        shaped = _ENCODE(shape(event))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body, ORIGIN
    return shaped, event.source if is_header_text(event.source) else ORIGIN


_BETTER_AUTH_NAMES: Final[Mapping[str, str]] = MappingProxyType({
    "picture": "image", "preferred_username": "username", "roles": "role", "ban_expires_at": "banExpires",
})  # fmt: skip
_AUTHON_NAMES: Final[Mapping[str, str]] = MappingProxyType({
    "name": "displayName", "picture": "avatarUrl", "preferred_username": "username", "banned": "isBanned",
})  # fmt: skip
_PAYLOAD_NAMES: Final[Mapping[str, str]] = MappingProxyType({
    "id": "betterAuthUserId", "email": "email", "name": "fullName",
})  # fmt: skip
"""All that Better Auth's receiver in seed 000 reads of Payload's users."""


def _shape_plain_hex(event: Event) -> object:
    """Seed 000: `{id, origin, type, timestamp, data}`; time in milliseconds, names as the origin's system has them."""
    return {
        "id": event.id,
        "origin": event.source,
        "type": event.type,
        "timestamp": parse_instant(event.timestamp),
        "data": _from_payload(event) if event.source == "payload" else _from_better_auth(event),
    }


def _shape_better_auth(event: Event) -> object:
    """Seed 001: `{user}`, `{session}`, and the `eventId` that it recommends; the type stands in the header alone."""
    return {_wrapper_of(event) or "data": _from_better_auth(event), "eventId": event.id}


def _shape_authon(event: Event) -> object:
    """Seed 002: `{event, data: {user}}`, and beside it what newer pages of Authon name."""
    wrapper = _wrapper_of(event)
    return {
        "id": event.id,
        "type": event.type,
        "event": event.type,
        "timestamp": event.timestamp,
        "data": event.data if wrapper is None else {wrapper: _named(event, _AUTHON_NAMES)},
    }


def _shape_timestamped(event: Event) -> object:
    """Seed 003: `{id, event, timestamp, data, version}`; a user is named by `user_id`."""
    values = _values(event)
    if values is not None and _wrapper_of(event) == "user":
        values = {"user_id" if name == "id" else name: value for name, value in values.items()}
    return {
        "id": event.id,
        "event": event.type,
        "timestamp": event.timestamp,
        "data": event.data if values is None else values,
        "version": "1.0",
    }


_SHAPES: Final[Mapping[str, Callable[[Event], object]]] = MappingProxyType({
    "plain-hex": _shape_plain_hex,
    "better-auth": _shape_better_auth,
    "authon": _shape_authon,
    "timestamped": _shape_timestamped,
})  # fmt: skip


def _wrapper_of(event: Event) -> str | None:
    """The name that the identity stands under: `user`; None for a custom event, whose data passes as it is."""
    known = kind_and_op(event.type)
    return None if known is None else WRAPPERS[known[0]][0]


def _values(event: Event) -> dict[str, Any] | None:
    """The fields of an identity; None where the data passes as it is."""
    values = None if _wrapper_of(event) is None else _DECODE(event.data)
    return values if isinstance(values, dict) else None


def _named(event: Event, names: Mapping[str, str]) -> object:
    """The data in a receiver's names: those listed for a user, camel case for everything else."""
    values = _values(event)
    if values is None:
        return event.data
    listed = names if _wrapper_of(event) == "user" else {}
    return {listed.get(name) or _camel_case(name): value for name, value in values.items()}


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _from_better_auth(event: Event) -> object:
    named = _named(event, _BETTER_AUTH_NAMES)
    if not isinstance(named, dict):
        return named
    if event.type == "user.deleted":
        return {name: named[name] for name in ("id", "email", "name") if name in named}
    roles = named.get("role")
    if isinstance(roles, list) and all(isinstance(role, str) for role in roles):
        named["role"] = ",".join(roles)
    return named


def _from_payload(event: Event) -> object:
    values = _values(event)
    if values is None or _wrapper_of(event) != "user":
        return _from_better_auth(event)
    listed = ("id",) if event.type == "user.deleted" else _PAYLOAD_NAMES
    return {_PAYLOAD_NAMES[name]: values[name] for name in listed if name in values}
