"""The webhook line as a library: endpoints, retries, breaker and rate limit in your own event loop, without a server.

    async with WebhookSystem.builder().build(SqliteStorage("webhooks.db")) as system:
        await system.register_endpoint(WebhookEndpoint(id="crm", url="https://…", secret="…", events=("user.*",)))
        await system.send_webhook("user.created", {"user_id": "123", "email": "ada@example.com"})

Names, defaults and formats are those of seed 003; what stands behind them is the whole line: what was sent is durable
before `send_webhook` returns, and is delivered, in order per identity, whatever restarts meanwhile.
"""

from idsync.errors import (
    CircuitBreakerOpen,
    DeliveryFailed,
    EndpointNotFound,
    InvalidSignature,
    RateLimitExceeded,
    SerializationError,
    StorageError,
    WebhookError,
)
from idsync.webhooks.receiver import IncomingWebhook, SignatureGenerator, WebhookReceiver
from idsync.webhooks.storage import MemoryStorage, PostgresStorage, SqliteStorage, WebhookStorage
from idsync.webhooks.system import WebhookSystem, WebhookSystemBuilder
from idsync.webhooks.values import (
    CircuitBreakerConfig,
    CircuitState,
    RateLimitConfig,
    RetryStrategy,
    SentWebhook,
    WebhookEndpoint,
    WebhookMetrics,
)

__all__ = [
    "CircuitBreakerConfig",
    "CircuitBreakerOpen",
    "CircuitState",
    "DeliveryFailed",
    "EndpointNotFound",
    "IncomingWebhook",
    "InvalidSignature",
    "MemoryStorage",
    "PostgresStorage",
    "RateLimitConfig",
    "RateLimitExceeded",
    "RetryStrategy",
    "SentWebhook",
    "SerializationError",
    "SignatureGenerator",
    "SqliteStorage",
    "StorageError",
    "WebhookEndpoint",
    "WebhookError",
    "WebhookMetrics",
    "WebhookReceiver",
    "WebhookStorage",
    "WebhookSystem",
    "WebhookSystemBuilder",
]
