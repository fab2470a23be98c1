"""The dialects that sign the body alone: their headers to the byte, and that nothing else is trusted."""

import pytest

from idsync.model.values import Instant
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Part, Refused, Secret, Verified, sign, verify

BODY = b'{"type":"user.created","data":{"id":"u_1"}}'
SENT_AT = Instant(1_700_000_000_123)
HEX = "a063b10dc92e2ba857b8016c7009227df9787068f783a99e9c9c7c03de38f69e"
COVERS_THE_BODY = Verified(None, None, frozenset({Part.BODY}))


def _secret(name: str) -> Secret:
    secret = DIALECTS[name].parse_secret("sk_test")
    assert isinstance(secret, Secret)
    return secret


def _verify(name: str, headers: dict[str, str]) -> Verified | Refused:
    return verify(DIALECTS[name], [_secret(name)], headers=headers, body=BODY, now=SENT_AT)


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        (
            "plain-hex",
            [
                ("X-Webhook-Signature", HEX),
                ("X-Webhook-Id", "evt_1"),
                ("X-Webhook-Timestamp", "1700000000123"),
                ("X-Webhook-Origin", "payload"),
            ],
        ),
        ("better-auth", [("X-BetterAuth-Signature", HEX), ("X-BetterAuth-Event", "user.created")]),
        (
            "github",
            [
                ("X-Hub-Signature-256", f"sha256={HEX}"),
                ("X-GitHub-Event", "user.created"),
                ("X-GitHub-Delivery", "evt_1"),
            ],
        ),
        ("logto", [("logto-signature-sha-256", HEX)]),
        ("keycloak", [("X-Keycloak-Signature", HEX)]),
    ],
)
def test_the_headers_are_those_of_the_sender_to_the_byte(name: str, headers: list[tuple[str, str]]) -> None:
    """Receivers written for the original find every header they demand (S5)."""
    signed = sign(
        DIALECTS[name],
        [_secret(name)],
        event_id="evt_1",
        event_type="user.created",
        sent_at=SENT_AT,
        body=BODY,
        origin="payload",
    )
    assert signed == headers


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plain-hex", "x-webhook-signature"),
        ("better-auth", "x-betterauth-signature"),
        ("github", "x-hub-signature-256"),
        ("logto", "logto-signature-sha-256"),
        ("keycloak", "x-keycloak-signature"),
    ],
)
@pytest.mark.parametrize("signature", [HEX, HEX.upper(), f"sha256={HEX}"])
def test_the_signature_is_read_in_any_case_with_or_without_its_prefix(name: str, header: str, signature: str) -> None:
    """Logto has sent both forms, and hexadecimal has two."""
    assert _verify(name, {header: signature}) == COVERS_THE_BODY


@pytest.mark.parametrize(
    "unsigned",
    [
        {"x-webhook-id": "somebody-elses-id"},
        {"x-webhook-timestamp": "NaN"},
        {"x-webhook-timestamp": "99999999999999"},
        {"x-webhook-timestamp": "0"},
        {"x-webhook-origin": "payload"},
    ],
)
def test_the_unsigned_headers_of_plain_hex_decide_nothing(unsigned: dict[str, str]) -> None:
    """Id, time and origin are free to forge: none is returned and none refuses (S3, S4)."""
    assert _verify("plain-hex", {"x-webhook-signature": HEX} | unsigned) == COVERS_THE_BODY
