"""Draws the API's answers for people: pure functions from an answer to what Rich prints.

Every text that came from outside goes through `plain` or `value_text`, and into `Text`, which knows no markup.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from idsync.api.views import (
    DeliveryView,
    EntityView,
    HealthView,
    InboxView,
    PeerItem,
    StatsView,
    TryView,
    WaitingView,
)
from idsync.cli.terminal import plain
from idsync.model.event import Receipt
from idsync.model.values import Value

VALUE_LENGTH_MAX: Final = 200
MS_SHOWN_MIN: Final = 0.1
MS_WHOLE_MIN: Final = 9.95
"""From here on a duration is shown in whole milliseconds."""
STYLES: Final[Mapping[str, str]] = {
    "applied": "green", "echo": "dim", "duplicate": "dim", "stale": "dim", "reread": "cyan",
    "conflict": "yellow", "parked": "magenta", "refused": "red",
    "delivered": "green", "queued": "cyan", "sending": "cyan", "skipped": "dim", "dead": "red",
    "unmatched": "dim", "not_created_yet": "dim", "forgotten": "dim", "failed": "red",
    "running": "cyan", "paused": "yellow", "done": "green", "cancelled": "yellow", "stopped": "red",
    "live": "green", "pending": "cyan", "unlinked": "yellow", "gone": "dim",
}  # fmt: skip
"""Verdicts, states of deliveries, of replays and of links."""


def word(text: str) -> Text:
    """Colour a verdict or a state."""
    return Text(plain(text), STYLES.get(text, ""))


def value_text(value: Value) -> str:
    """Write a field's value in one line: text as it is, all else as JSON, so that null, "" and no value differ."""
    text = plain(value) if isinstance(value, str) and value else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[:VALUE_LENGTH_MAX]}…"


def took_text(ms: float) -> str:
    """Write a duration in milliseconds: `12`, below 10 with a decimal as `0.4`, and less than can be so told `<0.1`."""
    if 0 < ms < MS_SHOWN_MIN:
        return f"<{MS_SHOWN_MIN}"
    return f"{ms:.0f}" if ms >= MS_WHOLE_MIN else f"{ms:.1f}"


def time_text(at: str | None) -> str:
    """Write a time as people read it, in UTC: `2026-01-31 12:00:00.000`."""
    return plain(at).replace("T", " ").removesuffix("Z") if at else "—"


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Draw names and what they stand for, side by side."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, meaning in rows:
        grid.add_row(Text(f"  {name}"), meaning)
    return grid


