"""A webhook peer: how the events of every seed are read, and what they become."""

import msgspec
import pytest

from idsync.connectors.webhook import WebhookMapping
from idsync.model.event import Event, Op
from idsync.model.values import Instant, Subject, Value
from idsync.wire.dialects import DIALECTS
from idsync.wire.render import render
from idsync.wire.signing import Part, Reason, Refused, Verified, sign
from tests.unit.connectors.posts import (
    AUTH,
    BODY_AND_TIME,
    BODY_ONLY,
    CUSTOM,
    EVERYTHING,
    NOON,
    NOW,
    STATE,
    URL,
    make_peer,
    receive,
    receive_all,
    see,
)

USER: dict[str, Value] = {
    "ban_expires_at": None,
    "ban_reason": "spam",
    "banned": True,
    "email": "a@example.com",
    "email_verified": True,
    "name": "Ada",
    "picture": "https://example.com/a.png",
    "preferred_username": "ada",
    "roles": ["admin", "user"],
}


# --- verifying ------------------------------------------------------------------------------------------


def test_a_peers_own_signature_is_verified_and_a_strangers_refused() -> None:
    """Nothing of the body is looked at before."""
    peer = make_peer()
    headers = sign(peer.dialect, peer.secrets, event_id="msg_1", event_type="a.b", sent_at=NOW, body=b"{}", url=URL)
    lowered = {name.lower(): value for name, value in headers}

    assert peer.verify(lowered, b"{}", NOW) == EVERYTHING
    assert peer.verify(lowered, b"{ }", NOW) == Refused(Reason.WRONG_SIGNATURE)
    assert peer.verify(lowered, b"{}", Instant(NOW + 301_000)) == Refused(Reason.TOO_OLD)


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize("source", ["better-auth", "payload"])
def test_what_we_send_in_a_dialect_we_understand_in_it(name: str, source: str) -> None:
    """S5, end to end: render, sign, verify, understand; the same user comes out."""
    event = Event(
        id="e_1",
        type="user.updated",
        source=source,
        subject=Subject("user/018e"),
        timestamp=NOON,
        data=msgspec.Raw(msgspec.json.encode({"id": "u_1"} | USER)),
    )
    body, origin = render(name, msgspec.json.encode(event))
    peer = make_peer(name)
    headers = sign(
        peer.dialect,
        peer.secrets,
        event_id=event.id,
        event_type=event.type,
        sent_at=NOW,
        body=body,
        origin=origin,
        url=URL,
    )
    lowered = {header.lower(): value for header, value in headers}
    verified = peer.verify(lowered, body, NOW)
    assert isinstance(verified, Verified)

    seen = see(body, verified, lowered, peer=peer)
    is_from_payload = (name, source) == ("plain-hex", "payload")
    assert (seen.external_id, seen.op, seen.event_at) == ("u_1", Op.UPDATED, NOW)
    assert seen.fields == ({"email": "a@example.com", "name": "Ada"} if is_from_payload else USER)


# --- what the seeds send ----------------------------------------------------------------------------------


def test_better_auths_user_of_seed_000_is_read() -> None:
    """Its column names become canonical."""
    body = (
        b'{"id":"7b9c1f5e","origin":"better-auth","type":"user.created","timestamp":1761523200000,"data":'
        b'{"id":"u_1","email":"A@Example.com","name":null,"emailVerified":false,"image":null,"username":"ada",'
        b'"displayUsername":"Ada","createdAt":"2026-01-01T12:00:00.000Z","role":"user"}}'
    )
    seen = see(body, BODY_ONLY)

    assert (seen.peer, seen.kind, seen.external_id, seen.op) == (AUTH, "user", "u_1", Op.CREATED)
    assert (seen.event_at, seen.received_at, seen.event_id) == (1_761_523_200_000, NOW, "7b9c1f5e")
    assert (seen.version, seen.rev, seen.origin, seen.link_id) == (None, None, None, None)
    assert seen.fields == {
        "email": "a@example.com",
        "email_verified": False,
        "name": None,
        "picture": None,
        "preferred_username": "ada",
        "roles": ["user"],
    }


@pytest.mark.parametrize("event_type", ["user.updated", "user.deleted"])
def test_payloads_user_of_seed_000_is_known_by_the_id_it_is_linked_by(event_type: str) -> None:
    """It never names its own id, so the one at Better Auth is the only name it has."""
    values = {"betterAuthUserId": "u_1"} | ({"fullName": "Ada"} if event_type == "user.updated" else {})
    seen = see({"id": "x", "origin": "payload", "type": event_type, "timestamp": 1, "data": values}, BODY_ONLY)

    assert (seen.external_id, seen.link_id) == ("u_1", "u_1")
    assert seen.fields == ({"name": "Ada"} if event_type == "user.updated" else {})


