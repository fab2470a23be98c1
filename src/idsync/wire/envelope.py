"""The shapes in which events come in (DESIGN §9): ours and those of the seeds. Pure; never raises.

A shape is known by its keys: an envelope has `data`; a bare body has none and is the identity itself, alone (seed 004)
or under its own name (seed 001). The types that speak of identities are named here too.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
import orjson
from msgspec import UNSET, Raw, UnsetType

from idsync.model.event import Op
from idsync.model.values import INSTANT_MAX, KINDS, Instant, Kind, parse_instant
from idsync.wire.signing import is_header_text

SECONDS_MAX: Final = 100_000_000_000
"""Numbers up to this are seconds (until the year 5138), greater ones milliseconds (since March 1973)."""
INTEGER_MAX: Final = 2**63 - 1
SUBJECT_CHARS_MAX: Final = 512
TEXTS_CHARS_MAX: Final = 8_192
"""Characters of subject, `changed` and `ids` together."""

WRAPPERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    Kind.USER: ("user",),
    Kind.ORGANIZATION: ("organization",),
    Kind.MEMBERSHIP: ("member", "membership", "organizationMembership"),
    Kind.SESSION: ("session",),
    Kind.OAUTH_CLIENT: ("client", "oauthClient", "oauth_client"),
    Kind.API_KEY: ("apiKey", "api_key"),
})  # fmt: skip
"""The names that an identity stands under where it is not `data` itself; we write the first."""

_OPS: Final[Mapping[str, Op]] = MappingProxyType({"created": Op.CREATED, "updated": Op.UPDATED, "deleted": Op.DELETED})
_OPS_OF_KIND: Final[Mapping[str, Op]] = MappingProxyType({
    "user.banned": Op.UPDATED,
    "user.unbanned": Op.UPDATED,
    "session.revoked": Op.DELETED,
    "oauth_client.rotated": Op.UPDATED,
    "api_key.rotated": Op.UPDATED,
    "api_key.revoked": Op.DELETED,
})  # fmt: skip

_DIGITS: Final = re.compile("[0-9]{9,15}")
_FIELD: Final = re.compile(r"`\$\.(\w+)")
_EMPTY: Final = Raw(b"{}")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one event may hold (DESIGN §9, `limits`)."""

    size_bytes_max: int = 262_144
    depth_max: int = 32
    """Levels of nesting, the event's own included; at most 200."""
    fields_max: int = 256
    """Fields of its data."""
    field_bytes_max: int = 65_536
    """One canonical field."""
    batch_max: int = 1_000
    """Events in one body."""
    delay_ms_max: int = 2_592_000_000
    """How far in the future `not_before` may be, in milliseconds."""


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it was sent, whatever its shape."""

    id: str | None
    """The event's own id, visible ASCII. None: there is none, or the body's `id` is the identity's."""
    type: str
    source: str | None = None
    subject: str | None = None
    at: Instant | None = None
    version: int | None = None
    changed: tuple[str, ...] | None = None
    ids: dict[str, str] | None = None
    not_before: Instant | None = None
    """No endpoint is to be sent it earlier."""
    data: Raw = _EMPTY
    """The bytes that came, never encoded again. For a bare body all of it."""
    is_type_hinted: bool = False
    """Whether the body does not say its type: it is the caller's hint."""


class Unreadable(msgspec.Struct, frozen=True):
    """A body that is no event. `why` tells the sender what to mend and holds nothing of what was sent."""

    why: str
    is_json: bool = True


