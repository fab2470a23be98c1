"""The options that commands share, and how the texts behind them are read."""

import os
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from idsync.cli.terminal import errors_told
from idsync.config import Settings, load_settings

BODY_BYTES_MAX: Final = 67_108_864
"""Of a body from a file: what `limits.body_bytes_max` may be at most."""
SECRET_BYTES_MAX: Final = 65_536

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration. Default: $IDSYNC_CONFIG, else ./idsync.toml."),
]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="IDSYNC_URL", help="The service. Default: `server.listen` of the configuration."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="IDSYNC_API_KEY",
        help="The API key, or `env:NAME` or `file:PATH` to read it from. Default: that of the configuration.",
    ),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Most rows to show.")]

Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def given(**parts: object) -> dict[str, str]:
    """Make a query of what was given."""
    return {name: str(part) for name, part in parts.items() if part is not None}


def segment(text: str) -> str:
    """Write a text as one segment of an address."""
    return quote(text, safe="", errors="replace")


def read_settings(config: Path | None, flags: dict[str, object] | None = None) -> Settings:
    """Load the configuration, or end the command with everything that is wrong with it."""
    with errors_told():
        return load_settings(config, flags=flags)


def read_secret(given: str) -> str:
    """Give a secret that stands on the command line itself, in a variable (`env:NAME`) or in a file (`file:PATH`)."""
    source, _, name = given.partition(":")
    if source == "env":
        if name not in os.environ:
            raise typer.BadParameter(f"the environment variable {name} is not set")
        return os.environ[name]
    if source == "file":
        return _read_text(Path(name))
    return given


def read_body(file: Path) -> bytes:
    """Read a file, or standard input where it is `-`, byte by byte as it is."""
    try:
        if str(file) == "-":
            return _bounded(typer.get_binary_stream("stdin").read(BODY_BYTES_MAX + 1))
        with file.open("rb") as stream:
            return _bounded(stream.read(BODY_BYTES_MAX + 1))
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from None


def _bounded(body: bytes) -> bytes:
    if len(body) > BODY_BYTES_MAX:
        raise typer.BadParameter(f"the body has more than {BODY_BYTES_MAX} bytes")
    return body


def _read_text(file: Path) -> str:
    """Read a secret's file; the line break at its end is not part of the secret."""
    try:
        with file.open("rb") as stream:
            return stream.read(SECRET_BYTES_MAX).decode().rstrip("\r\n")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not UTF-8 text") from None
