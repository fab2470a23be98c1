"""`idsync dead`: what was given up or waits for somebody, and how it is tried again or given up."""

from typing import Annotated

import msgspec
import typer

from idsync.api.views import CommandView, DeliveryPage, WaitingPage
from idsync.cli.client import Call, compose, decode, fetch, find_service
from idsync.cli.draw import draw_deliveries, draw_parked, draw_waiting
from idsync.cli.options import Config, Json, Key, Limit, Sure, Url, given
from idsync.cli.terminal import Exit, confirm, leave, note, show, show_json

Destination = Annotated[
    str | None, typer.Option("--destination", help="Only this one, as `endpoint:audit` or `peer:app`.")
]

Type = Annotated[str | None, typer.Option("--type", help="Only of this type, as `user.created` or `user.*`.")]
OfSubject = Annotated[str | None, typer.Option("--subject", help="Only of this outgoing subject.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only with this reason, as `http_500` or `timeout`.")]
Since = Annotated[str | None, typer.Option("--since", help="Only parked from then on, as 2026-01-31T12:00:00Z.")]
Until = Annotated[str | None, typer.Option("--until", help="Only parked before, as 2026-01-31T12:00:00Z.")]


def list_dead(  # noqa: PLR0913  # each is an option of the command
    *,
    destination: Destination = None,
    event_type: Type = None,
    subject: OfSubject = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    parked: Annotated[
        bool, typer.Option("--parked", help="Deliveries that wait for their next try, not those given up.")
    ] = False,
    limit: Limit = 50,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List deliveries that were given up, and arrivals that wait.

    A delivery is dead after the last of its tries (`[delivery.retry]`); it delays nobody else, and can be requeued. An
    arrival waits where it cannot be understood, or where something else or an operator must come first.

    With `--json`: the API's pages, as `{"deliveries": …, "waiting": …}`.
    """
    service = find_service(url, key, config)
    state = "parked" if parked else "dead"
    parts = {"destination": destination, "subject": subject, "reason": reason, "since": since, "until": until}
    query = given(state=state, limit=limit, type=event_type, **parts)
    deliveries = fetch(service, Call("/v1/deliveries", query), as_json=as_json)
    waiting = fetch(service, Call("/v1/waiting", {"limit": str(limit)}), as_json=as_json)
    if as_json:
        show_json(msgspec.json.encode({"deliveries": msgspec.Raw(deliveries), "waiting": msgspec.Raw(waiting)}))
        return
    page, waits = decode(deliveries, DeliveryPage), decode(waiting, WaitingPage)
    show(draw_parked(page.items, f"Deliveries: {state}"), "", draw_waiting(waits.items))
    if page.next or waits.next:
        note("There are more: --limit shows up to 200, and --destination narrows the list.")


def show_dead(
    event: Annotated[str, typer.Argument(help="The event: its number in `dead list`, or the id it went out with.")],
    *,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show where every delivery of one event stands, with each try and what was answered.

    With `--json`: the API's answer.
    """
    answer = fetch(find_service(url, key, config), Call("/v1/deliveries", {"event": event}), as_json=as_json)
    deliveries = decode(answer, DeliveryPage).items
    if as_json:
        show_json(answer)
    elif deliveries:
        show(draw_deliveries(deliveries))
    else:
        leave(Exit.FAILED, "This event has no deliveries, or they are past their retention.")


def requeue(  # noqa: PLR0913  # each is an option of the command
    deliveries: Annotated[list[int] | None, typer.Argument(metavar="ID", help="Ids of `dead list`.")] = None,
    *,
    destination: Destination = None,
    event_type: Type = None,
    subject: OfSubject = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead delivery of every destination.")] = False,
    waiting: Annotated[
        list[int] | None,
        typer.Option("--waiting", metavar="SEQ", help="An arrival that waits; a guard that held it lets it pass now."),
    ] = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Try dead deliveries, or arrivals that wait, again.

    The worker that owns them does it at once; `idsync dead show EVENT` shows what came of it.

    `$ idsync dead requeue 17 18`

    `$ idsync dead requeue --destination endpoint:audit --type 'user.*' --reason http_500`

    `$ idsync dead requeue --waiting 40`

    With `--json`: the API's answer.
    """
    wanted = given(destination=destination, type=event_type, subject=subject, reason=reason, since=since, until=until)
    if sum(map(bool, (deliveries, wanted, everything, waiting))) != 1:
        raise typer.BadParameter("name ids, or what they have (--destination, --type…), or --all, or --waiting")
    if waiting:
        call = compose("/v1/waiting/requeue", {"waiting": waiting})
    else:
        parts = {"deliveries": deliveries, "all": everything}
        call = compose("/v1/deliveries/requeue", wanted | {name: part for name, part in parts.items() if part})
    answer = fetch(find_service(url, key, config), call, as_json=as_json)
    if as_json:
        show_json(answer)
        return
    asked = decode(answer, CommandView)
    if deliveries and asked.deliveries is not None and asked.deliveries < len(set(deliveries)):
        note("The others are not dead, or are not known: `idsync dead list` shows those that are.")
    if asked.deliveries == 0:
        leave(Exit.FAILED, "None of the dead deliveries is meant.")
    many = "" if asked.deliveries is None else f"{asked.deliveries} of them, "
    show(f"Asked for, {many}as command {asked.command}: it is being tried again.")
    if not asked.is_complete:
        note("There are more than one request looks at: run it again.")


def discard(
    waiting: Annotated[list[int], typer.Argument(metavar="SEQ", help="Arrivals of `dead list` that wait.")],
    *,
    sure: Sure = False,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give up arrivals that cannot be understood, as a row of an outbox that is damaged.

    Their ids stay known and what they held is forgotten. What waits for something else is refused: requeue it.
    To try again what cannot be understood does not help: it was kept as it came. Repair it where it came from, which
    arrives as any other change does, and then give up what came before.

    `$ idsync dead discard 40 --yes`

    With `--json`: the API's answer.
    """
    confirm(f"Forget for ever what {len(waiting)} arrivals hold?", is_sure=sure)
    call = compose("/v1/waiting/discard", {"waiting": waiting})
    answer = fetch(find_service(url, key, config), call, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show(f"Asked for, as command {decode(answer, CommandView).command}: it is being given up.")
