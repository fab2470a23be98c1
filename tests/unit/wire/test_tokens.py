"""The dialects that send a token: qstash (a JWT over address, time and body) and auth0 (a bearer token)."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from idsync.model.values import Instant
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Part, Reason, Refused, Secret, Verified, sign, verify

QSTASH = DIALECTS["qstash"]
BODY = b'{"type":"user.created","data":{"id":"u_1"}}'
SENT_AT = Instant(1_700_000_000_000)
URL = "https://app.example.com/api/internal/queues/payload"
KEY = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
VECTOR = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJVcHN0YXNoIiwic3ViIjoiaHR0cHM6Ly9hcHAuZXhhbXBsZS5jb20vYXBpL2lu"
    "dGVybmFsL3F1ZXVlcy9wYXlsb2FkIiwiZXhwIjoxNzAwMDAwMzAwLCJuYmYiOjE3MDAwMDAwMDAsImlhdCI6MTcwMDAwMDAwMCwianRpIjoi"
    "and0XzEiLCJib2R5IjoiM2VabUtOQl83NlNpMkpBanhBa09QRUdOZWVucGxqanNKZ3ZWdkVocTNhZz0ifQ"
    ".e3IBoybaNBztiHegSI5Gqc50Yl4GOJkyd26xYas5BS0"
)
"""Made by PyJWT, with the padded body hash that QStash sends."""
CLAIMS: dict[str, Any] = {
    "iss": "Upstash",
    "sub": URL,
    "exp": 1_700_000_300,
    "nbf": 1_700_000_000,
    "body": urlsafe_b64encode(sha256(BODY).digest()).decode(),
}
VERIFIED = Verified(None, SENT_AT, frozenset({Part.TIMESTAMP, Part.BODY}))


def _parse(name: str, text: str) -> Secret:
    secret = DIALECTS[name].parse_secret(text)
    assert isinstance(secret, Secret)
    return secret


def _encode(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def _token(claims: object, *, header: bytes = b'{"alg":"HS256"}', key: str = KEY) -> str:
    content = _encode(header) + b"." + _encode(msgspec.json.encode(claims))
    return (content + b"." + _encode(hmac.digest(key.encode(), content, "sha256"))).decode()


def _verify(
    token: str, *keys: str, body: bytes = BODY, now: int = SENT_AT, url: str = URL, tolerance_s: float = 300
) -> Verified | Refused:
    return verify(
        QSTASH,
        [_parse("qstash", key) for key in keys or (KEY,)],
        headers={"upstash-signature": token},
        body=body,
        now=Instant(now),
        tolerance_s=tolerance_s,
        url=url,
    )


def test_a_token_made_by_a_jwt_library_is_accepted() -> None:
    """The current and the next signing key both verify."""
    assert _verify(VECTOR) == VERIFIED
    assert _verify(VECTOR, "sig_new", KEY) == VERIFIED


def test_our_token_carries_the_claims_of_qstash() -> None:
    """Its own receivers demand issuer, address, expiry, beginning and the body's hash."""
    ((header, token),) = sign(
        QSTASH,
        [_parse("qstash", KEY)],
        event_id="evt_1",
        event_type="t",
        sent_at=SENT_AT,
        body=BODY,
        url=URL,
    )
    claims = msgspec.json.decode(urlsafe_b64decode(token.split(".")[1] + "=="))

    assert header == "Upstash-Signature"
    assert claims == CLAIMS | {"iat": 1_700_000_000, "jti": "evt_1", "body": CLAIMS["body"].rstrip("=")}


def test_the_address_must_be_the_one_that_was_signed() -> None:
    """A token for one route does not open another, and a receiver that does not know its address is closed."""
    assert _verify(VECTOR, url=URL + "/") == Refused(Reason.WRONG_URL)
    assert _verify(VECTOR, url="") == Refused(Reason.WRONG_URL)
    assert _verify(_token(CLAIMS | {"sub": ""}), url="") == Refused(Reason.WRONG_URL)


