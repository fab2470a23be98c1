"""`idsync replay`: queue events for an endpoint once more: counted first, asked for, then followed to the end."""

import time
from contextlib import suppress
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from idsync.api.views import CountView, ReplayPage, ReplayView
from idsync.cli.client import Call, Service, compose, decode, fetch, find_service
from idsync.cli.options import Config, Json, Key, Sure, Url, segment
from idsync.cli.terminal import Exit, confirm, console_of_notes, leave, note, plain, show, show_json
from idsync.cli.webhooks.draw import draw_count, draw_replay, draw_replays
from idsync.model.replay import ReplayStatus

ROOT: Final = "/v1/replays"
RUNNING: Final = frozenset({"running", "paused"})
LOOK_S: Final = 0.5

Id = Annotated[str, typer.Argument(metavar="ID", help="The replay's id.")]
Follow = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Watch until it has ended; Ctrl-C leaves it running.")
]


def start(  # noqa: PLR0913  # each is an option of the command
    endpoint: Annotated[str, typer.Argument(help="For which endpoint.")],
    *,
    status: Annotated[
        ReplayStatus,
        typer.Option(
            "--status",
            help="`failed`: given up. `missed`: not queued because it was disabled. `undelivered`: both, and what was"
            " skipped. `all`: also what it has.",
        ),
    ] = ReplayStatus.UNDELIVERED,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="FILTER", help="Only these types, as `user.*`. Repeatable.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Only of this outgoing subject.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only received from then on.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only received before.")] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.001, max=10_000, help="Events per second at most.")] = 500.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    sure: Sure = False,
    follow: Follow = True,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Queue events for an endpoint once more, behind its live ones.

    They are counted first; then you are asked. A replay goes on whatever process ends, and queues nothing twice.

    `$ idsync replay start audit --status missed`

    `$ idsync replay start audit --type 'user.*' --since 2026-01-31T00:00:00Z --dry-run`

    With `--json`: the API's answer; of a dry run the count, else the replay when the command ends.
    """
    service = find_service(url, key, config)
    parts = {"types": types, "subject": subject, "since": since, "until": until}
    asked: dict[str, object] = {"endpoint": endpoint, "status": status.value, "rate_per_s": rate}
    asked |= {name: part for name, part in parts.items() if part}
    counted = fetch(service, compose(ROOT, asked | {"dry_run": True}), as_json=as_json)
    count = decode(counted, CountView)
    if not as_json:
        show(draw_count(count))
    if dry_run or not (count.events or not count.is_complete):
        if as_json:
            show_json(counted)
        return
    many = f"{count.events}{'' if count.is_complete else ' or more'}"
    confirm(f"Queue {many} events for {plain(endpoint)}?", is_sure=sure)
    answer = fetch(service, compose(ROOT, asked), as_json=as_json)
    replay = decode(answer, ReplayView)
    if follow:
        answer = _follow(service, replay, count.events, as_json=as_json)
    _say(answer, as_json=as_json)


def list_replays(*, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """List the replays that run, and the newest that have ended.

    With `--json`: the API's answer.
    """
    answer = fetch(find_service(url, key, config), Call(ROOT), as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show(draw_replays(decode(answer, ReplayPage).items))


def show_replay(
    replay: Id,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Watch until it has ended.")] = False,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show one replay.

    With `--json`: the API's answer.
    """
    service = find_service(url, key, config)
    answer = fetch(service, Call(f"{ROOT}/{segment(replay)}"), as_json=as_json)
    if follow:
        answer = _follow(service, decode(answer, ReplayView), 0, as_json=as_json)
    _say(answer, as_json=as_json)


def cancel(replay: Id, *, url: Url = None, key: Key = None, config: Config = None, as_json: Json = False) -> None:
    """End a replay; what it has queued is delivered.

    With `--json`: the API's answer.
    """
    service = find_service(url, key, config)
    _say(fetch(service, Call(f"{ROOT}/{segment(replay)}", method="DELETE"), as_json=as_json), as_json=as_json)


def _say(answer: bytes, *, as_json: bool) -> None:
    replay = decode(answer, ReplayView)
    if as_json:
        show_json(answer)
    else:
        show(draw_replay(replay))
    if replay.state == "stopped":
        leave(Exit.FAILED, "Its endpoint was removed, so it stopped.")


def _follow(service: Service, replay: ReplayView, total: int, *, as_json: bool) -> bytes:
    """Look again and again, and draw how far it is; return the last answer."""
    path = f"{ROOT}/{segment(replay.id)}"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console_of_notes(), transient=True, disable=as_json) as bar,
        suppress(KeyboardInterrupt),
    ):
        task = bar.add_task("queueing", total=max(total, 1))
        while True:
            answer = fetch(service, Call(path), as_json=as_json)
            found = decode(answer, ReplayView)
            bar.update(task, completed=found.queued, total=max(total, found.queued, 1), description=plain(found.state))
            if found.state not in RUNNING:
                return answer
            time.sleep(LOOK_S)
    note(f"It goes on; `idsync replay show {plain(replay.id)}` shows how far it is.")
    return fetch(service, Call(path), as_json=as_json)
