"""The dialects that sign time and body: timestamped, workos, zitadel, authon."""

import pytest

from idsync.model.values import Instant
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Part, Reason, Refused, Secret, Verified, sign, verify

BODY = b'{"type":"user.created","data":{"id":"u_1"}}'
SENT_AT = Instant(1_700_000_000_000)
SECONDS_HEX = "8fe4c081a715aaff992e2f2ede95fe1830fef8f0b11f85005619dc8f9d0bd898"
MILLISECONDS_HEX = "062952935d6899a7a1a3e755d95413957a6ac1b2e28faa61c86d90e0646802ff"
ISO_HEX = "82a63083931e2c3464e098d660e9c126d2db8c4fdf2c43641c98102eedd5a413"
ISO = "2023-11-14T22:13:20.000Z"
COVERED = frozenset({Part.TIMESTAMP, Part.BODY})


def _secret(name: str, text: str = "sk_test") -> Secret:
    secret = DIALECTS[name].parse_secret(text)
    assert isinstance(secret, Secret)
    return secret


def _verify(name: str, headers: dict[str, str], body: bytes = BODY) -> Verified | Refused:
    return verify(DIALECTS[name], [_secret(name)], headers=headers, body=body, now=SENT_AT)


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("timestamped", [("X-Webhook-Signature", f"t=1700000000,v1={SECONDS_HEX}")]),
        ("zitadel", [("ZITADEL-Signature", f"t=1700000000,v1={SECONDS_HEX}")]),
        ("workos", [("WorkOS-Signature", f"t=1700000000000, v1={MILLISECONDS_HEX}")]),
        ("authon", [("X-Authon-Signature", f"v1={ISO_HEX}"), ("X-Authon-Timestamp", ISO)]),
    ],
)
def test_the_known_vectors_are_signed_to_the_byte(name: str, headers: list[tuple[str, str]]) -> None:
    """The headers are those that the original senders make."""
    signed = sign(DIALECTS[name], [_secret(name)], event_id="evt_1", event_type="t", sent_at=SENT_AT, body=BODY)
    assert signed == headers
    lowered = {header.lower(): text for header, text in headers}
    assert _verify(name, lowered) == Verified(None, SENT_AT, COVERED)


def test_a_rotation_repeats_the_signature_newest_first() -> None:
    """`v1=` once for each secret in force."""
    (header,) = sign(
        DIALECTS["timestamped"],
        [_secret("timestamped", "new"), _secret("timestamped")],
        event_id="evt_1",
        event_type="t",
        sent_at=SENT_AT,
        body=BODY,
    )
    assert header[1].startswith("t=1700000000,v1=")
    assert header[1].endswith(f",v1={SECONDS_HEX}")


@pytest.mark.parametrize(
    "text",
    [
        f"t=1700000000, v1={SECONDS_HEX}",
        f"v1={SECONDS_HEX},t=1700000000",
        f"t=1700000000,v1={SECONDS_HEX.upper()}",
        f"t=1700000000,v1=,v1,=,,v0=abc,v1={SECONDS_HEX}",
        f"t=1700000000,v1={'0' * 64},v1={SECONDS_HEX}",
    ],
)
def test_pairs_are_read_leniently(text: str) -> None:
    """White space, order, unknown pairs and broken pairs do not hide a right signature."""
    assert isinstance(_verify("timestamped", {"x-webhook-signature": text}), Verified)


@pytest.mark.parametrize(
    "text",
    [
        f"v1={SECONDS_HEX}",
        f"t=,v1={SECONDS_HEX}",
        f"t=1700000000,t=1700000000,v1={SECONDS_HEX}",
        f"t=NaN,v1={SECONDS_HEX}",
        f"t=-1700000000,v1={SECONDS_HEX}",
        f"t=Infinity,v1={SECONDS_HEX}",
        f"t={'9' * 16},v1={SECONDS_HEX}",
        f"t=1700000000.0,v1={SECONDS_HEX}",
        ",,,",
    ],
)
def test_no_time_or_two_or_one_that_is_not_plain_digits_is_malformed(text: str) -> None:
    """Which of two times was signed is not ours to guess."""
    assert _verify("timestamped", {"x-webhook-signature": text}) == Refused(Reason.MALFORMED)


@pytest.mark.parametrize("text", ["t=1700000000", "t=1700000000,v1=", f"t=1700000001,v1={SECONDS_HEX}"])
def test_an_altered_time_or_no_signature_is_refused(text: str) -> None:
    """The time is under the signature (S4)."""
    assert _verify("timestamped", {"x-webhook-signature": text}) == Refused(Reason.WRONG_SIGNATURE)


def test_the_time_of_workos_is_in_milliseconds() -> None:
    """Read as seconds it would lie in the year 55840."""
    seconds = {"workos-signature": f"t=1700000000, v1={SECONDS_HEX}"}
    assert _verify("workos", seconds) == Refused(Reason.TOO_OLD)


@pytest.mark.parametrize(
    "text",
    [
        *("2023-11-14T22:13:20.000", "2023-11-14T22:13:20.Z", "2023-11-14", "1700000000", "NaN"),
        *("20231114T221320Z", "2023-W46-2T22:13:20Z", "2023-02-30T22:13:20Z", "2023-11-14T25:13:20Z"),
        *("0000-00-00T00:00:00Z", "9999-12-31T23:59:59-23:59"),
    ],
)
def test_a_time_of_authon_that_is_no_iso_instant_with_its_zone_is_malformed(text: str) -> None:
    """Impossible dates, other spellings and instants beyond the calendar are refused before any arithmetic."""
    headers = {"x-authon-signature": f"v1={ISO_HEX}", "x-authon-timestamp": text}
    assert _verify("authon", headers) == Refused(Reason.MALFORMED)


def test_the_border_between_time_and_body_of_authon_cannot_be_moved() -> None:
    """The same signed bytes, cut at the fraction's full stop, would be another time and another body."""
    headers = {"x-authon-signature": f"v1={ISO_HEX}", "x-authon-timestamp": "2023-11-14T22:13:20"}
    assert _verify("authon", headers, body=b"000Z." + BODY) == Refused(Reason.MALFORMED)


def test_the_older_signature_of_authon_over_the_body_alone_is_not_accepted() -> None:
    """It would let a replay pass."""
    body_hex = "a063b10dc92e2ba857b8016c7009227df9787068f783a99e9c9c7c03de38f69e"
    headers = {"authon-signature": body_hex, "x-authon-signature": f"v1={body_hex}", "x-authon-timestamp": ISO}
    assert _verify("authon", headers) == Refused(Reason.WRONG_SIGNATURE)
