"""A peer that reports by webhook, and events that are published: both become arrivals for ingest. Pure; never raises.

A type that speaks of an identity (`user.updated`) makes an observation, which is merged. Any other event is passed on
as it came. What cannot be understood is an arrival too: it is parked with its reason, never lost.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import UNSET

from idsync.connectors.records import FIELD_NAMES, ID_CHARS_MAX, ID_NAMES, LINK_NAMES, Record, id_of
from idsync.model.event import Arrival, Event, Observation, Op
from idsync.model.values import ExternalId, Instant, PeerName, Subject, Value, instant_text, subject_of
from idsync.policy.canonical import canonical_fields
from idsync.wire.envelope import DEFAULT_LIMITS, Incoming, Limits, Unreadable, kind_and_op, parse, split_batch
from idsync.wire.signing import TOLERANCE_S, Dialect, Part, Refused, Secret, Verified, is_event_id, verify

TYPE_HEADERS: Final[Mapping[str, str]] = MappingProxyType({
    "better-auth": "x-betterauth-event",
    "github": "x-github-event",
})  # fmt: skip
"""Headers that name the type where the body does not, by dialect. No signature covers them."""

BANS: Final[Mapping[str, bool]] = MappingProxyType({"user.banned": True, "user.unbanned": False})

UNSIGNED_TYPE: Final = "unsigned_type: the end of an identity stands only in a header that the signature does not cover"

NewId = Callable[[], str]


class WebhookMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Where one kind's fields stand in a peer's events. `profile.email` is the `email` of the `profile` in the data."""

    kind: str
    fields: dict[str, str] = {}
    """Canonical field → its key. Empty: the well-known names, FIELD_NAMES."""
    key: str | None = None
    """The key of the peer's own id. None: the well-known names, ID_NAMES."""
    link: str | None = None
    """The key of the id at the first peer of `sync.<kind>.peers`. None: the well-known names, LINK_NAMES."""

    @property
    def reads(self) -> frozenset[str]:
        """The canonical fields that its observations may carry."""
        return frozenset(self.fields or FIELD_NAMES[self.kind])