def test_a_user_of_payload_with_an_id_of_its_own_is_linked() -> None:
    """Then its id is its own, and the other one is the link."""
    seen = see({"type": "user.updated", "data": {"id": 17, "betterAuthUserId": "u_1"}})
    assert (seen.external_id, seen.link_id) == ("17", "u_1")


def test_seed_001s_user_is_read_by_the_type_in_its_header() -> None:
    """`X-BetterAuth-Event` beside `{user, sessionId}`."""
    headers = {"x-betterauth-event": "user.updated"}
    seen = see(
        {"user": {"id": "u_1", "name": "Ada"}, "sessionId": "s_1"}, BODY_ONLY, headers, peer=make_peer("better-auth")
    )
    assert (seen.kind, seen.external_id, seen.op, seen.fields) == ("user", "u_1", Op.UPDATED, {"name": "Ada"})


def test_a_sessions_token_never_gets_in() -> None:
    """Seed 001 sends the whole session row, a bearer secret among it."""
    session = {
        "id": "s_1",
        "userId": "u_1",
        "token": "TOP-SECRET",
        "expiresAt": 1_767_268_800,
        "password": "TOP-SECRET",
    }
    headers = {"x-betterauth-event": "session.created"}
    arrival = receive({"session": session, "user": {"id": "u_1"}}, BODY_ONLY, headers, peer=make_peer("better-auth"))

    assert arrival.observation is not None
    assert arrival.observation.fields == {"user_id": "u_1", "expires_at": NOON}
    assert b"TOP-SECRET" not in msgspec.json.encode(arrival)


def test_seed_002s_user_is_read() -> None:
    """Authon's names, and an e-mail that may be null."""
    user = {
        "id": "au_1", "projectId": "p", "email": None, "displayName": "Ada", "avatarUrl": "https://a", "phone": "1",
        "emailVerified": True, "isBanned": False,
    }  # fmt: skip
    seen = see({"event": "user.updated", "data": {"user": user}}, BODY_AND_TIME)

    assert (seen.external_id, seen.event_at) == ("au_1", NOW)
    assert seen.fields == {
        "banned": False, "email": None, "email_verified": True, "name": "Ada", "picture": "https://a",
    }  # fmt: skip


@pytest.mark.parametrize(("event_type", "banned"), [("user.banned", True), ("user.unbanned", False)])
def test_a_ban_is_what_its_type_says_where_the_data_is_silent(event_type: str, banned: bool) -> None:  # noqa: FBT001
    """Seed 002's receiver looks at the type alone."""
    assert see({"event": event_type, "data": {"user": {"id": "au_1"}}}).fields == {"banned": banned}


def test_a_ban_that_the_data_denies_is_not_believed() -> None:
    """The data is the state, the type only the occasion."""
    fields = see({"event": "user.banned", "data": {"user": {"id": "au_1", "isBanned": False}}}).fields
    assert fields == {"banned": False}


def test_seed_003s_event_is_read() -> None:
    """`user_id` is the user's id."""
    body = {
        "id": "webhook_123", "event": "user.created", "timestamp": "2024-01-01T12:00:00Z",
        "data": {"user_id": "user_123", "email": "user@example.com"}, "version": "1.0",
    }  # fmt: skip
    arrival = receive(body, BODY_AND_TIME)

    assert (arrival.peer, arrival.id, arrival.subject) == (AUTH, "webhook_123", "user/user_123")
    assert arrival.observation is not None
    assert arrival.observation.fields == {"email": "user@example.com"}


def test_seed_004s_flat_events_are_read() -> None:
    """The identity is the body; `userId` says whose it is better than `id` does."""
    user = {
        "event": "user.updated",
        "userId": "u_1",
        "id": "9",
        "name": "Ada",
        "roles": ["b", "a"],
        "organizationId": "o",
    }
    member = {
        "type": "organizationMembership.created",
        "id": "m_1",
        "userId": "u_1",
        "organizationId": "o_1",
        "role": "x",
    }

    assert (see(user).external_id, see(user).fields) == ("u_1", {"name": "Ada", "roles": ["a", "b"]})
    assert (see(member).kind, see(member).external_id) == ("organizationMembership", "m_1")
    assert see(member).fields == {"organization_id": "o_1", "role": "x", "user_id": "u_1"}


# --- the fields -------------------------------------------------------------------------------------------


