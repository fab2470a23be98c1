"""Standard Webhooks and Svix: against the official library, the published vector, and attackers."""

import json
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from idsync.model.values import Instant
from idsync.wire.dialects import DIALECTS
from idsync.wire.dialects.checks import SIGNATURES_MAX
from idsync.wire.signing import Reason, Refused, Secret, Verified, sign, verify

STANDARD = DIALECTS["standard"]
SVIX = DIALECTS["svix"]
BODY = b'{"type":"user.created","data":{"id":"u_1"}}'
SENT_AT = Instant(1_700_000_000_000)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_c2Vjb25kLXNlY3JldC1vZi10aGlzLXRlc3Q="
VECTOR = "v1,Oweges8gkVIXaApfq9h1nqlhIhQhGw24tEhoUN5Ts4Y="
SIGNED = {"webhook-id": "msg_1", "webhook-timestamp": "1700000000", "webhook-signature": VECTOR}

PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEED = bytes(range(32))
PUBLIC = PRIVATE_KEY.public_key().public_bytes_raw()


def _parse(text: str) -> Secret:
    secret = STANDARD.parse_secret(text)
    assert isinstance(secret, Secret)
    return secret


def _key(prefix: str, raw: bytes) -> Secret:
    return _parse(prefix + b64encode(raw).decode())


def _sign(*secrets: Secret) -> dict[str, str]:
    return dict(sign(STANDARD, secrets, event_id="msg_1", event_type="t", sent_at=SENT_AT, body=BODY))


def _verify(headers: dict[str, str], *secrets: Secret, body: bytes = BODY) -> Verified | Refused:
    return verify(STANDARD, secrets or (_parse(SECRET),), headers=headers, body=body, now=SENT_AT)


def test_the_known_vector_is_signed_to_the_byte() -> None:
    """Headers, their order and the signature are those that the official libraries make."""
    assert list(_sign(_parse(SECRET)).items()) == list(SIGNED.items())
    assert _verify(SIGNED) == Verified("msg_1", SENT_AT, STANDARD.signs)


