"""The commands that ask a service, asking a real one: what they print, and how they end."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]
Line = Any

TRIES_MAX = 200
CONFIG = """
[peers.crm]
connector = "webhook"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
[peers.crm.user]
fields = { email = "email", name = "name" }
[peers.crm.organization]
fields = { name = "name" }
[sync.user]
peers = ["crm"]
[sync.organization]
peers = ["crm"]
[endpoints.down]
url = "http://127.0.0.1:9/hook"
events = ["order.*"]
breaker = { failure_threshold = 100 }
[delivery]
allow_cidrs = ["127.0.0.0/8"]
retry = { attempts_max = 1 }
[ingest]
max_deletes_per_minute = 1
"""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, make_service: Callable[..., Any]) -> Iterator[Line]:
    """Start one service for all tests here, with a peer, an endpoint that is down, and a few people."""
    folder = tmp_path_factory.mktemp("line")
    (folder / "idsync.toml").write_text(CONFIG)
    service = make_service(folder)
    try:
        yield service.wait()
    finally:
        assert service.stop() == 0


@pytest.fixture
def ask(run: Run, line: Line) -> Run:
    """Run a command that asks the service."""

    def ask_service(*args: str, stdin: bytes = b"") -> Result:
        return run(*args, stdin=stdin, env=line.access)

    return ask_service


def _answer(result: Result) -> Any:  # noqa: ANN401  # JSON
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _publish(ask: Run, event_type: str, subject: str, **data: str) -> Any:  # noqa: ANN401  # JSON
    said = ("--type", event_type, "--subject", subject, "--source", "crm", "--data", json.dumps(data))
    return _answer(ask("publish", *said, "--json"))


def _find_dead(ask: Run, event: str) -> dict[str, Any]:
    """Wait until the delivery of an event is dead, and give it as `dead list` does."""
    for _ in range(TRIES_MAX):
        deliveries = _answer(ask("dead", "list", "--json"))["deliveries"]["items"]
        for delivery in deliveries:
            if delivery["subject"] == event:
                found: dict[str, Any] = delivery
                return found
    raise AssertionError(f"{event} never died")


def test_publish_takes_a_file_a_list_and_standard_input(ask: Run) -> None:
    """However events come, each has its verdict, in their order."""
    Path("one.json").write_text('{"id": "one", "type": "order.paid", "subject": "order/1", "data": {}}')
    assert _answer(ask("publish", "one.json", "--json")) == {"id": "one", "verdict": "applied"}
    several = b'[{"id": "two", "type": "order.paid", "data": {}}, {"id": "one", "type": "order.paid", "data": {}}]'
    printed = ask("publish", "-", stdin=several)
    assert [line.split() for line in printed.stdout.splitlines()[1:]] == [
        ["applied", "two", "—"],
        ["duplicate", "one", "—"],
    ]


def test_publish_builds_an_event_from_options(ask: Run) -> None:
    """A peer's word is merged: the answer names the identity."""
    receipt = _publish(ask, "user.created", "user/u_options", email="options@example.com", name="Olive")
    assert receipt["verdict"] == "applied"
    assert receipt["entity"]


def test_publish_in_the_name_of_nobody_is_told(ask: Run) -> None:
    """A misspelt peer makes a peer's word a mere event: it is taken, and a note says that nothing was merged."""
    misspelt = ask("publish", "--type", "user.updated", "--subject", "user/u_crn", "--source", "crn")
    assert misspelt.exit_code == 0
    assert "No peer is called crn" in misspelt.stderr
    several = [{"type": "user.updated", "source": "crn"}, {"type": "order.paid", "source": "billing"}]
    as_json = ask("publish", "-", "--json", stdin=json.dumps(several).encode())
    assert len(_answer(as_json)) == 2
    assert as_json.stderr.count("No peer is called") == 1


def test_publish_in_a_peers_name_or_of_another_type_needs_no_note(ask: Run) -> None:
    """What was merged, and what never would be, is nothing to warn of."""
    known = ask("publish", "--type", "user.created", "--subject", "user/u_known", "--source", "crm")
    other = ask("publish", "--type", "order.paid", "--subject", "order/2", "--source", "billing")
    assert known.stderr == other.stderr == ""


def test_publish_of_nonsense_fails_with_what_the_service_says(ask: Run) -> None:
    """The problem's title and detail are told; as JSON it is the problem itself."""
    result = ask("publish", "-", stdin=b'{"type": 5}')
    assert result.exit_code == 1
    assert result.stderr.startswith("The body is JSON, but not what is expected here. The event")
    as_json = ask("publish", "-", "--json", stdin=b"not json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["type"] == "urn:idsync:problem:malformed-json"


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("file.json", "--type", "a.b"),
        ("--type", "a.b", "--data", "[1]"),
        ("--type", "a.b", "--data", "{"),
        ("missing.json",),
        ("-", "--source", "crm"),
        ("--subject", "a/b"),
        ("--type", "a\udcffb"),
        ("--type", "a.b", "--data", "\udcff"),
    ],
)
def test_publish_of_unclear_options_is_wrong_usage(args: tuple[str, ...], ask: Run) -> None:
    """Nothing is sent."""
    assert ask("publish", *args).exit_code == 2


