"""Upstash QStash: `Upstash-Signature` is a JWT (HS256) over the exact address, the body's hash and a time.

The secrets are the current and the next signing key, as their own text. QStash's message id is not signed and
its `jti` names the token, not the message, so no id is returned; one inside the body is covered.
Source: QStash documentation, "Verify signatures"; RFC 7515, RFC 7519.
"""

import hmac
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec

from idsync.model.values import Instant
from idsync.wire.dialects.checks import (
    conclude,
    digest,
    hmac_keys,
    is_signed,
    parse_text_secret,
    read_headers,
    to_base64url,
)
from idsync.wire.signing import Incoming, MalformedSecret, Outgoing, Part, Reason, Refused, Secret, Verified

_LIFETIME_S: Final = 300

_NumericDate = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Seconds since 1970, up to the year 9999 (RFC 7519 §2)."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    alg: Literal["HS256"]
    typ: str = "JWT"


class _Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    iss: Literal["Upstash"]
    sub: str
    exp: _NumericDate
    nbf: _NumericDate
    iat: _NumericDate | None = None
    jti: str | None = None
    body: str


class QStash(msgspec.Struct, frozen=True):
    """The one sender of its kind."""

    name: str = "qstash"
    signs: frozenset[Part] = frozenset({Part.TIMESTAMP, Part.BODY})

    def parse_secret(self, text: str) -> Secret | MalformedSecret:
        """Read a signing key (`sig_…`), which is used as its own text."""
        return parse_text_secret(text)

    def sign(self, secrets: Sequence[Secret], outgoing: Outgoing) -> list[tuple[str, str]]:
        """Make the token that QStash would, with the newest key. Raises ValueError without an address."""
        if not outgoing.url:
            raise ValueError(f"qstash signs the address, and event {outgoing.event_id} was given none")
        sent_s = outgoing.sent_at // 1000
        claims = _Claims(
            iss="Upstash",
            sub=outgoing.url,
            exp=sent_s + _LIFETIME_S,
            nbf=sent_s,
            iat=sent_s,
            jti=outgoing.event_id,
            body=_hash_body(outgoing.body).decode(),
        )
        content = b"%b.%b" % (_encode_part(_Header(alg="HS256")), _encode_part(claims))
        signature = to_base64url(digest(hmac_keys(secrets)[0], content))
        return [("Upstash-Signature", f"{content.decode()}.{signature.decode()}")]

    def verify(self, secrets: Sequence[Secret], incoming: Incoming) -> Verified | Refused:
        """Accept an authentic token for this address and body between its `nbf` and its `exp`.

        `nbf` is the time of signing and must also lie within the tolerance. Nothing of the token is parsed
        before its signature is known to be right, and the algorithm is ours, not the one the token names.
        """
        texts = read_headers(incoming, "upstash-signature")
        if isinstance(texts, Refused):
            return texts
        content, _, signature = texts[0].rpartition(".")
        if not is_signed(secrets, content.encode(), [signature.rstrip("=")], to_base64url):
            return Refused(Reason.WRONG_SIGNATURE)
        claims = _read_claims(content)
        if claims is None:
            return Refused(Reason.MALFORMED)
        if not incoming.url or claims.sub != incoming.url:
            return Refused(Reason.WRONG_URL)
        if incoming.now > claims.exp * 1000:
            return Refused(Reason.TOO_OLD)
        return conclude(
            incoming,
            is_authentic=hmac.compare_digest(claims.body.rstrip("=").encode(), _hash_body(incoming.body)),
            verified=Verified(None, Instant(int(claims.nbf * 1000)), self.signs),
        )


def _hash_body(body: bytes) -> bytes:
    return to_base64url(sha256(body).digest())


def _encode_part(part: _Header | _Claims) -> bytes:
    return to_base64url(msgspec.json.encode(part))


def _read_claims(content: str) -> _Claims | None:
    """Read an authentic token's claims; None unless it is HS256, by Upstash, with every claim we judge by."""
    header, _, claims = content.partition(".")
    try:
        msgspec.json.decode(urlsafe_b64decode(header + "=="), type=_Header)
        return msgspec.json.decode(urlsafe_b64decode(claims + "=="), type=_Claims)
    except (Base64Error, msgspec.DecodeError, RecursionError):
        return None


DIALECTS: Final = (QStash(),)
