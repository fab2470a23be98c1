"""Draws what `idsync explain` knows of one identity: each value and why, each peer and what it holds, what happened."""

from collections.abc import Iterable, Iterator, Mapping

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from idsync.api.explain import ClaimStory, Explanation, FieldStory, LinkStory, NeedStory, ShadowStory
from idsync.api.views import ConflictView, DeliveryView, EntityView, InboxView
from idsync.cli.draw import draw_event, facts, sheet, time_text, value_text, word
from idsync.cli.terminal import plain
from idsync.model.values import Value


def draw_explanation(known: Explanation) -> Group:
    """Draw everything, the truth first, then why, then what happened, newest first."""
    truth = {one.field: one.value for one in known.fields}
    parts: list[RenderableType] = [_draw_entity(known.entity), _draw_fields(known.fields), _draw_links(known.links)]
    parts.append(_draw_shadows(truth, known.links))
    if known.claims:
        parts.append(_draw_claims(known.claims))
    if known.conflicts:
        parts.append(_draw_conflicts(known.conflicts))
    parts.append(Group(Text("Timeline, newest first", "bold"), *_draw_timeline(known.timeline)))
    return Group(*(piece for part in parts for piece in (part, "")))


def _draw_entity(entity: EntityView) -> Panel:
    rows: list[tuple[str, RenderableType]] = [
        ("version", f"{entity.version}, incarnation {entity.incarnation}"),
        ("created", time_text(entity.created_at)),
        ("updated", time_text(entity.updated_at)),
    ]
    if entity.deleted_at:
        rows.append(("deleted", Text(time_text(entity.deleted_at), "red")))
    if entity.held:
        rows.append(("held", Text(f"{plain(', '.join(entity.held))}: an operator decides", "yellow")))
    return Panel.fit(facts(rows), title=Text(plain(f"{entity.kind}/{entity.id}"), "bold"), title_align="left")


def _draw_fields(fields: list[FieldStory]) -> Group:
    return sheet(
        "Fields",
        ("field", "value", "decided by", "set by", "at", "event"),
        (
            (
                Text(plain(one.field), "bold"),
                value_text(one.value),
                _rule_text(one),
                plain(one.set_by),
                time_text(one.set_at),
                Text(plain(one.event), "dim"),
            )
            for one in fields
        ),
    )


def _rule_text(one: FieldStory) -> Text:
    text = Text(plain(f"{one.owner} (owner)" if one.owner else one.rule))
    if one.group:
        text.append(f", group {plain(one.group)}", "dim")
    if one.held:
        text.append(", held", "yellow")
    return text


def _draw_links(links: list[LinkStory]) -> Group:
    return sheet(
        "Peers",
        ("peer", "state", "id", "version", "confirmed", "on its way", "still lacks"),
        (
            (
                Text(plain(one.peer), "bold"),
                word(one.state),
                plain(one.id or "—") + (f" (before: {plain(', '.join(one.former))})" if one.former else ""),
                str(one.version.number) if one.version else "—",
                time_text(one.confirmed_at),
                "; ".join(_act_text(intent.action, intent.fields) for intent in one.open_intents) or "—",
                _need_text(one.needs),
            )
            for one in links
        ),
    )


def _need_text(needs: NeedStory | None) -> Text:
    if needs is None:
        return Text("nothing", "green")
    return Text(_act_text(needs.action, needs.fields), "yellow")


def _act_text(action: str, fields: Iterable[str]) -> str:
    return plain(f"{action} {', '.join(fields)}".strip())


def _draw_shadows(truth: Mapping[str, Value], links: list[LinkStory]) -> Group:
    """Draw field by peer what each holds, which is most often the truth: then `=` says it all."""
    shadows = [{one.field: one for one in link.fields} for link in links]
    names = dict.fromkeys([*truth, *(name for shadow in shadows for name in shadow)])
    return sheet(
        "Shadows: what each peer holds (= the value above, · not known)",
        ("field", *(plain(link.peer) for link in links)),
        (
            (Text(plain(name), "bold"), *(_shadow_text(truth.get(name), shadow.get(name)) for shadow in shadows))
            for name in names
        ),
    )


def _shadow_text(truth: Value, shadow: ShadowStory | None) -> Text:
    if shadow is None:
        return Text("·", "dim")
    text = Text("=", "green") if shadow.held == truth else Text(value_text(shadow.held), "yellow")
    if shadow.sent != truth:
        text.append(f" (was sent {value_text(shadow.sent)})", "yellow")
    elif shadow.held != truth:
        text.append(" (its own form of it)", "dim")
    return text


def _draw_claims(claims: list[ClaimStory]) -> Group:
    return sheet(
        "Held: an operator decides between",
        ("group", "field", "peer", "says", "since"),
        (
            (plain(one.group), plain(one.field), plain(one.peer), value_text(one.value), time_text(one.at))
            for one in claims
        ),
    )


def _draw_conflicts(conflicts: list[ConflictView]) -> Group:
    return sheet(
        "Conflicts, newest first",
        ("at", "field", "rule", "kept", "refused", "event"),
        (
            (
                time_text(one.at),
                Text(plain(one.field), "bold"),
                plain(one.rule),
                f"{value_text(one.kept)} ({plain(one.kept_peer)})",
                f"{value_text(one.refused)} ({plain(one.peer)})",
                Text(plain(one.event), "dim"),
            )
            for one in conflicts
        ),
    )


def _draw_timeline(timeline: list[InboxView]) -> Iterator[Text]:
    for event in timeline:
        yield draw_event(event)
        for delivery in event.deliveries or []:
            yield _delivery_line(delivery)


def _delivery_line(one: DeliveryView) -> Text:
    last = one.tries[-1] if one.tries else None
    return Text.assemble(
        f"    → {plain(one.destination)}  ",
        word(one.state),
        f"  attempts: {one.attempts}" if one.attempts > 1 or one.reason else "",
        f"  {plain(one.reason)}" if one.reason else "",
        f"  last answer {last.status or plain(last.error or 'none')}" if last is not None else "",
    )