def test_configured_keys_replace_the_well_known_ones() -> None:
    """Nested keys are parted by full stops; a key that holds one is found as it is written."""
    mapping = WebhookMapping(
        kind="user", key="person.no", link="x.y", fields={"email": "mail.main", "name": "full.name", "active": "on"}
    )
    values = {
        "person": {"no": 7},
        "x.y": "u_1",
        "mail": {"main": "a@b.example"},
        "full": {"name": "Ada"},
        "picture": "p",
    }
    seen = see({"type": "user.updated", "data": values}, peer=make_peer(mapping=mapping))

    assert mapping.reads == {"email", "name", "active"}
    assert (seen.external_id, seen.link_id) == ("7", "u_1")
    assert seen.fields == {"email": "a@b.example", "name": "Ada"}


def test_a_configured_key_may_stand_around_the_identity() -> None:
    """What is beside `user` is only looked at when it is asked for."""
    body = {"type": "user.updated", "data": {"user": {"id": "u_1"}, "name": "not hers", "id": "not hers"}}
    mapping = WebhookMapping(kind="user", fields={"name": "name"})

    assert (see(body).external_id, see(body).fields) == ("u_1", {})
    assert see(body, peer=make_peer(mapping=mapping)).fields == {"name": "not hers"}


def test_a_type_implies_no_field_that_is_not_mapped() -> None:
    """The operator chose what is read."""
    mapping = WebhookMapping(kind="user", fields={"name": "name"})
    assert see({"type": "user.banned", "data": {"id": "u_1"}}, peer=make_peer(mapping=mapping)).fields == {}


def test_missing_null_and_empty_are_three_things() -> None:
    """Missing is no change, null and empty are values (DESIGN §4)."""
    fields = see({"type": "user.updated", "data": {"id": "u_1", "name": None, "picture": ""}}).fields
    assert fields == {"name": None, "picture": ""}


@pytest.mark.parametrize(
    ("body", "external_id"),
    [
        ({"ids": {"auth": "u_1", "app": "17"}, "data": {"id": "u_2"}}, "u_1"),
        ({"subject": "user/u_1", "data": {"id": "u_2"}}, "u_2"),
        ({"subject": "user/u/1", "data": {}}, "u/1"),
        ({"data": {"id": 17}}, "17"),
        ({"data": {"id": None, "user_id": "u_1"}}, "u_1"),
    ],
)
def test_the_peers_own_id_is_found(body: dict[str, object], external_id: str) -> None:
    """Said for this peer, in the data, in the subject: in this order."""
    assert see({"type": "user.updated"} | body).external_id == external_id


def test_a_delete_needs_an_id_and_looks_at_nothing_else() -> None:
    """Broken fields do not keep anybody alive."""
    seen = see({"type": "user.deleted", "data": {"id": "u_1", "email": {}, "roles": 7}})
    assert (seen.op, seen.external_id, seen.fields) == (Op.DELETED, "u_1", {})


# --- when it happened ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "verified", "at"),
    [
        (STATE | {"timestamp": 1_700_000_000_000}, EVERYTHING, 1_700_000_000_000),
        (STATE, Verified("m", Instant(5_000), frozenset(Part)), 5_000),
        (STATE, Verified("m", Instant(0), frozenset(Part)), 0),
        (STATE, BODY_ONLY, NOW),
        (STATE | {"timestamp": 0}, EVERYTHING, 0),
    ],
)
def test_an_event_happened_when_it_says_else_when_it_was_signed_else_now(
    body: dict[str, object], verified: Verified, at: int
) -> None:
    """The time of signing is that of an attempt, so the event's own time comes first."""
    seen = see(body, verified)
    assert (seen.event_at, seen.received_at) == (at, NOW)


# --- custom events ---------------------------------------------------------------------------------------------


def test_a_custom_event_is_passed_on_under_its_signed_id() -> None:
    """Its source is the peer, whatever it claims; its subject and data are its own."""
    body = b'{"type":"order.paid","source":"idsync","subject":"order/7","timestamp":0,"version":3,"data":{"a" : 1.0}}'
    arrival = receive(body)

    assert arrival.event is not None
    assert (arrival.peer, arrival.id, arrival.type, arrival.subject) == (AUTH, "msg_1", "order.paid", "order/7")
    assert (arrival.event.id, arrival.event.source, arrival.event.version) == ("msg_1", "auth", 3)
    assert arrival.event.timestamp == "1970-01-01T00:00:00.000Z"
    assert bytes(arrival.event.data) == b'{"a" : 1.0}'


def test_an_id_that_cannot_be_signed_is_replaced_on_the_way_out() -> None:
    """The inbox still knows the event by it."""
    arrival = receive(CUSTOM | {"id": "order.7"}, BODY_ONLY)
    assert arrival.event is not None
    assert (arrival.id, arrival.event.id) == ("order.7", "new-1")


def test_custom_events_without_a_subject_do_not_wait_for_each_other() -> None:
    """Each is a key of its own."""
    body = [CUSTOM, CUSTOM]
    assert [one.subject for one in receive_all(body)] == ["event/msg_1:0", "event/msg_1:1"]
