"""What holds for every dialect: it verifies what it signs, refuses everything else, and never raises."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idsync.model.values import Instant
from idsync.wire.dialects import DIALECTS, KNOWN_LATER
from idsync.wire.signing import Dialect, Part, Reason, Refused, Secret, Verified, sign, verify

BODY = b'{"type":"user.created","data":{"id":"u_1"}}'
SENT_AT = Instant(1_700_000_000_000)
URL = "https://sync.example.com/receive/auth"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_c2Vjb25kLXNlY3JldC1vZi10aGlzLXRlc3Q="

NAMES = sorted(DIALECTS)
THAT_SIGN_A_BODY = [name for name in NAMES if Part.BODY in DIALECTS[name].signs]
THAT_SIGN_A_TIME = [name for name in NAMES if Part.TIMESTAMP in DIALECTS[name].signs]


def _secret(name: str, text: str = SECRET) -> Secret:
    secret = DIALECTS[name].parse_secret(text)
    assert isinstance(secret, Secret)
    return secret


def _sign(name: str, *secrets: Secret) -> dict[str, str]:
    headers = sign(
        DIALECTS[name],
        secrets or [_secret(name)],
        event_id="evt_1",
        event_type="user.created",
        sent_at=SENT_AT,
        body=BODY,
        url=URL,
    )
    return {header.lower(): value for header, value in headers}


def _verify(
    name: str, headers: dict[str, str], *secrets: Secret, body: bytes = BODY, now: int = SENT_AT
) -> Verified | Refused:
    known = secrets or (_secret(name),)
    return verify(DIALECTS[name], known, headers=headers, body=body, now=Instant(now), url=URL)


def _signature_header(name: str) -> str:
    (found,) = (h for h in _sign(name) if "signature" in h or h == "authorization")
    return found


def test_every_dialect_of_the_design_is_spoken_or_announced() -> None:
    """The design's list is exactly what we speak and what we say comes later."""
    listed = (
        "standard svix plain-hex better-auth authon timestamped qstash clerk workos auth0 keycloak fusionauth"
        " logto supabase stytch zitadel ory neon github"
    )
    assert DIALECTS.keys() | KNOWN_LATER == set(listed.split())
    assert DIALECTS.keys().isdisjoint(KNOWN_LATER)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_dialect_signs_it_verifies(name: str) -> None:
    """Each dialect round-trips against itself, and returns only what its signature covers (S4, S5)."""
    verified = _verify(name, _sign(name))

    signs = DIALECTS[name].signs
    assert verified == Verified(
        "evt_1" if Part.ID in signs else None, SENT_AT if Part.TIMESTAMP in signs else None, signs
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_body_of_any_bytes_round_trips(name: str) -> None:
    """Bodies are bytes: empty, not UTF-8 and not JSON are signed like any other."""
    for body in (b"", b"\xff\x00.", b"1.2.3"):
        secret = _secret(name)
        headers = sign(DIALECTS[name], [secret], event_id="e", event_type="t", sent_at=SENT_AT, body=body, url=URL)
        lowered = {header.lower(): value for header, value in headers}
        assert isinstance(_verify(name, lowered, body=body), Verified)


@pytest.mark.parametrize("name", THAT_SIGN_A_BODY)
def test_an_altered_body_is_refused(name: str) -> None:
    """One more byte is another body."""
    assert _verify(name, _sign(name), body=BODY + b" ") == Refused(Reason.WRONG_SIGNATURE)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_secret_is_refused(name: str) -> None:
    """Who does not know the secret proves nothing."""
    refused = _verify(name, _sign(name), _secret(name, OTHER_SECRET))
    assert refused == Refused(Reason.WRONG_SIGNATURE)


@pytest.mark.parametrize("name", NAMES)
def test_a_receiver_without_a_secret_refuses_everything(name: str) -> None:
    """A peer whose secret is missing is closed, not open."""
    refused = verify(DIALECTS[name], [], headers=_sign(name), body=BODY, now=SENT_AT, url=URL)
    assert refused == Refused(Reason.UNCONFIGURED)


@pytest.mark.parametrize("name", NAMES)
def test_any_of_several_secrets_is_enough(name: str) -> None:
    """While secrets rotate, the receiver accepts what is signed with either."""
    old, new = _secret(name), _secret(name, OTHER_SECRET)

    assert isinstance(_verify(name, _sign(name, old), new, old), Verified)
    assert isinstance(_verify(name, _sign(name, new), new, old), Verified)


@pytest.mark.parametrize("name", NAMES)
def test_a_receiver_that_knows_the_newest_secret_accepts_a_rotating_sender(name: str) -> None:
    """The newest secret always signs."""
    old, new = _secret(name), _secret(name, OTHER_SECRET)
    assert isinstance(_verify(name, _sign(name, new, old), new), Verified)


def test_the_formats_with_room_for_it_also_carry_the_older_secrets_signature() -> None:
    """A rotation without a gap is possible with these; with the others the receiver must know the new secret first."""
    rotating = {name: (_secret(name, OTHER_SECRET), _secret(name)) for name in NAMES}
    with_room = {
        name for name, (new, old) in rotating.items() if isinstance(_verify(name, _sign(name, new, old), old), Verified)
    }
    assert with_room == {
        *("standard", "svix", "clerk", "stytch", "supabase"),
        *("timestamped", "workos", "zitadel"),
    }


@pytest.mark.parametrize("name", THAT_SIGN_A_TIME)
@pytest.mark.parametrize(
    ("age_ms", "reason"),
    [
        (300_000, None),
        (-300_000, None),
        (300_001, Reason.TOO_OLD),
        (-300_001, Reason.TOO_NEW),
        (365 * 86_400_000, Reason.TOO_OLD),
    ],
)
def test_a_signed_time_must_be_near_in_both_directions(name: str, age_ms: int, reason: Reason | None) -> None:
    """A replay is refused, and so is a time from the future; the bound itself is inside."""
    judged = _verify(name, _sign(name), now=SENT_AT + age_ms)
    assert isinstance(judged, Verified) if reason is None else judged == Refused(reason)


@pytest.mark.parametrize("name", THAT_SIGN_A_TIME)
def test_the_time_is_judged_only_when_the_signature_is_right(name: str) -> None:
    """A forged old request is forged before it is old."""
    refused = _verify(name, _sign(name), _secret(name, OTHER_SECRET), now=SENT_AT + 10**9)
    assert refused == Refused(Reason.WRONG_SIGNATURE)


@pytest.mark.parametrize("name", NAMES)
def test_a_signature_of_another_length_is_refused_and_never_raised(name: str) -> None:
    """Cut at every place or one longer, it compares as unequal (S9)."""
    header = _signature_header(name)
    signed = _sign(name)
    texts = [signed[header][:size] for size in range(len(signed[header]))] + [signed[header] + "0"]
    for text in texts:
        assert isinstance(_verify(name, signed | {header: text}), Refused), text


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_empty_signature_is_refused(name: str) -> None:
    """No header and an empty header are the same."""
    header = _signature_header(name)
    signed = _sign(name)
    without = {key: value for key, value in signed.items() if key != header}

    assert _verify(name, without) == Refused(Reason.MISSING_HEADER)
    assert _verify(name, signed | {header: ""}) == Refused(Reason.MISSING_HEADER)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["é", "\ud800", "v1=\u0663", "x" * 5000])
