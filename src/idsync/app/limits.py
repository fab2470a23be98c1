"""Limits, from the settings to the words of the parts that they bound; and what the settings may not ask for yet."""

from idsync.config import RetrySettings, Settings
from idsync.errors import ConfigError
from idsync.pipeline.ingest import IngestLimits
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.policy.oscillation import OscillationPolicy
from idsync.policy.retry import RetryPolicy


def check_version(settings: Settings) -> None:
    """Refuse what the configuration can say and this version cannot do: a setting without an effect would be a lie.

    Raises:
        ConfigError: every such setting.
    """
    asked = [
        ("engine.url", bool(settings.engine.url.reveal()), "; deliveries are carried by this process"),
        ("nats.publish", settings.nats.publish, "; events leave by webhook"),
    ]
    problems = [f"{key}: is not in this version{instead}" for key, is_set, instead in asked if is_set]
    if problems:
        raise ConfigError(*problems)


def retry_of(retry: RetrySettings) -> RetryPolicy:
    """Translate the retry settings."""
    return RetryPolicy(
        first_s=retry.first_s,
        factor=retry.factor,
        jitter=retry.jitter,
        cap_s=retry.cap_s,
        attempts_max=retry.attempts_max,
        age_max_s=retry.age_max_s,
    )


def ingest_limits(settings: Settings) -> IngestLimits:
    """Translate what bounds ingest."""
    return IngestLimits(
        batch_max=settings.ingest.batch_events_max,
        queue_max=settings.ingest.queue_events_max,
        deletes_max=settings.ingest.max_deletes_per_minute,
    )


def deliver_limits(settings: Settings) -> DeliverLimits:
    """Translate what bounds one destination in memory."""
    return DeliverLimits(
        page_max=settings.delivery.read_batch_max,
        window_max=settings.delivery.window_max,
        response_bytes_max=settings.delivery.response_bytes_max,
    )


def oscillation_of(settings: Settings) -> OscillationPolicy:
    """Translate when an identity rests that is written again and again."""
    flapping = settings.delivery.flapping
    return OscillationPolicy(
        same_max=flapping.same_writes_max,
        all_max=flapping.all_writes_max,
        window_ms=round(flapping.window_s * 1000),
    )
