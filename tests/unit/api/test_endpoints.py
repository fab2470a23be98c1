"""Endpoints over HTTP: the definition of the configuration as JSON, changed while the service runs."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from idsync.testing.sink import Answer, Sink, open_sink
from idsync.testing.wait import until
from tests.unit.api.conftest import SECRET, Line, problem_of

SHOP = {"name": "shop", "url": "http://127.0.0.1:1/hook?token=t0k3n", "headers": {"x-key": "v4lu3"}}
ALL = {"url": "http://127.0.0.1:1/hook", "events": ["order.*"]}


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A real server that answers 200."""
    async with open_sink() as sink:
        yield sink


async def make(client: httpx.AsyncClient, **parts: Any) -> dict[str, Any]:  # noqa: ANN401  # any definition
    """Make an endpoint and give what is answered."""
    answer = await client.post("/v1/endpoints", json=SHOP | parts)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_an_endpoint_is_made_and_its_secret_shown_once(client: httpx.AsyncClient) -> None:
    """Nobody reads it again: neither the secret nor what its address and headers hold."""
    answer = await client.post("/v1/endpoints", json=SHOP)
    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/endpoints/shop")
    assert made["secret"].startswith("whsec_")
    shown = await client.get("/v1/endpoints/shop")
    assert shown.headers["etag"] == answer.headers["etag"] == f'"{made["endpoint"]["rev"]}"'
    assert shown.json()["has_secret"] is True
    for text in ((await client.get("/v1/endpoints")).text, shown.text):
        assert all(secret not in text for secret in (made["secret"], "t0k3n", "v4lu3", SECRET))
    assert shown.json()["definition"]["headers"] == {"x-key": "***"}


async def test_what_is_shown_may_be_sent_back(line: Line, client: httpx.AsyncClient) -> None:
    """What was masked stays as it is."""
    await make(client)
    shown = (await client.get("/v1/endpoints/shop")).json()["definition"]
    answer = await client.put("/v1/endpoints/shop", json=shown | {"description": "the shop"})
    assert answer.status_code == 200, answer.text
    wired = line.app.endpoints.wired("shop")
    assert wired is not None
    assert (wired.url, wired.headers) == (SHOP["url"], (("x-key", "v4lu3"),))
    assert answer.json()["definition"]["description"] == "the shop"


async def test_parts_are_changed_and_null_is_back_to_the_default(client: httpx.AsyncClient) -> None:
    """JSON merge patch (RFC 7396)."""
    await make(client, events=["order.*"], timeout_s=5)
    changed = await client.patch("/v1/endpoints/shop", json={"events": ["user.*"], "timeout_s": None})
    definition = changed.json()["definition"]
    assert (definition["events"], definition["timeout_s"], definition["headers"]) == (
        ["user.*"],
        None,
        {"x-key": "***"},
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_change_of_what_somebody_else_has_changed_is_refused(client: httpx.AsyncClient, method: str) -> None:
    """`If-Match` holds what was read; the answer's ETag says what is there."""
    rev = (await make(client))["endpoint"]["rev"]
    await client.patch("/v1/endpoints/shop", json={"description": "theirs"})
    body = None if method == "DELETE" else ALL
    stale = await client.request(method, "/v1/endpoints/shop", json=body, headers={"if-match": f'"{rev}"'})
    assert (stale.status_code, problem_of(stale)) == (412, "changed")
    fresh = await client.request(method, "/v1/endpoints/shop", json=body, headers={"if-match": stale.headers["etag"]})
    assert fresh.status_code in {200, 204}


@pytest.mark.parametrize("etag", ["1", '""', 'W/"1"', '"x"', '"1', '"1","2"', '"' + "9" * 20 + '"'])
async def test_an_if_match_that_is_none_of_ours_is_refused(client: httpx.AsyncClient, etag: str) -> None:
    """It is never taken for any."""
    await make(client)
    refused = await client.delete("/v1/endpoints/shop", headers={"if-match": etag})
    assert (refused.status_code, problem_of(refused)) == (400, "bad-header")


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"name": "No Name"}, "name"),
        ({"name": 5}, "name"),
        ({"url": "gopher://x"}, "url"),
        ({"url": None}, "url"),
        ({"events": ["user.**"]}, "events"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"rate": {"burst": 0}}, "rate.burst"),
        ({"nonsense": 1}, "nonsense"),
        ({"secret": "env:HOME"}, "secret"),
        ({"headers": {"x": "file:/etc/passwd"}}, "headers"),
    ],
)
async def test_every_field_is_validated_and_named(client: httpx.AsyncClient, parts: dict[str, Any], field: str) -> None:
    """As the configuration is; and nothing is read from the machine for a stranger."""
    refused = await client.post("/v1/endpoints", json=SHOP | parts)
    assert (refused.status_code, problem_of(refused)) == (422, "invalid-body")
    assert field in refused.json()["detail"]


