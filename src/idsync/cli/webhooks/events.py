"""`idsync events`: what went out, and why an endpoint got it or did not."""

from typing import Annotated

import msgspec
import typer

from idsync.api.views import AttemptPage, EventPage, EventView, WhyPage
from idsync.cli.client import Call, decode, fetch, find_service
from idsync.cli.options import Config, Json, Key, Limit, Url, given, segment
from idsync.cli.terminal import note, show, show_json
from idsync.cli.webhooks.draw import draw_attempts, draw_sent, draw_sent_list, draw_why

Types = Annotated[str | None, typer.Option("--types", help="Only these, as `user.*,!user.deleted`.")]
OfSubject = Annotated[str | None, typer.Option("--subject", help="Only of this outgoing subject.")]
Since = Annotated[str | None, typer.Option("--since", help="Only from then on, as 2026-01-31T12:00:00Z.")]
Until = Annotated[str | None, typer.Option("--until", help="Only before, as 2026-01-31T12:00:00Z.")]


def list_events(  # noqa: PLR0913  # each is an option of the command
    *,
    types: Types = None,
    subject: OfSubject = None,
    since: Since = None,
    until: Until = None,
    after: Annotated[int | None, typer.Option("--after", min=0, help="Only after this sequence.")] = None,
    limit: Limit = 50,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List events that went out, oldest first.

    With `--json`: the API's page.
    """
    query = given(types=types, subject=subject, since=since, until=until, after=after, limit=limit)
    answer = fetch(find_service(url, key, config), Call("/v1/events", query), as_json=as_json)
    if as_json:
        show_json(answer)
        return
    page = decode(answer, EventPage)
    show(draw_sent_list(page.items))
    if page.next:
        note(f"There may be more: --after {page.next} goes on.")


def show_event(
    event: Annotated[str, typer.Argument(help="Its id, or its sequence.")],
    *,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Only this endpoint.")] = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show one event, what became of it at every endpoint and why, and each try.

    `$ idsync events show 018f0000-0000-7000-8000-000000000000`

    With `--json`: the API's three answers, as `{"event": …, "deliveries": …, "attempts": …}`.
    """
    service, path = find_service(url, key, config), f"/v1/events/{segment(event)}"
    answer = fetch(service, Call(path), as_json=as_json)
    why = fetch(service, Call(f"{path}/deliveries", given(endpoint=endpoint)), as_json=as_json)
    attempts = fetch(service, Call(f"{path}/attempts"), as_json=as_json)
    if as_json:
        parts = {"event": answer, "deliveries": why, "attempts": attempts}
        show_json(msgspec.json.encode({name: msgspec.Raw(part) for name, part in parts.items()}))
        return
    tries = decode(attempts, AttemptPage).items
    show(
        draw_sent(decode(answer, EventView)),
        "",
        draw_why(decode(why, WhyPage).items),
        "",
        draw_attempts(tries, "destination"),
    )
