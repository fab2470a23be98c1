"""Signs outgoing webhooks and verifies incoming ones: pure bytes, no clock, no I/O.

The two verbs and the words every dialect speaks in. What a dialect signs, and where it puts it, is in
`wire/dialects/`. Secrets are always given newest first.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Final, Protocol, final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from idsync.model.values import Instant

PUBLIC_ERROR: Final = "The signature of this request was not accepted."
"""All that a sender is told, whatever the reason: a reason would help whoever is guessing."""

TOLERANCE_S: Final = 300
"""How far a signed time may lie from now, before or after it (as in the libraries of Standard Webhooks)."""

ORIGIN: Final = "idsync"
"""The origin of a body that is not looked into."""

TEXT_CHARS_MAX: Final = 256

_BLOCK_BYTES: Final = 64
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))


class Part(StrEnum):
    """What a signature may cover."""

    ID = "id"
    TIMESTAMP = "timestamp"
    BODY = "body"


class Reason(StrEnum):
    """Why a request was refused: for logs and counters, never for the answer (see PUBLIC_ERROR)."""

    UNCONFIGURED = "unconfigured"
    """No secret was given to verify with."""
    MISSING_HEADER = "missing_header"
    MALFORMED = "malformed"
    WRONG_SIGNATURE = "wrong_signature"
    WRONG_URL = "wrong_url"
    """Authentic, but signed for another address (qstash), or ours was not given."""
    TOO_OLD = "too_old"
    """Authentic, but signed before the tolerance, or expired: a replay, or clocks that disagree."""
    TOO_NEW = "too_new"
    """Authentic, but signed in the future beyond the tolerance."""


@final
class Secret:
    """One key of one dialect. Its value shows nowhere: not in repr, str, a log line or JSON."""

    __slots__ = ("_inner", "_outer", "key", "may_sign")

    def __init__(self, key: bytes | Ed25519PrivateKey | Ed25519PublicKey) -> None:
        # The type tells what the key is for, so that a public key can never be mistaken for an HMAC key.
        self.key: Final = key
        self.may_sign: Final = not isinstance(key, Ed25519PublicKey)
        """A public key only verifies."""
        # HMAC begins with one block of the key each time: half of what a signature costs, so it is done once.
        text = key if isinstance(key, bytes) else b""
        block = (text if len(text) <= _BLOCK_BYTES else sha256(text).digest()).ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(block.translate(_INNER_PAD))
        self._outer = sha256(block.translate(_OUTER_PAD))

    def __repr__(self) -> str:
        return "Secret(***)"

    def digest(self, content: bytes) -> bytes:
        """Compute HMAC-SHA256 (RFC 2104); only for a key that is bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(content)
        outer.update(inner.digest())
        return outer.digest()


class MalformedSecret(msgspec.Struct, frozen=True):
    """A secret's text that its dialect cannot read."""

    problem: str
    """What is wrong and what is expected, without showing the text: `"is empty"`."""


class Verified(msgspec.Struct, frozen=True):
    """The request was sent by an owner of one of the secrets."""

    id: str | None
    """The id that the signature covers; None where it covers none: a forged id must not suppress an event."""
    signed_at: Instant | None
    """When it was signed, as the signature says; None where the dialect signs no time."""
    signs: frozenset[Part]
    """What the signature covers. Empty for a bearer token, which proves the sender and nothing else."""


class Refused(msgspec.Struct, frozen=True):
    """The request proves nothing. The sender is told PUBLIC_ERROR."""

    reason: Reason


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that is about to be sent."""

    event_id: str
    event_type: str
    sent_at: Instant
    body: bytes
    origin: str
    url: str


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came."""

    headers: Mapping[str, str]
    body: bytes
    now: Instant
    tolerance_s: float
    url: str


