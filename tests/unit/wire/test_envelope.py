"""What comes in: every shape of the design and the seeds is understood, all else is refused, and nothing raises."""

import json
from typing import Any

import msgspec
import pytest

from idsync.model.event import Op
from idsync.model.values import Instant
from idsync.wire.envelope import Incoming, Limits, Unreadable, kind_and_op, parse, parse_batch, split_batch

OURS = (
    b'{"id":"018f","type":"user.updated","source":"auth","subject":"user/018e","timestamp":"2026-01-01T12:00:00.000Z",'
    b'"version":7,"changed":["name"],"ids":{"auth":"u_123","app":"17"},'
    b'"data":{"id":"u_123","email":"a@example.com","name":"Ada"}}'
)
NOON = Instant(1_767_268_800_000)

SEED_000 = (
    b'{"id":"7b9c1f5e-2f44-4a39-9b39-0c2f1cf2b2a1","origin":"better-auth","type":"user.created",'
    b'"timestamp":1761523200000,"data":{"id":"u_1","email":"a@example.com","name":null,"emailVerified":false}}'
)
SEED_000_FROM_PAYLOAD = (
    b'{"id":"7b9c1f5e","origin":"payload","type":"user.deleted","timestamp":1761523200000,'
    b'"data":{"betterAuthUserId":"u_1"}}'
)
SEED_001 = b'{"user":{"id":"u_1","email":"a@example.com"},"sessionId":"s_1"}'
SEED_001_SESSION = b'{"session":{"id":"s_1","userId":"u_1"},"user":{"id":"u_1"}}'
SEED_002 = b'{"event":"user.banned","data":{"user":{"id":"au_1","email":null,"displayName":"Ada","isBanned":true}}}'
SEED_002_NEWER = (
    b'{"id":"evt_1","type":"user.created","projectId":"p_1","timestamp":"2026-01-01T12:00:00.000Z",'
    b'"data":{"user":{"id":"au_1"}}}'
)
SEED_003 = b"""{
  "id": "webhook_123",
  "event": "user.created",
  "timestamp": "2024-01-01T12:00:00Z",
  "data": {
    "user_id": "user_123",
    "email": "user@example.com"
  },
  "version": "1.0"
}"""
SEED_004 = (
    b'{"event":"user.updated","userId":"u_1","id":"9","email":"a@example.com","name":"Ada","roles":["admin"],'
    b'"organizationId":"org_default","timestamp":"2026-01-01T12:00:00Z"}'
)
GOOD = [OURS, SEED_000, SEED_000_FROM_PAYLOAD, SEED_001, SEED_001_SESSION, SEED_002, SEED_002_NEWER, SEED_003, SEED_004]


def _parsed(raw: bytes, hint: str | None = None) -> Incoming:
    incoming = parse(raw, type_hint=hint)
    assert isinstance(incoming, Incoming), incoming
    return incoming


def _head(incoming: Incoming) -> tuple[object, ...]:
    return incoming.id, incoming.type, incoming.source, incoming.subject, incoming.at, incoming.version


def _plain(incoming: Incoming) -> dict[str, Any]:
    return msgspec.structs.asdict(incoming) | {"data": msgspec.json.decode(incoming.data)}


# --- the shapes -----------------------------------------------------------------------------------------


def test_our_own_form_is_understood_to_the_last_key() -> None:
    """The event of DESIGN §9 keeps every part, and its data as the bytes that came."""
    incoming = _parsed(OURS)

    assert _head(incoming) == ("018f", "user.updated", "auth", "user/018e", NOON, 7)
    assert (incoming.changed, incoming.ids) == (("name",), {"auth": "u_123", "app": "17"})
    assert bytes(incoming.data) == b'{"id":"u_123","email":"a@example.com","name":"Ada"}'


def test_seed_000_is_understood() -> None:
    """`{id, origin, type, timestamp, data}`: the origin is the source, the time is in milliseconds."""
    incoming = _parsed(SEED_000)

    assert _head(incoming) == (
        "7b9c1f5e-2f44-4a39-9b39-0c2f1cf2b2a1", "user.created", "better-auth", None, 1_761_523_200_000, None,
    )  # fmt: skip
    assert bytes(incoming.data).startswith(b'{"id":"u_1","email"')


