"""What the library is configured with: the defaults, formats and bounds of seed 003."""

from datetime import timedelta

import pytest

from idsync.errors import ConfigError
from idsync.webhooks import (
    CircuitBreakerConfig,
    MemoryStorage,
    PostgresStorage,
    RateLimitConfig,
    RetryStrategy,
    SqliteStorage,
    WebhookEndpoint,
    WebhookStorage,
    WebhookSystem,
)


def test_defaults_are_those_of_the_seed() -> None:
    """Five retries from 1 s to 300 s; breaker 5, 2, 60 s, 3; ten a second with a burst of 20; 30 s a request."""
    retry, breaker, rate = RetryStrategy(), CircuitBreakerConfig(), RateLimitConfig()
    assert (retry.max_retries, retry.initial_delay_ms, retry.max_delay_ms, retry.backoff_multiplier) == (
        *(5, 1000, 300_000),
        2.0,
    )
    assert (breaker.failure_threshold, breaker.success_threshold) == (5, 2)
    assert (breaker.timeout_seconds, breaker.half_open_max_requests) == (60, 3)
    assert (rate.requests_per_second, rate.burst_size) == (10, 20)
    delivery = WebhookSystem(MemoryStorage())._settings.delivery
    assert (delivery.timeout_s, delivery.retry.attempts_max) == (30.0, 6)
    assert (delivery.retry.first_s, delivery.retry.cap_s, delivery.retry.jitter) == (1.0, 300.0, 0.1)
    endpoint = WebhookEndpoint(id="a", url="https://example.com")
    assert (endpoint.events, endpoint.enabled, endpoint.dialect) == (("*",), True, "timestamped")


@pytest.mark.parametrize(("attempt", "expected_s"), [(0, 1), (1, 2), (4, 16), (8, 256), (9, 300), (500, 300)])
def test_delay_doubles_up_to_its_cap_within_a_tenth(attempt: int, expected_s: float) -> None:
    """±10 % around `initial * multiplier ^ attempt`, and around the cap beyond it."""
    delays = [RetryStrategy().calculate_delay(attempt) for _ in range(200)]
    least, most = timedelta(seconds=expected_s * 0.9), timedelta(seconds=expected_s * 1.1)
    assert all(least <= one <= most for one in delays)
    assert len(set(delays)) > 100


@pytest.mark.parametrize(
    ("storage", "url"),
    [
        (MemoryStorage(), "sqlite:///:memory:"),
        (SqliteStorage("webhooks.db"), "sqlite:///webhooks.db"),
        (SqliteStorage("/var/lib/webhooks.db"), "sqlite:////var/lib/webhooks.db"),
        (PostgresStorage("postgresql://localhost/app"), "postgresql://localhost/app"),
    ],
)
def test_storage_is_a_store(storage: WebhookStorage, url: str) -> None:
    """Each names the store that stands behind it."""
    assert WebhookSystem(storage)._settings.store.url.reveal() == url


def test_builder_says_everything_that_the_seed_can_say() -> None:
    """And each verb leaves alone what was said before."""
    builder = (
        WebhookSystem.builder()
        .retry_strategy(RetryStrategy(max_retries=2, initial_delay_ms=10, max_delay_ms=60_000, backoff_multiplier=3.0))
        .circuit_breaker(CircuitBreakerConfig(failure_threshold=7))
        .rate_limit(RateLimitConfig(requests_per_second=1, burst_size=2))
        .timeout_seconds(5)
        .workers(4)
    )
    system = builder.build(MemoryStorage())
    delivery = system._settings.delivery
    assert (delivery.timeout_s, delivery.endpoint_concurrency, delivery.retry.attempts_max) == (5.0, 4, 3)
    assert (delivery.retry.first_s, delivery.retry.factor, delivery.retry.cap_s) == (0.01, 3.0, 60.0)
    definition = system._definition(WebhookEndpoint(id="a", url="https://example.com"))
    assert definition["rate"] == {"requests_per_second": 1, "burst": 2}
    assert definition["breaker"] == {
        "failure_threshold": 7,
        "success_threshold": 2,
        "timeout_s": 60,
        "half_open_max": 3,
    }


def test_builder_can_be_used_twice() -> None:
    """What is said to one system is not said to another."""
    base = WebhookSystem.builder()
    base.timeout_seconds(5)
    assert base.build(MemoryStorage())._settings.delivery.timeout_s == 30.0


def test_endpoint_without_a_limit_has_that_of_the_system() -> None:
    """Its own comes first; a system without one limits nothing."""
    own = RateLimitConfig(requests_per_second=2, burst_size=3)
    limited = WebhookEndpoint(id="a", url="https://example.com", rate_limit=own)
    free = WebhookEndpoint(id="a", url="https://example.com")
    assert WebhookSystem(MemoryStorage())._definition(limited)["rate"] == {"requests_per_second": 2, "burst": 3}
    assert WebhookSystem(MemoryStorage())._definition(free)["rate"] == {"requests_per_second": 10, "burst": 20}
    assert "rate" not in WebhookSystem.builder().rate_limit(None).build(MemoryStorage())._definition(free)


def test_cap_below_the_first_delay_is_the_delay() -> None:
    """As in the seed, which takes the lesser of the two."""
    strategy = RetryStrategy(initial_delay_ms=5000, max_delay_ms=1000)
    retry = WebhookSystem.builder().retry_strategy(strategy).build(MemoryStorage())._settings.delivery.retry
    assert (retry.first_s, retry.cap_s) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("builder", "named"),
    [
        (WebhookSystem.builder().retry_strategy(RetryStrategy(max_retries=-1)), "RetryStrategy.*max_retries"),
        (WebhookSystem.builder().retry_strategy(RetryStrategy(backoff_multiplier=0.5)), "backoff_multiplier"),
        (WebhookSystem.builder().circuit_breaker(CircuitBreakerConfig(timeout_seconds=0)), "timeout_seconds"),
        (WebhookSystem.builder().rate_limit(RateLimitConfig(burst_size=0)), "RateLimitConfig.*burst_size"),
        (WebhookSystem.builder().timeout_seconds(0), "delivery.timeout_s"),
        (WebhookSystem.builder().workers(0), "delivery.endpoint_concurrency"),
        (WebhookSystem.builder().allow_networks("10.0.0.1/8"), "delivery.allow_cidrs"),
        (WebhookSystem.builder().setting("delivery.timout_s", 1), "delivery.timout_s"),
    ],
)
def test_value_that_cannot_be_used_is_refused_by_its_name(builder: "WebhookSystem", named: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=f"(?s){named}"):
        builder.build(MemoryStorage())  # type: ignore[attr-defined]