class _Head(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every key that has a meaning in some shape. The order is that of our own form: it encodes back to its bytes."""

    id: str | int | None = None
    event_id: str | int | None = msgspec.field(name="eventId", default=None)
    type: str | None = None
    event: str | None = None
    source: str | None = None
    origin: str | None = None
    subject: str | None = None
    timestamp: str | int | float | None = None
    version: int | str | None = None
    changed: tuple[str, ...] | None = None
    ids: dict[str, str] | None = None
    not_before: str | int | float | None = None
    data: Raw | UnsetType = UNSET


_HEAD_KEYS: Final = frozenset(_Head.__struct_encode_fields__)
_DECODE_HEAD: Final = msgspec.json.Decoder(_Head).decode
_DECODE: Final = msgspec.json.Decoder().decode
_DECODE_LIST: Final = msgspec.json.Decoder(list[Raw]).decode
_DECODE_HEADS: Final = msgspec.json.Decoder(list[_Head]).decode

_Scalar = bool | int | float | str | None
_Flat = dict[str, _Scalar | list[_Scalar] | dict[str, _Scalar]]
_FLAT_LEVELS: Final = 3
"""How deep an event nests at most whose data is flat; its own level included."""
_DECODE_FLAT: Final = msgspec.json.Decoder(list[_Flat]).decode
_ENCODE: Final = msgspec.json.Encoder().encode

DEFAULT_LIMITS: Final = Limits()

_TOO_GREAT: Final = Unreadable("a number in it does not fit into 64 bits")


def kind_and_op(event_type: str) -> tuple[str, Op] | None:
    """What a type says happened to an identity; None for a custom type, which is only passed on (MISSION R10)."""
    kind, _, verb = event_type.partition(".")
    if kind not in KINDS:
        return None
    op = _OPS.get(verb) or _OPS_OF_KIND.get(event_type)
    return None if op is None else (kind, op)


def parse_batch(body: bytes, limits: Limits = DEFAULT_LIMITS) -> "list[Incoming | Unreadable] | Unreadable":
    """Understand one event or a list of them; the answers come in the same order, each by itself."""
    is_list = body.startswith(b"[")
    heads = _read_plain(body if is_list else b"[%b]" % body, limits)
    if heads is not None and (is_list or len(heads) == 1):
        return [_understand(head) for head in heads]
    items = split_batch(body, limits)
    return items if isinstance(items, Unreadable) else [parse(item, limits) for item in items]


def _read_plain(body: bytes, limits: Limits) -> list[_Head] | None:
    """Read a list in our own form, whose data is flat, as one value; None: its events are to be read one by one.

    The same checks as for one event, at half the price (measured: 2 µs an event, and 4). What fails any of them is
    read again, so that each event gets its own answer.
    """
    if len(body) - len(b"[]") > limits.size_bytes_max or limits.depth_max < _FLAT_LEVELS:
        return None
    try:
        heads = _DECODE_HEADS(body)
        parts = [head.data for head in heads if isinstance(head.data, Raw)]
        if not 0 < len(parts) == len(heads) <= limits.batch_max or _ENCODE(heads) != body:
            return None
        joined = b"[%b]" % b",".join(parts)
        records = _DECODE_FLAT(joined)
        is_plain = orjson.dumps(records) == joined
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, orjson.JSONEncodeError):
        return None
    is_small = max(map(len, records)) <= limits.fields_max
    return heads if is_plain and is_small else None


def split_batch(body: bytes, limits: Limits = DEFAULT_LIMITS) -> list[bytes] | Unreadable:
    """Part a list into the bytes of its events; a body that is no list is one event."""
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [body]
    try:
        items = _DECODE_LIST(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(error, limits)
    if not 0 < len(items) <= limits.batch_max:
        return Unreadable(f"it does not hold 1 to {limits.batch_max} events")
    return [bytes(item) for item in items]


def parse(raw: bytes | Raw, limits: Limits = DEFAULT_LIMITS, type_hint: str | None = None) -> Incoming | Unreadable:
    """Understand one event of any shape that DESIGN §9 names.

    Args:
        type_hint: the type according to a header or a NATS subject; it counts where the body names none.
    """
    content = bytes(raw)
    if len(content) > limits.size_bytes_max:
        return Unreadable(f"it is larger than {limits.size_bytes_max} bytes")
    try:
        head = _DECODE_HEAD(content)
        record = _read_record(content, head, limits)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        orjson.JSONEncodeError,
        _RepeatedKeyError,
    ) as error:
        return _unreadable(error, limits)
    if isinstance(record, dict) and len(record) > limits.fields_max:
        return Unreadable(f"its data has more than {limits.fields_max} fields")
    return _understand(head, content, record, type_hint)


def _read_record(content: bytes, head: _Head, limits: Limits) -> object:
    """Look at every value once; return the data, or the whole body where there is none.

    Decoders keep the last of two equal keys, and `Raw` skips what it holds. So what was decoded is encoded again: if
    that gives the same bytes, nothing is repeated. Else (white space, another order of keys) a slower reading tells.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError, orjson.JSONEncodeError, _RepeatedKeyError: no event.
    """
    is_known = isinstance(head.data, Raw) and _ENCODE(head) == content
    part = bytes(head.data) if is_known and isinstance(head.data, Raw) else content
    tree = _DECODE(part)
    if part.count(b"{") + part.count(b"[") >= limits.depth_max and _depth_of(tree) + is_known > limits.depth_max:
        raise RecursionError
    if orjson.dumps(tree) != part:
        json.loads(part.decode(), object_pairs_hook=_refuse_repeated)
    return tree if is_known or not (isinstance(tree, dict) and "data" in tree) else tree["data"]


class _RepeatedKeyError(ValueError):
    """An object holds the same key twice: two readers could take it for two different events."""


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _RepeatedKeyError


def _depth_of(tree: object) -> int:
    depth, level = 0, [tree]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [child for one in level for child in (one.values() if isinstance(one, dict) else one)]
    return depth


def _unreadable(error: Exception, limits: Limits) -> Unreadable:
    """Say what is wrong; of what was sent it names only keys that are ours."""
    match error:
        case UnicodeDecodeError():
            return Unreadable("it is not UTF-8", is_json=False)
        case _RepeatedKeyError():
            return Unreadable("it holds the same key twice")
        case RecursionError():
            return Unreadable(f"it is nested deeper than {limits.depth_max} levels")
        case msgspec.ValidationError() if found := _FIELD.search(str(error)):
            return Unreadable(f"its {found[1]} is of the wrong type")
        case msgspec.ValidationError() if "out of range" not in str(error):
            return Unreadable("it is not an object")
        case msgspec.ValidationError() | orjson.JSONEncodeError():
            return _TOO_GREAT
        case _:
            return Unreadable("it is not JSON", is_json=False)


def _understand(
    head: _Head, content: bytes = b"", record: object = None, type_hint: str | None = None
) -> Incoming | Unreadable:
    """Judge what was read; `content` and `record` count only where there is no `data`."""
    event_type = head.type or head.event or type_hint
    if not event_type:
        return Unreadable("it names no type")
    if not is_header_text(event_type):
        return Unreadable("its type is not 1 to 256 visible ASCII characters")
    at = None if head.timestamp is None else _instant_of(head.timestamp)
    if at is None and head.timestamp is not None:
        return Unreadable("its timestamp is no instant between 1970 and 9999")
    is_hinted = not (head.type or head.event)
    if isinstance(head.data, Raw):
        return _envelope(head, event_type, at, head.data, is_hinted=is_hinted)
    is_ours = isinstance(record, dict) and record.keys() <= _HEAD_KEYS
    if is_ours and (head.subject is not None or kind_and_op(event_type) is None):
        return _envelope(head, event_type, at, _EMPTY, is_hinted=is_hinted)
    # The body is the identity: its `id` must not be taken for the event's, or its second change were a duplicate.
    return _envelope(_Head(event_id=head.event_id), event_type, at, Raw(content), is_hinted=is_hinted)


def _envelope(head: _Head, event_type: str, at: Instant | None, data: Raw, *, is_hinted: bool) -> Incoming | Unreadable:
    event_id = head.id if head.id is not None else head.event_id
    if isinstance(event_id, int):
        if abs(event_id) > INTEGER_MAX:
            return _TOO_GREAT
        event_id = str(event_id)
    if event_id is not None and not is_header_text(event_id):
        return Unreadable("its id is not 1 to 256 visible ASCII characters")
    source = head.source or head.origin
    if source is not None and not is_header_text(source):
        return Unreadable("its source is not 1 to 256 visible ASCII characters")
    # In seed 003 the version is the envelope's own and a text, not the identity's.
    version = head.version if isinstance(head.version, int) else None
    if version is not None and not 0 <= version <= INTEGER_MAX:
        return Unreadable("its version is not between 0 and 2^63 - 1")
    not_before = None if head.not_before is None else _instant_of(head.not_before)
    if not_before is None and head.not_before is not None:
        return Unreadable("its not_before is no instant between 1970 and 9999")
    if not _are_texts(head.subject, head.changed or (), head.ids):
        return Unreadable(f"its subject, changed or ids are empty, longer than {TEXTS_CHARS_MAX}, or cannot be shown")
    return Incoming(
        id=event_id,
        type=event_type,
        source=source,
        subject=head.subject,
        at=at,
        version=version,
        changed=head.changed,
        ids=head.ids,
        not_before=not_before,
        data=data,
        is_type_hinted=is_hinted,
    )


def _are_texts(subject: str | None, changed: tuple[str, ...], ids: dict[str, str] | None) -> bool:
    texts = changed if subject is None else (subject, *changed)
    if ids:
        texts = (*texts, *ids, *ids.values())
    joined = "".join(texts)
    is_bounded = len(joined) <= TEXTS_CHARS_MAX and (subject is None or len(subject) <= SUBJECT_CHARS_MAX)
    return is_bounded and "" not in texts and joined.isprintable()


def _instant_of(given: str | float) -> Instant | None:
    """Read RFC 3339 text, or a number of seconds or milliseconds, as a number or as its digits."""
    if isinstance(given, str):
        is_number = given.isdigit() and _DIGITS.fullmatch(given)
        return _instant_of(int(given)) if is_number else parse_instant(given)
    if not 0 <= given <= INSTANT_MAX:
        return None
    return Instant(round(given * 1000) if given <= SECONDS_MAX else round(given))
