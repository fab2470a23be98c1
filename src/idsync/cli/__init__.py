"""The command line: every command parses its options, makes one call, and draws the answer. No business logic here."""

from typing import Annotated, Final

import msgspec
import typer

from idsync import __version__
from idsync.cli import capture, keys, remote, sign, start
from idsync.cli.options import Json
from idsync.cli.terminal import show_json
from idsync.cli.webhooks import dead, endpoints, events, replay

START: Final = "Start"
EVENTS: Final = "Events and identities"
MEND: Final = "Mend"
OUT: Final = "Webhooks out"
WEBHOOKS: Final = "Try out webhooks"

ABOUT: Final = """Keep the same people equal in every system that knows them.

`idsync init` writes a configuration, `idsync capture install` lets the databases tell what changes in them, `idsync up`
runs the service; the other commands ask it. Every command knows `--json`.

Exit codes: 0 done · 1 failed, not found or unhealthy · 2 wrong usage or configuration · 3 the service does not answer.
"""


def main() -> None:
    """Run the command line: the entry point `idsync`."""
    build_cli()()


def build_cli() -> typer.Typer:
    """Gather the commands, in the order in which one meets them."""
    cli = _group(ABOUT)
    cli.callback()(_take_version)
    cli.command("init", rich_help_panel=START)(start.init)
    cli.add_typer(_build_capture(), name="capture", rich_help_panel=START)
    cli.command("up", rich_help_panel=START)(start.up)
    cli.command("serve", rich_help_panel=START)(start.serve)
    cli.command("worker", rich_help_panel=START)(start.worker)
    cli.command("publish", rich_help_panel=EVENTS)(remote.publish)
    cli.command("tail", rich_help_panel=EVENTS)(remote.tail)
    cli.command("explain", rich_help_panel=EVENTS)(remote.explain)
    cli.command("status", rich_help_panel=MEND)(remote.status)
    cli.add_typer(_build_dead(), name="dead", rich_help_panel=MEND)
    cli.add_typer(_build_endpoints(), name="endpoints", rich_help_panel=OUT)
    cli.add_typer(_build_events(), name="events", rich_help_panel=OUT)
    cli.add_typer(_build_replay(), name="replay", rich_help_panel=OUT)
    cli.add_typer(_build_keys(), name="keys", rich_help_panel=START)
    cli.command("sign", rich_help_panel=WEBHOOKS)(sign.sign)
    cli.command("verify", rich_help_panel=WEBHOOKS)(sign.verify)
    cli.command("version", rich_help_panel=START)(version)
    return cli


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        version()
        raise typer.Exit


def _take_version(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what may stand before a command."""


def version(*, as_json: Json = False) -> None:
    """Print the version of idsync.

    With `--json`: `{"version": …}`.
    """
    if as_json:
        show_json(msgspec.json.encode({"version": __version__}))
    else:
        typer.echo(f"idsync {__version__}")


def _build_capture() -> typer.Typer:
    group = _group("Install, remove or look at the triggers in the peers' databases.")
    group.command("install")(capture.install)
    group.command("remove")(capture.remove)
    group.command("status")(capture.status)
    return group


def _build_dead() -> typer.Typer:
    group = _group("List what was given up or waits for somebody; try it again, or give it up.")
    group.command("list")(dead.list_dead)
    group.command("show")(dead.show_dead)
    group.command("requeue")(dead.requeue)
    group.command("discard")(dead.discard)
    return group


def _build_endpoints() -> typer.Typer:
    group = _group("List, make, change, test and remove the endpoints that webhooks go to.")
    group.command("list")(endpoints.list_endpoints)
    group.command("show")(endpoints.show_endpoint)
    group.command("add")(endpoints.add)
    group.command("change")(endpoints.change)
    group.command("remove")(endpoints.remove)
    group.command("enable")(endpoints.enable)
    group.command("disable")(endpoints.disable)
    group.command("rotate")(endpoints.rotate)
    group.command("test")(endpoints.send_test)
    group.command("health")(endpoints.health)
    return group


def _build_events() -> typer.Typer:
    group = _group("List events that went out, and say why an endpoint got one or did not.")
    group.command("list")(events.list_events)
    group.command("show")(events.show_event)
    return group


def _build_replay() -> typer.Typer:
    group = _group("Queue events for an endpoint once more.")
    group.command("start")(replay.start)
    group.command("list")(replay.list_replays)
    group.command("show")(replay.show_replay)
    group.command("cancel")(replay.cancel)
    return group


def _build_keys() -> typer.Typer:
    group = _group("List, make and delete the keys of the API.")
    group.command("list")(keys.list_keys)
    group.command("add")(keys.add)
    group.command("remove")(keys.remove)
    return group


def _group(about: str) -> typer.Typer:
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,  # a trace is for us; with values of variables it could show a secret
        context_settings={"help_option_names": ["-h", "--help"]},
    )
