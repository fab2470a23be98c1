"""What an endpoint may be: the same words, bounds and errors in the file and in the API's body."""

import msgspec
import pytest

from idsync.config import (
    BatchSettings,
    BreakerSettings,
    DisableSettings,
    EndpointSettings,
    InvalidEndpoint,
    RateSettings,
    RetrySettings,
    endpoint_body,
    parse_endpoint,
    parse_settings,
)
from idsync.errors import ConfigError

URL = "https://example.com/hook"
EVERYTHING = {
    "url": URL,
    "secret": ["whsec_QUFB", "whsec_QkJC"],
    "events": ["*", "!user.deleted", "!session.*"],
    "dialect": "svix",
    "headers": {"X-Token": "t"},
    "timeout_s": 5.5,
    "concurrency": 3,
    "retry": {"first_s": 2, "attempts_max": 5},
    "breaker": {"failure_threshold": 7, "success_threshold": 3, "timeout_s": 30, "half_open_max": 1},
    "rate": {"requests_per_second": 2.5, "burst": 3},
    "batch": {"events_max": 9, "bytes_max": 2048, "linger_ms": 10},
    "ordering": "none",
    "priority": "bulk",
    "operational": False,
    "description": "for the ledger",
    "enabled": False,
    "disable": {"after_s": 60, "failures_min": 3},
}


def problems(body: dict[str, object]) -> tuple[str, ...]:
    """Every reason for which a body is refused."""
    found = parse_endpoint(body)
    assert isinstance(found, InvalidEndpoint), found
    return found.problems


def test_defaults_are_those_of_the_design() -> None:
    """Breaker 5/2/60/3 and disable after 5 days and 100 failures; no rate and no batch unless they are asked for."""
    found = parse_endpoint({"url": URL})
    assert isinstance(found, EndpointSettings)
    assert found.breaker == BreakerSettings(failure_threshold=5, success_threshold=2, timeout_s=60.0, half_open_max=3)
    assert found.disable == DisableSettings(after_s=432_000.0, failures_min=100)
    assert (found.rate, found.batch, found.retry) == (None, None, None)
    assert (found.ordering, found.priority, found.operational, found.enabled) == ("identity", "live", False, True)
    asked = parse_endpoint({"url": URL, "rate": {}, "batch": {}, "retry": {}})
    assert isinstance(asked, EndpointSettings)
    assert asked.rate == RateSettings(requests_per_second=10.0, burst=20)
    assert (asked.batch, asked.retry) == (BatchSettings(), RetrySettings())