class WebhookPeer(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's outgoing half that calls `POST /receive/<name>`. `headers` have lower-cased names everywhere."""

    name: PeerName
    dialect: Dialect
    secrets: tuple[Secret, ...]
    """Any of them may have signed. None: everything is refused."""
    mappings: dict[str, WebhookMapping] = {}
    """By kind; a kind without one is read by the well-known names."""
    url: str = ""
    """The public address of `/receive/<name>`, which `qstash` signs."""
    tolerance_s: float = TOLERANCE_S
    is_readable: bool = False
    """Whether the peer has a Reader: its events are then doorbells, and a forged type does no harm."""
    limits: Limits = DEFAULT_LIMITS

    def mapping_of(self, kind: str) -> WebhookMapping:
        """How a kind is read."""
        return self.mappings.get(kind) or WebhookMapping(kind=kind)

    def verify(self, headers: Mapping[str, str], body: bytes, now: Instant) -> Verified | Refused:
        """Judge whether the peer sent this."""
        return verify(
            self.dialect,
            self.secrets,
            headers=headers,
            body=body,
            now=now,
            tolerance_s=self.tolerance_s,
            url=self.url,
        )

    def arrivals(
        self, headers: Mapping[str, str], body: bytes, verified: Verified, now: Instant, new_id: NewId
    ) -> list[Arrival]:
        """Understand a verified body; every event in it is one arrival.

        The inbox knows an event by its signed id. Without one it is known by a fresh id and suppresses nothing: what
        a sender did not sign may be anybody's.

        Args:
            new_id: makes the fresh ids.
        """
        items = split_batch(body, self.limits)
        if isinstance(items, Unreadable):
            return [self._park(_Item(body, verified.id, verified, now, new_id), f"unreadable: {items.why}")]
        hint = headers.get(TYPE_HEADERS.get(self.dialect.name, ""))
        arrivals = []
        for number, raw in enumerate(items):
            signed_id = f"{verified.id}:{number}" if verified.id is not None and len(items) > 1 else verified.id
            arrivals.append(self._arrival(_Item(raw, signed_id, verified, now, new_id), hint))
        return arrivals

    def _arrival(self, item: "_Item", hint: str | None) -> Arrival:
        incoming = parse(item.raw, self.limits, hint)
        if isinstance(incoming, Unreadable):
            return self._park(item, f"unreadable: {incoming.why}")
        is_type_signed = not incoming.is_type_hinted or Part.BODY not in item.verified.signs
        inbox_id = _inbox_id(incoming, item)
        at = next((one for one in (incoming.at, item.verified.signed_at) if one is not None), item.now)
        post = _Post(incoming, self.name, inbox_id, at, item.now, self.limits, is_type_signed)
        match kind_and_op(incoming.type):
            case None:
                event_id = inbox_id if is_event_id(inbox_id) else item.new_id()
                event = _passed_on(incoming, self.name, event_id, at)
                return Arrival(
                    peer=self.name,
                    id=inbox_id,
                    type=event.type,
                    subject=event.subject,
                    received_at=item.now,
                    event=event,
                )
            case _, Op.DELETED if not (is_type_signed or self.is_readable):
                return self._park(item, UNSIGNED_TYPE, post)
            case kind, op:
                seen = _observe(post, self.name, self.mapping_of(kind), op)
                return self._park(item, seen, post) if isinstance(seen, str) else _merged(post, seen)

    def _park(self, item: "_Item", why: str, post: "_Post | None" = None) -> Arrival:
        """Keep what cannot be used, whole."""
        inbox_id = post.inbox_id if post is not None else item.signed_id or item.new_id()
        return Arrival(
            peer=self.name,
            id=inbox_id,
            type=post.incoming.type if post is not None else "webhook.unreadable",
            subject=Subject(f"{self.name}/{inbox_id}"),
            received_at=item.now,
            refusal=why,
            body=item.raw,
        )


def observation_arrival(
    incoming: Incoming,
    peer: PeerName,
    *,
    publisher: PeerName,
    new_id: NewId,
    now: Instant,
    limits: Limits = DEFAULT_LIMITS,
) -> Arrival | Unreadable:
    """Take a published event as a peer's word: for `POST /v1/events` where `source` names a peer, the type an identity.

    It is read by the well-known names. The caller has checked that the publisher's key is allowed for the peer.

    Args:
        publisher: the API key's name; the inbox knows the event by it and the event's id.
    """
    known = kind_and_op(incoming.type)
    if known is None:
        return Unreadable("its type speaks of no identity: it can only be passed on")
    kind, op = known
    at = incoming.at if incoming.at is not None else now
    post = _Post(incoming, publisher, incoming.id or new_id(), at, now, limits)
    if incoming.not_before is not None:
        return Unreadable("its not_before is only for events that are passed on, and this one is merged")
    seen = _observe(post, peer, WebhookMapping(kind=kind), op)
    return Unreadable(seen) if isinstance(seen, str) else _merged(post, seen)


def fan_out_arrival(
    incoming: Incoming, publisher: PeerName, new_id: NewId, now: Instant, limits: Limits = DEFAULT_LIMITS
) -> Arrival | Unreadable:
    """Pass a published event on: for `POST /v1/events` with a custom type, or with a `source` that names no peer."""
    if incoming.not_before is not None and incoming.not_before > now + limits.delay_ms_max:
        return Unreadable(f"its not_before is more than {limits.delay_ms_max // 1000} seconds from now")
    event_id = incoming.id or new_id()
    if "." in event_id:
        return Unreadable("its id holds a full stop, which webhooks cannot sign")
    at = incoming.at if incoming.at is not None else now
    event = _passed_on(incoming, incoming.source or publisher, event_id, at)
    return Arrival(
        peer=publisher,
        id=event_id,
        type=event.type,
        subject=event.subject,
        received_at=now,
        event=event,
        not_before=incoming.not_before,
    )


class _Item(msgspec.Struct, frozen=True):
    """One event of a verified request, as bytes."""

    raw: bytes
    signed_id: str | None
    verified: Verified
    now: Instant
    new_id: NewId


class _Post(msgspec.Struct, frozen=True):
    """One event that was understood, with all that ingest must know of its sender."""

    incoming: Incoming
    sender: PeerName
    inbox_id: str
    at: Instant
    now: Instant
    limits: Limits = DEFAULT_LIMITS
    is_type_signed: bool = True


def _inbox_id(incoming: Incoming, item: _Item) -> str:
    """The id that the inbox knows the event by (DESIGN §6, "Inbox key").

    An identity's event without a signed id suppresses nothing: two equal bodies may be two changes. Any other is known
    by what was signed, but only with a time in it, for the same reason.
    """
    if item.signed_id is not None:
        return item.signed_id
    if Part.BODY not in item.verified.signs:
        return item.new_id()
    if incoming.id is not None:
        return incoming.id
    if kind_and_op(incoming.type) is not None:
        return item.new_id()
    if incoming.at is not None:
        return f"sha256:{sha256(item.raw).hexdigest()}"
    if item.verified.signed_at is not None:
        return f"sha256:{sha256(b'%d.%b' % (item.verified.signed_at, item.raw)).hexdigest()}"
    return item.new_id()


def _passed_on(incoming: Incoming, source: str, event_id: str, at: Instant) -> Event:
    return Event(
        id=event_id,
        type=incoming.type,
        source=source,
        # Without a subject nothing asks for an order: each event is a key of its own and can hold up no other.
        subject=Subject(incoming.subject or f"event/{event_id}"),
        timestamp=instant_text(at),
        version=incoming.version,
        changed=incoming.changed,
        ids=incoming.ids,
        data=incoming.data,
    )


def _merged(post: _Post, seen: Observation) -> Arrival:
    return Arrival(
        peer=post.sender,
        id=post.inbox_id,
        type=post.incoming.type,
        subject=subject_of(seen.kind, seen.external_id),
        received_at=post.now,
        observation=seen,
    )


def _observe(post: _Post, peer: PeerName, mapping: WebhookMapping, op: Op) -> Observation | str:
    """Read what an event says of an identity; a text says why it cannot be used, and shows no value."""
    incoming = post.incoming
    data = msgspec.json.decode(incoming.data)
    if not isinstance(data, dict):
        return "unfit: its data is not an object"
    record = Record.of(mapping.kind, data)
    link_id = record.find_id(mapping.link, LINK_NAMES.get(mapping.kind, ()))
    own_id = id_of((incoming.ids or {}).get(peer)) or record.find_id(mapping.key, ID_NAMES[mapping.kind])
    external_id = own_id or _id_in(incoming.subject, mapping.kind) or link_id
    if external_id is None:
        return f"no_id: it names no id of 1 to {ID_CHARS_MAX} printable characters"
    fields = {} if op is Op.DELETED else _fields(post, mapping, record)
    if isinstance(fields, str):
        return fields
    return Observation(
        peer=peer,
        kind=mapping.kind,
        external_id=external_id,
        op=op,
        fields=fields,
        link_id=link_id,
        event_at=post.at,
        received_at=post.now,
        event_id=post.inbox_id,
    )


def _fields(post: _Post, mapping: WebhookMapping, record: Record) -> dict[str, Value] | str:
    names = FIELD_NAMES[mapping.kind]
    found = {field: record.find(mapping.fields.get(field), names.get(field, ())) for field in sorted(mapping.reads)}
    told = {field: value for field, value in found.items() if value is not UNSET}
    fields, unfit = canonical_fields(mapping.kind, told)
    problems = [f"{one.field}: {one.why}" for one in unfit]
    size_max = post.limits.field_bytes_max
    problems += [f"{name}: it is too long" for name, one in fields.items() if len(msgspec.json.encode(one)) > size_max]
    if problems:
        return "unfit: " + "; ".join(problems)
    if "banned" in mapping.reads and post.incoming.type in BANS and post.is_type_signed:
        fields.setdefault("banned", BANS[post.incoming.type])
    return fields


def _id_in(subject: str | None, kind: str) -> ExternalId | None:
    named, _, identity = (subject or "").partition("/")
    return id_of(identity) if named == kind else None
