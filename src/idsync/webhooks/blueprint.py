"""What a system is to be like, checked as a whole."""

from collections.abc import Mapping
from typing import Final

import msgspec

from idsync.config import Settings, parse_settings
from idsync.errors import ConfigError
from idsync.webhooks.storage import WebhookStorage
from idsync.webhooks.values import JITTER, MS_PER_S, CircuitBreakerConfig, RateLimitConfig, RetryStrategy

TIMEOUT_S: Final = 30.0


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that may be said of a system before it is built; the defaults are those of seed 003."""

    retry: RetryStrategy = RetryStrategy()
    breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    rate: RateLimitConfig | None = RateLimitConfig()
    """Of every endpoint that has none of its own; None: no limit."""
    source: str = "webhooks"
    """The events' `source`, where a dialect sends it."""
    flags: Mapping[str, object] = {}
    """Settings of idsync by their dotted keys."""

    def settings(self, storage: WebhookStorage) -> Settings:
        """Translate it.

        Raises:
            ConfigError: a value cannot be used; the reason names it.
        """
        for value in (self.retry, self.breaker, self.rate):
            _check(value)
        retry = self.retry
        flags = {
            "store.url": storage.url,
            # In seed 003 the cap may be below the first delay; here both are settings, and that one is the cap then.
            "delivery.retry.first_s": min(retry.initial_delay_ms, retry.max_delay_ms) / MS_PER_S,
            "delivery.retry.factor": retry.backoff_multiplier,
            "delivery.retry.jitter": JITTER,
            "delivery.retry.cap_s": retry.max_delay_ms / MS_PER_S,
            "delivery.retry.attempts_max": retry.max_retries + 1,
            "delivery.timeout_s": TIMEOUT_S,
            "log.level": "warning",
        }
        return parse_settings("", flags=flags | dict(self.flags))


def _check(value: msgspec.Struct | None) -> None:
    """Check the ranges of a value, which its constructor does not.

    Raises:
        ConfigError: a field is out of its range, or of another type.
    """
    if value is None:
        return
    try:
        msgspec.convert(msgspec.to_builtins(value), type(value))
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(f"{type(value).__name__}: {error}") from None
