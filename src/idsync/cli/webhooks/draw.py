"""Draws endpoints, events and replays for people."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from idsync.api.views import (
    AttemptView,
    CountView,
    EndpointHealthView,
    EndpointView,
    EventView,
    PhasesView,
    ReplayView,
    TestView,
    WhyView,
)
from idsync.cli.draw import facts, sheet, time_text, took_text, value_text, word
from idsync.cli.terminal import plain


def draw_once(name: str, secret: str) -> Group:
    """Draw a secret that is shown now and never again."""
    return Group(Text("Made just now, and shown only this once:", "bold"), facts([(plain(name), plain(secret))]))


def draw_endpoints(endpoints: Sequence[EndpointView]) -> Group:
    """Draw a line for each endpoint."""
    return sheet(
        "",
        ("name", "is", "goes to", "events", "breaker", "queued", "parked", "dead"),
        (
            (
                Text(plain(one.name), "bold"),
                _state_of(one),
                plain(str(one.definition.get("url", ""))),
                plain(_list(one.definition.get("events"))),
                _breaker(one.health.breaker),
                str(one.health.queued),
                _count(one.health.parked, "magenta"),
                _count(one.health.dead, "red"),
            )
            for one in endpoints
        ),
    )


def draw_endpoint(one: EndpointView) -> Group:
    """Draw everything of one endpoint."""
    title = Text.assemble((f"{plain(one.name)}  ", "bold"), _state_of(one))
    known: list[tuple[str, RenderableType]] = [
        ("defined by", "the configuration" if one.is_read_only else "the API"),
        ("made", time_text(one.made_at)),
        ("changed", f"{time_text(one.changed_at)}, revision {one.rev}"),
        ("secrets", f"{one.secrets} sign now"),
    ]
    parts = [(plain(name), value_text(_as_value(value))) for name, value in one.definition.items()]
    return Group(title, facts(known), "", Text("Definition", "bold"), facts(parts), "", draw_health(one.health))


def _as_value(value: object) -> str | None:
    """Give text as it is, all else as JSON in a text."""
    return value if isinstance(value, str) or value is None else msgspec.json.encode(value).decode()


def _list(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else ""


def _state_of(one: EndpointView) -> Text:
    if one.enabled:
        return Text("enabled", "green")
    return Text(f"disabled ({plain(one.disabled_reason or 'operator')})", "red")


def _breaker(phase: str) -> Text:
    return Text(plain(phase), "" if phase == "closed" else "red")


def _count(count: int, style: str) -> Text:
    return Text(str(count), style if count else "")


def draw_health(one: EndpointHealthView) -> Group:
    """Draw how an endpoint does."""
    rows: list[tuple[str, RenderableType]] = [
        ("breaker", _breaker(one.breaker)),
        ("failing since", f"{time_text(one.failing_since)}, {one.failures} times" if one.failing_since else "—"),
        ("pauses until", time_text(one.throttled_until)),
        ("deliveries", f"{one.queued} queued, {one.parked} parked, {one.dead} dead"),
        ("oldest since", time_text(one.oldest_at)),
    ]
    if one.opened_at:
        rows.insert(1, ("open since", f"{time_text(one.opened_at)}, next probe {time_text(one.retry_at)}"))
    return Group(Text("Health", "bold"), facts(rows))


def draw_attempts(attempts: Sequence[AttemptView], of: Literal["event", "destination"]) -> Group:
    """Draw tries: of one endpoint, so that each names its event, or of one event."""
    return sheet(
        "Tries",
        (of, "subject", "try", "at", "outcome", "status", "took", "of which", "answer"),
        (
            (
                plain(str(getattr(one, of))),
                plain(one.subject),
                str(one.number),
                time_text(one.at),
                word(one.outcome),
                plain(str(one.status or one.error or "—")),
                f"{took_text(one.latency_ms)} ms",
                _phases(one.phases),
                value_text(one.response) if one.response else "—",
            )
            for one in attempts
        ),
    )


def _phases(phases: PhasesView | None) -> str:
    if phases is None:
        return "—"
    parts = (
        ("dns", phases.dns_ms),
        ("connect", phases.connect_ms),
        ("tls", phases.tls_ms),
        ("wait", phases.wait_ms),
        ("read", phases.read_ms),
    )
    return ", ".join(f"{name} {took_text(ms)}" for name, ms in parts if ms) or "—"


def draw_test(one: TestView) -> Group:
    """Draw what an endpoint answered to a test."""
    verdict = Text("delivered", "green") if one.is_delivered else Text("failed", "red")
    rows: list[tuple[str, RenderableType]] = [
        ("event", plain(one.event_id)),
        ("status", plain(str(one.status or one.error or "—"))),
        ("took", f"{took_text(one.latency_ms)} ms"),
        ("of which", _phases(one.phases)),
        ("answer", value_text(one.response) if one.response else "—"),
    ]
    return Group(verdict, facts(rows))


def draw_sent_list(events: Sequence[EventView]) -> Group:
    """Draw a line for each event that went out."""
    return sheet(
        "",
        ("seq", "received", "from", "type", "subject", "id"),
        (
            (
                str(one.seq),
                time_text(one.received_at),
                plain(one.peer),
                plain(one.type),
                plain(one.subject),
                Text(plain(one.id), "dim"),
            )
            for one in events
        ),
    )


def draw_sent(one: EventView) -> Group:
    """Draw one event that went out; what it says of somebody is shown only as JSON."""
    rows: list[tuple[str, RenderableType]] = [
        ("seq", str(one.seq)),
        ("from", plain(one.peer)),
        ("received", time_text(one.received_at)),
        ("subject", plain(one.subject)),
    ]
    if one.not_before:
        rows.append(("not before", time_text(one.not_before)))
    return Group(Text(f"{plain(one.type)}  {plain(one.id)}", "bold"), facts(rows))


def draw_why(answers: Iterable[WhyView]) -> Group:
    """Draw what became of an event at each endpoint."""
    return sheet(
        "At every endpoint",
        ("endpoint", "is", "why", "", "attempts", "next try", "replayable"),
        (
            (
                Text(plain(one.endpoint), "bold"),
                word(one.state),
                plain(one.reason or "—"),
                plain(one.explanation),
                str(one.attempts),
                time_text(one.retry_at),
                "yes" if one.is_replayable else "no",
            )
            for one in answers
        ),
    )


def draw_count(one: CountView) -> Group:
    """Draw what a replay would queue."""
    return Group(
        facts(
            [
                ("events", f"{one.events}{'' if one.is_complete else ' or more: not all were looked at'}"),
                ("received", f"{time_text(one.oldest_at)} to {time_text(one.newest_at)}"),
                ("left alone", f"{one.under_way}, which are queued or tried again anyway"),
                ("looked at", str(one.looked_at)),
            ]
        )
    )


def draw_replays(replays: Sequence[ReplayView]) -> Group:
    """Draw a line for each replay."""
    return sheet(
        "",
        ("id", "endpoint", "of", "is", "queued", "asked", "ended"),
        (
            (
                plain(one.id),
                plain(one.endpoint),
                plain(one.status),
                word(one.state),
                str(one.queued),
                time_text(one.asked_at),
                time_text(one.ended_at),
            )
            for one in replays
        ),
    )


def draw_replay(one: ReplayView) -> Group:
    """Draw one replay."""
    rows: list[tuple[str, RenderableType]] = [
        ("endpoint", plain(one.endpoint)),
        ("of", f"{plain(one.status)}: {plain(', '.join(one.types))}"),
        ("window", f"{time_text(one.since)} to {time_text(one.until)}"),
        ("looked at", str(one.looked_at)),
        ("queued", f"{one.queued}, at most {one.rate_per_s:g} a second"),
        ("left alone", str(one.under_way)),
        ("ended", time_text(one.ended_at)),
    ]
    return Group(Text.assemble((f"{plain(one.id)}  ", "bold"), word(one.state)), facts(rows))
