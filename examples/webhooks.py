"""Webhooks out of your own program: two endpoints, one of them fails at first, and nothing is lost.

Run it with `python -m examples.webhooks`. The endpoints are small servers of this program itself.
"""

import asyncio
import tempfile
from pathlib import Path

from idsync.testing.sink import Answer, Received, Sink, open_sink
from idsync.webhooks import (
    CircuitBreakerConfig,
    IncomingWebhook,
    RateLimitConfig,
    RetryStrategy,
    SqliteStorage,
    WebhookEndpoint,
    WebhookReceiver,
    WebhookSystem,
)

SECRET = "webhook_secret"


def read(request: Received) -> IncomingWebhook:
    """Do what a receiver does first: verify the signature over the raw bytes, then read them."""
    return WebhookReceiver(SECRET).receive(dict(request.headers), request.body)


async def run(crm: Sink, audit: Sink, folder: Path) -> None:
    """Register two endpoints, send three webhooks, show what arrived and what was counted."""
    system = (
        WebhookSystem.builder()
        .retry_strategy(RetryStrategy(max_retries=5, initial_delay_ms=100))
        .circuit_breaker(CircuitBreakerConfig(failure_threshold=5, timeout_seconds=60))
        .rate_limit(RateLimitConfig(requests_per_second=100, burst_size=20))
        .allow_networks("127.0.0.0/8")
        .build(SqliteStorage(folder / "webhooks.db"))
    )
    async with system:
        await system.register_endpoint(
            WebhookEndpoint(id="crm", url=crm.url, secret=SECRET, events=("user.created", "user.updated"))
        )
        await system.register_endpoint(WebhookEndpoint(id="audit", url=audit.url, secret=SECRET))
        for event, data in (
            ("user.created", {"user_id": "123", "email": "ada@example.com"}),
            ("user.updated", {"user_id": "123", "email": "ada@example.org"}),
            ("order.paid", {"order": 7}),
        ):
            await system.delivered(await system.send_webhook(event, data))
        for name, sink in (("crm", crm), ("audit", audit)):
            print(f"{name}: {len(sink.requests)} requests")
            for request in sink.requests:
                webhook = read(request)
                print(f"  {webhook.event:<13} {webhook.data}")
        print(await system.get_metrics())


async def main() -> None:
    """Serve both endpoints; the first answer of `crm` is an error."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_sink(Answer(status=500)) as crm, open_sink() as audit:
            await run(crm, audit, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
