"""`idsync keys`: who may use the API."""

from typing import Annotated, Final

import msgspec
import typer

from idsync.api.keys import Scope
from idsync.api.views import KeyPage, NewKeyView
from idsync.cli.client import Call, compose, decode, fetch, find_service
from idsync.cli.draw import sheet, time_text
from idsync.cli.options import Config, Json, Key, Sure, Url, segment
from idsync.cli.terminal import confirm, plain, show, show_json
from idsync.cli.webhooks.draw import draw_once

ROOT: Final = "/v1/keys"


def list_keys(*, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """List the API keys that the service keeps; those of the configuration are not among them.

    With `--json`: the API's answer.
    """
    answer = fetch(find_service(url, key, config), Call(ROOT), as_json=as_json)
    if as_json:
        show_json(answer)
        return
    rows = [
        (plain(one.id), plain(one.name) or "—", plain(", ".join(one.scopes)), time_text(one.made_at))
        for one in decode(answer, KeyPage).items
    ]
    show(sheet("", ("id", "name", "scopes", "made"), rows))


def add(  # each is an option of the command
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
    scopes: Annotated[
        list[Scope],
        typer.Option("--scope", "-s", help="What it may do: `publish`, `read` or `admin`, which is all. Repeatable."),
    ],
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make an API key, and print it: this once.

    `$ idsync keys add shop --scope publish --scope read`

    With `--json`: the API's answer.
    """
    body = {"name": name, "scopes": [one.value for one in scopes]}
    answer = fetch(find_service(url, key, config), compose(ROOT, body), as_json=as_json)
    if as_json:
        show_json(answer)
        return
    made = decode(answer, NewKeyView)
    show(f"Made the key {plain(made.id)}: {plain(', '.join(made.scopes))}.", draw_once("API key", made.key))


def remove(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `keys list` shows it.")],
    *,
    sure: Sure = False,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Delete an API key; within a second nobody can use it.

    With `--json`: the id.
    """
    service = find_service(url, key, config)
    confirm(f"Delete the key {plain(key_id)}?", is_sure=sure)
    fetch(service, Call(f"{ROOT}/{segment(key_id)}", method="DELETE"), as_json=as_json)
    if as_json:
        show_json(msgspec.json.encode({"removed": key_id}))
    else:
        show(f"Deleted {plain(key_id)}.")
