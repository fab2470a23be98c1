"""Webhooks as a peer sends them, and what becomes of them: for the tests of the webhook connector."""

import itertools
import json
from collections.abc import Iterator, Mapping

from idsync.connectors.webhook import WebhookMapping, WebhookPeer
from idsync.model.event import Arrival, Observation
from idsync.model.values import Instant, PeerName
from idsync.wire.dialects import DIALECTS
from idsync.wire.envelope import DEFAULT_LIMITS, Limits
from idsync.wire.signing import Part, Secret, Verified

NOW = Instant(1_767_268_800_000)
NOON = "2026-01-01T12:00:00.000Z"
URL = "https://sync.example.com/receive/auth"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AUTH = PeerName("auth")

EVERYTHING = Verified("msg_1", NOW, frozenset(Part))
BODY_ONLY = Verified(None, None, frozenset({Part.BODY}))
BODY_AND_TIME = Verified(None, NOW, frozenset({Part.BODY, Part.TIMESTAMP}))
NOTHING = Verified(None, None, frozenset())

STATE: dict[str, object] = {"type": "user.updated", "data": {"id": "u_1"}}
CUSTOM: dict[str, object] = {"type": "order.paid", "data": {"id": "o_1"}}

Headers = Mapping[str, str]
NO_HEADERS: Headers = {}


def make_peer(
    dialect: str = "standard",
    *,
    mapping: WebhookMapping | None = None,
    is_readable: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> WebhookPeer:
    """A peer called `auth` with one secret."""
    secret = DIALECTS[dialect].parse_secret(SECRET)
    assert isinstance(secret, Secret)
    return WebhookPeer(
        name=AUTH,
        dialect=DIALECTS[dialect],
        secrets=(secret,),
        mappings={} if mapping is None else {mapping.kind: mapping},
        url=URL,
        is_readable=is_readable,
        limits=limits,
    )


def new_ids() -> Iterator[str]:
    """Fresh ids that a test can tell: `new-1`, `new-2`."""
    return (f"new-{number}" for number in itertools.count(1))


def receive_all(
    body: object,
    verified: Verified = EVERYTHING,
    headers: Headers = NO_HEADERS,
    peer: WebhookPeer | None = None,
) -> list[Arrival]:
    """What a verified request becomes. A body that is no bytes is written as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (peer or make_peer()).arrivals(headers, raw, verified, NOW, new_ids().__next__)


def receive(
    body: object,
    verified: Verified = EVERYTHING,
    headers: Headers = NO_HEADERS,
    peer: WebhookPeer | None = None,
) -> Arrival:
    """As `receive_all`, for a request of one event."""
    (arrival,) = receive_all(body, verified, headers, peer)
    return arrival


def see(
    body: object,
    verified: Verified = EVERYTHING,
    headers: Headers = NO_HEADERS,
    peer: WebhookPeer | None = None,
) -> Observation:
    """What a request of one event says of an identity."""
    arrival = receive(body, verified, headers, peer)
    assert arrival.observation is not None, arrival.refusal
    assert (arrival.event, arrival.refusal) == (None, None)
    return arrival.observation


def refusal_of(
    body: object,
    verified: Verified = EVERYTHING,
    headers: Headers = NO_HEADERS,
    peer: WebhookPeer | None = None,
) -> str:
    """Why a request of one event is parked."""
    arrival = receive(body, verified, headers, peer)
    assert (arrival.event, arrival.observation) == (None, None)
    assert arrival.refusal is not None
    return arrival.refusal
