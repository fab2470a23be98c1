"""`idsync endpoints`: where webhooks go to, looked at and changed while the service runs."""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from idsync.api.views import (
    AttemptPage,
    EndpointHealthView,
    EndpointPage,
    EndpointView,
    NewEndpointView,
    RotatedView,
    TestView,
)
from idsync.cli.client import Call, Service, compose, decode, fetch, find_service
from idsync.cli.options import Config, Json, Key, Limit, Sure, Url, read_body, read_secret, segment
from idsync.cli.terminal import Exit, confirm, leave, plain, show, show_json
from idsync.cli.webhooks.draw import (
    draw_attempts,
    draw_endpoint,
    draw_endpoints,
    draw_health,
    draw_once,
    draw_test,
)

ROOT: Final = "/v1/endpoints"
DAY_S: Final = 86_400.0

Name = Annotated[str, typer.Argument(help="The endpoint's name.")]
Address = Annotated[str | None, typer.Option("--to", metavar="URL", help="Where events are posted.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", "-e", metavar="FILTER", help="A type, `user.*`, `*`, or `!user.deleted`. Repeatable."),
]
Parts = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any part of the definition, as `rate.burst=5`; the value is JSON. Repeatable.",
    ),
]
File = Annotated[
    Path | None, typer.Option("--file", help="The definition as a JSON object, as the API takes it. `-`: stdin.")
]


