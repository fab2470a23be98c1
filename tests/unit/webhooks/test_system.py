"""The system as its user sees it: registered, sent, delivered, counted, on a real store and over a real socket."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from idsync.errors import ConfigError
from idsync.testing.sink import Answer, Sink, open_sink
from idsync.testing.wait import until
from idsync.webhooks import (
    CircuitBreakerConfig,
    CircuitBreakerOpen,
    CircuitState,
    DeliveryFailed,
    EndpointNotFound,
    MemoryStorage,
    PostgresStorage,
    RateLimitExceeded,
    RetryStrategy,
    SerializationError,
    SqliteStorage,
    StorageError,
    WebhookEndpoint,
    WebhookError,
    WebhookMetrics,
    WebhookReceiver,
    WebhookStorage,
    WebhookSystem,
    WebhookSystemBuilder,
)

SECRET = "webhook_secret"
DATA = {"user_id": "123", "email": "user@example.com"}


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A receiver that answers 200, unless it is told otherwise."""
    async with open_sink() as opened:
        yield opened


def local() -> WebhookSystemBuilder:
    """A system that may deliver to this machine, and does not wait long before it tries again."""
    return (
        WebhookSystem.builder()
        .allow_networks("127.0.0.0/8")
        .retry_strategy(RetryStrategy(max_retries=2, initial_delay_ms=10, max_delay_ms=20))
    )


def endpoint(sink: Sink, id_: str = "endpoint_1", **others: object) -> WebhookEndpoint:
    """An endpoint for everything about users."""
    given: dict[str, object] = {"url": sink.url, "secret": SECRET, "events": ("user.*",), **others}
    return WebhookEndpoint(id=id_, **given)  # type: ignore[arg-type]  # each test gives what the field takes


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> WebhookStorage:
    """Each storage there is."""
    match request.param:
        case "memory":
            return MemoryStorage()
        case "sqlite":
            return SqliteStorage(tmp_path / "webhooks.db")
        case _:
            return PostgresStorage(request.getfixturevalue("postgres_url"))


async def test_webhook_arrives_as_the_seed_writes_it(storage: WebhookStorage, sink: Sink) -> None:
    """Its body, its signature and its headers; and the metrics have counted it."""
    async with local().build(storage) as system:
        assert await system.register_endpoint(endpoint(sink, headers={"X-Team": "crm"})) is None
        sent = await system.send_webhook("user.created", DATA)
        await system.send_webhook("order.paid", {"order": 1})
        await system.delivered(sent)
        (request,) = sink.requests
        webhook = WebhookReceiver(SECRET).receive(dict(request.headers), request.body)
        assert (webhook.id, webhook.event, webhook.data, webhook.version) == (sent.id, "user.created", DATA, "1.0")
        assert set(json.loads(request.body)) == {"id", "event", "timestamp", "data", "version"}
        assert request.header("x-team") == "crm"
        metrics = await system.get_metrics()
        assert metrics == WebhookMetrics(
            total_deliveries=1, successful_deliveries=1, avg_latency_ms=metrics.avg_latency_ms
        )
        assert metrics.avg_latency_ms > 0


async def test_failed_delivery_is_tried_again_until_it_is_taken(sink: Sink) -> None:
    """Max_retries tries after the first one, and the receiver sees the same id each time."""
    sink.script(Answer(status=500), Answer(status=500))
    async with local().build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        await system.delivered(await system.send_webhook("user.created", DATA))
        assert len({json.loads(one.body)["id"] for one in sink.requests}) == 1
        assert len(sink.requests) == 3


async def test_delivery_that_is_given_up_says_so(sink: Sink) -> None:
    """To whoever waits for it, and in the metrics."""
    sink.script(*[Answer(status=500)] * 3)
    async with local().build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        sent = await system.send_webhook("user.created", DATA)
        with pytest.raises(DeliveryFailed, match=r"endpoint_1 after 3 tries: http_500"):
            await system.delivered(sent)
        metrics = await system.get_metrics()
        assert (metrics.total_deliveries, metrics.failed_deliveries, metrics.pending_deliveries) == (1, 1, 0)