def test_seed_001_is_understood_by_the_type_in_its_header() -> None:
    """`{user, …}` names no type: the header's counts, and the whole body is the data."""
    incoming = _parsed(SEED_001, "user.updated")

    assert _head(incoming) == (None, "user.updated", None, None, None, None)
    assert incoming.is_type_hinted
    assert bytes(incoming.data) == SEED_001
    assert bytes(_parsed(SEED_001_SESSION, "session.created").data) == SEED_001_SESSION


def test_the_event_id_that_seed_001_recommends_is_the_events() -> None:
    """`eventId` beside the user is what its receivers are told to deduplicate by."""
    assert _parsed(b'{"user":{"id":"u_1"},"eventId":"e_1"}', "user.updated").id == "e_1"


def test_seed_002_is_understood_in_both_of_its_envelopes() -> None:
    """`{event, data: {user}}` and the newer `{id, type, timestamp, data: {user}}`."""
    older, newer = _parsed(SEED_002), _parsed(SEED_002_NEWER)

    assert _head(older) == (None, "user.banned", None, None, None, None)
    assert bytes(older.data) == SEED_002[len(b'{"event":"user.banned","data":') : -1]
    assert _head(newer) == ("evt_1", "user.created", None, None, NOON, None)


def test_seed_003_is_understood_as_it_is_printed() -> None:
    """Its `version` is the envelope's, a text, and says nothing of the identity."""
    incoming = _parsed(SEED_003)

    assert _head(incoming) == ("webhook_123", "user.created", None, None, 1_704_110_400_000, None)
    assert json.loads(bytes(incoming.data)) == {"user_id": "user_123", "email": "user@example.com"}


def test_a_flat_body_is_the_identity_and_its_id_is_not_the_events() -> None:
    """Seed 004: were `id` the event's, the second change of a user would be a duplicate of the first."""
    incoming = _parsed(SEED_004)

    assert _head(incoming) == (None, "user.updated", None, None, NOON, None)
    assert bytes(incoming.data) == SEED_004
    gone = _parsed(b'{"type":"user.deleted","id":"u_1"}')
    assert (gone.id, bytes(gone.data)) == (None, b'{"type":"user.deleted","id":"u_1"}')


def test_a_flat_body_takes_its_type_from_the_subject_where_it_names_none() -> None:
    """A NATS subject is the type; a type in the body comes first."""
    assert _parsed(b'{"userId":"u_1"}', "user.created").type == "user.created"
    assert _parsed(b'{"userId":"u_1","type":"user.updated"}', "user.created").type == "user.updated"
    assert not _parsed(b'{"userId":"u_1","type":"user.updated"}', "user.created").is_type_hinted


def test_an_event_of_ours_may_have_no_data_at_all() -> None:
    """A custom event, or one whose subject names the identity, is an envelope also without `data`."""
    ping = _parsed(b'{"id":"e1","type":"custom.ping","source":"crm"}')
    gone = _parsed(b'{"id":"e2","type":"user.deleted","subject":"user/u_1"}')

    assert (ping.id, ping.source, bytes(ping.data)) == ("e1", "crm", b"{}")
    assert (gone.id, gone.subject, bytes(gone.data)) == ("e2", "user/u_1", b"{}")


def test_a_custom_body_of_an_unknown_shape_is_kept_whole() -> None:
    """Nothing of it is lost, and its `id`, which may be anything's, suppresses nothing."""
    raw = b'{"type":"order.paid","id":"o_1","amount":5}'
    incoming = _parsed(raw)
    assert (incoming.id, bytes(incoming.data)) == (None, raw)