def list_endpoints(*, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """List the webhook endpoints: where each goes, whether it is well, what waits for it.

    With `--json`: the API's answer.
    """
    answer = fetch(find_service(url, key, config), Call(ROOT), as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show(draw_endpoints(decode(answer, EndpointPage).items))


def show_endpoint(
    name: Name, *, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False
) -> None:
    """Show one endpoint: its definition, without its secrets, and how it does.

    With `--json`: the API's answer.
    """
    answer = fetch(find_service(url, key, config), Call(_path(name)), as_json=as_json)
    _say_endpoint(answer, as_json=as_json)


def add(  # noqa: PLR0913  # each is an option of the command
    name: Name,
    *,
    to: Address = None,
    events: Events = None,
    parts: Parts = None,
    file: File = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make an endpoint, and print the secret that was made for it: this once.

    `$ idsync endpoints add shop --to https://shop.example/hook --event 'order.*' --set rate.requests_per_second=5`

    With `--json`: the API's answer.
    """
    service = find_service(url, key, config)
    call = compose(ROOT, _definition(to, events, parts, file) | {"name": name})
    answer = fetch(service, call, as_json=as_json)
    if as_json:
        show_json(answer)
        return
    made = decode(answer, NewEndpointView)
    show(draw_endpoint(made.endpoint))
    if made.secret is not None:
        show(draw_once(f"secret of endpoint {made.endpoint.name}", made.secret))


def change(  # noqa: PLR0913  # each is an option of the command
    name: Name,
    *,
    to: Address = None,
    events: Events = None,
    parts: Parts = None,
    file: File = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Change parts of an endpoint's definition; null is back to the default.

    `$ idsync endpoints change shop --set timeout_s=10 --set rate=null`

    With `--json`: the API's answer.
    """
    service = find_service(url, key, config)
    patch = _definition(to, events, parts, file)
    if not patch:
        raise typer.BadParameter("say what to change: --to, --event, --set or --file")
    answer = fetch(service, compose(_path(name), patch, "PATCH"), as_json=as_json)
    _say_endpoint(answer, as_json=as_json)


def remove(
    name: Name, *, sure: Sure = False, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False
) -> None:
    """Remove an endpoint; what is queued for it is skipped.

    With `--json`: the name.
    """
    service = find_service(url, key, config)
    confirm(f"Remove the endpoint {plain(name)}?", is_sure=sure)
    fetch(service, Call(_path(name), method="DELETE"), as_json=as_json)
    if as_json:
        show_json(msgspec.json.encode({"removed": name}))
    else:
        show(f"Removed {plain(name)}.")


def enable(name: Name, *, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """Deliver to an endpoint again, whatever it was disabled for.

    What came in meanwhile is brought by `idsync replay start NAME --status missed`.

    With `--json`: the API's answer.
    """
    _switch(find_service(url, key, config), name, "enable", as_json=as_json)


def disable(name: Name, *, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """Deliver to an endpoint no more: what is queued is kept, what comes later can be replayed.

    With `--json`: the API's answer.
    """
    _switch(find_service(url, key, config), name, "disable", as_json=as_json)


def rotate(  # each is an option of the command
    name: Name,
    *,
    secret: Annotated[
        str | None,
        typer.Option("--secret", help="`env:NAME` or `file:PATH` of the next secret. Without: one is made."),
    ] = None,
    overlap_s: Annotated[
        float, typer.Option("--overlap", min=0, help="How many seconds the former secrets sign too.")
    ] = DAY_S,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give an endpoint a new secret, and print the one that was made: this once.

    With `--json`: the API's answer.
    """
    service = find_service(url, key, config)
    body = {"overlap_s": overlap_s} | ({"secret": read_secret(secret)} if secret else {})
    answer = fetch(service, compose(f"{_path(name)}/rotate-secret", body), as_json=as_json)
    if as_json:
        show_json(answer)
        return
    rotated = decode(answer, RotatedView)
    show(f"{rotated.endpoint.secrets} secrets sign now.")
    if rotated.secret is not None:
        show(draw_once(f"secret of endpoint {rotated.endpoint.name}", rotated.secret))


def send_test(name: Name, *, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """Send an endpoint a signed test event now, and show what it answered.

    Exit code 1: it did not answer 2xx. With `--json`: the API's answer.
    """
    answer = fetch(find_service(url, key, config), Call(f"{_path(name)}/test", method="POST"), as_json=as_json)
    told = decode(answer, TestView)
    if as_json:
        show_json(answer)
    else:
        show(draw_test(told))
    if not told.is_delivered:
        raise typer.Exit(Exit.FAILED)


def health(
    name: Name, *, limit: Limit = 10, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False
) -> None:
    """Show how an endpoint does, with its newest tries.

    Exit code 1: it fails. With `--json`: the API's two answers, as `{"health": …, "attempts": …}`.
    """
    service = find_service(url, key, config)
    answer = fetch(service, Call(f"{_path(name)}/health"), as_json=as_json)
    attempts = fetch(service, Call(f"{_path(name)}/attempts", {"limit": str(limit)}), as_json=as_json)
    view = decode(answer, EndpointHealthView)
    if as_json:
        show_json(msgspec.json.encode({"health": msgspec.Raw(answer), "attempts": msgspec.Raw(attempts)}))
    else:
        show(draw_health(view), "", draw_attempts(decode(attempts, AttemptPage).items, "event"))
    if view.failing_since is not None:
        raise typer.Exit(Exit.FAILED)


def _switch(service: Service, name: str, verb: str, *, as_json: bool) -> None:
    _say_endpoint(fetch(service, Call(f"{_path(name)}/{verb}", method="POST"), as_json=as_json), as_json=as_json)


def _say_endpoint(answer: bytes, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
    else:
        show(draw_endpoint(decode(answer, EndpointView)))


def _path(name: str) -> str:
    return f"{ROOT}/{segment(name)}"


def _definition(to: str | None, events: list[str] | None, parts: list[str] | None, file: Path | None) -> dict[str, Any]:
    """Put a definition together: the file, then what options say of it."""
    whole: dict[str, Any] = _read_object(file) if file is not None else {}
    if to is not None:
        whole["url"] = to
    if events:
        whole["events"] = events
    for part in parts or ():
        name, sign, text = part.partition("=")
        if not (sign and name):
            raise typer.BadParameter("write KEY=VALUE, as in rate.burst=5", param_hint="--set")
        _put(whole, name.strip().split("."), _read_value(text.strip()))
    return whole


def _put(whole: dict[str, Any], path: list[str], value: object) -> None:
    """Set a value at its place, through tables that may not be there yet."""
    for name in path[:-1]:
        inner = whole.setdefault(name, {})
        if not isinstance(inner, dict):
            leave(Exit.USAGE, f"--set: {plain(name)} is set to a value, so nothing can stand in it.")
        whole = inner
    whole[path[-1]] = value


def _read_value(text: str) -> Any:  # noqa: ANN401  # JSON
    """Read JSON; what is none is a text as it is."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text


def _read_object(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(read_body(file), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise typer.BadParameter("write one JSON object", param_hint="--file") from None