class Dialect(Protocol):
    """One sender's way to sign webhooks."""

    @property
    def name(self) -> str:
        """As the configuration says it: `standard`, `plain-hex`."""

    @property
    def signs(self) -> frozenset[Part]:
        """What its signature covers."""

    def parse_secret(self, text: str, /) -> Secret | MalformedSecret:
        """Read a secret as the configuration or the sender's console writes it."""

    def sign(self, secrets: Sequence[Secret], outgoing: Outgoing, /) -> list[tuple[str, str]]:
        """Make the headers; called by `sign`, which has checked that the newest secret may sign."""

    def verify(self, secrets: Sequence[Secret], incoming: Incoming, /) -> Verified | Refused:
        """Judge the headers; called by `verify`, which has checked that there is a secret."""


def is_event_id(text: str) -> bool:
    """Whether every dialect can sign this id: 1 to 256 visible ASCII characters, none of them a full stop.

    The full stop parts id, time and body in what Standard Webhooks signs: who may choose an id that holds one
    could have the signature read as that of another id, time and body.
    """
    return is_header_text(text) and "." not in text


def is_header_text(text: str) -> bool:
    """Whether a text may stand in a header that we send: 1 to 256 visible ASCII characters."""
    return 0 < len(text) <= TEXT_CHARS_MAX and text.isascii() and text.isprintable() and " " not in text


def sign(  # noqa: PLR0913 -- each is one part of the request; a dialect takes those that it knows
    dialect: Dialect,
    secrets: Sequence[Secret],
    *,
    event_id: str,
    event_type: str,
    sent_at: Instant,
    body: bytes,
    origin: str = ORIGIN,
    url: str = "",
) -> list[tuple[str, str]]:
    """Make the headers that let the receiver verify one attempt.

    With several secrets (rotation) the families of `standard` and `timestamped` carry one signature for each.
    The others have room for one, which is made with the newest secret: their receiver must know it first.

    Args:
        secrets: newest first.
        sent_at: of this attempt, not of the event: what waited in a queue is still fresh when it is sent.
        body: the bytes that are sent, exactly.
        origin: the system the event comes from, sent by `plain-hex`; its signature does not cover it.
        url: the address the request is sent to; signed by `qstash`, which cannot do without.

    Raises:
        ValueError: the newest secret is missing or cannot sign; id, type or origin cannot stand in a header;
            `qstash` has no url. A bug of ours: configuration and events are checked where they enter, by
            `Secret.may_sign`, `is_event_id` and `is_header_text`.
    """
    if not (secrets and secrets[0].may_sign):
        raise ValueError(f"the newest secret of a {dialect.name} destination is missing or cannot sign")
    if not is_event_id(event_id):
        raise ValueError("an event id is not 1 to 256 visible ASCII characters without a full stop")
    if not (is_header_text(event_type) and (origin == ORIGIN or is_header_text(origin))):
        raise ValueError(f"the type or origin of event {event_id} is not 1 to 256 visible ASCII characters")
    outgoing = Outgoing(event_id=event_id, event_type=event_type, sent_at=sent_at, body=body, origin=origin, url=url)
    return dialect.sign(secrets, outgoing)


def verify(
    dialect: Dialect,
    secrets: Sequence[Secret],
    *,
    headers: Mapping[str, str],
    body: bytes,
    now: Instant,
    tolerance_s: float = TOLERANCE_S,
    url: str = "",
) -> Verified | Refused:
    """Judge whether an owner of one of the secrets sent this body. Never raises, whatever the bytes.

    Every secret is compared with every signature in constant time. The signature is judged before the time,
    so TOO_OLD and TOO_NEW are only said of authentic requests.

    Args:
        headers: with lower-cased names.
        body: the raw bytes, before any decoding.
        tolerance_s: how far a signed time may lie from now, both ways, inclusive. Not used without one.
        url: for `qstash`: the receiver's public address, from the configuration, not from the Host header.
    """
    if not secrets:
        return Refused(Reason.UNCONFIGURED)
    incoming = Incoming(headers=headers, body=body, now=now, tolerance_s=tolerance_s, url=url)
    return dialect.verify(secrets, incoming)
