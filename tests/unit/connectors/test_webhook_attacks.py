"""What a broken or a dishonest sender of webhooks cannot do: lose an event, suppress one, or speak for the peer."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.connectors.webhook import WebhookMapping
from idsync.model.event import Arrival, Op
from idsync.model.values import Instant
from idsync.wire.envelope import Limits
from idsync.wire.signing import Verified, is_event_id
from tests.unit.connectors.posts import (
    AUTH,
    BODY_AND_TIME,
    BODY_ONLY,
    CUSTOM,
    EVERYTHING,
    NOON,
    NOTHING,
    NOW,
    STATE,
    make_peer,
    receive,
    receive_all,
    refusal_of,
    see,
)

# --- what cannot be used is parked, whole -------------------------------------------------------------------

UNUSABLE = [
    (b"not json", "unreadable: it is not JSON"),
    (b'{"data":{"id":"SECRET"}}', "unreadable: it names no type"),
    (b"[]", "unreadable: it does not hold 1 to 1000 events"),
    (b'{"type":"user.updated","data":["SECRET"]}', "unfit: its data is not an object"),
    (b'{"type":"user.updated","data":{"email":"SECRET"}}', "no_id: "),
    (b'{"type":"user.updated","subject":"session/SECRET","data":{}}', "no_id: "),
    (b'{"type":"user.deleted","data":{"id":""}}', "no_id: "),
    (b'{"type":"user.deleted","data":{"id":true}}', "no_id: "),
    (b'{"type":"user.deleted","data":{"id":1.5}}', "no_id: "),
    (b'{"type":"user.deleted","data":{"id":"SECRET\\u0000"}}', "no_id: "),
    (b'{"type":"user.deleted","data":{"id":"%b"}}' % (b"SECRET" * 50), "no_id: "),
    (b'{"type":"user.updated","data":{"id":"u","email":["SECRET"]}}', "unfit: email: it is not text"),
    (b'{"type":"user.updated","data":{"id":"u","name":"%b"}}' % (b"SECRET" * 20_000), "unfit: name: it is too long"),
]


@pytest.mark.parametrize(("body", "why"), UNUSABLE)
def test_what_cannot_be_used_is_parked_whole(body: bytes, why: str) -> None:
    """The reason shows nothing of it; the bytes are kept."""
    arrival = receive(body)

    assert (arrival.observation, arrival.event) == (None, None)
    assert (arrival.peer, arrival.id, arrival.subject, arrival.body) == (AUTH, "msg_1", "auth/msg_1", body)
    assert arrival.refusal is not None
    assert arrival.refusal.startswith(why)
    assert "SECRET" not in arrival.refusal


def test_one_unusable_event_of_a_list_harms_no_other() -> None:
    """Each is known by the signed id and its place, so that a repetition of the list is one."""
    body = [{"type": "user.deleted", "data": {"id": "u_1"}}, 7, {"type": "order.paid", "data": {}}]
    arrivals = receive_all(body)

    assert [one.id for one in arrivals] == ["msg_1:0", "msg_1:1", "msg_1:2"]
    assert [one.refusal for one in arrivals] == [None, "unreadable: it is not an object", None]
    assert [one.id for one in arrivals] == [one.id for one in receive_all(body)]


def test_the_peers_limits_hold() -> None:
    """They come from the configuration."""
    peer = make_peer(limits=Limits(size_bytes_max=10, field_bytes_max=3))
    assert refusal_of({"type": "user.updated"}, peer=peer) == "unreadable: it is larger than 10 bytes"
    peer = make_peer(limits=Limits(field_bytes_max=4))
    assert (
        refusal_of({"type": "user.updated", "data": {"id": "u", "name": "Ada"}}, peer=peer)
        == "unfit: name: it is too long"
    )


# --- how the inbox knows an event (DESIGN §6) ---------------------------------------------------------------

TIME = {"timestamp": NOON}


@pytest.mark.parametrize(
    ("verified", "body", "expected"),
    [
        (EVERYTHING, STATE | {"id": "body-1"}, "msg_1"),
        (EVERYTHING, CUSTOM, "msg_1"),
        (BODY_ONLY, STATE | {"id": "body-1"}, "body-1"),
        (BODY_ONLY, CUSTOM | {"id": "body-1"}, "body-1"),
        (NOTHING, STATE | {"id": "body-1"}, "new-1"),
        (NOTHING, CUSTOM | {"id": "body-1"} | TIME, "new-1"),
        (BODY_ONLY, STATE | TIME, "new-1"),
        (BODY_AND_TIME, STATE, "new-1"),
        (BODY_ONLY, CUSTOM, "new-1"),
        (BODY_ONLY, CUSTOM | TIME, "sha256:"),
        (BODY_AND_TIME, CUSTOM, "sha256:"),
    ],
)
def test_only_a_signed_name_may_suppress_an_event(verified: Verified, body: dict[str, object], expected: str) -> None:
    """A signed id; else the id of a signed body; else, of what is no state, its hash if a time was signed with it."""
    arrival = receive(body, verified)
    assert arrival.id.startswith(expected)
    if expected == "new-1":
        assert receive_all(body, verified, peer=make_peer())[0].id == "new-1"


def test_equal_custom_bodies_at_different_times_are_different_events() -> None:
    """Two payments of one amount are two; one payment sent twice is one."""
    later = Verified(None, Instant(NOW + 1), BODY_AND_TIME.signs)

    assert receive(CUSTOM, BODY_AND_TIME).id == receive(CUSTOM, BODY_AND_TIME).id
    assert receive(CUSTOM, BODY_AND_TIME).id != receive(CUSTOM, later).id
    assert receive(CUSTOM | TIME, BODY_AND_TIME).id == receive(CUSTOM | TIME, later).id


def test_a_header_id_that_no_signature_covers_is_not_looked_at() -> None:
    """S4: seed 000's `X-Webhook-Id` is free to forge, and would suppress the real event."""
    arrival = receive(STATE, BODY_ONLY, {"x-webhook-id": "forged"}, peer=make_peer("plain-hex"))
    assert arrival.id == "new-1"


