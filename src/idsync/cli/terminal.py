"""What a command says: answers on standard output, everything else on standard error, and the exit code.

Whatever comes from a peer or a service is drawn as plain text: no colours, no links, no escape sequences of its own.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from idsync.errors import ConfigError, IdsyncError

WIDTH_UNSEEN: Final = 160
"""Columns where nobody looks: a pipe or a file takes longer lines than a terminal does."""


class Exit(IntEnum):
    """The exit codes of every command; they never change their meaning."""

    OK = 0
    FAILED = 1
    """It was understood and did not work: not found, refused, unhealthy."""
    USAGE = 2
    """The command line or the configuration cannot be used."""
    UNREACHABLE = 3
    """The service does not answer."""


def plain(text: str) -> str:
    """Write text so that no terminal takes any of it for a command: what is not printable is shown as its escape."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def show(*drawings: RenderableType) -> None:
    """Draw for a person, on standard output; a line stays one line, however long it is."""
    width = None if sys.stdout.isatty() else WIDTH_UNSEEN
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    for drawing in drawings:
        console.print(drawing, soft_wrap=isinstance(drawing, str | Text))


def show_json(answer: bytes) -> None:
    """Write one JSON answer on a line of its own, at once: whoever reads may wait for it."""
    typer.echo(answer)


def note(text: str) -> None:
    """Say something beside the answer, on standard error."""
    typer.echo(text, err=True)


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something is done that cannot be undone; without anybody to ask, it is not done.

    Args:
        question: what is asked, on standard error.
        is_sure: whether `--yes` has answered already.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        leave(Exit.USAGE, f"{question} There is nobody to ask: say --yes.")
    if not typer.confirm(question, err=True):
        leave(Exit.FAILED, "Nothing was done.")


def console_of_notes() -> Console:
    """Give what draws on standard error."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def leave(code: Exit, *lines: str) -> NoReturn:
    """End the command, saying why."""
    for line in lines:
        note(line)
    raise typer.Exit(code)


@contextmanager
def errors_told() -> Iterator[None]:
    """End the command on an error that idsync raises on purpose, with its text and without a trace."""
    try:
        yield
    except ConfigError as error:
        leave(Exit.USAGE, "The configuration cannot be used:", *(f"  {plain(one)}" for one in error.problems))
    except IdsyncError as error:
        leave(Exit.FAILED, *map(plain, str(error).splitlines()))
