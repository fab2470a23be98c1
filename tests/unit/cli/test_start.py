"""`idsync init` and `idsync up`: a configuration to begin with, and what stands in the way of a start."""

import io
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from idsync.cli.client import ServiceReady
from idsync.cli.start import draw_ready, read_flags
from idsync.config import Settings, load_settings

Run = Callable[..., Result]
Start = Callable[..., Any]


def test_init_writes_a_configuration_that_is_valid_as_it_is(run: Run) -> None:
    """Two peers on SQLite are kept equal by it, and no secret was made."""
    result = run("init")
    assert result.exit_code == 0
    settings = load_settings(Path("idsync.toml"), environ={})
    assert [(name, peer.connector) for name, peer in settings.peers.items()] == [
        ("auth", "better-auth"),
        ("app", "sql"),
    ]
    assert settings.server.api_keys == ()
    assert settings.notes == ()


def test_init_says_the_next_three_commands(run: Run) -> None:
    """A newcomer knows how to go on, and so does a program."""
    lines = [" ".join(line.split()[:3]) for line in run("init").stdout.splitlines()]
    assert lines[1:] == ["idsync capture install", "idsync up starts", "idsync tail shows"]
    answer = json.loads(run("init", "--force", "--json").stdout)
    assert answer == {"file": "idsync.toml", "next": ["idsync capture install", "idsync up", "idsync tail"]}


def test_init_in_another_folder_makes_it_and_says_to_go_there(run: Run) -> None:
    """The files are named from the folder of the configuration."""
    result = run("init", "--dir", "my sync", "--json")
    assert json.loads(result.stdout)["next"][0] == "cd 'my sync'"
    assert Path("my sync/idsync.toml").is_file()


def test_init_never_replaces_a_configuration_unasked(run: Run) -> None:
    """What an operator wrote stays, unless --force says otherwise."""
    Path("idsync.toml").write_text("# mine\n")
    refused = run("init")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert Path("idsync.toml").read_text() == "# mine\n"
    assert run("init", "--force").exit_code == 0
    assert Path("idsync.toml").read_text() != "# mine\n"


def test_init_says_where_it_may_not_write(run: Run) -> None:
    """A file in the place of the folder is an error with its name, not a trace."""
    Path("taken").write_text("")
    result = run("init", "--dir", "taken")
    assert result.exit_code == 1
    assert "taken/idsync.toml" in result.stderr


@pytest.mark.parametrize("command", [("up",), ("status",), ("tail",), ("dead", "list"), ("capture", "status")])
def test_every_problem_of_a_configuration_is_told_at_once(command: tuple[str, ...], run: Run) -> None:
    """Whatever reads the configuration ends with exit code 2 and the whole list."""
    Path("idsync.toml").write_text('[server]\nlisten = "nowhere"\n[stor]\nurl = "x"\n')
    result = run(*command)
    assert result.exit_code == 2
    assert "server.listen (idsync.toml line 2)" in result.stderr
    assert "stor (idsync.toml line 3)" in result.stderr
    assert result.stdout == ""


def test_a_configuration_that_is_named_must_be_there(run: Run) -> None:
    """The message says how to make one."""
    result = run("up", "--config", "other.toml")
    assert result.exit_code == 2
    assert "idsync init" in result.stderr


def test_set_overrides_any_setting_and_its_problems_name_the_flag(run: Run) -> None:
    """A value that its setting cannot take is refused like one in the file."""
    result = run("up", "--set", "delivery.timeout_s=never")
    assert result.exit_code == 2
    assert "delivery.timeout_s (flag delivery.timeout_s)" in result.stderr


def test_set_takes_key_and_value() -> None:
    """The first equals sign parts them; the value may hold more."""
    assert read_flags(["a.b=c=d", " store.url = x "]) == {"a.b": "c=d", "store.url": "x"}


@pytest.mark.parametrize("text", ["novalue", "=x", ""])
def test_set_without_key_or_value_is_wrong_usage(text: str, run: Run) -> None:
    """The message shows the form."""
    result = run("up", "--set", text)
    assert result.exit_code == 2
    assert "KEY=VALUE" in result.stderr


def test_up_refuses_a_connector_that_this_version_has_not(run: Run) -> None:
    """The start stops with the connector's name, and nothing is left running."""
    Path("idsync.toml").write_text('[peers.cms]\nconnector = "payload"\nurl = "http://127.0.0.1:3001/api"\n')
    result = run("up", "--listen", "127.0.0.1:0")
    assert result.exit_code == 2
    assert "payload is not in this version" in result.stderr


def test_up_names_the_peer_whose_table_is_not_there(run: Run) -> None:
    """Two peers may well have a table of the same name."""
    Path("app.db").touch()
    Path("idsync.toml").write_text(
        '[peers.app]\nconnector = "sql"\ndatabase = "sqlite:///app.db"\n[peers.app.user]\ntable = "users"\n'
        'key = "id"\nfields = { email = "email" }\n'
    )
    result = run("up", "--listen", "127.0.0.1:0")
    assert result.exit_code == 1
    assert "peers.app: user: the table users is needed" in result.stderr


