"""The commands about webhooks out and API keys, asking a real service: what they print, and how they end."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]
Line = Any

TRIES_MAX = 200
CONFIG = """
[endpoints.audit]
url = "http://127.0.0.1:9/hook"
events = ["order.*"]
[delivery]
allow_cidrs = ["127.0.0.0/8"]
retry = { attempts_max = 1 }
"""
HOOK = "http://127.0.0.1:9/other"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, make_service: Callable[..., Any]) -> Iterator[Line]:
    """Start one service for all tests here, with an endpoint that is down."""
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


@pytest.fixture
def shop(ask: Run) -> Iterator[str]:
    """An endpoint of its own for a test."""
    made = ask("endpoints", "add", "shop", "--to", HOOK, "--event", "bill.*", "--json")
    assert made.exit_code == 0, made.stderr
    yield "shop"
    ask("endpoints", "remove", "shop", "--yes")
    for _ in range(TRIES_MAX):  # its name is free once nothing is queued for it
        if ask("endpoints", "add", "shop", "--to", HOOK).exit_code == 0:
            ask("endpoints", "remove", "shop", "--yes")
            return


def read(result: Result) -> Any:  # noqa: ANN401  # JSON
    """Read what a command that did well has printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def publish(ask: Run, event: str, kind: str = "order.paid") -> str:
    """Publish an event without a peer."""
    read(ask("publish", "--id", event, "--type", kind, "--subject", f"order/{event}", "--json"))
    return event


def test_endpoints_are_listed_and_shown_for_people_and_for_programs(ask: Run) -> None:
    """The table has what an operator looks for first; nothing of it is secret."""
    page = ask("endpoints", "list").stdout
    assert "audit" in page
    assert "enabled" in page
    assert read(ask("endpoints", "list", "--json"))["items"][0]["name"] == "audit"
    shown = ask("endpoints", "show", "audit")
    assert "the configuration" in shown.stdout
    assert "http://127.0.0.1:9/hook" in shown.stdout
    assert "whsec_" not in shown.stdout


def test_an_endpoint_is_made_changed_switched_rotated_and_removed(ask: Run, shop: str) -> None:
    """Each verb does what it says, and a secret is printed when it is made."""
    changed = read(
        ask("endpoints", "change", shop, "--set", "rate.requests_per_second=5", "--set", "timeout_s=7", "--json")
    )
    assert (changed["definition"]["rate"]["requests_per_second"], changed["definition"]["timeout_s"]) == (5, 7)
    assert read(ask("endpoints", "change", shop, "--set", "rate=null", "--json"))["definition"]["rate"] is None
    Path("patch.json").write_text('{"description": "the shop"}')
    assert "the shop" in ask("endpoints", "change", shop, "--file", "patch.json").stdout
    assert "disabled (operator)" in ask("endpoints", "disable", shop).stdout
    assert read(ask("endpoints", "enable", shop, "--json"))["enabled"] is True
    rotated = ask("endpoints", "rotate", shop, "--overlap", "60")
    assert "2 secrets sign now" in rotated.stdout
    assert "whsec_" in rotated.stdout
    removed = ask("endpoints", "remove", shop, "--yes", "--json")
    assert read(removed) == {"removed": "shop"}
    assert ask("endpoints", "show", shop).exit_code == 1


def test_a_secret_is_printed_once(ask: Run) -> None:
    """When the endpoint is made; a definition may come from standard input."""
    made = ask("endpoints", "add", "once", "--file", "-", stdin=json.dumps({"url": HOOK, "events": ["x.y"]}).encode())
    assert "shown only this once" in made.stdout
    assert "whsec_" in made.stdout
    assert ask("endpoints", "remove", "once", "--yes").exit_code == 0


def test_a_test_of_an_endpoint_that_is_down_fails(ask: Run) -> None:
    """The exit code tells scripts; the page tells why."""
    failed = ask("endpoints", "test", "audit")
    assert failed.exit_code == 1
    assert "connect" in failed.stdout
    as_json = ask("endpoints", "test", "audit", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["is_delivered"]) == (1, False)


def test_why_an_endpoint_did_not_get_an_event(ask: Run, shop: str) -> None:
    """Each endpoint has a line, and each try; then its health says that it fails."""
    publish(ask, "why-1")
    states: dict[str, str] = {}
    for _ in range(TRIES_MAX):
        found = read(ask("events", "show", "why-1", "--json"))
        states = {one["endpoint"]: one["state"] for one in found["deliveries"]["items"]}
        if states["audit"] == "dead":
            break
    assert states == {"audit": "dead", shop: "unmatched"}
    page = ask("events", "show", "why-1").stdout
    assert "given up" in page
    assert "endpoint:audit" in page.partition("Tries")[2]
    assert "did not name the type" in page
    assert "why-1" in ask("events", "list", "--types", "order.*").stdout
    assert read(ask("events", "list", "--subject", "order/nobody", "--json"))["items"] == []
    health = ask("endpoints", "health", "audit")
    for _ in range(TRIES_MAX):  # how it does is written once a second
        if health.exit_code == 1:
            break
        health = ask("endpoints", "health", "audit")
    assert health.exit_code == 1
    assert "failing since" in health.stdout
    assert set(json.loads(ask("endpoints", "health", "audit", "--json").stdout)) == {"health", "attempts"}