def test_a_token_ends_with_its_expiry_however_large_the_tolerance() -> None:
    """The signer's own limit holds."""
    assert _verify(VECTOR, now=1_700_000_300_000, tolerance_s=10_000) == VERIFIED
    assert _verify(VECTOR, now=1_700_000_300_001, tolerance_s=10_000) == Refused(Reason.TOO_OLD)


def test_the_body_hash_is_read_with_and_without_padding() -> None:
    """Both are in use."""
    assert _verify(_token(CLAIMS | {"body": CLAIMS["body"].rstrip("=")})) == VERIFIED


@pytest.mark.parametrize("body", ["", "é", CLAIMS["body"][:-2], CLAIMS["body"] + "A"])
def test_another_body_hash_is_refused(body: str) -> None:
    """Of another length or alphabet, too."""
    assert _verify(_token(CLAIMS | {"body": body})) == Refused(Reason.WRONG_SIGNATURE)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "Somebody"},
        {"nbf": None},
        {"nbf": "1700000000"},
        {"nbf": -1},
        {"exp": 1e300},
        {"exp": True},
        {"sub": 7},
        {"body": None},
    ],
)
def test_an_authentic_token_with_other_claims_is_malformed(changed: dict[str, object]) -> None:
    """A missing or absurd claim is refused, not raised."""
    assert _verify(_token(CLAIMS | changed)) == Refused(Reason.MALFORMED)


@pytest.mark.parametrize(
    "header", [b'{"alg":"none"}', b'{"alg":"HS512"}', b"{}", b"", b'{"alg":"HS256","x":' + b"[" * 2000]
)
def test_an_authentic_token_with_another_header_is_malformed(header: bytes) -> None:
    """The algorithm is HS256, whatever a token says of itself; nesting does not exhaust the stack."""
    assert _verify(_token(CLAIMS, header=header)) == Refused(Reason.MALFORMED)


@pytest.mark.parametrize(
    "token",
    [
        VECTOR.rsplit(".", 1)[0] + ".",
        VECTOR.replace("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJhbGciOiJub25lIn0"),
        _token(CLAIMS, key="guessed"),
        "...",
        "abc",
    ],
)
def test_a_token_that_is_not_authentic_is_refused_unread(token: str) -> None:
    """Without a signature, with the algorithm `none`, with another key, or no token at all."""
    assert _verify(token) == Refused(Reason.WRONG_SIGNATURE)


def test_signing_without_an_address_is_an_error() -> None:
    """The token would be valid nowhere."""
    with pytest.raises(ValueError, match="evt_1"):
        sign(QSTASH, [_parse("qstash", KEY)], event_id="evt_1", event_type="t", sent_at=SENT_AT, body=BODY, url="")


@pytest.mark.parametrize(
    ("text", "judged"),
    [
        ("Bearer tok_1", Verified(None, None, frozenset())),
        ("bearer tok_2", Verified(None, None, frozenset())),
        ("Bearer tok_", Refused(Reason.WRONG_SIGNATURE)),
        ("Bearer tok_11", Refused(Reason.WRONG_SIGNATURE)),
        ("Bearer", Refused(Reason.WRONG_SIGNATURE)),
        ("Bearer ", Refused(Reason.WRONG_SIGNATURE)),
        ("Basic tok_1", Refused(Reason.MALFORMED)),
        ("tok_1", Refused(Reason.MALFORMED)),
    ],
)
def test_a_bearer_token_proves_its_sender_and_nothing_else(text: str, judged: Verified | Refused) -> None:
    """Any of the secrets in force, compared whole."""
    tokens = [_parse("auth0", "tok_1"), _parse("auth0", "tok_2")]
    headers = {"authorization": text}
    assert verify(DIALECTS["auth0"], tokens, headers=headers, body=BODY, now=SENT_AT) == judged