@given(st.text(), st.from_regex(r"[!-\-/-~]{1,60}", fullmatch=True))
def test_the_official_library_accepts_what_we_sign(text: str, event_id: str) -> None:
    """Whatever the body and the id, with every secret of a rotation."""
    body = json.dumps({"data": text}).encode()
    now = Instant(int(datetime.now(UTC).timestamp() * 1000))
    secrets = [_parse(SECRET), _parse(OTHER_SECRET)]
    headers = sign(STANDARD, secrets, event_id=event_id, event_type="t", sent_at=now, body=body)

    for known in (SECRET, OTHER_SECRET):
        assert Webhook(known).verify(body, dict(headers)) == {"data": text}


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_we_accept_what_the_official_library_signs(body: str) -> None:
    """Its signatures verify here, under its own headers and under those of Svix."""
    signature = Webhook(SECRET).sign("msg_2", datetime.fromtimestamp(SENT_AT / 1000, UTC), body)
    texts = {"id": "msg_2", "timestamp": str(SENT_AT // 1000), "signature": signature}

    for dialect, prefix in ((STANDARD, "webhook-"), (SVIX, "svix-"), (SVIX, "webhook-")):
        headers = {prefix + name: text for name, text in texts.items()}
        judged = verify(dialect, [_parse(SECRET)], headers=headers, body=body.encode(), now=SENT_AT)
        assert judged == Verified("msg_2", SENT_AT, dialect.signs)


def test_svix_sends_its_own_header_names_and_reads_both() -> None:
    """Clerk and Stytch see the names that Svix documents."""
    headers = dict(sign(SVIX, [_parse(SECRET)], event_id="msg_1", event_type="t", sent_at=SENT_AT, body=BODY))
    assert headers == {name.replace("webhook-", "svix-"): text for name, text in SIGNED.items()}


def test_headers_of_two_families_are_not_mixed() -> None:
    """A signature under one name does not vouch for an id under the other."""
    mixed = {"svix-signature": VECTOR, "webhook-id": "msg_1", "webhook-timestamp": "1700000000"}
    judged = verify(SVIX, [_parse(SECRET)], headers=mixed, body=BODY, now=SENT_AT)
    assert judged == Refused(Reason.MISSING_HEADER)


@pytest.mark.parametrize(
    ("header", "text"), [("webhook-id", "msg_2"), ("webhook-timestamp", "1700000001"), ("webhook-id", "MSG_1")]
)
def test_an_altered_id_or_time_is_refused(header: str, text: str) -> None:
    """Both are signed, so neither can be changed to pass as new or as fresh (S4)."""
    assert _verify(SIGNED | {header: text}) == Refused(Reason.WRONG_SIGNATURE)


@pytest.mark.parametrize(
    "text",
    [
        *("nan", "inf", "-inf", "-1700000000", "+1700000000", "1.7e9", "1700000000.0", "1" * 16),
        *(" 1700000000", "1700000000\n", "1_700_000_000", "0x6553f100", "soon"),
    ],
)
def test_a_time_that_is_not_plain_digits_is_malformed(text: str) -> None:
    """NaN, infinity, signs, fractions and huge numbers never reach arithmetic (S4)."""
    assert _verify(SIGNED | {"webhook-timestamp": text}) == Refused(Reason.MALFORMED)


def test_an_id_with_a_full_stop_is_malformed() -> None:
    """Else `a`, `1700000000` and the body `1.{}` could be passed on as the id `a.1700000000`."""
    key = b"0123456789"
    signed = Webhook(key).sign("a.1700000000", datetime.fromtimestamp(1_700_000_000, UTC), "{}")
    headers = SIGNED | {"webhook-id": "a.1700000000", "webhook-signature": signed}
    assert _verify(headers, _key("whsec_", key), body=b"{}") == Refused(Reason.MALFORMED)


@pytest.mark.parametrize(
    "signatures",
    [f"v1 {VECTOR}", f" {VECTOR} ", f"v1, {VECTOR}", f", {VECTOR}", f"v1,%%% v1a,%%% {VECTOR}", f"v9,x {VECTOR} v"],
)
def test_malformed_parts_beside_a_right_signature_are_skipped(signatures: str) -> None:
    """A part that we cannot read is not ours to judge."""
    assert isinstance(_verify(SIGNED | {"webhook-signature": signatures}), Verified)


@pytest.mark.parametrize(
    "signatures",
    [
        *(VECTOR.removeprefix("v1,"), VECTOR.replace("v1", "v2"), VECTOR.replace("v1", "v1a")),
        *(VECTOR.lower(), VECTOR.rstrip("="), VECTOR + "=", VECTOR.replace("O", " O", 1), "v1,", "v1a,"),
    ],
)
def test_a_signature_in_any_other_form_is_refused(signatures: str) -> None:
    """There is one way to write a signature."""
    assert _verify(SIGNED | {"webhook-signature": signatures}) == Refused(Reason.WRONG_SIGNATURE)


def test_only_so_many_signatures_are_looked_at() -> None:
    """A stranger does not choose how long we compute."""
    for before, is_accepted in ((SIGNATURES_MAX - 1, True), (SIGNATURES_MAX, False)):
        signatures = "v1,x " * before + VECTOR
        judged = _verify(SIGNED | {"webhook-signature": signatures})
        assert isinstance(judged, Verified) == is_accepted

        signed = _sign(_key("whsk_", SEED))
        signatures = "v1a,x " * before + signed["webhook-signature"]
        judged = _verify(signed | {"webhook-signature": signatures}, _key("whpk_", PUBLIC))
        assert isinstance(judged, Verified) == is_accepted


@pytest.mark.parametrize("raw", [SEED, SEED + PUBLIC])
def test_an_ed25519_key_pair_signs_and_its_public_half_verifies(raw: bytes) -> None:
    """The scheme `v1a`: who can verify cannot sign."""
    headers = _sign(_key("whsk_", raw))
    signature = headers["webhook-signature"]

    assert signature == "v1a," + b64encode(PRIVATE_KEY.sign(b"msg_1.1700000000." + BODY)).decode()
    assert isinstance(_verify(headers, _key("whpk_", PUBLIC)), Verified)
    assert isinstance(_verify(headers, _key("whsk_", raw)), Verified)
    assert _verify(headers, _key("whpk_", PUBLIC), body=b"{}") == Refused(Reason.WRONG_SIGNATURE)
    assert _verify(headers, _parse(SECRET)) == Refused(Reason.WRONG_SIGNATURE)


def test_both_schemes_are_sent_while_one_replaces_the_other() -> None:
    """Receivers of either kind verify the same request."""
    headers = _sign(_key("whsk_", SEED), _parse(SECRET))

    assert isinstance(_verify(headers, _parse(SECRET)), Verified)
    assert isinstance(_verify(headers, _key("whpk_", PUBLIC)), Verified)


def test_a_public_key_cannot_be_used_as_an_hmac_key() -> None:
    """Else whoever has read it could sign."""
    forged = _sign(_key("whsec_", PUBLIC))
    assert _verify(forged, _key("whpk_", PUBLIC)) == Refused(Reason.WRONG_SIGNATURE)


def test_a_public_key_does_not_sign() -> None:
    """The configuration can ask before it is too late."""
    public = _key("whpk_", PUBLIC)

    assert not public.may_sign
    assert _parse(SECRET).may_sign
    with pytest.raises(ValueError, match="cannot sign"):
        _sign(public)


@given(st.binary(max_size=80))
def test_an_ed25519_signature_of_any_bytes_is_refused_and_never_raised(raw: bytes) -> None:
    """Wrong lengths and points off the curve are only wrong."""
    headers = SIGNED | {"webhook-signature": "v1a," + b64encode(raw).decode()}
    assert _verify(headers, _key("whpk_", PUBLIC)) == Refused(Reason.WRONG_SIGNATURE)
