"""`idsync sign` and `idsync verify`: the signatures of every dialect, tried out on a body, without a service."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Never

import msgspec
import typer
import uuid_utils

from idsync.cli.options import Json, read_body, read_secret
from idsync.cli.terminal import Exit, leave, plain, show_json
from idsync.model.values import Instant, instant_text, parse_instant
from idsync.wire import signing
from idsync.wire.dialects import DIALECTS, KNOWN_LATER
from idsync.wire.signing import Dialect, MalformedSecret, Reason, Refused, Secret, Verified

SECRET_VARIABLE: Final = "IDSYNC_SECRET"  # noqa: S105  # the name of a variable

DialectName = Annotated[
    str, typer.Option("--dialect", "-d", help=f"How the sender signs: {', '.join(sorted(DIALECTS))}.")
]
SecretTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        "-s",
        help="The secret, or `env:NAME` or `file:PATH`, which keep it out of the shell's history. More than one, newest"
        f" first, where it is being rotated. Default: ${SECRET_VARIABLE}.",
    ),
]
At = Annotated[
    str | None, typer.Option("--at", help="The time to sign or judge at, as 2026-01-31T12:00:00Z. Default: now.")
]
Address = Annotated[str, typer.Option("--to", help="The address it is sent to; only `qstash` signs it.")]
Body = Annotated[Path, typer.Argument(metavar="FILE", help="The body, byte by byte as it is sent. `-`: stdin.")]

REASONS: Final = {
    Reason.UNCONFIGURED: "no secret was given",
    Reason.MISSING_HEADER: "a header that this dialect needs is missing",
    Reason.MALFORMED: "a header cannot be read as this dialect writes it",
    Reason.WRONG_SIGNATURE: "no signature matches this body and these secrets: was the body decoded and written anew?",
    Reason.WRONG_URL: "it is authentic, but signed for another address: give yours with --to",
    Reason.TOO_OLD: f"it is authentic, but signed more than {signing.TOLERANCE_S} s ago: judge it --at its own time",
    Reason.TOO_NEW: f"it is authentic, but signed more than {signing.TOLERANCE_S} s in the future: compare the clocks",
}


def sign(  # noqa: PLR0913  # each is an option of the command
    file: Body = Path("-"),
    *,
    dialect: DialectName = "standard",
    secret: SecretTexts = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The event's id. Default: a new one.")] = None,
    event_type: Annotated[str, typer.Option("--type", help="The event's type.")] = "user.updated",
    origin: Annotated[str, typer.Option("--origin", help="The sender's name; only `plain-hex` sends it.")] = "idsync",
    to: Address = "",
    at: At = None,
    as_json: Json = False,
) -> None:
    """Sign a body, and print the headers that prove who sent it.

    What is printed is what curl takes: send a signed webhook in two lines, and see what your receiver does with it.

    `$ idsync sign --secret env:HOOK_SECRET body.json > headers`

    `$ curl -H @headers --data-binary @body.json http://127.0.0.1:9000/hook`

    With `--json`: one object of header and value.
    """
    spoken = find_dialect(dialect)
    try:
        headers = signing.sign(
            spoken,
            read_secrets(secret, spoken),
            event_id=event_id or str(uuid_utils.uuid7()),
            event_type=event_type,
            sent_at=read_instant(at),
            body=read_body(file),
            origin=origin,
            url=to,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        show_json(msgspec.json.encode(dict(headers)))
        return
    for name, value in headers:
        typer.echo(f"{name}: {value}")


def verify(
    file: Body = Path("-"),
    *,
    dialect: DialectName = "standard",
    secret: SecretTexts = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", help="`Name: value` as it came, or `@FILE` with one on each line. Repeatable."),
    ] = None,
    to: Address = "",
    at: At = None,
    as_json: Json = False,
) -> None:
    """Judge whether the owner of a secret sent this body, and say why not.

    The reason is for you alone: `POST /receive/{peer}` tells a sender nothing, for a reason would help whoever is
    guessing. A signed time may lie at most 300 s from now; judge an older request `--at` its own time.

    `$ idsync verify --secret env:HOOK_SECRET --header @headers body.json`

    Exit code 0: it is authentic. 1: it is refused. With `--json`: `{"verified": …}` and why.
    """
    spoken = find_dialect(dialect)
    verdict = signing.verify(
        spoken,
        read_secrets(secret, spoken),
        headers=read_headers(header or []),
        body=read_body(file),
        now=read_instant(at),
        url=to,
    )
    match verdict:
        case Verified():
            _accept(verdict, as_json=as_json)
        case Refused(reason):
            _refuse(reason, as_json=as_json)


def find_dialect(name: str) -> Dialect:
    """Give a dialect by its name, or end the command with those there are."""
    if name in DIALECTS:
        return DIALECTS[name]
    why = "is not in this version" if name in KNOWN_LATER else "is unknown"
    raise typer.BadParameter(f"the dialect {plain(name)} {why}; choose one of {', '.join(sorted(DIALECTS))}")


def read_secrets(given: Sequence[str] | None, dialect: Dialect) -> tuple[Secret, ...]:
    """Read the secrets of the command line, else that of the environment, as their dialect writes them."""
    if not given and SECRET_VARIABLE not in os.environ:
        raise typer.BadParameter(f"give one, or set {SECRET_VARIABLE}", param_hint="--secret")
    secrets: list[Secret] = []
    for text in given or [f"env:{SECRET_VARIABLE}"]:
        secret = dialect.parse_secret(read_secret(text))
        if isinstance(secret, MalformedSecret):
            raise typer.BadParameter(f"the secret {secret.problem}", param_hint="--secret")
        secrets.append(secret)
    return tuple(secrets)


def read_instant(text: str | None) -> Instant:
    """Read a time of the command line; None is now."""
    at = Instant(time.time_ns() // 1_000_000) if text is None else parse_instant(text)
    if at is None:
        raise typer.BadParameter(f"{plain(str(text))} is no time; write it as 2026-01-31T12:00:00Z")
    return at


def read_headers(given: Sequence[str]) -> dict[str, str]:
    """Read `Name: value` lines, and the files of them that `@FILE` names; names come out in lower case."""
    headers: dict[str, str] = {}
    for line in _spread_files(given):
        name, colon, value = line.partition(":")
        if not colon:
            raise typer.BadParameter("one has no colon: write `Name: value`", param_hint="--header")
        headers[name.strip().lower()] = value.strip()
    return headers


def _spread_files(given: Sequence[str]) -> Iterator[str]:
    for one in given:
        if one.startswith("@"):
            yield from filter(str.strip, read_body(Path(one[1:])).decode("latin-1").splitlines())
        else:
            yield one


def _accept(verified: Verified, *, as_json: bool) -> None:
    signed_at = None if verified.signed_at is None else instant_text(verified.signed_at)
    signs = sorted(part.value for part in verified.signs)
    if as_json:
        show_json(msgspec.json.encode({"verified": True, "id": verified.id, "signed_at": signed_at, "signs": signs}))
        return
    typer.echo(f"verified: the signature covers {', '.join(signs) or 'nothing, it only shows a token'}")
    if verified.id is not None:
        typer.echo(f"  id         {verified.id}")
    if signed_at is not None:
        typer.echo(f"  signed at  {signed_at}")


def _refuse(reason: Reason, *, as_json: bool) -> Never:
    if as_json:
        show_json(msgspec.json.encode({"verified": False, "reason": reason.value}))
        raise typer.Exit(Exit.FAILED)
    leave(Exit.FAILED, f"refused ({reason}): {REASONS[reason]}")