# --- a type that only an unsigned header names -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "body"), [("user.deleted", {"user": {"id": "u_1"}}), ("session.revoked", {"session": {"id": "s_1"}})]
)
def test_a_forged_header_deletes_nobody(event_type: str, body: dict[str, object]) -> None:
    """Whoever caught one signed `{user}` could send it again as a delete (S4)."""
    headers = {"x-betterauth-event": event_type}
    arrival = receive(body, BODY_ONLY, headers, peer=make_peer("better-auth"))

    assert arrival.observation is None
    assert arrival.type == event_type
    assert (arrival.refusal or "").startswith("unsigned_type: ")


def test_a_delete_in_a_header_is_a_doorbell_where_the_peer_can_be_read() -> None:
    """Then it is looked up before anything is believed."""
    headers = {"x-betterauth-event": "user.deleted"}
    seen = see({"user": {"id": "u_1"}}, BODY_ONLY, headers, peer=make_peer("better-auth", is_readable=True))
    assert seen.op is Op.DELETED


def test_a_delete_in_a_signed_body_counts() -> None:
    """The header is not even needed."""
    body = {"type": "user.deleted", "data": {"user": {"id": "u_1"}}}
    assert see(body, BODY_ONLY, {"x-betterauth-event": "user.created"}, peer=make_peer("better-auth")).op is Op.DELETED


def test_a_forged_header_bans_nobody() -> None:
    """Only a signed type says what the data does not."""
    headers = {"x-betterauth-event": "user.banned"}
    assert see({"user": {"id": "u_1"}}, BODY_ONLY, headers, peer=make_peer("better-auth")).fields == {}


def test_a_header_of_another_dialect_names_no_type() -> None:
    """It may be anybody's."""
    assert refusal_of({"user": {"id": "u_1"}}, EVERYTHING, {"x-betterauth-event": "user.updated"}).startswith(
        "unreadable"
    )


# --- whatever a peer sends ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "user", "userId", "roles", "a.b"]), inner)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([
    "id", "userId", "user", "session", "member", "email", "emailVerified", "name", "roles", "role", "banned",
    "banExpires", "expiresAt", "betterAuthUserId", "organization", "a",
])  # fmt: skip


@given(
    event_type=st.sampled_from(
        ["user.updated", "user.deleted", "user.banned", "session.created", "organizationMembership.created"]
    ),
    values=st.dictionaries(NAMES, VALUES) | VALUES,
    verified=st.sampled_from([EVERYTHING, BODY_ONLY, BODY_AND_TIME, NOTHING]),
    shape=st.sampled_from(["bare", "enveloped"]),
)
def test_any_data_becomes_exactly_one_arrival(event_type: str, values: object, verified: Verified, shape: str) -> None:
    """An observation with an id, or a reason; never both, never neither, never an exception."""
    body = {"type": event_type} | (values if shape == "bare" and isinstance(values, dict) else {"data": values})
    arrival = receive(json.dumps(body).encode(), verified)

    assert (arrival.observation is None) != (arrival.refusal is None)
    assert arrival.event is None
    if arrival.observation is not None:
        assert arrival.observation.external_id
        assert set(arrival.observation.fields) <= WebhookMapping(kind=arrival.observation.kind).reads
        assert msgspec.json.decode(msgspec.json.encode(arrival), type=Arrival) == arrival


@given(body=st.binary(max_size=120), verified=st.sampled_from([EVERYTHING, BODY_ONLY, NOTHING]))
def test_any_bytes_are_kept(body: bytes, verified: Verified) -> None:
    """What a peer signed is never lost and never an error of ours."""
    for arrival in receive_all(body, verified, {"x-github-event": "push"}, peer=make_peer("github")):
        assert arrival.event is not None or arrival.observation is not None or arrival.body in body
        assert arrival.event is None or is_event_id(arrival.event.id)
