"""The commands that ask a running service: `publish`, `tail`, `status`, `explain`."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from idsync.api.explain import Explanation
from idsync.api.views import EntityPage, EntityView, HealthView, InboxView, PeerPage, StatsView
from idsync.cli.client import Call, InboxRows, Service, compose, decode, fetch, find_service, request
from idsync.cli.draw import draw_entities, draw_event, draw_receipts, draw_status
from idsync.cli.options import Config, Json, Key, Limit, Url, read_body
from idsync.cli.story import draw_explanation
from idsync.cli.terminal import Exit, leave, note, plain, show, show_json
from idsync.model.event import Receipt, Verdict
from idsync.model.values import Value
from idsync.wire.envelope import kind_and_op

EVENTS: Final = "/v1/events"
WAIT_S: Final = 25
"""How long one poll of `tail` waits."""
PAGE_MAX: Final = 200
STATUS: Final = {
    "health": Call("/healthz", expected=frozenset({200, 503})),
    "stats": Call("/v1/stats"),
    "peers": Call("/v1/peers"),
}


class _Said(msgspec.Struct, frozen=True):
    """As much of a published event as says whose word it is."""

    type: str = ""
    source: str | None = None


def publish(  # noqa: PLR0913  # each is an option of the command
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="An event, or a list of them, as JSON. `-`: stdin.")
    ] = None,
    *,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Instead of a file: the type, as `user.updated`.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Whom it concerns, as `user/u_123`.")] = None,
    said: Annotated[str | None, typer.Option("--data", help="What is said, as a JSON object.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="Its id: the same one is taken only once.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="The peer whose word it is. Without: it is delivered, not merged.")
    ] = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Hand in events, and print what became of each.

    The answer comes after the commit: what is printed as taken survives a power cut.

    `$ idsync publish event.json`

    `$ idsync publish --type invoice.paid --subject invoice/17 --data '{"total": 5}'`

    Where `--source` names no peer and the type is one that a peer would send, a note says that nothing was merged.

    Exit code 1: an event was refused. With `--json`: the API's answer.
    """
    parts = {"id": event_id, "type": event_type, "source": source, "subject": subject, "data": said}
    if (file is None) == (event_type is None) or (file is not None and any(parts.values())):
        raise typer.BadParameter("give either a file (`-` for stdin), or --type and the options beside it")
    call = Call(EVENTS, body=read_body(file)) if file is not None else compose(EVENTS, _event_of(parts))
    answer = fetch(find_service(url, key, config), call, as_json=as_json)
    receipts = decode(answer, list[Receipt]) if answer.startswith(b"[") else [decode(answer, Receipt)]
    if as_json:
        show_json(answer)
    else:
        show(draw_receipts(receipts))
    _warn_of_strangers(call.body or b"", receipts)
    if any(one.verdict is Verdict.REFUSED for one in receipts):
        raise typer.Exit(Exit.FAILED)


