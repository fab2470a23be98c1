"""What the API shows of endpoints. What is secret in a definition is masked, and stays as it is if it comes back so."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from idsync.api.views.deliveries import PhasesView, view_phases
from idsync.api.views.times import time_text
from idsync.app.endpoints import EndpointState, FilterSpan
from idsync.config import EndpointSettings, SecretText, endpoint_body
from idsync.model.delivery import Attempt
from idsync.model.values import instant_text
from idsync.pipeline.parts.health import EndpointHealth
from idsync.pipeline.parts.routes import endpoint_name
from idsync.pipeline.sending.endpoint import error_of
from idsync.ports import Response, Stats

MASK: Final = "***"
"""Stands for the value of a header; sent back, it means the value that is there."""


class EndpointHealthView(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint does, as of the last look (a second at most)."""

    breaker: str
    """`closed`, `open` or `half_open`."""
    opened_at: str | None
    retry_at: str | None
    """When the first probe leaves, while the breaker is open."""
    failing_since: str | None
    """The first failure since its last success; null: its last try succeeded, or there was none."""
    failures: int
    """Failures since its last success."""
    throttled_until: str | None
    """Until when nothing is sent, as it asked."""
    queued: int
    parked: int
    dead: int
    oldest_at: str | None
    """Since when the oldest of those that are queued or parked waits."""


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook endpoint; its secrets are never shown."""

    name: str
    destination: str
    """Its name among the destinations of deliveries: `endpoint:<name>`."""
    origin: str
    """`file`: the configuration defines it, and it cannot be changed here. `api`: it can."""
    is_read_only: bool
    enabled: bool
    disabled_reason: str | None
    disabled_at: str | None
    made_at: str
    changed_at: str
    rev: int
    """Moves with every change: what `ETag` and `If-Match` hold."""
    has_secret: bool
    secrets: int
    """How many secrets sign now: more than one while a rotation overlaps."""
    definition: dict[str, Any]
    """As it can be sent back: without secrets, the values of headers as `***`, the address without its query."""
    health: EndpointHealthView


class EndpointPage(msgspec.Struct, frozen=True, kw_only=True):
    """Every endpoint, by name."""

    items: list[EndpointView]
    next: str | None = None


class NewEndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """A new endpoint, and the secret that was made for it: shown this once; null where one was given."""

    endpoint: EndpointView
    secret: str | None


class RotatedView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with a new secret: shown this once; null where one was given."""

    endpoint: EndpointView
    secret: str | None


class TestView(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint answered to a test event."""

    is_delivered: bool
    """Whether it answered 2xx."""
    event_id: str
    status: int | None
    error: str | None
    latency_ms: float
    phases: PhasesView | None
    response: str
    """The beginning of the answer's body; what is no UTF-8 is replaced."""


class FilterSpanView(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint was to get in one span of time."""

    since: str
    until: str | None
    """Null: it lasts."""
    events: list[str]
    operational: bool
    enabled: bool
    reason: str | None
    """Why it was not enabled."""


class FilterPage(msgspec.Struct, frozen=True, kw_only=True):
    """The spans of an endpoint, oldest first."""

    items: list[FilterSpanView]
    next: str | None = None


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One try of one delivery to an endpoint."""

    event: int
    """The inbox sequence of its event."""
    destination: str
    delivery: str
    subject: str
    number: int
    at: str
    outcome: str
    status: int | None
    error: str | None
    latency_ms: float
    phases: PhasesView | None
    response: str


class AttemptPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tries of the newest events first, and where the next page begins."""

    items: list[AttemptView]
    next: str | None = None


def view_endpoint(state: EndpointState, stats: Stats) -> EndpointView:
    """Show one endpoint."""
    return EndpointView(
        name=state.name,
        destination=endpoint_name(state.name),
        origin=state.origin.value,
        is_read_only=state.is_read_only,
        enabled=state.is_enabled,
        disabled_reason=state.disabled_reason.value if state.disabled_reason is not None else None,
        disabled_at=time_text(state.disabled_at),
        made_at=instant_text(state.made_at),
        changed_at=instant_text(state.changed_at),
        rev=state.rev,
        has_secret=state.secrets > 0,
        secrets=state.secrets,
        definition=view_definition(state.settings),
        health=view_health(state.name, state.health, stats),
    )


def view_definition(settings: EndpointSettings) -> dict[str, object]:
    """Write a definition without what is secret in it."""
    body = endpoint_body(settings)
    del body["secret"]
    return body | {"url": str(settings.url), "headers": dict.fromkeys(settings.headers, MASK)}


def unmask(body: Mapping[str, object], current: EndpointSettings) -> dict[str, object]:
    """Put back what `view_definition` has masked, where it came back as it was shown."""
    whole = dict(body)
    if body.get("url") == str(current.url):
        whole["url"] = current.url.reveal()
    headers = body.get("headers")
    if isinstance(headers, dict):
        whole["headers"] = {
            name: _unmask_header(value, current.headers.get(name))
            for name, value in cast("dict[str, object]", headers).items()
        }
    return whole


def _unmask_header(value: object, current: SecretText | None) -> object:
    return current.reveal() if value == MASK and current is not None else value


def view_health(name: str, health: EndpointHealth, stats: Stats) -> EndpointHealthView:
    """Show how an endpoint does."""
    destination = endpoint_name(name)
    return EndpointHealthView(
        breaker=health.breaker,
        opened_at=time_text(health.opened_at),
        retry_at=time_text(health.retry_at),
        failing_since=time_text(health.failing_since),
        failures=health.failures,
        throttled_until=time_text(health.throttled_until),
        queued=stats.queued.get(destination, 0),
        parked=stats.parked.get(destination, 0),
        dead=stats.dead.get(destination, 0),
        oldest_at=time_text(stats.oldest.get(destination)),
    )


def view_span(span: FilterSpan) -> FilterSpanView:
    """Show one span."""
    return FilterSpanView(
        since=instant_text(span.since),
        until=time_text(span.until),
        events=list(span.events),
        operational=span.is_operational,
        enabled=span.is_enabled,
        reason=span.reason.value if span.reason is not None else None,
    )


def view_test(event_id: str, response: Response, *, is_delivered: bool, response_bytes_max: int) -> TestView:
    """Show what a test was answered."""
    return TestView(
        is_delivered=is_delivered,
        event_id=event_id,
        status=response.status,
        error=error_of(response),
        latency_ms=round(response.latency_s * 1000, 3),
        phases=view_phases(response.phases),
        response=response.body[:response_bytes_max].decode(errors="replace"),
    )


def view_attempt(one: Attempt) -> AttemptView:
    """Show one try as one of its endpoint's."""
    return AttemptView(
        event=one.event,
        destination=one.destination,
        delivery=str(one.delivery),
        subject=one.subject,
        number=one.number,
        at=instant_text(one.at),
        outcome=one.outcome.value,
        status=one.status,
        error=one.error,
        latency_ms=one.latency_ms,
        phases=view_phases(one.phases),
        response=one.response.decode(errors="replace"),
    )