@pytest.mark.parametrize("data", [b"null", b"[1,2]", b'"text"', b"7", b"{}", b'{"a":{"b":[null,1.5]}}'])
def test_custom_data_may_be_any_value(data: bytes) -> None:
    """Standard Webhooks says nothing of what `data` is."""
    assert bytes(_parsed(b'{"type":"a.b","data":%b}' % data).data) == data


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ('"2026-01-01T12:00:00.000Z"', NOON),
        ('"2026-01-01T13:00:00+01:00"', NOON),
        ('"2026-01-01T12:00:00"', NOON),
        ("1767268800000", NOON),
        ("1767268800", NOON),
        ("1767268800.25", NOON + 250),
        ('"1767268800000"', NOON),
        ("0", 0),
        ("null", None),
    ],
)
def test_times_are_read_in_every_common_spelling(written: str, at: int | None) -> None:
    """RFC 3339 text, seconds, milliseconds, and either as digits."""
    assert _parsed(b'{"type":"a.b","timestamp":%b,"data":{}}' % written.encode()).at == at


def test_an_id_may_be_a_whole_number() -> None:
    """It is kept as its decimal text."""
    assert _parsed(b'{"id":17,"type":"a.b","data":{}}').id == "17"


@pytest.mark.parametrize("raw", GOOD)
def test_white_space_and_the_order_of_keys_mean_nothing(raw: bytes) -> None:
    """The quick way and the careful way of reading agree."""
    tree = json.loads(raw)
    turned = dict(reversed(tree.items()))
    expected = _plain(_parsed(msgspec.json.encode(tree), "user.created"))

    for text in (
        json.dumps(tree),
        json.dumps(tree, indent=1),
        json.dumps(turned),
        msgspec.json.encode(turned).decode(),
    ):
        assert _plain(_parsed(text.encode(), "user.created")) == expected


# --- many events ------------------------------------------------------------------------------------------


def test_a_list_is_understood_event_by_event() -> None:
    """One bad event does not take the others with it."""
    first, bad, last = parse_batch(b"[" + OURS + b",7," + SEED_000 + b"]")  # type: ignore[misc]  # it is a list
    assert isinstance(first, Incoming)
    assert bad == Unreadable("it is not an object")
    assert isinstance(last, Incoming)


def test_one_event_is_a_batch_of_one() -> None:
    """Whether or not anything stands before it."""
    (one,) = parse_batch(b" \n" + OURS)  # type: ignore[misc]  # it is a list
    assert isinstance(one, Incoming)


@pytest.mark.parametrize("raw", [b"[]", b"[{},{},{}]"])
def test_a_list_of_the_wrong_size_is_refused_whole(raw: bytes) -> None:
    """Nothing of it is looked at."""
    assert parse_batch(raw, Limits(batch_max=2)) == Unreadable("it does not hold 1 to 2 events")


@pytest.mark.parametrize("raw", [b"[", b"[{}", b"[{},]", b"[" * 100_000, b"[\xff]", b"[{}]]"])
def test_a_broken_list_is_refused_whole(raw: bytes) -> None:
    """Its parts cannot be told apart."""
    assert isinstance(split_batch(raw), Unreadable)


# --- types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "meaning"),
    [
        ("user.created", ("user", Op.CREATED)),
        ("user.updated", ("user", Op.UPDATED)),
        ("user.banned", ("user", Op.UPDATED)),
        ("user.unbanned", ("user", Op.UPDATED)),
        ("user.deleted", ("user", Op.DELETED)),
        ("session.created", ("session", Op.CREATED)),
        ("session.revoked", ("session", Op.DELETED)),
        ("organization.updated", ("organization", Op.UPDATED)),
        ("organizationMembership.deleted", ("organizationMembership", Op.DELETED)),
        ("oauth_client.created", ("oauth_client", Op.CREATED)),
        ("oauth_client.rotated", ("oauth_client", Op.UPDATED)),
        ("oauth_client.deleted", ("oauth_client", Op.DELETED)),
        ("api_key.updated", ("api_key", Op.UPDATED)),
        ("api_key.revoked", ("api_key", Op.DELETED)),
        ("user", None),
        ("user.", None),
        ("user.created.again", None),
        ("user.revoked", None),
        ("User.created", None),
        ("order.created", None),
        ("seen.seen", None),
        ("", None),
    ],
)
def test_a_type_names_an_identity_or_is_custom(event_type: str, meaning: tuple[str, Op] | None) -> None:
    """MISSION R10, and nothing that only looks like it."""
    assert kind_and_op(event_type) == meaning