def _event_of(parts: Mapping[str, str | None]) -> dict[str, object]:
    """Make the event that options describe; what they leave out, the service fills in."""
    event: dict[str, object] = {name: part for name, part in parts.items() if part is not None}
    try:
        event["data"] = msgspec.json.decode(parts["data"] or "{}", type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise typer.BadParameter('write one JSON object, as \'{"name": "Ada"}\'', param_hint="--data") from None
    return event


def _warn_of_strangers(body: bytes, receipts: Sequence[Receipt]) -> None:
    """Say which events look like a peer's word and were only passed on, for nobody is called as their source."""
    try:
        said = msgspec.json.decode(body, type=_Said | list[_Said])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # another system's form, in which no source stands
    events = said if isinstance(said, list) else [said]
    strangers = {
        (one.source, one.type)
        for one, receipt in zip(events, receipts, strict=False)
        if one.source and kind_and_op(one.type) and receipt.verdict is Verdict.APPLIED and receipt.entity is None
    }
    for source, event_type in sorted(strangers):
        told = f"No peer is called {source}, so {event_type} was passed on to endpoints and merged with nobody."
        note(plain(f"{told} `idsync status` lists the peers."))


def tail(  # noqa: PLR0913  # each is an option of the command
    *,
    follow: Annotated[bool, typer.Option(help="Go on with what happens, until Ctrl-C.")] = True,
    after: Annotated[
        int | None, typer.Option(min=0, help="Begin after this sequence. Default: the newest rows.")
    ] = None,
    limit: Limit = 20,
    values: Annotated[
        bool, typer.Option("--data", help="Also what the changed fields hold now: personal data. Not with --json.")
    ] = False,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what came in and what became of it, one line an event.

    A line says when (UTC), from which peer, which type, the verdict, whom it concerns and which fields changed. Beside
    the verdict stands its reason; of a conflict, in which fields it was, where nothing else of the event was taken.

    `$ idsync tail --no-follow --limit 100`

    With `--json`: one object a line, with its sequence `seq`; `--after SEQ` goes on from there.
    """
    service = find_service(url, key, config)
    query = {"limit": str(limit)} | ({} if after is None else {"after": str(after)})
    with suppress(KeyboardInterrupt):
        asyncio.run(_tail(service, query, follow=follow, values=values, as_json=as_json))


async def _tail(service: Service, query: dict[str, str], *, follow: bool, values: bool, as_json: bool) -> None:
    """Read page after page, all in one loop: Ctrl-C then always meets a place where it may stop."""
    while True:
        page = decode(await request(service, Call("/v1/inbox", query), as_json=as_json), InboxRows)
        for row in page.items:
            if as_json:
                show_json(bytes(row))
            else:
                event = decode(bytes(row), InboxView)
                show(draw_event(event, await _fields_now(service, event) if values else None))
        if not follow:
            return
        query = {"after": page.next, "limit": str(PAGE_MAX), "wait_s": str(WAIT_S)}


async def _fields_now(service: Service, event: InboxView) -> dict[str, Value]:
    if event.entity is None or not event.changed:
        return {}
    answer = await request(service, Call(f"/v1/entities/{event.entity}"), as_json=False)
    return decode(answer, EntityView).fields


def status(*, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """Show how the service is: its loops, its peers, and what waits where.

    A peer that cannot be read or written is named, since when and why, as of its last try; it is tried on and on.

    Exit code 1: a loop is dead, so that the process should be started again.

    With `--json`: `/healthz`, `/v1/stats` and `/v1/peers` in one object.
    """
    service = find_service(url, key, config)
    answers = {name: fetch(service, call, as_json=as_json) for name, call in STATUS.items()}
    health = decode(answers["health"], HealthView)
    if as_json:
        show_json(msgspec.json.encode({name: msgspec.Raw(answer) for name, answer in answers.items()}))
    else:
        peers = decode(answers["peers"], PeerPage).items
        show(draw_status(health, decode(answers["stats"], StatsView), peers))
    if not all(one.is_alive for one in health.loops):
        raise typer.Exit(Exit.FAILED)


def explain(
    text: Annotated[str, typer.Argument(help="An e-mail, an entity's id, `<kind>/<id>`, or a peer's own id.")],
    *,
    limit: Limit = 50,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show everything about one identity, and why it is so.

    Each field: its value, who decides it, who set it, when, by which event. Each peer: its id there, what it holds,
    what it was sent, what it still lacks. Conflicts, and the newest `--limit` events with their deliveries.

    `$ idsync explain ada@example.com`

    Exit code 1: nobody is meant, or more than one, who are then listed. With `--json`: the API's answer.
    """
    service = find_service(url, key, config)
    found = fetch(service, Call("/v1/entities", {"find": text}), as_json=as_json)
    entities = decode(found, EntityPage).items
    if len(entities) != 1:
        if as_json:
            show_json(found)
        elif entities:
            show(draw_entities(entities))
        hint = "name one by its id" if entities else _hint(text)
        leave(Exit.FAILED, f"{len(entities) or 'No'} identities are known by {plain(text)}: {hint}.")
    answer = fetch(service, Call(f"/v1/entities/{entities[0].id}/explain", {"limit": str(limit)}), as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show(draw_explanation(decode(answer, Explanation)))


def _hint(text: str) -> str:
    """Say how somebody is found whom this text does not find."""
    if "@" in text:
        return "who was deleted is found only by an id: the identity's, or one at a peer, as `idsync tail` shows them"
    return "try an e-mail, or an id as it stands at a peer"