def test_dead_deliveries_are_chosen_by_what_they_have(ask: Run) -> None:
    """Filters narrow the list and what is tried again; none that is meant is a failure."""
    publish(ask, "dead-1", "order.lost")
    chosen = ("--type", "order.lost", "--reason", "connect")
    for _ in range(TRIES_MAX):
        if read(ask("dead", "list", *chosen, "--json"))["deliveries"]["items"]:
            break
    assert "order/dead-1" in ask("dead", "list", *chosen).stdout
    assert "order/dead-1" not in ask("dead", "list", "--type", "order.found").stdout
    assert "1 of them" in ask("dead", "requeue", *chosen).stdout
    assert ask("dead", "requeue", "--type", "order.found").exit_code == 1
    assert ask("dead", "requeue", "--type", "order.found", "--all").exit_code == 2


def test_a_replay_is_counted_asked_for_and_followed(ask: Run, shop: str) -> None:
    """A dry run begins nothing; without `--yes` and somebody to ask nothing is begun either."""
    ask("endpoints", "disable", shop)
    publish(ask, "bill-1", "bill.sent")
    ask("endpoints", "enable", shop)
    chosen = (shop, "--status", "missed", "--type", "bill.*")
    assert read(ask("replay", "start", *chosen, "--dry-run", "--json"))["events"] == 1
    unasked = ask("replay", "start", *chosen)
    assert unasked.exit_code == 2
    assert "Queue 1 events for shop?" in unasked.stderr
    assert read(ask("replay", "list", "--json"))["items"] == []
    ended = read(ask("replay", "start", *chosen, "--yes", "--json"))
    assert (ended["state"], ended["queued"]) == ("done", 1)
    assert "done" in ask("replay", "show", ended["id"], "--follow").stdout
    assert ended["id"] in ask("replay", "list").stdout
    assert read(ask("replay", "cancel", ended["id"], "--json"))["state"] == "done"
    assert ask("replay", "show", "nobody").exit_code == 1
    assert ask("replay", "start", "nobody", "--yes").exit_code == 1


def test_a_replay_of_nothing_begins_nothing(ask: Run, shop: str) -> None:
    """There is nobody to ask about nothing."""
    result = ask("replay", "start", shop, "--until", "2000-01-01T00:00:00Z")
    assert result.exit_code == 0
    assert result.stdout.split()[:2] == ["events", "0"]


def test_keys_are_made_used_and_deleted(ask: Run, run: Run, line: Line) -> None:
    """What is printed opens the API as far as its scopes go."""
    made = ask("keys", "add", "ci", "--scope", "read")
    assert "shown only this once" in made.stdout
    text = next(word for word in made.stdout.split() if word.startswith("idsync_"))
    own = {"IDSYNC_URL": line.access["IDSYNC_URL"], "IDSYNC_API_KEY": text}
    assert run("endpoints", "list", env=own).exit_code == 0
    refused = run("keys", "list", env=own)
    assert refused.exit_code == 1
    assert "scope admin" in refused.stderr
    listed = {one["name"]: one for one in read(ask("keys", "list", "--json"))["items"]}
    assert listed["ci"]["scopes"] == ["read"]
    assert "ci" in ask("keys", "list").stdout
    assert ask("keys", "remove", listed["ci"]["id"]).exit_code == 2
    assert ask("keys", "remove", listed["ci"]["id"], "--yes").exit_code == 0
    assert run("endpoints", "list", env=own).exit_code == 1
    last = ask("keys", "remove", listed["first"]["id"], "--yes")
    assert last.exit_code == 1
    assert "last key" in last.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("endpoints", "change", "audit"),
        ("endpoints", "change", "audit", "--set", "nonsense"),
        ("endpoints", "change", "audit", "--set", "a=1", "--set", "a.b=2"),
        ("endpoints", "change", "audit", "--file", "missing.json"),
        ("endpoints", "remove", "audit"),
        ("keys", "add", "x"),
        ("keys", "add", "x", "--scope", "root"),
        ("replay", "start", "audit", "--status", "some"),
        ("replay", "start", "audit", "--rate", "0"),
    ],
)
def test_unclear_options_are_wrong_usage(args: tuple[str, ...], ask: Run) -> None:
    """Nothing is changed."""
    assert ask(*args).exit_code == 2


@pytest.mark.parametrize("name", ["../keys", "a/b", "ä", "a b", "%2e"])
def test_a_name_is_one_segment_of_the_address_whatever_it_holds(name: str, ask: Run) -> None:
    """Nobody gets elsewhere by a name."""
    result = ask("endpoints", "show", name)
    assert result.exit_code == 1
    assert "nothing here" in result.stderr


def test_endpoints_of_the_configuration_are_refused_with_where_to_change_them(ask: Run) -> None:
    """The service says so, and the command passes it on."""
    result = ask("endpoints", "change", "audit", "--to", HOOK)
    assert result.exit_code == 1
    assert "in the configuration" in result.stderr
