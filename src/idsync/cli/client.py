"""The API from outside: one request, one answer."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import typer

from idsync.cli.options import read_secret, read_settings
from idsync.cli.terminal import Exit, leave, plain, show_json
from idsync.config import SecretText, ServerSettings

Shape = TypeVar("Shape")

TIMEOUT_S: Final = 45.0
"""Of a whole request: more than the 30 seconds that a long poll may take."""
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 67_108_864
CHUNK_BYTES: Final = 65_536
OK: Final = frozenset({200, 201, 202, 204})
KEY_NEEDED: Final = frozenset({401, 403})


class Service(msgspec.Struct, frozen=True):
    """Where the API is, and the key that opens it."""

    url: str
    """Without a slash at its end."""
    key: SecretText | None


class ServiceReady(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known once the service answers; what was generated is shown now and never again."""

    ready: bool
    url: str
    generated_key: str | None = None
    generated_secrets: Mapping[str, str] = {}
    """Endpoint → its secret."""
    endpoints: tuple[str, ...] = ()
    """All that there are, by name, whoever made them."""
    worker: str | None = None
    """The name under which this process holds leases; None: it has no duties."""
    notes: tuple[str, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """One request."""

    path: str
    query: dict[str, str] = {}
    body: bytes | None = None
    """JSON to be sent; None: there is none."""
    method: str | None = None
    """None: POST where there is a body, else GET."""
    expected: frozenset[int] = OK
    """Statuses whose body is the answer; of all others it is a problem."""


class Answer(msgspec.Struct, frozen=True):
    """What the service said."""

    body: bytes


class InboxRows(msgspec.Struct, frozen=True):
    """A page of the inbox, each row as the bytes in which the API gives it."""

    items: list[msgspec.Raw]
    next: str


class Trouble(msgspec.Struct, frozen=True):
    """What the service refused, as it said so (RFC 9457)."""

    status: int
    title: str
    detail: str
    body: bytes


class Unreachable(msgspec.Struct, frozen=True):
    """The service did not answer: nothing is known of what it did."""

    why: str


class _Problem(msgspec.Struct, frozen=True):
    title: str = ""
    detail: str = ""


def find_service(url: str | None, key: str | None, config: Path | None) -> Service:
    """Say where the service is and which key opens it: as the options say, else as the configuration does.

    With both options no configuration is read, so that a service elsewhere can be asked from anywhere.
    """
    server = ServerSettings() if url and key else read_settings(config).server
    if not (url or server.port):
        raise typer.BadParameter("the configuration takes a free port: say with --url which one it was")
    base = url or f"http://{_reachable(server)}:{server.port}"
    if not base.startswith(("http://", "https://")):
        raise typer.BadParameter("write the address as http://127.0.0.1:8787", param_hint="--url")
    strongest_first = sorted(server.api_keys, key=lambda one: "admin" not in one.scopes)
    chosen = SecretText(read_secret(key)) if key else next((one.key for one in strongest_first), None)
    if chosen is not None and not (chosen.reveal().isascii() and chosen.reveal().isprintable()):
        raise typer.BadParameter("an API key has visible ASCII characters only", param_hint="--key")
    return Service(base.rstrip("/"), chosen)


def _reachable(server: ServerSettings) -> str:
    """Where a service that listens here, or everywhere, is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104  # read, not bound
    return f"[{host}]" if ":" in host else host


def compose(path: str, content: object, method: str = "POST") -> Call:
    """Make the request that sends JSON."""
    try:
        return Call(path, body=msgspec.json.encode(content), method=method)
    except UnicodeEncodeError:
        raise typer.BadParameter("write every option in UTF-8") from None


def fetch(service: Service, call: Call, *, as_json: bool) -> bytes:
    """As `request`, for a command that has nothing else to wait for."""
    return asyncio.run(request(service, call, as_json=as_json))


async def request(service: Service, call: Call, *, as_json: bool) -> bytes:
    """Give the body of the answer, or end the command, saying what stood in the way and what to do."""
    answer = await ask(service, call)
    if isinstance(answer, Unreachable):
        told = f"idsync does not answer at {plain(service.url)} ({plain(answer.why)})."
        leave(Exit.UNREACHABLE, told, "Start it with `idsync up`, or say where it is with --url or IDSYNC_URL.")
    if isinstance(answer, Trouble):
        if as_json and answer.title:
            show_json(answer.body)
            raise typer.Exit(Exit.FAILED)
        leave(Exit.FAILED, *_tell(answer, service))
    return answer.body


def decode(body: bytes, shape: type[Shape]) -> Shape:
    """Read an answer, or end the command where it is none of this version's."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        leave(Exit.FAILED, "The answer cannot be understood: is this an idsync of the same version? Try --json.")


def _tell(trouble: Trouble, service: Service) -> list[str]:
    if not trouble.title:
        return [f"{plain(service.url)} answered with status {trouble.status}: is it an idsync?"]
    lines = [plain(f"{trouble.title} {trouble.detail}".strip())]
    if trouble.status in KEY_NEEDED:
        lines.append("Give the API key with IDSYNC_API_KEY or --key; `idsync up` printed it at its first start.")
    return lines


async def ask(service: Service, call: Call) -> Answer | Trouble | Unreachable:
    """Send one request and read its answer, following no redirect: the key is for this address alone."""
    import aiohttp  # noqa: PLC0415  # a third of a second, for which commands that ask nobody should not wait

    headers = {"accept": "application/json", "content-type": "application/json"}
    if service.key is not None:
        headers["authorization"] = f"Bearer {service.key.reveal()}"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
    method = call.method or ("GET" if call.body is None else "POST")
    body = bytearray()
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            session.request(
                method, service.url + call.path, params=call.query, data=call.body, allow_redirects=False
            ) as response,
        ):
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    return Unreachable("its answer is larger than any that idsync gives")
    except TimeoutError:
        return Unreachable("no answer in time")
    except aiohttp.ClientConnectorError as error:
        return Unreachable(error.os_error.strerror or type(error.os_error).__name__)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Unreachable(str(error) or type(error).__name__)
    return Answer(bytes(body)) if response.status in call.expected else _read_trouble(response.status, bytes(body))


def _read_trouble(status: int, body: bytes) -> Trouble:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = _Problem()
    return Trouble(status, problem.title, problem.detail, body)
