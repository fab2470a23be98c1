"""`POST /receive/{peer}`: proved first, understood then, durable before the answer."""

import json

import httpx
import pytest

from idsync.wire.signing import PUBLIC_ERROR
from tests.unit.api.conftest import Line, problem_of, signed

BODY = json.dumps({"type": "user.created", "data": {"id": "u1", "email": "a@example.com"}}).encode()


async def post(line: Line, body: bytes, headers: dict[str, str], peer: str = "crm") -> httpx.Response:
    """Post a webhook as a peer does: without an API key."""
    async with line.client() as client:
        del client.headers["authorization"]
        return await client.post(f"/receive/{peer}", content=body, headers=headers)


async def test_signed_webhook_is_taken(line: Line) -> None:
    """No API key is asked for: the signature is the proof."""
    answer = await post(line, BODY, signed(BODY, event_id="msg_1", at=line.app.clock.now()))
    assert answer.status_code == 202
    assert (answer.json()["id"], answer.json()["verdict"]) == ("msg_1", "applied")


async def test_repeated_webhook_is_a_duplicate(line: Line) -> None:
    """Whoever did not hear our answer may send again."""
    headers = signed(BODY, event_id="msg_1", at=line.app.clock.now())
    answers = [await post(line, BODY, headers) for _ in range(2)]
    assert [(one.status_code, one.json()["verdict"]) for one in answers] == [(202, "applied"), (200, "duplicate")]


@pytest.mark.parametrize("change", ["body", "id", "missing", "old", "future", "secret"])
async def test_every_wrong_signature_is_refused_with_the_same_words(line: Line, change: str) -> None:
    """A reason would help whoever is guessing; nothing of it is stored."""
    at = line.app.clock.now()
    body = BODY + b" " if change == "body" else BODY
    shift_ms = {"old": -301_000, "future": 301_000}.get(change, 0)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx" if change == "secret" else None
    when = type(at)(at + shift_ms)
    headers = signed(BODY, event_id="msg_1", at=when, **({"secret": secret} if secret else {}))
    if change == "id":
        headers["webhook-id"] = "msg_2"
    if change == "missing":
        del headers["webhook-signature"]
    answer = await post(line, body, headers)
    assert (answer.status_code, problem_of(answer)) == (401, "bad-signature")
    assert answer.json()["detail"] == PUBLIC_ERROR
    assert await line.app.store.recent(0, 1) == []


@pytest.mark.parametrize("peer", ["nobody", "", "crm/", "CRM", "crm/%2e%2e", "%63%72%6D%00"])
async def test_peer_that_sends_no_webhooks_is_not_found(line: Line, peer: str) -> None:
    """A name that is not configured is no door."""
    answer = await post(line, BODY, signed(BODY, event_id="msg_1", at=line.app.clock.now()), peer)
    assert (answer.status_code, problem_of(answer)) == (404, "not-found")


async def test_webhook_that_cannot_be_understood_is_parked_and_taken(line: Line) -> None:
    """The sender did its part: what it sent is kept where operators see it."""
    body = b"what is this"
    answer = await post(line, body, signed(body, event_id="msg_1", at=line.app.clock.now()))
    assert (answer.status_code, answer.json()["verdict"]) == (202, "parked")
    (waiting,) = await line.app.store.waits(0, 10)
    assert waiting.id == "msg_1"


async def test_list_in_a_webhook_is_answered_with_a_list(line: Line) -> None:
    """Every event of it has its own receipt."""
    body = b'[{"type": "order.paid"}, {"type": "order.sent"}]'
    answer = await post(line, body, signed(body, event_id="msg_1", at=line.app.clock.now()))
    assert [one["verdict"] for one in answer.json()] == ["applied", "applied"]


async def test_webhook_beyond_the_limit_is_refused_unread(line: Line) -> None:
    """A stranger can make us keep at most one body."""
    answer = await post(line, b" " * 1_048_577, {})
    assert (answer.status_code, problem_of(answer)) == (413, "too-large")


async def test_refusals_are_counted_by_peer_and_reason(line: Line) -> None:
    """Operators see the reason that the sender is not told."""
    await post(line, BODY, {})
    assert line.app.counters.counts["idsync_webhooks_refused_total", "crm:missing_header"] == 1


async def test_other_method_is_refused(line: Line) -> None:
    """A webhook is posted."""
    async with line.client() as client:
        answer = await client.get("/receive/crm")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert problem_of(answer) == "method-not-allowed"
