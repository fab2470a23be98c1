"""Health, readiness, metrics and the page: for whoever runs the service, without a key, without a person's name."""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from idsync.api.views import HealthView, ReadyView
from idsync.app import LoopHealth
from idsync.model.plan import LaneRow, Plan
from idsync.model.values import Instant, Subject, instant_text
from idsync.ports import ParkedFilter
from idsync.telemetry import Counters
from idsync.testing.wait import until
from tests.unit.api.conftest import Line


@pytest.fixture
async def stranger(line: Line) -> httpx.AsyncClient:
    """A client without a key."""
    client = line.client()
    del client.headers["authorization"]
    return client


async def test_health_shows_every_loop(stranger: httpx.AsyncClient) -> None:
    """All run: 200."""
    answer = await stranger.get("/healthz")
    health = msgspec.json.decode(answer.content, type=HealthView)
    assert (answer.status_code, health.status) == (200, "ok")
    assert "ingest" in {one.name for one in health.loops}


async def test_health_fails_with_a_dead_loop(line: Line, stranger: httpx.AsyncClient) -> None:
    """One dead loop is enough to be started again."""
    line.app.health = lambda: [LoopHealth("a", is_alive=True), LoopHealth("b", is_alive=False, detail="stopped")]
    answer = await stranger.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "failing")


async def test_service_is_ready_only_while_it_runs(line: Line, stranger: httpx.AsyncClient) -> None:
    """Not before its start, nor once it stops."""
    statuses = []
    for is_ready in (True, False):
        line.app.is_ready = is_ready
        answer = await stranger.get("/readyz")
        msgspec.json.decode(answer.content, type=ReadyView)
        statuses.append(answer.status_code)
    assert statuses == [200, 503]


async def read_metrics(client: httpx.AsyncClient) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read the metrics as Prometheus does."""
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


async def test_metrics_are_read_by_prometheus(line: Line, stranger: httpx.AsyncClient) -> None:
    """Counters, histograms and counts of the store, with named labels."""
    await line.person(1)
    line.app.counters.observe("idsync_delivery_seconds", "endpoint:audit", 0.02)
    line.app.counters.add("idsync_deliveries_total", "endpoint:audit:delivered", 2)
    line.app.counters.put("idsync_lag", 'a"b\\c\nd', 1.5)
    found = await read_metrics(stranger)
    assert found["idsync_events_total", (("verdict", "applied"),)] == 1
    assert found["idsync_deliveries_total", (("destination", "endpoint:audit"), ("outcome", "delivered"))] == 2
    assert found["idsync_delivery_seconds_bucket", (("destination", "endpoint:audit"), ("le", "0.025"))] == 1
    assert found["idsync_delivery_seconds_bucket", (("destination", "endpoint:audit"), ("le", "+Inf"))] == 1
    assert found["idsync_delivery_seconds_count", (("destination", "endpoint:audit"),)] == 1
    assert found["idsync_lag", (("label", 'a"b\\c\nd'),)] == 1.5
    assert found["idsync_store_entities", ()] == 1


async def test_metrics_of_a_fresh_service_are_read_too(line: Line, stranger: httpx.AsyncClient) -> None:
    """Nothing was counted yet."""
    line.app.counters = Counters()
    assert (await read_metrics(stranger))["idsync_store_inbox", ()] == 0


async def test_metrics_show_no_person(line: Line, stranger: httpx.AsyncClient) -> None:
    """Labels are names of the configuration, never of people."""
    await line.person(1, name="Ada")
    text = (await stranger.get("/metrics")).text
    assert "example.com" not in text
    assert "Ada" not in text


async def test_store_is_not_counted_anew_for_every_scrape(
    line: Line, stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may scrape, so scraping must not cost a count of the store each time."""
    asked = 0
    count = line.app.store.stats

    async def stats() -> object:
        nonlocal asked
        asked += 1
        return await count()

    monkeypatch.setattr(line.app.store, "stats", stats)
    monkeypatch.setattr(line.app.clock, "monotonic", lambda: 100.0)
    for _ in range(5):
        await stranger.get("/metrics")
    assert asked == 1


async def test_page_needs_nothing_from_outside_and_allows_nothing_but_itself(stranger: httpx.AsyncClient) -> None:
    """The policy names the hashes of its own style and script, and no other source."""
    answer = await stranger.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.findall(r"(?:src|href)=\"(?!/)", answer.text)
    assert "http" not in answer.text.replace("<!doctype html>", "")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")


async def test_metrics_show_how_each_endpoint_does(line: Line, stranger: httpx.AsyncClient) -> None:
    """Its breaker, its pause, why deliveries wait and since when, and why tries failed."""
    line.app.counters.add("idsync_delivery_errors_total", "endpoint:audit:http_5xx", 3)
    line.app.counters.observe("idsync_delivery_phase_seconds", "dns", 0.02)
    later = instant_text(Instant(line.app.clock.now() + 86_400_000))
    await line.publish(id="later", type="order.paid", not_before=later, data={})

    async def is_parked() -> bool:
        return bool(await line.app.store.parked(ParkedFilter(destination="endpoint:audit"), 1))

    await until(is_parked)
    found = await read_metrics(stranger)
    audit = ("destination", "endpoint:audit")
    states = {state: found["idsync_endpoint_breaker", (audit, ("state", state))] for state in ("closed", "open")}
    assert states == {"closed": 1, "open": 0}
    assert found["idsync_endpoint_enabled", (audit,)] == 1
    assert found["idsync_endpoint_throttled_seconds", (audit,)] == 0
    assert found["idsync_endpoint_failing_seconds", (audit,)] == 0
    assert found["idsync_parked_by_reason", (audit, ("reason", "not_before"))] == 1
    assert found["idsync_oldest_undelivered_seconds", (audit,)] >= 0
    assert found["idsync_delivery_errors_total", (audit, ("error", "http_5xx"))] == 3
    assert found["idsync_delivery_phase_seconds_count", (("phase", "dns"),)] == 1


async def test_what_waits_in_a_lane_makes_the_oldest_delivery_older(
    line: Line, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    """An endpoint that is disabled with something queued: nothing is parked, and yet it waits."""
    app, ago_ms = line.app, 3_600_000
    await client.post("/v1/endpoints", json={"name": "off", "url": "http://127.0.0.1:1/", "events": ["x"]})
    await client.post("/v1/endpoints/off/disable")
    lane = next(one.id for one in app.lanes if one.destination == "endpoint:off")
    at = Instant(app.clock.now() - ago_ms)
    await app.store.commit(Plan(epoch=app.epoch, at=at, deliveries=(LaneRow(lane, Subject("order/1"), 0),)))
    off = ("destination", "endpoint:off")
    found = await read_metrics(stranger)
    assert ("idsync_store_parked", (off,)) not in found
    assert ago_ms / 1000 <= found["idsync_oldest_undelivered_seconds", (off,)] < ago_ms / 1000 + 60
    health = (await client.get("/v1/endpoints/off")).json()["health"]
    assert (health["queued"], health["oldest_at"]) == (1, instant_text(at))
    assert (await client.get("/v1/endpoints/audit")).json()["health"]["oldest_at"] is None