def test_body_of_the_api_means_what_the_file_means() -> None:
    """Field by field; and what is read is written as it was."""
    found = parse_endpoint(EVERYTHING)
    assert isinstance(found, EndpointSettings), found
    environ = {"IDSYNC_ENDPOINTS__AUDIT": msgspec.json.encode(EVERYTHING).decode()}
    assert parse_settings("", environ=environ).endpoints["audit"] == found
    assert parse_endpoint(endpoint_body(found)) == found
    assert set(EVERYTHING) == {field.name for field in msgspec.structs.fields(EndpointSettings)}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"evnts": ["*"]}, "evnts: unknown key; did you mean events?"),
        ({"breaker": {"treshold": 5}}, "breaker.treshold: unknown key; did you mean"),
        ({"url": "ftp://example.com"}, "url: expected an address that begins with http://"),
        ({"url": "https://"}, "url: names no host"),
        ({"events": []}, "events: expected at least 1"),
        ({"events": ["!user.*"]}, "events: only leaves out"),
        ({"events": ["user*"]}, "events[0]: expected user.created"),
        ({"events": ["!!user.created"]}, "events[0]: expected user.created"),
        ({"dialect": "standrad"}, "dialect: expected one of"),
        ({"timeout_s": 0}, "timeout_s: expected"),
        ({"timeout_s": float("nan")}, "timeout_s: expected"),
        ({"concurrency": 10_001}, "concurrency: expected"),
        ({"retry": {"first_s": 10, "cap_s": 5}}, "retry.first_s: is longer than `cap_s`"),
        ({"retry": {"age_max_s": 2_592_000.5}}, "retry.age_max_s: expected"),
        ({"breaker": {"failure_threshold": 0}}, "breaker.failure_threshold: expected"),
        ({"breaker": None, "rate": {"burst": 0}}, "rate.burst: expected"),
        ({"batch": {"events_max": 1001}}, "batch.events_max: expected"),
        ({"batch": 5}, "batch: expected a table"),
        ({"ordering": "some"}, 'ordering: expected one of "identity", "none"'),
        ({"priority": "erase"}, 'priority: expected one of "live", "bulk"'),
        ({"operational": "yes"}, "operational: expected true or false"),
        ({"description": "a\x1b[31m"}, "description: expected at most 500 characters"),
        ({"description": "x" * 501}, "description: expected"),
        ({"disable": {"after_s": 0}}, "disable.after_s: expected"),
        ({"headers": {"webhook-id": "1"}}, "headers.webhook-id: is set by idsync itself"),
        ({"headers": {"x-a": "1\r\nx-b: 2"}}, "headers.x-a: a header's value is printable"),
        ({"headers": {"x-a": "1" * 4097}}, "headers.x-a: is longer than 4096"),
        ({"headers": {"x-a": "1", "X-A": "2"}}, "headers: names a header twice"),
        ({"secret": "env:PATH"}, "secret[0]: is read from elsewhere only in the configuration file"),
        ({"secret": ["file:/etc/passwd"]}, "secret[0]: is read from elsewhere only in the configuration file"),
        ({"headers": {"x-a": "env:PATH"}}, "headers.x-a: is read from elsewhere only in the configuration file"),
        ({"url": "env:URL"}, "url: is read from elsewhere only in the configuration file"),
        ({"secret": "whsec_" + "x" * 9, "events": "user.*", "timeout_s": "5"}, "timeout_s: expected a number"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(fields: dict[str, object], problem: str) -> None:
    """One mistake gives one problem, which says what to write instead, and shows no secret."""
    found = problems({"url": URL, **fields})
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert "whsec_" not in found[0]


def test_every_problem_is_told_at_once() -> None:
    """Whoever corrects a body does it once."""
    found = problems({"timeout_s": -1, "events": [], "nonsense": 1})
    assert [one.partition(":")[0] for one in found] == ["nonsense", "url", "events", "timeout_s"]


def test_retry_may_not_outlive_the_ids_that_keep_events_apart() -> None:
    """Whatever the retention is where the endpoint is to live."""
    body: dict[str, object] = {"url": URL, "retry": {"age_max_s": 5 * 86_400}}
    settings = parse_settings("[retention]\ninbox_days = 4")
    found = parse_endpoint(body, settings)
    assert isinstance(found, InvalidEndpoint)
    assert found.problems[0].startswith("retry.age_max_s: is longer than retention.inbox_days")
    assert isinstance(parse_endpoint(body), EndpointSettings)
    text = f'[retention]\ninbox_days = 4\n[endpoints.a]\nurl = "{URL}"\nretry = {{ age_max_s = 432000 }}'
    with pytest.raises(ConfigError, match=r"endpoints\.a\.retry\.age_max_s"):
        parse_settings(text)


@pytest.mark.parametrize("text", ["", "short", "QUFB", "!" * 44, "A" * 200])
def test_key_of_secrets_is_32_bytes_in_base64(text: str) -> None:
    """Anything else is refused, and not shown."""
    with pytest.raises(ConfigError) as raised:
        parse_settings(f'[server]\nsecret_key = ["{text}"]')
    (problem,) = raised.value.problems
    assert problem.startswith("server.secret_key[0]")
    assert "32 random bytes in base64" in problem


def test_key_of_the_api_may_say_its_scopes() -> None:
    """One that is written alone may do everything."""
    environ = {"ONE": "k" * 16, "TWO": "l" * 16}
    text = '[server]\napi_keys = ["env:ONE", { key = "env:TWO", scopes = ["publish", "read"] }]'
    one, two = parse_settings(text, environ=environ).server.api_keys
    assert (one.key.reveal(), one.scopes) == ("k" * 16, ("admin",))
    assert (two.key.reveal(), two.scopes) == ("l" * 16, ("publish", "read"))
    for wrong, expected in (
        ('{ key = "env:TWO", scopes = ["write"] }', "server.api_keys[0].scopes[0]"),
        ('{ key = "env:TWO", scopes = [] }', "server.api_keys[0].scopes"),
        ('{ scopes = ["read"] }', "server.api_keys[0].key"),
        ('{ key = "env:TWO", scope = "read" }', "server.api_keys[0].scope"),
        ('{ key = "short" }', "server.api_keys[0]"),
        ("5", "server.api_keys[0]"),
    ):
        with pytest.raises(ConfigError) as raised:
            parse_settings(f"[server]\napi_keys = [{wrong}]", environ=environ)
        assert raised.value.problems[0].startswith(expected)


def test_no_peer_may_speak_in_the_name_of_the_service() -> None:
    """Operational events come from `idsync`: a peer of that name could forge them."""
    with pytest.raises(ConfigError, match=r"peers\.idsync.*: idsync is the name under which idsync speaks of itself"):
        parse_settings('[peers.idsync]\nconnector = "webhook"\nsecret = "s"')


@pytest.mark.parametrize(
    "url",
    [
        "https://0177.0.0.1/hook",
        "https://0x7f000001/hook",
        "https://127.1/hook",
        "https://example.com\\@10.0.0.1/hook",
        "https://user:pass@example.com/hook",
    ],
)
def test_url_that_programs_read_in_different_ways_is_refused_where_it_enters(url: str) -> None:
    """And not only once it is sent to; the text of the URL, which may hold a password, is not repeated."""
    [problem] = problems({"url": url})
    assert "every program reads alike" in problem
    assert "example" not in problem
    assert "0.0.1" not in problem
