"""Standard Webhooks and those who speak it: Svix, Clerk, Stytch, Supabase.

Signed is `<id>.<unix seconds>.<body>`; the signature header lists `v1,<base64 HMAC-SHA256>` and
`v1a,<base64 Ed25519>` parted by spaces, one for each secret in force. Source: its specification.
"""

from binascii import a2b_base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from idsync.wire.dialects.checks import (
    SIGNATURES_MAX,
    conclude,
    find_text_problem,
    is_signed,
    parse_unix_time,
    read_headers,
    to_base64,
)
from idsync.wire.signing import (
    Incoming,
    MalformedSecret,
    Outgoing,
    Part,
    Reason,
    Refused,
    Secret,
    Verified,
    is_event_id,
)

_SEED_SIZE_BYTES: Final = 32
_PUBLIC_KEY_SIZE_BYTES: Final = 32


class Standard(msgspec.Struct, frozen=True):
    """One sender of the family."""

    name: str
    prefixes: tuple[str, ...]
    """Of its three headers; the first is what we send, and what we look for first."""
    signs: frozenset[Part] = frozenset(Part)

    def parse_secret(self, text: str) -> Secret | MalformedSecret:
        """Read `whsec_` (HMAC), `whsk_` (Ed25519, signs) or `whpk_` (Ed25519, verifies only) and base64.

        `v1,` or `v1a,` may stand before it, as Supabase writes; bare base64 is an HMAC key, as the official
        libraries have it.
        """
        if problem := find_text_problem(text):
            return MalformedSecret(problem)
        scheme, mark, encoded = text.removeprefix("v1,").removeprefix("v1a,").rpartition("_")
        raw = _decode_base64(encoded)
        if not raw:
            return MalformedSecret("is not one base64 text after whsec_, whsk_ or whpk_")
        match scheme if mark else "whsec":
            case "whsec":
                return Secret(raw)
            case "whsk":
                return _read_private_key(raw)
            case "whpk" if len(raw) == _PUBLIC_KEY_SIZE_BYTES:
                return Secret(Ed25519PublicKey.from_public_bytes(raw))
            case "whpk":
                return MalformedSecret("is a whpk_ key of another length than 32 bytes")
            case _:
                return MalformedSecret("has an unknown prefix: expected whsec_, whsk_ or whpk_")

    def sign(self, secrets: Sequence[Secret], outgoing: Outgoing) -> list[tuple[str, str]]:
        """Send one signature for each secret that can sign."""
        event_id, timestamp = outgoing.event_id, str(outgoing.sent_at // 1000)
        content = _content(event_id, timestamp, outgoing.body)
        prefix = self.prefixes[0]
        signatures = _signature(secrets[0], content)
        if len(secrets) > 1:
            signatures = " ".join([signatures, *(_signature(one, content) for one in secrets[1:] if one.may_sign)])
        return [
            (prefix + "id", event_id),
            (prefix + "timestamp", timestamp),
            (prefix + "signature", signatures),
        ]

    def verify(self, secrets: Sequence[Secret], incoming: Incoming) -> Verified | Refused:
        """Accept if any signature is right by any secret; parts of an unknown or broken form are skipped."""
        prefix = self._find_prefix(incoming.headers)
        texts = read_headers(incoming, f"{prefix}id", f"{prefix}timestamp", f"{prefix}signature")
        if isinstance(texts, Refused):
            return texts
        event_id, timestamp, signatures = texts
        signed_at = parse_unix_time(timestamp, unit_ms=1000)
        if signed_at is None or not is_event_id(event_id):
            return Refused(Reason.MALFORMED)
        content = _content(event_id, timestamp, incoming.body)
        is_authentic = is_signed(secrets, content, _of_version("v1,", signatures), to_base64) or _is_signed_by_ed25519(
            secrets, content, _of_version("v1a,", signatures)
        )
        return conclude(incoming, is_authentic=is_authentic, verified=Verified(event_id, signed_at, self.signs))

    def _find_prefix(self, headers: Mapping[str, str]) -> str:
        for prefix in self.prefixes:
            if f"{prefix}signature" in headers:
                return prefix
        return self.prefixes[0]


def _content(event_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{event_id}.{timestamp}.".encode() + body


def _signature(secret: Secret, content: bytes) -> str:
    """Sign with a secret that may."""
    if isinstance(secret.key, bytes):
        return f"v1,{to_base64(secret.digest(content)).decode()}"
    if isinstance(secret.key, Ed25519PrivateKey):
        return "v1a," + to_base64(secret.key.sign(content)).decode()
    raise TypeError("a public key does not sign")


def _of_version(mark: str, signatures: str) -> list[str]:
    return [part.removeprefix(mark) for part in signatures.split(" ") if part.startswith(mark)]


def _is_signed_by_ed25519(secrets: Iterable[Secret], content: bytes, signatures: Sequence[str]) -> bool:
    candidates = [_decode_base64(signature) for signature in signatures[:SIGNATURES_MAX]]
    return any(
        _is_ed25519_signature(key, candidate, content) for key in _ed25519_keys(secrets) for candidate in candidates
    )


def _ed25519_keys(secrets: Iterable[Secret]) -> Iterable[Ed25519PublicKey]:
    for secret in secrets:
        if isinstance(secret.key, Ed25519PublicKey):
            yield secret.key
        elif isinstance(secret.key, Ed25519PrivateKey):
            yield secret.key.public_key()


def _is_ed25519_signature(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _decode_base64(text: str) -> bytes:
    """Decode base64, padded or not; empty where a character is foreign or the end is cut off."""
    digits = text.rstrip("=")
    try:
        return a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except ValueError:  # binascii.Error is one
        return b""


def _read_private_key(raw: bytes) -> Secret | MalformedSecret:
    """Take a seed (32 bytes), or a seed and its public key (64 bytes), the two forms in use."""
    seed, public = raw[:_SEED_SIZE_BYTES], raw[_SEED_SIZE_BYTES:]
    if len(seed) != _SEED_SIZE_BYTES or len(public) not in {0, _PUBLIC_KEY_SIZE_BYTES}:
        return MalformedSecret("is a whsk_ key of another length than 32 or 64 bytes")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if public and key.public_key().public_bytes_raw() != public:
        return MalformedSecret("is a whsk_ key whose two halves do not belong together")
    return Secret(key)


DIALECTS: Final = (
    Standard("standard", ("webhook-",)),
    Standard("svix", ("svix-", "webhook-")),
    Standard("clerk", ("svix-", "webhook-")),
    Standard("stytch", ("svix-", "webhook-")),
    Standard("supabase", ("webhook-",)),
)
