"""What goes out: the stored bytes, or the shape that the receivers of a seed expect; all of it is understood again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.model.event import Event
from idsync.model.values import KINDS, Subject, Value
from idsync.wire.dialects import DIALECTS
from idsync.wire.envelope import Incoming, parse
from idsync.wire.render import render
from idsync.wire.signing import ORIGIN

SHAPED = ("authon", "better-auth", "plain-hex", "timestamped")
USER: dict[str, Value] = {
    "id": "u_1",
    "ban_expires_at": None,
    "ban_reason": "spam",
    "banned": True,
    "email": "a@example.com",
    "email_verified": True,
    "name": "Ada",
    "picture": None,
    "preferred_username": "ada",
    "roles": ["admin", "user"],
}


def _stored(event_type: str = "user.updated", source: str = "better-auth", values: object = USER) -> bytes:
    event = Event(
        id="e_1",
        type=event_type,
        source=source,
        subject=Subject("user/018e"),
        timestamp="2026-01-01T12:00:00.000Z",
        version=7,
        changed=("name",),
        ids={"better-auth": "u_1"},
        data=msgspec.Raw(msgspec.json.encode(values)),
    )
    return msgspec.json.encode(event)


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - set(SHAPED)))
def test_a_dialect_of_no_seed_sends_the_stored_bytes(name: str) -> None:
    """They are not even looked into."""
    assert render(name, b"\xff not an event") == (b"\xff not an event", ORIGIN)


def test_plain_hex_is_seed_000s_event_from_better_auth() -> None:
    """Its keys in its order, time in milliseconds, Better Auth's own column names."""
    body, origin = render("plain-hex", _stored())

    assert origin == "better-auth"
    assert body == (
        b'{"id":"e_1","origin":"better-auth","type":"user.updated","timestamp":1767268800000,"data":{"id":"u_1",'
        b'"banExpires":null,"banReason":"spam","banned":true,"email":"a@example.com","emailVerified":true,'
        b'"name":"Ada","image":null,"username":"ada","role":"admin,user"}}'
    )


def test_plain_hex_is_seed_000s_event_from_payload() -> None:
    """Better Auth's receiver reads these names and no others."""
    body, origin = render("plain-hex", _stored(source="payload"))

    assert origin == "payload"
    assert body == (
        b'{"id":"e_1","origin":"payload","type":"user.updated","timestamp":1767268800000,'
        b'"data":{"betterAuthUserId":"u_1","email":"a@example.com","fullName":"Ada"}}'
    )


def test_a_delete_in_seed_000s_shape_tells_only_what_the_seed_tells() -> None:
    """Who is gone needs no role and no picture."""
    gone, of_payload = _stored("user.deleted"), _stored("user.deleted", source="payload")
    assert render("plain-hex", gone)[0].endswith(b'"data":{"id":"u_1","email":"a@example.com","name":"Ada"}}')
    assert render("plain-hex", of_payload)[0].endswith(b'"data":{"betterAuthUserId":"u_1"}}')


def test_better_auth_is_seed_001s_body() -> None:
    """The identity under its kind's name; the type is in the header that the dialect sends."""
    values: dict[str, Value] = {"id": "s_1", "user_id": "u_1", "expires_at": "2026-01-02T12:00:00.000Z"}

    assert render("better-auth", _stored(values={"id": "u_1", "name": "Ada"})) == (
        b'{"user":{"id":"u_1","name":"Ada"},"eventId":"e_1"}',
        "better-auth",
    )
    assert render("better-auth", _stored("session.revoked", values=values))[0] == (
        b'{"session":{"id":"s_1","userId":"u_1","expiresAt":"2026-01-02T12:00:00.000Z"},"eventId":"e_1"}'
    )


def test_authon_is_seed_002s_event_in_both_of_its_envelopes() -> None:
    """Older receivers read `event`, newer ones `type`."""
    values: dict[str, Value] = {
        "id": "u_1", "banned": True, "email": None, "email_verified": False, "name": "Ada", "picture": None,
    }  # fmt: skip
    assert render("authon", _stored("user.banned", values=values))[0] == (
        b'{"id":"e_1","type":"user.banned","event":"user.banned","timestamp":"2026-01-01T12:00:00.000Z",'
        b'"data":{"user":{"id":"u_1","isBanned":true,"email":null,"emailVerified":false,"displayName":"Ada",'
        b'"avatarUrl":null}}}'
    )


def test_timestamped_is_seed_003s_event() -> None:
    """As it prints it: `user_id` in the data, and a version of its own."""
    assert render("timestamped", _stored("user.created", values={"id": "u_1", "email": "a@example.com"}))[0] == (
        b'{"id":"e_1","event":"user.created","timestamp":"2026-01-01T12:00:00.000Z",'
        b'"data":{"user_id":"u_1","email":"a@example.com"},"version":"1.0"}'
    )


@pytest.mark.parametrize("name", SHAPED)
def test_the_data_of_a_custom_event_passes_as_it_is(name: str) -> None:
    """Only what speaks of an identity has names to translate."""
    written = b'{"user_id": 1.0, "roles" :[ "a" ]}'
    stored = b'{"id":"e_1","type":"order.paid","source":"crm","subject":"o","timestamp":"x","data":%b}' % written
    incoming = parse(render(name, stored)[0].replace(b'"timestamp":"x",', b""), type_hint="order.paid")

    assert isinstance(incoming, Incoming)
    assert (incoming.id, incoming.type, bytes(incoming.data)) == ("e_1", "order.paid", written)


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("values", [[1], "text", None, {"roles": [1, {}]}, {"id": 1, "": 2, "__": 3, "a_": 4}])
def test_data_that_nobody_expects_is_still_sent(name: str, values: object) -> None:
    """A stranger may publish `user.updated` with anything in it; it must not stop the lane."""
    shaped, origin = render(name, _stored(values=values))
    assert origin == "better-auth"
    assert msgspec.json.decode(shaped)


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"\xff", b"[" * 5_000, _stored().replace(b'"data":{', b'"data":{"x":1e999,')]
)
def test_what_is_no_event_of_ours_is_sent_as_it_is(name: str, body: bytes) -> None:
    """Nothing raises on the way out."""
    assert render(name, body) == (body, ORIGIN)


@pytest.mark.parametrize("name", SHAPED)
def test_a_source_that_no_header_can_carry_is_not_named_as_origin(name: str) -> None:
    """It would make every attempt fail."""
    assert render(name, _stored(source="a\r\nX-Evil: 1"))[1] == ORIGIN


@given(
    name=st.sampled_from(SHAPED),
    kind=st.sampled_from(sorted(KINDS)),
    verb=st.sampled_from(["created", "updated", "deleted"]),
    source=st.sampled_from(["better-auth", "payload", "crm"]),
    values=st.dictionaries(
        st.sampled_from(list(USER)) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.lists(st.text(), max_size=3),
    ),
)
def test_every_shape_that_is_written_is_understood(
    name: str, kind: str, verb: str, source: str, values: dict[str, Value]
) -> None:
    """S5: no dialect sends what its own receiver refuses; and the same event always gives the same bytes."""
    stored = _stored(f"{kind}.{verb}", source, values)
    shaped, origin = render(name, stored)

    incoming = parse(shaped, type_hint=f"{kind}.{verb}")
    assert isinstance(incoming, Incoming)
    assert (incoming.id, incoming.type, origin) == ("e_1", f"{kind}.{verb}", source)
    assert incoming.is_type_hinted is (name == "better-auth")
    assert render(name, stored) == (shaped, origin)
