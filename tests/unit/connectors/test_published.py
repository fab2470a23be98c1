"""Events that are published by the API: a peer's word, or passed on."""

import json
from collections.abc import Mapping

import pytest

from idsync.connectors.webhook import fan_out_arrival, observation_arrival
from idsync.model.event import Arrival
from idsync.model.values import ExternalId, PeerName
from idsync.wire.envelope import Incoming, Unreadable, parse
from tests.unit.connectors.posts import CUSTOM, NOON, NOW, new_ids

# --- published events ------------------------------------------------------------------------------------------

PUBLISHER = PeerName("api:main")


def _incoming(body: Mapping[str, object]) -> Incoming:
    incoming = parse(json.dumps(body).encode())
    assert isinstance(incoming, Incoming)
    return incoming


def _published(body: Mapping[str, object], peer: str = "app") -> Arrival | Unreadable:
    new_id = new_ids().__next__
    return observation_arrival(_incoming(body), PeerName(peer), publisher=PUBLISHER, new_id=new_id, now=NOW)


def _fanned_out(body: Mapping[str, object]) -> Arrival | Unreadable:
    return fan_out_arrival(_incoming(body), PUBLISHER, new_ids().__next__, NOW)


def test_a_published_event_of_a_peer_is_the_peers_word() -> None:
    """The inbox knows it by who published it: a peer's own events have ids of their own."""
    body: Mapping[str, object] = {
        "id": "e_1", "type": "user.updated", "source": "app", "timestamp": 0, "version": 9,
        "data": {"id": 17, "name": "Ada"},
    }  # fmt: skip
    arrival = _published(body)

    assert isinstance(arrival, Arrival)
    assert (arrival.peer, arrival.id, arrival.subject) == (PUBLISHER, "e_1", "user/17")
    seen = arrival.observation
    assert seen is not None
    assert (seen.peer, seen.external_id, seen.fields) == (PeerName("app"), ExternalId("17"), {"name": "Ada"})
    assert (seen.version, seen.event_at, seen.event_id) == (None, 0, "e_1")


def test_a_published_event_without_an_id_gets_one() -> None:
    """So that nothing is suppressed by accident."""
    arrival = _published({"type": "user.deleted", "data": {"id": "u_1"}})
    assert isinstance(arrival, Arrival)
    assert arrival.id == "new-1"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"type": "order.paid", "data": {}}, "its type speaks of no identity: it can only be passed on"),
        ({"type": "user.updated", "data": {}}, "no_id: it names no id of 1 to 256 printable characters"),
        (
            {"type": "user.updated", "data": {"id": "u_1", "banned": "SECRET"}},
            "unfit: banned: it is neither true nor false",
        ),
    ],
)
def test_a_published_event_that_cannot_be_used_is_refused(body: Mapping[str, object], why: str) -> None:
    """Its publisher is there to be told."""
    assert _published(body) == Unreadable(why)


def test_an_event_of_no_peer_is_passed_on() -> None:
    """With its own source, or its publisher's name."""
    with_source, without = (
        _fanned_out({"id": "e_1", "type": "user.updated", "source": "crm", "data": {}}),
        _fanned_out(CUSTOM),
    )

    assert isinstance(with_source, Arrival)
    assert isinstance(without, Arrival)
    assert with_source.event is not None
    assert without.event is not None
    assert (with_source.peer, with_source.id, with_source.event.id) == (PUBLISHER, "e_1", "e_1")
    assert (with_source.event.source, with_source.event.timestamp) == ("crm", NOON)
    assert (without.id, without.event.id, without.event.source) == ("new-1", "new-1", "api:main")


def test_a_published_id_that_webhooks_cannot_sign_is_refused() -> None:
    """It would stand for ever in the way of its own delivery."""
    assert _fanned_out(CUSTOM | {"id": "order.7"}) == Unreadable("its id holds a full stop, which webhooks cannot sign")