def sheet(title: str, columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Group:
    """Draw a table, under its title if it has one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*row)
    heading = [Text(title, "bold")] if title else []
    return Group(*heading, table if table.row_count else Text("none", "dim"))


def draw_event(event: InboxView, fields: Mapping[str, Value] | None = None) -> Text:
    """Draw one event in one line: when, from whom, what, what became of it, whom it concerns, which fields.

    Args:
        fields: what they hold now; None: only their names are shown.
    """
    line = Text.assemble(
        (time_text(event.at)[5:], "dim"),
        f"  {plain(event.peer):<10}  {plain(event.type):<20}  ",
        word(event.verdict),
        f" ({plain(event.reason)})" if event.reason else "",
        f"  {plain(event.subject)}",
    )
    if event.changed:
        line.append(f"  {', '.join(_changed(event, fields))}", "bold")
    return line


def _changed(event: InboxView, fields: Mapping[str, Value] | None) -> list[str]:
    if fields is None:
        return [plain(name) for name in event.changed]
    return [f"{plain(name)}={value_text(fields.get(name))}" for name in event.changed]


def draw_receipts(receipts: Sequence[Receipt]) -> Group:
    """Draw what became of each event that was published, in the order in which they were given."""
    return sheet(
        "",
        ("verdict", "id", "entity", "why"),
        ((word(one.verdict), plain(one.id), plain(one.entity or "—"), plain(one.reason or "")) for one in receipts),
    )


def draw_status(health: HealthView, stats: StatsView, peers: Sequence[PeerItem]) -> Group:
    """Draw how the service is: its loops, its peers, what waits where, and what it has seen."""
    unreached = list(_draw_failures(peers))
    title = Text.assemble((f"idsync {plain(health.version)}  ", "bold"), _draw_state(health, is_reached=not unreached))
    failing = [f"{plain(one.name)}: {plain(one.detail)}" for one in health.loops if not one.is_alive or one.detail]
    loops = "; ".join(failing) or f"all {len(health.loops)} run"
    counts = (
        ("loops", loops),
        *[("peer", failure) for failure in unreached],
        ("entities", str(stats.entities)),
        ("events", f"{stats.inbox} kept{_count_verdicts(stats.verdicts)}"),
        ("waiting", f"{stats.waiting} arrivals, {stats.rereads} rereads"),
        ("conflicts", str(stats.conflicts)),
        ("store", f"{stats.size_bytes / 1_000_000:.1f} MB"),
    )
    return Group(title, facts(counts), "", _draw_peers(peers), "", _draw_destinations(stats))


def _draw_state(health: HealthView, *, is_reached: bool) -> Text:
    if health.status != "ok":
        return Text(plain(health.status), "red")
    return Text("ok", "green") if is_reached else Text("a peer cannot be reached", "yellow")


def _draw_failures(peers: Sequence[PeerItem]) -> Iterator[str]:
    """Say of each peer that cannot be reached what cannot be done, since when and why."""
    for one in peers:
        for verb, failure in (("read", one.unread), ("written", one.unwritten)):
            if failure is not None:
                yield f"{plain(one.name)} cannot be {verb} since {time_text(failure.since)}: {plain(failure.error)}"


def _count_verdicts(verdicts: Mapping[str, int]) -> str:
    counted = ", ".join(f"{count} {plain(verdict)}" for verdict, count in verdicts.items())
    return f"; since the start {counted}" if counted else ""


def _draw_peers(peers: Sequence[PeerItem]) -> Group:
    return sheet(
        "Peers",
        ("name", "connector", "kinds", "webhooks", "read up to"),
        (
            (
                plain(one.name),
                plain(one.connector),
                plain(", ".join(kind.kind for kind in one.kinds)) or "—",
                plain(one.dialect or "—"),
                "—" if one.position is None else str(one.position),
            )
            for one in peers
        ),
    )


def _draw_destinations(stats: StatsView) -> Group:
    names = sorted({*stats.queued, *stats.parked, *stats.dead})
    return sheet(
        "Deliveries",
        ("destination", "queued", "parked", "dead"),
        (
            (
                plain(name),
                str(stats.queued.get(name, 0)),
                _draw_count(stats.parked.get(name, 0), "magenta"),
                _draw_count(stats.dead.get(name, 0), "red"),
            )
            for name in names
        ),
    )


def _draw_count(count: int, style: str) -> Text:
    return Text(str(count), style if count else "")


def draw_parked(deliveries: Sequence[DeliveryView], title: str) -> Group:
    """Draw deliveries that wait or were given up."""
    return sheet(
        title,
        ("id", "destination", "event", "type", "subject", "why", "attempts", "next try"),
        (
            (
                plain(one.id),
                plain(one.destination),
                str(one.event),
                plain(one.event_type),
                plain(one.subject),
                plain(one.reason or "—"),
                str(one.attempts),
                time_text(one.retry_at),
            )
            for one in deliveries
        ),
    )


def draw_waiting(waiting: Sequence[WaitingView]) -> Group:
    """Draw arrivals that wait."""
    return sheet(
        "Arrivals that wait",
        ("seq", "since", "peer", "type", "subject", "why", "waits for", "next try"),
        (
            (
                str(one.seq),
                time_text(one.parked_at),
                plain(one.peer),
                plain(one.type),
                plain(one.subject),
                plain(one.reason),
                plain(one.waits_for or "an operator"),
                time_text(one.retry_at),
            )
            for one in waiting
        ),
    )


def draw_deliveries(deliveries: Sequence[DeliveryView]) -> Group:
    """Draw where every delivery of one event stands, with its tries."""
    return Group(*(part for one in deliveries for part in (_draw_delivery(one), _draw_tries(one.tries or []))))


def _draw_delivery(one: DeliveryView) -> Text:
    return Text.assemble(
        (f"{plain(one.destination)}  ", "bold"),
        word(one.state),
        f"  delivery {plain(one.id)}  {plain(one.event_type)}  {plain(one.subject)}",
        f"  {plain(one.reason)}" if one.reason else "",
        f"  next try {time_text(one.retry_at)}" if one.retry_at else "",
    )


def _draw_tries(tries: Sequence[TryView]) -> Group:
    return sheet(
        "",
        ("  try", "at", "outcome", "status", "took", "answer"),
        (
            (
                f"  {one.number}",
                time_text(one.at),
                plain(one.outcome),
                str(one.status or plain(one.error or "—")),
                f"{took_text(one.latency_ms)} ms",
                value_text(one.response) if one.response else "—",
            )
            for one in tries
        ),
    )


def draw_entities(entities: Sequence[EntityView]) -> Group:
    """Draw the entities that a text may mean."""
    return sheet(
        "",
        ("id", "kind", "e-mail", "name", "peers", "deleted"),
        (
            (
                plain(one.id),
                plain(one.kind),
                value_text(one.fields.get("email")),
                value_text(one.fields.get("name")),
                plain(", ".join(f"{peer}:{link.id or link.state}" for peer, link in one.links.items())),
                time_text(one.deleted_at),
            )
            for one in entities
        ),
    )