async def test_breaker_opens_and_says_why_a_webhook_waits(sink: Sink) -> None:
    """Nothing is given up meanwhile."""
    sink.script(*[Answer(status=500)] * 50)
    builder = local().circuit_breaker(CircuitBreakerConfig(failure_threshold=2))
    async with builder.build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        for number in range(3):
            await system.send_webhook("user.created", {"user_id": f"u{number}"})

        async def is_open() -> bool:
            return await system.circuit_state("endpoint_1") is CircuitState.OPEN

        await until(is_open)
        sent = await system.send_webhook("user.created", {"user_id": "late"})
        with pytest.raises(CircuitBreakerOpen, match="endpoint_1 rests"):
            await system.delivered(sent, within_s=0.1)


async def test_time_that_is_over_is_told(sink: Sink) -> None:
    """The webhook is still delivered, later."""
    sink.script(Answer(status=500))
    slow = RetryStrategy(initial_delay_ms=60_000)
    async with local().retry_strategy(slow).build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        sent = await system.send_webhook("user.created", DATA)
        with pytest.raises(TimeoutError, match=r"still under way to .*endpoint_1"):
            await system.delivered(sent, within_s=0.1)
        assert (await system.get_metrics()).pending_deliveries == 1


async def test_endpoint_that_asks_to_be_sent_less_is_told(sink: Sink) -> None:
    """Nothing more is sent to it until then, and nothing is given up."""
    sink.script(Answer(status=429, headers=(("Retry-After", "60"),)))
    async with local().retry_strategy(RetryStrategy()).build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        sent = await system.send_webhook("user.created", DATA)

        async def is_told() -> bool:
            try:
                await system.delivered(sent, within_s=0.05)
            except RateLimitExceeded as error:
                return "endpoint_1 asked to be sent less" in str(error)
            except TimeoutError:  # its answer is not on record yet
                return False
            return False

        await until(is_told)
        assert len(sink.requests) == 1


async def test_webhook_that_nobody_asked_for_is_delivered_to_nobody(sink: Sink) -> None:
    """Waiting for it ends at once."""
    async with local().build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        await system.delivered(await system.send_webhook("order.paid", {"order": 1}))
        assert sink.requests == []


async def test_second_webhook_of_an_id_is_not_sent(sink: Sink) -> None:
    """Whoever is not sure that the first was stored sends it again."""
    async with local().build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        first = await system.send_webhook("user.created", DATA, id_="webhook_1")
        second = await system.send_webhook("user.created", DATA, id_="webhook_1")
        assert (first.is_duplicate, second.is_duplicate) == (False, True)
        await system.delivered(first)
        assert len(sink.requests) == 1


async def test_webhooks_of_one_identity_arrive_in_order(sink: Sink) -> None:
    """The type and the data tell whose they are; a failure holds up those behind it, not others."""
    sink.script(Answer(status=500))
    async with local().rate_limit(None).build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        sent = [await system.send_webhook("user.updated", {"user_id": "123", "n": number}) for number in range(20)]
        assert {one.subject for one in sent} == {"user/123"}
        await system.delivered(sent[-1])
        assert [json.loads(one.body)["data"]["n"] for one in sink.requests] == [0, *range(20)]


async def test_registered_endpoint_and_queue_outlive_the_process(tmp_path: Path, sink: Sink) -> None:
    """What was sent is durable before `send_webhook` returns, and registering again changes the endpoint."""
    storage = SqliteStorage(tmp_path / "webhooks.db")
    async with local().build(storage) as system:
        await system.register_endpoint(endpoint(sink, url="http://127.0.0.1:1/", enabled=True))
        sent = await system.send_webhook("user.created", DATA)
    async with local().build(storage) as system:
        await system.register_endpoint(endpoint(sink))
        again = await system.send_webhook("user.created", DATA, id_=sent.id)
        assert again.is_duplicate
        await until(lambda: sink.requests)


