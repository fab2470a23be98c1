"""Events that went out: listed, read, explained at every endpoint, replayed; not before their time."""

from typing import Any

import httpx
import pytest

from idsync.api.operations import pages
from idsync.config import parse_settings
from idsync.model.values import Instant, instant_text
from idsync.testing.sink import Answer, open_sink
from idsync.testing.wait import until
from tests.unit.api.conftest import CONFIG, Line, OpenLine, problem_of, run_line

DAY_MS = 86_400_000


async def why(client: httpx.AsyncClient, event: str) -> dict[str, dict[str, Any]]:
    """Give what became of an event, by endpoint."""
    answer = await client.get(f"/v1/events/{event}/deliveries")
    assert answer.status_code == 200, answer.text
    return {one["endpoint"]: one for one in answer.json()["items"]}


async def test_events_are_listed_by_type_subject_and_time(line: Line, client: httpx.AsyncClient) -> None:
    """Page by page, each once, in the order in which they came."""
    for number in range(7):
        kind = "order.paid" if number % 2 else "order.sent"
        await line.publish(id=f"e{number}", type=kind, subject=f"order/{number % 3}", data={})
    seen: list[str] = []
    query = {"limit": "2", "types": "order.*"}
    while query.get("after", "0"):
        page = (await client.get("/v1/events", params=query)).json()
        seen += [one["id"] for one in page["items"]]
        query["after"] = page["next"] or ""
    assert seen == [f"e{number}" for number in range(7)]

    async def ids(**query: str) -> list[str]:
        return [one["id"] for one in (await client.get("/v1/events", params=query)).json()["items"]]

    assert await ids(types="order.*,!order.sent") == ["e1", "e3", "e5"]
    assert await ids(subject="order/1") == ["e1", "e4"]
    assert await ids(since="2999-01-01T00:00:00Z") == []
    assert await ids(until="2999-01-01T00:00:00Z", types="order.sent", subject="order/0") == ["e0", "e6"]


@pytest.mark.parametrize(
    "query", [{"since": "2026-02-30T00:00:00Z"}, {"since": "now"}, {"types": "a b"}, {"after": "x"}]
)
async def test_a_list_of_nonsense_is_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    """By the name of the parameter."""
    refused = await client.get("/v1/events", params=query)
    assert refused.status_code == 400
    problem_of(refused)


async def test_an_event_is_found_by_its_seq_by_our_id_and_by_its_publisher_s(
    line: Line, client: httpx.AsyncClient
) -> None:
    """However it is called, it is the same, with its body."""
    receipt = (await line.publish(type="order.paid", subject="order/9", data={"total": 5})).json()
    await line.publish(id="mine", type="order.paid", data={})
    found = (await client.get(f"/v1/events/{receipt['id']}")).json()
    assert (found["subject"], found["body"]["data"]) == ("order/9", {"total": 5})
    assert (await client.get(f"/v1/events/{found['seq']}")).json() == found
    assert (await client.get("/v1/events/mine")).json()["id"] == "mine"
    for unknown in ("nobody", "999999", "018f0000-0000-7000-8000-000000000000", "9" * 300):
        answer = await client.get(f"/v1/events/{unknown}")
        assert (answer.status_code, problem_of(answer)) == (404, "not-found")


