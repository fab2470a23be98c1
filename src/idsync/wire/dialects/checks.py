"""The checks that the dialects are made of. None of them raises on what a stranger sent."""

import hmac
from base64 import urlsafe_b64encode
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from idsync.model.values import Instant
from idsync.wire.signing import Incoming, MalformedSecret, Reason, Refused, Secret, Verified

HEADER_SIZE_MAX: Final = 4096
"""Characters of one header; the longest honest one is a token of about 600."""

SIGNATURES_MAX: Final = 16
"""Signatures looked at in one header: a stranger must not choose how long we compute. Rotation needs two."""

_TIMESTAMP_DIGITS_MAX: Final = 15


def read_headers(incoming: Incoming, *names: str) -> tuple[str, ...] | Refused:
    """Take the headers of these (lower-cased) names, each present, not empty, ASCII and of bounded length."""
    texts = []
    for name in names:
        text = incoming.headers.get(name)
        if not text:
            return Refused(Reason.MISSING_HEADER)
        if len(text) > HEADER_SIZE_MAX or not text.isascii():
            return Refused(Reason.MALFORMED)
        texts.append(text)
    return tuple(texts)


def digest(key: bytes, content: bytes) -> bytes:
    """Compute HMAC-SHA256 (RFC 2104)."""
    return hmac.digest(key, content, "sha256")


def to_hex(raw: bytes) -> bytes:
    """Write bytes as lower-case hexadecimal."""
    return raw.hex().encode()


def to_base64(raw: bytes) -> bytes:
    """Write bytes as padded base64 (RFC 4648 §4)."""
    return b2a_base64(raw, newline=False)


def to_base64url(raw: bytes) -> bytes:
    """Write bytes as base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(raw).rstrip(b"=")


def hmac_keys(secrets: Iterable[Secret]) -> list[bytes]:
    """Take the keys that are meant for HMAC, and no other kind."""
    return [secret.key for secret in secrets if isinstance(secret.key, bytes)]


def is_signed(
    secrets: Sequence[Secret], content: bytes, signatures: Iterable[str], encode: Callable[[bytes], bytes]
) -> bool:
    """Whether one of the signatures is this content's by one of the secrets, compared as encoded text.

    Each pair is compared in constant time and none is left out after a match. A signature of another length
    or alphabet is simply unequal: nothing is decoded, so nothing can fail to decode.
    """
    candidates = [signature.encode() for signature in signatures][:SIGNATURES_MAX]
    matched = False
    for key in hmac_keys(secrets):
        expected = encode(digest(key, content))
        for candidate in candidates:
            matched |= hmac.compare_digest(expected, candidate)
    return matched


def conclude(incoming: Incoming, *, is_authentic: bool, verified: Verified) -> Verified | Refused:
    """Give the verdict: the signature first, then its time, where it signs one."""
    if not is_authentic:
        return Refused(Reason.WRONG_SIGNATURE)
    if verified.signed_at is not None:
        age_ms = incoming.now - verified.signed_at
        if age_ms > incoming.tolerance_s * 1000:
            return Refused(Reason.TOO_OLD)
        if age_ms < -incoming.tolerance_s * 1000:
            return Refused(Reason.TOO_NEW)
    return verified


def parse_unix_time(text: str, *, unit_ms: int) -> Instant | None:
    """Read a whole number of units (1000: seconds, 1: milliseconds) since 1970; None for anything else.

    Only digits: no sign, fraction, exponent, `nan` or `inf`, and too few of them to overflow anything.

    Args:
        text: ASCII, as `read_headers` gives it.
    """
    if not (text.isdigit() and len(text) <= _TIMESTAMP_DIGITS_MAX):
        return None
    return Instant(int(text) * unit_ms)


def parse_text_secret(text: str) -> Secret | MalformedSecret:
    """Read a secret that is used as the UTF-8 bytes of its own text."""
    problem = find_text_problem(text)
    return MalformedSecret(problem) if problem else Secret(text.encode())


def find_text_problem(text: str) -> str | None:
    """Say what makes a text no secret in any dialect; None if nothing does."""
    if not text:
        return "is empty"
    if text != text.strip():
        return "begins or ends with white space"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "is not text in UTF-8"
    return None