async def test_secret_that_was_made_is_shown_once(sink: Sink) -> None:
    """It signs, and registering again keeps it."""
    async with local().build(MemoryStorage()) as system:
        secret = await system.register_endpoint(endpoint(sink, secret=None))
        assert secret is not None
        assert await system.register_endpoint(endpoint(sink, secret=None)) is None
        await system.delivered(await system.send_webhook("user.created", DATA))
        assert WebhookReceiver(secret).verify_signature(dict(sink.requests[0].headers), sink.requests[0].body)


async def test_unregistered_endpoint_gets_nothing_more(sink: Sink) -> None:
    """And cannot be unregistered again."""
    async with local().build(MemoryStorage()) as system:
        await system.register_endpoint(endpoint(sink))
        assert await system.circuit_state("endpoint_1") is CircuitState.CLOSED
        await system.unregister_endpoint("endpoint_1")
        await system.delivered(await system.send_webhook("user.created", DATA))
        assert sink.requests == []
        with pytest.raises(EndpointNotFound):
            await system.unregister_endpoint("endpoint_1")
        with pytest.raises(EndpointNotFound):
            await system.circuit_state("endpoint_1")


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "no address"}, "url"),
        ({"events": ("user.*.x",)}, "events"),
        ({"events": ()}, "events"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"timeout_seconds": 0}, "timeout_s"),
        ({"dialect": "morse"}, "dialect"),
        ({"secret": " "}, "secret"),
    ],
)
async def test_endpoint_that_cannot_be_used_is_refused_by_its_field(
    sink: Sink, broken: dict[str, Any], named: str
) -> None:
    """The same words as for the configuration; nothing was registered."""
    async with local().build(MemoryStorage()) as system:
        with pytest.raises(ConfigError, match=f"endpoint endpoint_1: .*{named}"):
            await system.register_endpoint(endpoint(sink, **broken))
        with pytest.raises(EndpointNotFound):
            await system.circuit_state("endpoint_1")


async def test_endpoint_whose_id_is_no_name_is_refused(sink: Sink) -> None:
    """It is a name in addresses, metrics and logs."""
    async with local().build(MemoryStorage()) as system:
        with pytest.raises(ConfigError):
            await system.register_endpoint(endpoint(sink, "Endpoint 1"))


@pytest.mark.parametrize(
    ("event", "data", "others"),
    [
        ("user.created", {"a": object()}, {}),
        ("user.created", {"a": "x" * 300_000}, {}),
        ("", {}, {}),
        ("user created", {}, {}),
        ("user.created", {}, {"id_": "a.b"}),
        ("user.created", {}, {"subject": "\ud800"}),
        ("user.created", {"a": "\ud800"}, {}),
    ],
)
async def test_webhook_that_cannot_be_written_is_refused(
    event: str, data: dict[str, object], others: dict[str, str]
) -> None:
    """Nothing of it is stored."""
    async with local().build(MemoryStorage()) as system:
        with pytest.raises(SerializationError):
            await system.send_webhook(event, data, **others)
        assert (await system.app.store.stats()).inbox == 0


async def test_system_that_does_not_run_says_so(tmp_path: Path) -> None:
    """Before its start and after its end; both may be asked for twice."""
    system = local().build(SqliteStorage(tmp_path / "webhooks.db"))
    with pytest.raises(WebhookError, match="async with"):
        await system.send_webhook("user.created", DATA)
    await system.start()
    with pytest.raises(WebhookError, match="already"):
        await system.start()
    await system.close()
    await system.close()
    with pytest.raises(WebhookError, match="async with"):
        await system.get_metrics()


async def test_storage_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """One process has a file for itself; the second system is refused, and the first goes on."""
    storage = SqliteStorage(tmp_path / "webhooks.db")
    async with local().build(storage) as system:
        with pytest.raises(StorageError):
            await local().build(storage).start()
        await system.get_metrics()
