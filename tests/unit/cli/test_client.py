"""What the commands make of a service that is not there, or is not an idsync."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import Result

from idsync.cli.client import Service, find_service
from idsync.config import SecretText, load_settings

Run = Callable[..., Result]
Script = Callable[[int, bytes, dict[str, str]], str]

EVERY_REMOTE = (
    ("status",),
    ("tail", "--no-follow"),
    ("explain", "ada@example.com"),
    ("publish", "--type", "order.paid"),
    ("dead", "list"),
    ("dead", "show", "1"),
    ("dead", "requeue", "--all"),
)
each_remote = pytest.mark.parametrize("command", EVERY_REMOTE, ids=" ".join)


@pytest.fixture
def scripted() -> Iterator[tuple[Script, list[str]]]:
    """Serve one answer to everybody; give how to set it, and the paths that were asked for."""
    asked: list[str] = []
    answer: list[tuple[int, bytes, dict[str, str]]] = []

    class Scripted(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('authorization')}")
            status, body, headers = answer[-1]
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # named by the base class

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def script(status: int, body: bytes, headers: dict[str, str]) -> str:
        answer.append((status, body, headers))
        return f"http://127.0.0.1:{server.server_port}"

    yield script, asked
    server.shutdown()
    thread.join()
    server.server_close()


@each_remote
def test_a_service_that_is_not_there_is_exit_code_3_with_what_to_do(command: tuple[str, ...], run: Run) -> None:
    """Scripts can tell it from a refusal, people read how to go on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = run(*command, "--url", url, "--key", "k", "--json")
    assert result.exit_code == 3
    assert url in result.stderr
    assert "idsync up" in result.stderr
    assert result.stdout == ""


@each_remote
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, b"<html>bad gateway</html>"),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"items": 5}'),
        (200, b""),
        (500, b"\xff[[[["),
    ],
)
def test_a_server_that_is_no_idsync_is_a_failure_without_a_trace(
    command: tuple[str, ...], status: int, body: bytes, run: Run, scripted: tuple[Script, list[str]]
) -> None:
    """Whatever it answers, the command says that it cannot be understood."""
    result = run(*command, "--url", scripted[0](status, body, {}), "--key", "k")
    assert result.exit_code == 1
    assert "idsync" in result.stderr


@each_remote
def test_a_problem_is_told_as_title_and_detail(
    command: tuple[str, ...], run: Run, scripted: tuple[Script, list[str]]
) -> None:
    """What the service says is shown as plain text; as JSON it is handed on byte by byte."""
    problem = json.dumps({"title": "Too many events are waiting.", "status": 429, "detail": "Later.\x1b[31m"}).encode()
    url = scripted[0](429, problem, {"content-type": "application/problem+json"})
    result = run(*command, "--url", url, "--key", "k")
    assert result.exit_code == 1
    assert result.stderr == "Too many events are waiting. Later.\\x1b[31m\n"
    assert run(*command, "--url", url, "--key", "k", "--json").stdout.encode() == problem + b"\n"


def test_a_redirect_is_not_followed(run: Run, scripted: tuple[Script, list[str]]) -> None:
    """The key goes to the address it is meant for and no further."""
    script, asked = scripted
    url = script(302, b"", {"location": "/elsewhere"})
    result = run("status", "--url", f"{url}/", "--key", "k")
    assert result.exit_code == 1
    assert "status 302" in result.stderr
    assert asked == ["/healthz Bearer k"]


def test_a_service_whose_loop_is_dead_is_unhealthy(run: Run, scripted: tuple[Script, list[str]]) -> None:
    """`status` shows the page of a failing service and ends with exit code 1."""
    health = {
        "status": "failing",
        "version": "1",
        "loops": [{"name": "ingest", "is_alive": False, "detail": "stopped"}],
    }
    counts = dict.fromkeys(("entities", "inbox", "waiting", "rereads", "conflicts", "size_bytes"), 0)
    counts |= dict.fromkeys(("total_deliveries", "successful_deliveries", "failed_deliveries"), 0)
    tables: dict[str, object] = {name: {} for name in ("queued", "parked", "dead", "verdicts", "endpoints")}
    everything = {**health, **counts, **tables, "avg_latency_ms": None, "items": []}
    result = run("status", "--url", scripted[0](200, json.dumps(everything).encode(), {}), "--key", "k")
    assert result.exit_code == 1
    assert "ingest: stopped" in result.stdout


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:8787", "http://[::1]:8787"),
        ("[::1]:8787", "http://[::1]:8787"),
        ("localhost:9", "http://localhost:9"),
    ],
)
def test_the_configuration_says_where_the_service_is(listen: str, url: str) -> None:
    """An address that listens everywhere is reached on this machine."""
    Path("idsync.toml").write_text(
        f'[server]\nlisten = "{listen}"\napi_keys = ["0123456789abcdef", "other-key-of-mine"]\n'
    )
    assert find_service(None, None, None) == Service(url, SecretText("0123456789abcdef"))
    assert find_service("https://sync.example.com/", None, None).url == "https://sync.example.com"


def test_a_service_elsewhere_is_asked_without_a_configuration() -> None:
    """A broken file in the working directory does not stand in the way of both options."""
    Path("idsync.toml").write_text("broken")
    assert find_service("http://x:1", "k", None) == Service("http://x:1", SecretText("k"))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--url", "127.0.0.1:8787", "--key", "k"), "http://127.0.0.1:8787"),
        (("--url", "http://x:1", "--key", "k\nx"), "visible ASCII"),
        (("--url", "http://x:1", "--key", "env:NOT_SET"), "NOT_SET"),
        (("--config", "free.toml"), "--url"),
    ],
)
def test_an_address_or_key_that_cannot_be_used_is_wrong_usage(args: tuple[str, ...], told: str, run: Run) -> None:
    """The message says how it is written."""
    Path("free.toml").write_text('[server]\nlisten = "127.0.0.1:0"\n')
    result = run("status", *args)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_key_shows_nowhere() -> None:
    """Not even in the representation of the service."""
    assert "sesame" not in repr(find_service("http://x:1", "sesame", None))


def test_the_variables_of_the_commands_do_not_disturb_the_configuration() -> None:
    """They are no settings: a service may be started where they are set."""
    environ = {"IDSYNC_URL": "http://x:1", "IDSYNC_API_KEY": "k", "IDSYNC_SECRET": "s"}
    assert load_settings(environ=environ) == load_settings(environ={})