def test_a_taken_port_stops_the_start_before_anything_is_made(run: Run) -> None:
    """No store is begun and no key is made that nobody would be shown."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("up", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 2
    assert "server.listen: cannot listen on 127.0.0.1:" in result.stderr
    assert list(Path().iterdir()) == []


def test_up_says_where_it_is_and_shows_what_it_made_only_once(start: Start) -> None:
    """The first line is for programs; a key and an endpoint's secret come with the first start and never again."""
    Path("idsync.toml").write_text('[endpoints.audit]\nurl = "https://audit.example.com/hook"\n')
    first = start()
    assert first.ready["ready"] is True
    assert first.ready["url"].startswith("http://127.0.0.1:")
    assert first.ready["generated_key"].startswith("idsync_")
    assert first.ready["generated_secrets"]["audit"].startswith("whsec_")
    assert first.stop() == 0
    second = start()
    assert set(second.ready) == {"ready", "url", "notes", "endpoints"}
    assert second.ready["endpoints"] == ["audit"]
    assert "server.secret_key is not set" in second.ready["notes"][0]
    assert second.stop() == 0


def test_a_second_service_on_the_same_store_is_refused_with_the_reason(start: Start, run: Run) -> None:
    """The first one goes on; the second says who owns the file."""
    start()
    result = run("up", "--listen", "127.0.0.1:0")
    assert result.exit_code == 1
    assert "in use by process" in result.stderr


def test_a_second_signal_ends_the_process_at_once(start: Start, run: Run) -> None:
    """A delivery under way would be waited for; whoever asks twice does not wait."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        Path("idsync.toml").write_text(
            '[delivery]\nallow_cidrs = ["127.0.0.0/8"]\n'
            f'[endpoints.silent]\nurl = "http://127.0.0.1:{silent.getsockname()[1]}/"\n'
        )
        service = start("--set", "server.shutdown_s=100")
        assert run("publish", "--type", "order.paid", "--subject", "order/1", env=service.access).exit_code == 0
        delivery, _ = silent.accept()
        host, port = service.ready["url"].removeprefix("http://").split(":")
        with delivery, socket.create_connection((host, int(port))) as idle:
            service.process.terminate()
            assert idle.recv(1) == b""  # the first signal has been taken: the service closes its connections
            os.kill(service.process.pid, signal.SIGTERM)
            assert service.process.wait(30) == -signal.SIGTERM


def test_watch_prints_each_event_as_it_comes(start: Start, run: Run) -> None:
    """The lines after the first are what `/v1/inbox` gives, beginning with the first event after the start."""
    service = start("--watch")
    run("publish", "--type", "order.paid", "--subject", "order/1", "--id", "e_1", env=service.access)
    event = service.read_line()
    assert (event["id"], event["type"], event["verdict"]) == ("e_1", "order.paid", "applied")


def test_ready_is_drawn_with_everything_that_was_made() -> None:
    """The one time that a key is shown, it can be copied as it stands."""
    ready = ServiceReady(
        ready=True,
        url="http://127.0.0.1:8787",
        generated_key="idsync_k",
        generated_secrets={"audit": "whsec_s"},
        notes=("A note.",),
        endpoints=("audit", "shop"),
    )
    out = io.StringIO()
    Console(file=out, width=200).print(draw_ready(ready, Settings()))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["page", "and", "API", "http://127.0.0.1:8787"] in lines
    assert ["API", "key", "export", "IDSYNC_API_KEY=idsync_k"] in lines
    assert ["secret", "of", "endpoint", "audit", "whsec_s"] in lines
    assert ["A", "note."] in lines
    assert ["endpoints", "audit,", "shop"] in lines


def test_not_every_endpoint_is_named_where_there_are_many() -> None:
    """The page of the start stays one page."""
    out = io.StringIO()
    ready = ServiceReady(ready=True, url="http://127.0.0.1:8787", endpoints=tuple(f"e{number}" for number in range(30)))
    Console(file=out, width=200).print(draw_ready(ready, Settings()))
    assert "e0, e1, e2, e3, e4, e5, e6, e7, e8, e9 and 20 more" in out.getvalue()


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_half_a_service_on_a_sqlite_file_is_refused_before_it_takes_the_file(command: str, run: Run) -> None:
    """Nobody could do the other half, for one process has the file: the error says what to run."""
    result = run(command, "--listen", "127.0.0.1:0")
    assert result.exit_code == 2
    assert "idsync up" in result.stderr
    assert not Path("idsync.db").exists()


def test_a_worker_says_that_it_has_no_page() -> None:
    """Over HTTP it only tells how it is."""
    out = io.StringIO()
    ready = ServiceReady(ready=True, url="http://127.0.0.1:8787", worker="w1")
    Console(file=out, width=200).print(draw_ready(ready, Settings()))
    assert "health" in out.getvalue()
    assert "page and API" not in out.getvalue()
