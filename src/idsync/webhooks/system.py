"""The system: the whole line of idsync, without peers and without a server, in the event loop of its user."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, assert_never

import msgspec

from idsync.app import App, open_app
from idsync.app.endpoints import Changed, Created, EndpointState, Invalid, NotFound, ReadOnly, Removed, Taken
from idsync.config import InvalidEndpoint, parse_endpoint
from idsync.errors import (
    CircuitBreakerOpen,
    ConfigError,
    DeliveryFailed,
    EndpointNotFound,
    RateLimitExceeded,
    StorageError,
    StoreError,
    WebhookError,
)
from idsync.model.event import Verdict
from idsync.model.values import Instant
from idsync.pipeline.parts.health import EndpointHealth, health_setting, read_health
from idsync.ports import DeliveryRecord, DeliveryState, PassedOn
from idsync.telemetry import Log
from idsync.webhooks.blueprint import Blueprint
from idsync.webhooks.storage import WebhookStorage
from idsync.webhooks.values import (
    CircuitBreakerConfig,
    CircuitState,
    RateLimitConfig,
    RetryStrategy,
    SentWebhook,
    WebhookEndpoint,
    WebhookMetrics,
)
from idsync.webhooks.writing import PUBLISHER, arrival_of
from idsync.worker import Worker

POLL_S: Final = 0.02
LOOK_MAX: Final = 1_000
"""Webhooks of one subject and one millisecond that are looked through."""
STOP_S: Final = 10.0
"""How long a system that stops lets what is under way end."""


@dataclass(frozen=True, slots=True)
class _Running:
    """What runs between `start` and `close`."""

    app: App
    worker: Worker
    watch: asyncio.Task[None]
    """Ends where the whole line must: another process has the storage."""


class WebhookSystem:
    """Registers endpoints, takes webhooks in, delivers them. Use it as `async with`, or `start` and `close` it."""

    def __init__(self, storage: WebhookStorage, blueprint: Blueprint | None = None, *, log: Log | None = None) -> None:
        """Build one, with the defaults of seed 003; `builder` says anything else. Nothing is opened yet.

        Raises:
            ConfigError: a value cannot be used; the reason names it.
        """
        self._blueprint = blueprint if blueprint is not None else Blueprint()
        self._settings = self._blueprint.settings(storage)
        self._log = log
        self._running: _Running | None = None

    @staticmethod
    def builder() -> "WebhookSystemBuilder":
        """Begin to say what a system is to be like."""
        return WebhookSystemBuilder()

    # --- Its life

    async def start(self) -> None:
        """Open the storage and start delivering, in the running event loop.

        Raises:
            StorageError: the storage cannot be used.
        """
        if self._running is not None:
            raise WebhookError("the system is running already")
        with _as_webhook_errors():
            app = await open_app(self._settings, log=self._log)
            try:
                worker = Worker(app)
                await worker.start()
            except BaseException:
                await app.close()
                raise
        self._running = _Running(app, worker, asyncio.create_task(worker.watch(), name="webhooks"))

    async def close(self) -> None:
        """Let what is under way end, 10 seconds at most, and close the storage; safe to call twice."""
        if self._running is not None:
            running, self._running = self._running, None
            running.watch.cancel()
            await asyncio.gather(running.watch, return_exceptions=True)
            await running.worker.stop(STOP_S)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def app(self) -> App:
        """The line behind it, for whatever this library has no word for: `system.app.replays`.

        Raises:
            WebhookError: the system is not running.
            StorageError: it has ended, because another process has the storage now.
        """
        if self._running is None:
            raise WebhookError("the system is not running: use it as `async with`, or call `start`")
        if self._running.watch.done():
            raise StorageError(f"the system has ended: {self._running.watch.exception()}; close it and start it again")
        return self._running.app

    # --- Endpoints

    async def register_endpoint(self, endpoint: WebhookEndpoint) -> str | None:
        """Register an endpoint, or give the one of this id another definition; it is kept until it is unregistered.

        Returns:
            The secret that was made for it, shown this once; None where it has one.

        Raises:
            ConfigError: the definition cannot be used; every reason is named, no secret is shown.
        """
        endpoints, name = self.app.endpoints, endpoint.id
        definition = parse_endpoint(self._definition(endpoint), self.app.settings)
        if isinstance(definition, InvalidEndpoint):
            raise ConfigError(*(f"endpoint {name}: {problem}" for problem in definition.problems))
        with _as_webhook_errors():
            made = await endpoints.create(name, definition)
            found = await endpoints.replace(name, definition) if isinstance(made, Taken) else made
        match found:
            case Created(_, secret_text):
                return secret_text
            case EndpointState():
                return None
            case Invalid(problems):
                raise ConfigError(*(f"endpoint {name}: {problem}" for problem in problems))
            case NotFound() | Changed() | ReadOnly():
                raise WebhookError(f"endpoint {name} is being removed; register it again in a moment")
            case unknown:
                assert_never(unknown)

    async def unregister_endpoint(self, id_: str) -> None:
        """Remove an endpoint; what is queued for it is not delivered.

        Raises:
            EndpointNotFound: there is none of this id.
        """
        with _as_webhook_errors():
            if not isinstance(await self.app.endpoints.remove(id_), Removed):
                raise EndpointNotFound(f"there is no endpoint {id_}")

    async def circuit_state(self, id_: str) -> CircuitState:
        """Say where the breaker of an endpoint stands.

        Raises:
            EndpointNotFound: there is none of this id.
        """
        with _as_webhook_errors():
            found = await self.app.endpoints.get(id_)
        if isinstance(found, NotFound):
            raise EndpointNotFound(f"there is no endpoint {id_}")
        return CircuitState((await self._health(id_)).breaker)

    def _definition(self, endpoint: WebhookEndpoint) -> dict[str, object]:
        """Write an endpoint as the configuration does."""
        breaker = self._blueprint.breaker
        rate = endpoint.rate_limit if endpoint.rate_limit is not None else self._blueprint.rate
        given: dict[str, object | None] = {
            "url": endpoint.url,
            "secret": endpoint.secret,
            "events": list(endpoint.events),
            "enabled": endpoint.enabled,
            "headers": dict(endpoint.headers),
            "dialect": endpoint.dialect,
            "timeout_s": endpoint.timeout_seconds,
            "breaker": {
                "failure_threshold": breaker.failure_threshold,
                "success_threshold": breaker.success_threshold,
                "timeout_s": breaker.timeout_seconds,
                "half_open_max": breaker.half_open_max_requests,
            },
            "rate": rate and {"requests_per_second": rate.requests_per_second, "burst": rate.burst_size},
        }
        return {name: value for name, value in given.items() if value is not None}

    # --- Webhooks

    async def send_webhook(
        self, event: str, data: Mapping[str, Any], *, subject: str | None = None, id_: str | None = None
    ) -> SentWebhook:
        """Take a webhook for every endpoint that asked for its type; it is durable when this returns.

        Args:
            event: what happened, as `user.created`.
            data: what it says, to be sent as JSON.
            subject: whose it is; webhooks of one subject arrive in order. None: the identity that the data names by
                `user_id` or `id` where the type speaks of one, else nobody's.
            id_: what it is known by: a second one of this id is not sent. None: a new one.

        Raises:
            SerializationError: the data is no JSON or too large, or type, subject or id cannot be sent.
            StorageError: it was not stored; send it again, under its id.
        """
        app = self.app
        arrival = arrival_of(
            event,
            data,
            id_=id_ if id_ is not None else f"webhook_{app.clock.new_id()}",
            subject=subject,
            source=self._blueprint.source,
            now=app.clock.now(),
            bytes_max=app.settings.limits.event_bytes_max,
        )
        with _as_webhook_errors():
            (receipt,) = await app.submit([arrival])
        return SentWebhook(
            id=arrival.id,
            event=arrival.type,
            subject=arrival.subject,
            sent_at=arrival.received_at,
            is_duplicate=receipt.verdict is Verdict.DUPLICATE,
        )

    async def delivered(self, webhook: SentWebhook, within_s: float = 30.0) -> None:
        """Wait until a webhook has reached every endpoint that it was queued for. Nothing depends on waiting.

        Args:
            webhook: as `send_webhook` returned it for the first of its id: a duplicate does not know when that was.
            within_s: how long, in seconds.

        Raises:
            DeliveryFailed: an endpoint did not take it, and it is given up there.
            CircuitBreakerOpen: time is over, and an endpoint of it rests because it fails.
            RateLimitExceeded: time is over, and an endpoint of it is to be sent less.
            TimeoutError: time is over.
        """
        ends_at = self.app.clock.monotonic() + within_s
        while True:
            found = await self._deliveries(webhook)
            waiting = [one for one in found or () if one.state not in _ENDED]
            for one in waiting:
                if one.state is DeliveryState.DEAD:
                    why = f"was given up at {one.destination} after {one.attempts} tries: {one.reason}"
                    raise DeliveryFailed(f"webhook {webhook.id} {why}")
            if found is not None and not waiting:
                return
            if self.app.clock.monotonic() >= ends_at:
                raise await self._why_late(webhook, waiting)
            await self.app.clock.sleep(POLL_S)

    async def get_metrics(self) -> WebhookMetrics:
        """Count what became of the webhooks.

        Raises:
            StorageError: the storage failed.
        """
        with _as_webhook_errors():
            stats = await self.app.store.stats()
        counters = self.app.counters
        good = sum(
            count
            for (name, label), count in counters.counts.items()
            if name == "idsync_deliveries_total" and label.endswith(":delivered")
        )
        times = [one for (name, _), one in counters.histograms.items() if name == "idsync_delivery_seconds"]
        requests = sum(one.count for one in times)
        failed, pending = sum(stats.dead.values()), sum(stats.queued.values()) + sum(stats.parked.values())
        return WebhookMetrics(
            total_deliveries=good + failed + pending,
            successful_deliveries=good,
            failed_deliveries=failed,
            pending_deliveries=pending,
            avg_latency_ms=round(sum(one.sum_s for one in times) / requests * 1000, 3) if requests else 0.0,
        )

    async def _deliveries(self, webhook: SentWebhook) -> Sequence[DeliveryRecord] | None:
        """Look up where a webhook stands everywhere; None: the storage does not show it yet."""
        at = webhook.sent_at
        wanted = PassedOn(subject=webhook.subject, received_from=at, received_before=Instant(at + 1))
        with _as_webhook_errors():
            for entry in await self.app.store.passed_on(wanted, LOOK_MAX):
                if (entry.row.peer, entry.row.id) == (PUBLISHER, webhook.id):
                    return await self.app.store.deliveries(entry.seq)
        return None

    async def _health(self, name: str) -> EndpointHealth:
        """How an endpoint does now, whichever process delivers to it."""
        return read_health(await self.app.store.setting(health_setting(name)) or b"")

    async def _why_late(self, webhook: SentWebhook, waiting: Sequence[DeliveryRecord]) -> Exception:
        """Say what a webhook waits for whose time is over; it is still delivered."""
        for one in waiting:
            name = one.destination.partition(":")[2]
            health = await self._health(name)
            if health.breaker == CircuitState.OPEN:
                return CircuitBreakerOpen(f"webhook {webhook.id} waits: endpoint {name} rests because it fails")
            if health.throttled_until is not None and health.throttled_until > self.app.clock.now():
                return RateLimitExceeded(f"webhook {webhook.id} waits: endpoint {name} asked to be sent less")
        return TimeoutError(f"webhook {webhook.id} is still under way to {[one.destination for one in waiting]}")


class WebhookSystemBuilder:
    """What a system is to be like. Every verb returns a builder that knows it; what is not said is as in seed 003."""

    def __init__(self, blueprint: Blueprint | None = None, log: Log | None = None) -> None:
        """Begin with the defaults."""
        self._blueprint = blueprint if blueprint is not None else Blueprint()
        self._log = log

    def retry_strategy(self, strategy: RetryStrategy) -> "WebhookSystemBuilder":
        """Say when a failed delivery is tried again."""
        return self._with(retry=strategy)

    def circuit_breaker(self, config: CircuitBreakerConfig) -> "WebhookSystemBuilder":
        """Say when an endpoint rests because it fails."""
        return self._with(breaker=config)

    def rate_limit(self, config: RateLimitConfig | None) -> "WebhookSystemBuilder":
        """Limit every endpoint that has no limit of its own; None: not at all."""
        return self._with(rate=config)

    def timeout_seconds(self, seconds: float) -> "WebhookSystemBuilder":
        """Bound one request, from the look-up of the name to the last byte of the answer."""
        return self.setting("delivery.timeout_s", seconds)

    def workers(self, count: int) -> "WebhookSystemBuilder":
        """Say how many requests are under way to one endpoint at a time."""
        return self.setting("delivery.endpoint_concurrency", count)

    def allow_networks(self, *cidrs: str) -> "WebhookSystemBuilder":
        """Let endpoints be in private ranges, as `127.0.0.0/8`; without one only public addresses are connected to."""
        return self.setting("delivery.allow_cidrs", list(cidrs))

    def source(self, name: str) -> "WebhookSystemBuilder":
        """Say what the events' `source` is, where a dialect sends it."""
        return self._with(source=name)

    def setting(self, key: str, value: object) -> "WebhookSystemBuilder":
        """Set any other setting of idsync by its dotted key, as `retention.attempts_days`."""
        return self._with(flags={**self._blueprint.flags, key: value})

    def log(self, log: Log) -> "WebhookSystemBuilder":
        """Say where the system writes what an operator should look at; standard error if not said."""
        return WebhookSystemBuilder(self._blueprint, log)

    def build(self, storage: WebhookStorage) -> WebhookSystem:
        """Check everything and build; nothing is opened before `async with` or `start`.

        Raises:
            ConfigError: a value cannot be used; the reason names it.
        """
        return WebhookSystem(storage, self._blueprint, log=self._log)

    def _with(self, **parts: object) -> "WebhookSystemBuilder":
        return WebhookSystemBuilder(msgspec.structs.replace(self._blueprint, **parts), self._log)


_ENDED: Final = frozenset({DeliveryState.DELIVERED, DeliveryState.SKIPPED})


@contextmanager
def _as_webhook_errors() -> Iterator[None]:
    """Raise what the store raises as `StorageError`."""
    try:
        yield
    except StoreError as error:
        raise StorageError(str(error)) from error