async def test_an_event_is_found_by_its_publisher_s_id_however_old_it_is(
    line: Line, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is the key of its row: nothing is looked through."""
    monkeypatch.setattr(pages, "SCAN_MAX", 0)
    await line.publish(id="mine", type="order.paid", data={})
    assert (await client.get("/v1/events/mine")).json()["id"] == "mine"
    assert (await client.get("/v1/events/mine/deliveries")).status_code == 200
    assert (await client.get("/v1/deliveries", params={"event": "mine"})).status_code == 200


async def test_why_has_an_answer_for_every_endpoint(line: Line, client: httpx.AsyncClient) -> None:
    """Dead, unmatched, disabled, queued to nobody yet: each says so, and whether a replay can bring it."""
    made = {"url": "http://127.0.0.1:1/", "events": ["order.*"]}
    await client.post("/v1/endpoints", json=made | {"name": "off"})
    await client.post("/v1/endpoints/off/disable")
    await client.post("/v1/endpoints", json=made | {"name": "users", "events": ["user.*"]})
    await client.post("/v1/endpoints", json=made | {"name": "operator", "operational": True, "events": ["*"]})
    await line.publish(id="paid", type="order.paid", subject="order/1", data={})
    await client.post("/v1/endpoints", json=made | {"name": "late"})

    async def is_dead() -> bool:
        return bool((await why(client, "paid"))["audit"]["state"] == "dead")

    await until(is_dead)
    told = await why(client, "paid")
    assert {name: (one["state"], one["reason"], one["is_replayable"]) for name, one in told.items()} == {
        "audit": ("dead", "connect", True),
        "late": ("not_created_yet", None, True),
        "off": ("skipped", "disabled_operator", True),
        "operator": ("unmatched", "operational", False),
        "users": ("unmatched", "events", False),
    }
    assert told["audit"]["attempts"] == 1
    assert told["users"]["filters"] == ["user.*"]
    assert all(one["explanation"].endswith(".") for one in told.values())
    tries = (await client.get("/v1/events/paid/attempts")).json()["items"]
    assert [(one["destination"], one["outcome"], one["error"]) for one in tries] == [
        ("endpoint:audit", "failed", "connect")
    ]
    one = (await client.get("/v1/events/paid/deliveries", params={"endpoint": "late"})).json()["items"]
    assert [item["endpoint"] for item in one] == ["late"]
    missing = await client.get("/v1/events/paid/deliveries", params={"endpoint": "nobody"})
    assert (missing.status_code, problem_of(missing)) == (404, "not-found")


async def test_why_an_operational_endpoint_has_not_heard_that_it_was_made_or_enabled(client: httpx.AsyncClient) -> None:
    """It was not there yet, or disabled still, though both are of the same millisecond."""
    made = {"name": "operator", "url": "http://127.0.0.1:1/", "operational": True, "events": ["*"]}
    await client.post("/v1/endpoints", json=made)
    (event,) = (await client.get("/v1/events", params={"types": "endpoint.created"})).json()["items"]
    told = await why(client, event["id"])
    assert {name: one["state"] for name, one in told.items()} == {"audit": "unmatched", "operator": "not_created_yet"}
    await client.post("/v1/endpoints/operator/disable")
    await client.post("/v1/endpoints/operator/enable")
    (event,) = (await client.get("/v1/events", params={"types": "endpoint.enabled"})).json()["items"]
    told = await why(client, event["id"])
    assert (told["operator"]["state"], told["operator"]["reason"]) == ("skipped", "disabled_operator")


@pytest.mark.parametrize("batch", [{}, {"endpoints__audit__batch__linger_ms": 0}], ids=["alone", "in a batch"])
async def test_a_delivery_whose_request_is_under_way_is_being_sent(open_line: OpenLine, batch: dict[str, int]) -> None:
    """Only that one: the next of its subject is queued still; and once it is answered it is delivered."""
    async with open_sink(Answer(raw=b"")) as sink:
        line = await open_line(endpoints__audit__url=f"{sink.url}/", endpoints__audit__timeout_s=1.0, **batch)
        async with line.client() as client:
            await line.publish(id="first", type="order.paid", subject="order/1", data={})
            await sink.received(1)
            await line.publish(id="second", type="order.paid", subject="order/1", data={})
            told = (await why(client, "first"))["audit"]
            assert (told["state"], told["reason"], told["attempts"]) == ("sending", None, 0)
            assert told["explanation"] == "A request with it is under way: try 1."
            assert (await why(client, "second"))["audit"]["state"] == "queued"
            listed = (await client.get("/v1/deliveries", params={"event": "first"})).json()["items"]
            assert [one["state"] for one in listed] == ["sending"]

            async def is_over() -> bool:
                return bool((await why(client, "second"))["audit"]["state"] == "delivered")

            await until(is_over)
            assert (await why(client, "first"))["audit"]["state"] == "dead"


async def test_of_what_another_process_sends_nothing_false_is_told(postgres_url: str) -> None:
    """That it is queued is what the store says; that it may be under way is said with it."""
    async with open_sink(Answer(raw=b"")) as sink:
        flags: dict[str, object] = {"store.url": postgres_url, "endpoints.audit.url": f"{sink.url}/"}
        settings = parse_settings(CONFIG, flags=flags)
        async with run_line(settings) as line, run_line(settings, has_duties=False) as edge, edge.client() as client:
            await line.publish(id="first", type="order.paid", subject="order/1", data={})
            await sink.received(1)
            told = (await why(client, "first"))["audit"]
            assert (told["state"], told["reason"]) == ("queued", None)
            assert told["explanation"].endswith("or is being sent by another process.")
            async with line.client() as its:
                assert (await why(its, "first"))["audit"]["state"] == "sending"


async def test_what_was_missed_while_disabled_is_counted_then_replayed(
    line: Line, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run queues nothing and makes no job; the replay brings the event with its own id."""
    for module in ("app", "pipeline"):  # the last events of its window are not waited for so long
        monkeypatch.setattr(f"idsync.{module}.replay{'s' * (module == 'app')}.SLACK_MS", 200)
    async with open_sink() as sink:
        await client.post("/v1/endpoints", json={"name": "shop", "url": f"{sink.url}/", "events": ["order.*"]})
        await client.post("/v1/endpoints/shop/disable")
        await line.publish(id="missed", type="order.paid", subject="order/1", data={})
        await client.post("/v1/endpoints/shop/enable")
        asked = {"endpoint": "shop", "status": "missed"}
        counted = await client.post("/v1/replays", json=asked | {"dry_run": True})
        assert (counted.status_code, counted.json()["events"]) == (200, 1)
        assert (await client.get("/v1/replays")).json()["items"] == []
        started = await client.post("/v1/replays", json=asked)
        assert started.status_code == 201
        (received,) = await sink.received(1)
        assert received.header("webhook-id") == "missed"

        async def is_done() -> bool:
            return bool((await client.get(started.headers["location"])).json()["state"] == "done")

        await until(is_done)
    replay = (await client.get("/v1/replays")).json()["items"][0]
    assert (replay["id"], replay["queued"]) == (started.json()["id"], 1)
    ended = await client.delete(f"/v1/replays/{replay['id']}")
    assert (ended.status_code, ended.json()["state"]) == (200, "done")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"endpoint": "nobody"}, 404),
        ({"endpoint": "audit", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, 422),
        ({"endpoint": "audit", "since": "2026-02-30T00:00:00Z"}, 422),
        ({"endpoint": "audit", "rate_per_s": 0}, 422),
        ({"endpoint": "audit", "types": []}, 422),
        ({"endpoint": "audit", "status": "some"}, 422),
        ({}, 422),
    ],
)
async def test_a_replay_that_cannot_be_is_refused(client: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    """Dry or not."""
    for dry_run in (True, False):
        refused = await client.post("/v1/replays", json=body | {"dry_run": dry_run})
        assert refused.status_code == status
        problem_of(refused)


async def test_a_replay_that_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    """Nor can it be ended."""
    assert (await client.get("/v1/replays/x")).status_code == 404
    assert (await client.delete("/v1/replays/x")).status_code == 404


async def test_an_event_is_kept_back_until_its_time(line: Line, client: httpx.AsyncClient) -> None:
    """The answer to why it is not there yet is its publisher's wish."""
    at = instant_text(Instant(line.app.clock.now() + DAY_MS))
    receipt = await line.publish(id="later", type="order.paid", not_before=at, data={})
    assert receipt.status_code == 202
    assert (await client.get("/v1/events/later")).json()["not_before"] == at
    told = (await why(client, "later"))["audit"]
    assert told["reason"] == "not_before"
    assert "later" in told["explanation"]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "order.paid", "not_before": "2999-01-01T00:00:00Z"},
        {"type": "order.paid", "not_before": "soon"},
        {"type": "order.paid", "not_before": -1},
        {"type": "user.created", "source": "crm", "not_before": "2026-01-01T00:00:00Z", "data": {"id": "u1"}},
    ],
)
async def test_a_time_that_cannot_be_kept_is_refused(line: Line, event: dict[str, Any]) -> None:
    """Too far away, no time, or of an event that is merged."""
    refused = await line.publish(**event)
    assert (refused.status_code, problem_of(refused)) == (422, "invalid-body")
    assert "not_before" in refused.json()["detail"]