def test_tail_shows_the_newest_events_without_what_the_fields_hold(ask: Run) -> None:
    """Personal values are printed only where they are asked for."""
    _publish(ask, "user.created", "user/u_tail", email="tail@example.com", name="Tilda")
    newest = ask("tail", "--no-follow", "--limit", "1")
    assert newest.stdout.split()[2:] == ["@api", "user.created", "applied", "user/u_tail", "email,", "name"]
    assert "Tilda" in ask("tail", "--no-follow", "--limit", "1", "--data").stdout


def test_tail_prints_the_rows_of_the_api_and_goes_on_after_one(ask: Run) -> None:
    """One object a line, and `--after` gives what came after it."""
    for number in range(3):
        _publish(ask, "user.created", f"user/u_after{number}", name="x")
    lines = [json.loads(row) for row in ask("tail", "--no-follow", "--limit", "3", "--json").stdout.splitlines()]
    assert [row["subject"] for row in lines] == ["user/u_after0", "user/u_after1", "user/u_after2"]
    later = ask("tail", "--no-follow", "--after", str(lines[0]["seq"]), "--json").stdout.splitlines()
    assert [json.loads(row)["subject"] for row in later] == ["user/u_after1", "user/u_after2"]


def test_tail_follows_until_it_is_interrupted(ask: Run, line: Line, idsync: tuple[str, ...]) -> None:
    """A line comes with each event; Ctrl-C is a good end."""
    _publish(ask, "user.created", "user/u_before", name="x")
    command = [*idsync, "tail", "--json", "--limit", "1"]
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would inherit: ignore
    with subprocess.Popen(command, env=line.access, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        signal.signal(signal.SIGINT, former)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["subject"] == "user/u_before"
        _publish(ask, "user.created", "user/u_meanwhile", name="x")
        assert json.loads(process.stdout.readline())["subject"] == "user/u_meanwhile"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert (process.returncode, told) == (0, b"")


def test_status_shows_that_all_is_well(ask: Run) -> None:
    """The page for people has the loops and the peers; the JSON has the API's three answers."""
    page = ask("status")
    assert page.exit_code == 0
    assert "ok" in page.stdout.splitlines()[0]
    assert "crm" in page.stdout
    answer = _answer(ask("status", "--json"))
    assert answer["health"]["status"] == "ok"
    assert answer["stats"]["entities"] >= 0
    assert [peer["name"] for peer in answer["peers"]["items"]] == ["crm"]


@pytest.mark.parametrize(
    "text", ["explain@example.com", "EXPLAIN@example.com", "user/u_explain", "u_explain", "entity"]
)
def test_explain_finds_by_whatever_an_operator_knows(text: str, ask: Run) -> None:
    """E-mail, subject, a peer's id or ours lead to the same identity."""
    _publish(ask, "user.created", "user/u_explain", email="explain@example.com", name="Explicit")
    entity = _answer(ask("explain", "user/u_explain", "--json"))["entity"]["id"]
    page = ask("explain", entity if text == "entity" else text)
    assert page.exit_code == 0
    assert f"user/{entity}" in page.stdout
    assert "Explicit" in page.stdout


def test_explain_of_nobody_fails(ask: Run) -> None:
    """The message says what to try; the JSON is an empty page."""
    result = ask("explain", "nobody@example.com")
    assert result.exit_code == 1
    assert "nobody@example.com" in result.stderr
    assert "who was deleted is found only by an id" in result.stderr
    assert json.loads(ask("explain", "nobody@example.com", "--json").stdout) == {"items": [], "next": None}


def test_explain_lists_everybody_who_may_be_meant(ask: Run) -> None:
    """An id that two peers or kinds use is not guessed at."""
    user = _publish(ask, "user.created", "user/same", name="A person")["entity"]
    organization = _publish(ask, "organization.created", "organization/same", name="A firm")["entity"]
    result = ask("explain", "same")
    assert result.exit_code == 1
    assert user in result.stdout
    assert organization in result.stdout
    assert "2 identities" in result.stderr


def test_dead_deliveries_are_listed_shown_and_requeued(ask: Run) -> None:
    """From the list to the tries to trying again, with the ids that are printed."""
    ask("publish", "--type", "order.paid", "--subject", "order/dead")
    delivery = _find_dead(ask, "order/dead")
    page = ask("dead", "list", "--destination", "endpoint:down").stdout
    assert "order/dead" in page
    tries = ask("dead", "show", str(delivery["event"])).stdout
    assert "endpoint:down  dead" in tries
    assert "connect" in tries
    assert _answer(ask("dead", "show", delivery["event_id"], "--json"))["items"][0]["id"] == delivery["id"]
    for chosen in ((delivery["id"],), ("--destination", "endpoint:down"), ("--all",)):
        assert int(_answer(ask("dead", "requeue", *chosen, "--json"))["command"]) > 0
    assert "command" in ask("dead", "requeue", "--all").stdout


@pytest.mark.parametrize("choice", [("999999",), ("999999", "888888"), ("--waiting", "999999")])
def test_requeue_of_what_nobody_knows_fails(choice: tuple[str, ...], ask: Run) -> None:
    """Nothing is said to be tried again that is not there."""
    result = ask("dead", "requeue", *choice)
    assert result.exit_code == 1
    assert "tried again" not in result.output
    assert "has such an id" in result.stderr or "such a seq waits" in result.stderr
    assert json.loads(ask("dead", "requeue", *choice, "--json").stdout)["type"] == "urn:idsync:problem:not-found"


def test_requeue_says_which_were_not_dead(ask: Run) -> None:
    """Those that are dead are tried again, however many others were named."""
    ask("publish", "--type", "order.paid", "--subject", "order/some")
    result = ask("dead", "requeue", _find_dead(ask, "order/some")["id"], "999999")
    assert result.exit_code == 0
    assert "1 of them" in result.stdout
    assert "not dead" in result.stderr


def test_an_arrival_that_waits_is_listed_and_let_pass(ask: Run) -> None:
    """The second delete of a minute is held; requeued by its number it goes through."""
    for name in ("u_gone1", "u_gone2"):
        _publish(ask, "user.created", f"user/{name}", name="x")
        _publish(ask, "user.deleted", f"user/{name}")
    waiting = _answer(ask("dead", "list", "--json"))["waiting"]["items"]
    assert [row["subject"] for row in waiting] == ["user/u_gone2"]
    assert "user/u_gone2" in ask("dead", "list").stdout
    assert ask("dead", "requeue", "--waiting", str(waiting[0]["seq"])).exit_code == 0
    for _ in range(TRIES_MAX):
        if not _answer(ask("dead", "list", "--json"))["waiting"]["items"]:
            return
    raise AssertionError("it still waits")


def test_discard_asks_first_and_names_what_does_not_wait(ask: Run) -> None:
    """It cannot be undone; and nothing is said to be given up that is not there."""
    assert ask("dead", "discard", "999999").exit_code == 2
    result = ask("dead", "discard", "999999", "--yes")
    assert result.exit_code == 1
    assert "such a seq waits" in result.stderr


def test_dead_show_of_an_event_without_deliveries_fails(ask: Run) -> None:
    """An event that nobody was told of has nothing to show."""
    _publish(ask, "user.created", "user/u_silent", name="x")
    seq = json.loads(ask("tail", "--no-follow", "--limit", "1", "--json").stdout)["seq"]
    assert ask("dead", "show", str(seq)).exit_code == 1
    assert ask("dead", "show", "no-such-event").exit_code == 1


@pytest.mark.parametrize(
    "args", [(), ("1", "--all"), ("--all", "--waiting", "1"), ("--destination", "endpoint:down", "1"), ("x",)]
)
def test_requeue_takes_one_choice_and_no_less(args: tuple[str, ...], ask: Run) -> None:
    """Nothing is requeued that was not clearly meant."""
    assert ask("dead", "requeue", *args).exit_code == 2


def test_a_wrong_key_fails_and_says_where_to_get_the_right_one(run: Run, line: Line) -> None:
    """The service's refusal is shown with what to do about it."""
    result = run("status", "--url", line.access["IDSYNC_URL"], "--key", "wrong")
    assert result.exit_code == 1
    assert "IDSYNC_API_KEY" in result.stderr


def test_the_key_may_come_from_a_file_a_variable_or_the_configuration(run: Run, line: Line) -> None:
    """Nobody must have it in the shell's history."""
    url, key = line.access["IDSYNC_URL"], line.access["IDSYNC_API_KEY"]
    Path("key").write_text(f"{key}\n")
    assert run("status", "--url", url, "--key", "file:key").exit_code == 0
    assert run("status", "--url", url, "--key", "env:MY_KEY", env={"MY_KEY": key}).exit_code == 0
    listen = url.removeprefix("http://")
    Path("idsync.toml").write_text(f'[server]\nlisten = "{listen}"\napi_keys = ["env:MY_KEY"]\n')
    assert run("status", env={"MY_KEY": key}).exit_code == 0
