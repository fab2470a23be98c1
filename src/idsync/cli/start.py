"""`idsync init` and `idsync up`: from nothing to a running service."""

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn

import msgspec
import typer
import uvloop
from rich.console import Group, RenderableType
from rich.text import Text

from idsync.api.views import InboxView
from idsync.cli.client import ServiceReady, decode
from idsync.cli.draw import draw_event, facts
from idsync.cli.options import Config, Json, read_settings
from idsync.cli.terminal import Exit, errors_told, leave, plain, show, show_json
from idsync.config import Settings

FILE_NAME: Final = "idsync.toml"
NAMES_SHOWN: Final = 10
NEXT: Final = (
    ("idsync capture install", "lets the databases tell idsync what changes in them"),
    ("idsync up", "starts the service"),
    ("idsync tail", "shows what happens, while you change somebody's name"),
)


def init(
    *,
    folder: Annotated[Path, typer.Option("--dir", help="Where to write it.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a configuration that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a commented idsync.toml to begin with.

    It keeps a Better Auth database and a table of an application equal, both on SQLite: change the files, tables and
    columns to yours. Nothing secret is written or made.

    With `--json`: the file and the commands that come next.
    """
    file = folder / FILE_NAME
    text = files("idsync.cli").joinpath("template.toml").read_text(encoding="utf-8")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        leave(Exit.FAILED, f"{file} is already there; --force replaces it.")
    except OSError as error:
        leave(Exit.FAILED, f"{file} cannot be written: {error.strerror}")
    first = () if folder == Path() else ((f"cd {shlex.quote(str(folder))}", "the files are named from there"),)
    if as_json:
        commands = [command for command, _ in (*first, *NEXT)]
        show_json(msgspec.json.encode({"file": str(file), "next": commands}))
        return
    show(f"Wrote {plain(str(file))}. Change the peers in it to yours, then:", facts([*first, *NEXT]))


Listen = Annotated[str | None, typer.Option("--listen", help="Host and port; port 0 takes a free one.")]
Given = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as `delivery.timeout_s=5`. Repeatable."),
]
LogForm = Annotated[Literal["auto", "console", "json"] | None, typer.Option("--log", help="How log lines look.")]
Watch = Annotated[bool, typer.Option("--watch", help="Print what happens, as `idsync tail` does.")]


def up(  # the options of one command
    *,
    config: Config = None,
    listen: Listen = None,
    given: Given = None,
    log: LogForm = None,
    watch: Watch = False,
    as_json: Json = False,
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    It takes events in (database triggers, webhooks, the API), merges them, and brings what changed to every other peer
    and endpoint. Stopping finishes what was begun; a second signal ends at once, and nothing is lost by that either.

    A key for the API, and secrets for endpoints that have none, are made at the first start and printed once.

    `$ idsync up --watch`

    `$ idsync up --listen 127.0.0.1:0 --json`

    With `--json`: the first line is `{"ready": true, "url": …}`; with `--watch` each event follows, one object a line.
    """
    settings = _settings_of(config, given, listen, log)
    _run(settings, "up", watch=watch, as_json=as_json)


def serve(
    *, config: Config = None, listen: Listen = None, given: Given = None, log: LogForm = None, as_json: Json = False
) -> None:
    """Run only the HTTP side, beside `idsync worker` on the same PostgreSQL, until SIGTERM or Ctrl-C.

    It takes events in and answers once they are durable; workers carry out what follows from them.

    With `--json`: the first line is `{"ready": true, "url": …}`.
    """
    _run(_settings_of(config, given, listen, log), "serve", watch=False, as_json=as_json)


def worker(
    *, config: Config = None, listen: Listen = None, given: Given = None, log: LogForm = None, as_json: Json = False
) -> None:
    """Run one of any number of workers on a PostgreSQL, until SIGTERM or Ctrl-C.

    Workers read the peers and deliver. They share the work among themselves; where one stops, others take it over at
    once, and where one dies, after `delivery.lease_s` seconds. Over HTTP it answers only `/healthz`, `/readyz` and
    `/metrics`.

    With `--json`: the first line is `{"ready": true, "url": …}`.
    """
    _run(_settings_of(config, given, listen, log), "worker", watch=False, as_json=as_json)


def _settings_of(config: Config, given: list[str] | None, listen: str | None, log: str | None) -> Settings:
    return read_settings(config, {**read_flags(given or []), "server.listen": listen, "log.format": log})


def _run(settings: Settings, role: str, *, watch: bool, as_json: bool) -> NoReturn:
    from idsync.cli.service import Role, run_service  # noqa: PLC0415  # a second, for which no other command should wait

    def say_ready(ready: ServiceReady) -> None:
        if as_json:
            show_json(msgspec.json.encode(ready))
        else:
            show(draw_ready(ready, settings))

    def say_event(event: bytes) -> None:
        if as_json:
            show_json(event)
        else:
            show(draw_event(decode(event, InboxView)))

    running = run_service(settings, role=Role(role), on_ready=say_ready, on_event=say_event if watch else None)
    with errors_told():
        raise typer.Exit(uvloop.run(running))


def read_flags(given: list[str]) -> dict[str, object]:
    """Read `KEY=VALUE` texts; what a key means and takes, the configuration decides."""
    flags: dict[str, object] = {}
    for one in given:
        key, sign, value = one.partition("=")
        if not (sign and key):
            raise typer.BadParameter("write KEY=VALUE, as in delivery.timeout_s=5", param_hint="--set")
        flags[key.strip()] = value.strip()
    return flags


def _list(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return (", ".join(names[:NAMES_SHOWN]) or "none") + more


def draw_ready(ready: ServiceReady, settings: Settings) -> Group:
    """Draw what one must know of a service that has just started."""
    rows: list[tuple[str, RenderableType]] = [
        ("page and API" if ready.worker is None else "health", ready.url),
        ("settings", str(settings.file or "none, only defaults and the environment; `idsync init` writes some")),
        ("store", str(settings.store.url)),
        ("peers", ", ".join(f"{name} ({peer.connector})" for name, peer in settings.peers.items()) or "none"),
        ("endpoints", _list(ready.endpoints)),
    ]
    shown_once: list[tuple[str, RenderableType]] = []
    if ready.generated_key is not None:
        shown_once.append(("API key", f"export IDSYNC_API_KEY={ready.generated_key}"))
    shown_once += [(f"secret of endpoint {name}", secret) for name, secret in ready.generated_secrets.items()]
    parts: list[RenderableType] = [Text("idsync is running", "bold green"), facts(rows)]
    if shown_once:
        parts += [Text("Made just now, and shown only this once:", "bold"), facts(shown_once)]
    return Group(*parts, *(Text(plain(note), "yellow") for note in ready.notes), Text("Ctrl-C stops it.", "dim"))