async def test_a_name_is_taken_once(client: httpx.AsyncClient) -> None:
    """And one that nobody gave is made."""
    await make(client)
    taken = await client.post("/v1/endpoints", json=SHOP)
    assert (taken.status_code, problem_of(taken)) == (409, "taken")
    nameless = await client.post("/v1/endpoints", json=ALL)
    assert nameless.json()["endpoint"]["name"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", ALL),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/disable", None),
        ("POST", "/rotate-secret", None),
    ],
)
async def test_endpoints_of_the_configuration_are_changed_there(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """Here they can only be looked at, tested, and enabled again."""
    refused = await client.request(method, f"/v1/endpoints/audit{path}", json=body)
    assert (refused.status_code, problem_of(refused)) == (409, "read-only")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/enable"),
        ("POST", "/disable"),
        ("POST", "/rotate-secret"),
        ("POST", "/test"),
        ("GET", "/health"),
        ("GET", "/attempts"),
        ("GET", "/filters"),
    ],
)
async def test_an_endpoint_that_is_not_there_is_not_found(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Whatever is asked of it."""
    body = ALL if method in {"PUT", "PATCH"} else None
    answer = await client.request(method, f"/v1/endpoints/nobody{path}", json=body)
    assert (answer.status_code, problem_of(answer)) == (404, "not-found")


async def test_a_test_event_is_signed_and_its_answer_told(client: httpx.AsyncClient, sink: Sink) -> None:
    """The official verifier accepts it; the answer's status and time come back."""
    secret = (await make(client, url=f"{sink.url}/hook"))["secret"]
    told = await client.post("/v1/endpoints/shop/test")
    (received,) = await sink.received(1)
    event = Webhook(secret).verify(received.body, dict(received.headers))
    assert (event["type"], event["id"]) == ("endpoint.test", told.json()["event_id"])
    assert (told.json()["is_delivered"], told.json()["status"], told.json()["error"]) == (True, 200, None)
    assert told.json()["latency_ms"] > 0


async def test_a_test_that_fails_says_how(client: httpx.AsyncClient, sink: Sink) -> None:
    """A failure of the endpoint is none of the request."""
    sink.script(Answer(status=500, body=b"broken"))
    await make(client, url=f"{sink.url}/hook")
    told = (await client.post("/v1/endpoints/shop/test")).json()
    assert (told["is_delivered"], told["status"], told["error"], told["response"]) == (False, 500, "http_500", "broken")
    await client.patch("/v1/endpoints/shop", json={"url": "http://127.0.0.1:1/"})
    told = (await client.post("/v1/endpoints/shop/test")).json()
    assert (told["status"], told["error"], told["response"]) == (None, "connect", "")


async def test_a_rotated_secret_signs_beside_the_old_one(client: httpx.AsyncClient, sink: Sink) -> None:
    """Receivers know the one or the other."""
    first = (await make(client, url=f"{sink.url}/hook"))["secret"]
    rotated = await client.post("/v1/endpoints/shop/rotate-secret")
    assert rotated.json()["endpoint"]["secrets"] == 2
    await client.post("/v1/endpoints/shop/test")
    (received,) = await sink.received(1)
    for secret in (first, rotated.json()["secret"]):
        Webhook(secret).verify(received.body, dict(received.headers))
    refused = await client.post("/v1/endpoints/shop/rotate-secret", json={"overlap_s": -1})
    assert (refused.status_code, problem_of(refused)) == (422, "invalid-body")


async def test_disabling_and_enabling_leave_a_dated_trace(client: httpx.AsyncClient) -> None:
    """What it was to get when answers what it missed."""
    await make(client, events=["order.*"])
    off = await client.post("/v1/endpoints/shop/disable")
    assert (off.json()["enabled"], off.json()["disabled_reason"]) == (False, "operator")
    assert (await client.post("/v1/endpoints/shop/enable")).json()["enabled"] is True
    spans = (await client.get("/v1/endpoints/shop/filters")).json()["items"]
    assert [span["enabled"] for span in spans] == [True, False, True]
    assert [span["until"] for span in spans[:-1]] == [span["since"] for span in spans[1:]]
    assert spans[-1]["until"] is None


async def test_what_a_new_endpoint_gets_is_shown_with_every_try(
    line: Line, client: httpx.AsyncClient, sink: Sink
) -> None:
    """It is delivered to at once; its tries have status, phases and the capped body."""
    await make(client, url=f"{sink.url}/hook", events=["order.*"])
    await line.publish(id="paid-1", type="order.paid", subject="order/1", data={})
    await sink.received(1)

    async def tries() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get("/v1/endpoints/shop/attempts")).json()["items"]
        return found

    await until(tries)
    (one,) = await tries()
    assert (one["outcome"], one["status"], one["subject"], one["number"]) == ("delivered", 200, "order/1", 1)
    phases = one["phases"]
    assert phases["connect_ms"] > 0
    assert phases["wait_ms"] > 0
    assert sum(phases.values()) <= one["latency_ms"] + 1
    health = (await client.get("/v1/endpoints/shop/health")).json()
    assert (health["breaker"], health["failing_since"], health["dead"]) == ("closed", None, 0)
    stats = (await client.get("/v1/stats")).json()
    assert stats["endpoints"]["shop"]["successful"] == 1
    assert stats["endpoints"]["shop"]["latency_ms"] > 0
    assert stats["total_deliveries"] == stats["successful_deliveries"] + stats["failed_deliveries"]


async def test_a_removed_endpoint_is_gone(client: httpx.AsyncClient) -> None:
    """Its name is free soon after."""
    await make(client)
    assert (await client.delete("/v1/endpoints/shop")).status_code == 204
    assert (await client.get("/v1/endpoints/shop")).status_code == 404

    async def is_free() -> bool:
        return (await client.post("/v1/endpoints", json=SHOP)).status_code == 201

    await until(is_free)