def test_a_signature_outside_ascii_or_beyond_measure_is_malformed(name: str, text: str) -> None:
    """Comparing text outside ASCII would raise, and a huge header would cost us time."""
    header = _signature_header(name)
    assert _verify(name, _sign(name) | {header: text}) == Refused(Reason.MALFORMED)


@pytest.mark.parametrize("event_id", ["", "a.b", "a b", "a\r\nX-Admin: 1", "é", "x" * 257])
@pytest.mark.parametrize("name", NAMES)
def test_an_id_that_cannot_be_signed_never_reaches_a_header(name: str, event_id: str) -> None:
    """Line breaks would start another header, and a full stop another reading of the signed text."""
    with pytest.raises(ValueError, match="event id"):
        sign(DIALECTS[name], [_secret(name)], event_id=event_id, event_type="t", sent_at=SENT_AT, body=b"", url=URL)


@pytest.mark.parametrize(("event_type", "origin"), [("a\nb", "ok"), ("", "ok"), ("ok", "a\r\nb")])
def test_a_type_or_origin_that_cannot_stand_in_a_header_is_not_sent(event_type: str, origin: str) -> None:
    """They are sent by some dialects, so they are checked for all."""
    with pytest.raises(ValueError, match="evt_1"):
        sign(
            DIALECTS["plain-hex"],
            [_secret("plain-hex")],
            event_id="evt_1",
            event_type=event_type,
            sent_at=SENT_AT,
            body=b"",
            origin=origin,
        )


@pytest.mark.parametrize("name", NAMES)
def test_signing_without_a_secret_is_an_error(name: str) -> None:
    """Nothing is ever sent unsigned by accident."""
    with pytest.raises(ValueError, match=name):
        sign(DIALECTS[name], [], event_id="evt_1", event_type="t", sent_at=SENT_AT, body=b"", url=URL)


_ANY_TEXT = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.text(alphabet="0123456789.,=+- abcdefABCDEFtv1naifNITZ:"),
)


@given(name=st.sampled_from(NAMES), texts=st.lists(_ANY_TEXT, min_size=3, max_size=4), body=st.binary())
def test_arbitrary_headers_are_refused_and_never_raised(name: str, texts: list[str], body: bytes) -> None:
    """Whatever a stranger sends is refused."""
    headers = dict(zip(_sign(name), texts, strict=False))
    assert isinstance(_verify(name, headers, body=body), Refused)


@given(name=st.sampled_from(NAMES), data=st.data())
def test_a_valid_request_with_one_header_mangled_never_raises(name: str, data: st.DataObject) -> None:
    """Near the valid form is where parsers break."""
    headers = _sign(name)
    header = data.draw(st.sampled_from(sorted(headers)))
    at = data.draw(st.integers(0, len(headers[header])))
    cut = data.draw(st.integers(0, 3))
    mangled = headers[header][:at] + data.draw(_ANY_TEXT) + headers[header][at + cut :]
    assert isinstance(_verify(name, headers | {header: mangled}), Verified | Refused)


@given(dialect=st.sampled_from(sorted(DIALECTS.values(), key=lambda d: d.name)), text=st.text())
@example(dialect=DIALECTS["standard"], text="whsec_\ud800")
@example(dialect=DIALECTS["plain-hex"], text="\ud800")
def test_any_text_is_a_secret_or_a_problem_and_never_raises(dialect: Dialect, text: str) -> None:
    """What a person types into the configuration is read or explained."""
    parsed = dialect.parse_secret(text)
    if isinstance(parsed, Secret):
        assert parsed.key
    else:
        assert parsed.problem
