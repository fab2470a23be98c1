"""What the command line says about itself, and how it refuses what it cannot read."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import Result

from idsync import __version__
from idsync.cli import build_cli

Run = Callable[..., Result]


def _walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  # untyped there
    if not hasattr(command, "commands"):
        yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(inner, (*path, name))


COMMANDS = dict(_walk(typer.main.get_command(build_cli())))
each_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_every_command_of_this_version_is_there() -> None:
    """Nobody misses a command, and none is there that nothing tells of."""
    groups = {path[0] for path in COMMANDS}
    assert groups == {
        "init", "up", "serve", "worker", "publish", "tail", "status", "explain", "capture", "dead", "sign", "verify",
        "version", "endpoints", "events", "replay", "keys",
    }  # fmt: skip


def test_version_is_also_an_option(run: Run) -> None:
    """Every tool is asked so; the command says the same."""
    assert run("--version").stdout == run("version").stdout == f"idsync {__version__}\n"


@each_command
def test_every_command_says_what_it_does(path: tuple[str, ...], run: Run) -> None:
    """Help opens with one sentence, and every option and argument explains itself."""
    command = COMMANDS[path]
    assert str(command.help).partition("\n")[0].endswith(".")
    assert all(parameter.help for parameter in command.params), [one.name for one in command.params if not one.help]
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@each_command
def test_every_command_knows_json_and_says_what_it_prints_then(path: tuple[str, ...]) -> None:
    """Programs can use every command, and its help tells their authors what comes."""
    command = COMMANDS[path]
    assert any("--json" in parameter.opts for parameter in command.params)
    assert "With `--json`" in command.help


@each_command
def test_an_unknown_option_is_wrong_usage(path: tuple[str, ...], run: Run) -> None:
    """A misspelt option is refused, never ignored."""
    result = run(*path, "--nonsense")
    assert result.exit_code == 2
    assert "--nonsense" in result.stderr


def test_help_of_everything_explains_the_exit_codes(run: Run) -> None:
    """Whoever writes a script finds what to test for."""
    text = " ".join(run("--help").stdout.split())
    assert "0 done · 1 failed, not found or unhealthy · 2 wrong usage or configuration · 3 the service" in text


def test_a_misspelt_command_is_wrong_usage_with_a_suggestion(run: Run) -> None:
    """The nearest command is named."""
    result = run("explian", "x")
    assert result.exit_code == 2
    assert "explain" in result.stderr


def test_version_is_printed_for_people_and_for_programs(run: Run) -> None:
    """Both forms say the same."""
    assert run("version").stdout == f"idsync {__version__}\n"
    assert run("version", "--json").stdout == f'{{"version":"{__version__}"}}\n'