async def test_dead_deliveries_are_found_and_requeued_by_what_they_have(open_line: OpenLine) -> None:
    """Type, subject, reason and time narrow both the list and what is tried again."""
    async with open_sink(*[Answer(status=500)] * 2) as sink:
        line = await open_line(endpoints__audit__url=f"{sink.url}/")
        async with line.client() as client:
            await line.publish(type="order.paid", subject="order/1", data={})
            await line.publish(type="order.sent", subject="order/2", data={})

            async def dead(**query: str) -> list[str]:
                page = (await client.get("/v1/deliveries", params={"state": "dead", **query})).json()
                return [one["subject"] for one in page["items"]]

            async def are_dead() -> bool:
                return len(await dead()) == 2

            await until(are_dead)
            assert await dead(type="order.sent") == ["order/2"]
            assert await dead(subject="order/1", reason="http_500") == ["order/1"]
            assert await dead(reason="timeout") == []
            assert await dead(since="2999-01-01T00:00:00Z") == []
            asked = {"type": "order.sent", "until": "2999-01-01T00:00:00Z"}
            answer = await client.post("/v1/deliveries/requeue", json=asked)
            assert (answer.status_code, answer.json()["deliveries"]) == (202, 1)

            async def is_one_dead() -> bool:
                return await dead() == ["order/1"]

            await until(is_one_dead)
            nothing = await client.post("/v1/deliveries/requeue", json={"reason": "timeout"})
            assert nothing.json() == {"command": "0", "deliveries": 0, "is_complete": True}
            both = await client.post("/v1/deliveries/requeue", json={"reason": "timeout", "all": True})
            assert (both.status_code, problem_of(both)) == (422, "invalid-body")
