"""What is refused, and in which words: every case is one mistake in an otherwise good file."""

import re

import pytest

from idsync.config import CONNECTORS_KNOWN, parse_settings
from idsync.errors import ConfigError

GOOD = """
[server]
listen = "127.0.0.1:8787"
[peers.auth]
connector = "better-auth"
database = "sqlite:///auth.db"
[peers.app]
connector = "sql"
database = "sqlite:///app.db"
[peers.app.user]
table = "users"
key = "id"
link = "auth_id"
on_delete = "soft:deleted_at"
on_ban = "flag:suspended"
fields = { email = "email", name = "full_name" }
[sync.user]
peers = ["auth", "app"]
match = "email"
lifecycle = { owner = "auth", others = "unlink" }
[sync.user.fields]
email = { owner = "auth" }
name = { rule = "newest" }
[endpoints.audit]
url = "https://example.com/hook"
events = ["user.*"]
dialect = "standard"
[delivery]
timeout_s = 30
"""


def _problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text)
    return caught.value.problems


def test_the_file_that_is_spoiled_below_is_good() -> None:
    """Each refusal below is for its mistake alone."""
    assert parse_settings(GOOD).notes == ()


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("[peers.auth]", "[peers.Auth]\n[peers.auth]", "peers.Auth@4: expected a name: a-z first"),
        ("[peers.auth]", '[peers."a\\u001b[m"]\n[peers.auth]', r"peers.'a\x1b[m': expected a name"),
        ("[peers.app.user]", "[peers.app.users]\n[peers.app.user]", "peers.app.users@10: unknown key; did you"),
        ('table = "users"', "table = 5", "peers.app.user.table@11: expected text, got a whole number"),
        ('table = "users"', "table = 2026-01-01", "peers.app.user.table@11: expected text, got"),
        ('table = "users"', 'table = ""', "peers.app.user.table@11: expected a name of 1 to 200"),
        ('table = "users"', "", 'peers.app.user.table@10: is required with connector = "sql"'),
        ('key = "id"', "", 'peers.app.user.key@10: is required with connector = "sql"'),
        ('email = "email",', 'emial = "email",', "peers.app.user.fields.emial@16: is no canonical"),
        ('name = "full_name"', 'name = "email"', "peers.app.user.fields.name@16: is mapped to the"),
        ('name = "full_name"', 'id = "id"', "peers.app.user.fields.id@16: ids are not mapped"),
        ('"soft:deleted_at"', '"soft"', 'peers.app.user.on_delete@14: expected "soft:<column>"'),
        ('"soft:deleted_at"', '"delete\\n"', 'peers.app.user.on_delete@14: expected "soft:<column>"'),
        ('"flag:suspended"', '"delete"', 'peers.app.user.on_ban@15: expected "flag:<column>"'),
        ('key = "id"', 'key = "id"\nemail_verified = "yes"', "peers.app.user.email_verified@13"),
        ('connector = "sql"', 'connector = "sqll"', "peers.app.connector@8: unknown connector; did you"),
        ('connector = "sql"', 'connector = "clerk"', "peers.app.connector@8: is a dialect, not a"),
        ('connector = "sql"', "", "peers.app.connector@7: is required. How idsync speaks with it"),
        ('"sqlite:///app.db"', '"sqlite://app.db"', "peers.app.database@9: expected three slashes"),
        ('"sqlite:///app.db"', '"sqlite:///a.db?x=1"', "peers.app.database@9: sqlite:/// takes a"),
        ('"sqlite:///app.db"', '"app.db"', "peers.app.database@9: an address begins with its scheme"),
        ('"sqlite:///app.db"', '"redis://x"', "peers.app.database@9: expected an address that begins"),
        ('database = "sqlite:///app.db"', "", 'peers.app.database@7: connector = "sql" needs database'),
        ('database = "sqlite:///auth.db"', "", 'peers.auth.database@4: connector = "better-auth" needs'),
        ('database = "sqlite:///auth.db"', 'url = "http://"', "peers.auth.url@6: names no host"),
        ('["auth", "app"]', '["auth", "ap"]', "sync.user.peers[1]@18: there is no peer of this name; did"),
        ('["auth", "app"]', '["auth", "auth", "app"]', "sync.user.peers[1]@18: is named twice"),
        ('["auth", "app"]', '["app", "auth"]', "peers.app.user.link@13: app is the first of"),
        ('["auth", "app"]', "[]", "sync.user.peers@18: expected at least 1"),
        ('["auth", "app"]', '{ a = "b" }', "sync.user.peers@18: expected a list"),
        ('match = "email"', 'create = ["cms"]', "sync.user.create[0]@19: is not among the peers"),
        ('match = "email"', 'match = "mail"', 'sync.user.match@19: expected one of "email"'),
        ('owner = "auth", others', 'owner = "cms", others', "sync.user.lifecycle.owner@20: is not"),
        ('"unlink"', '"unlnk"', "sync.user.lifecycle.others@20: expected one of"),
        ('{ rule = "newest" }', '{ rule = "neweset" }', "sync.user.fields.name.rule@23: expected one of"),
        ('{ rule = "newest" }', '{ rule = "owner" }', 'sync.user.fields.name.owner@23: rule = "owner"'),
        ('{ rule = "newest" }', '{ rule = "fill", owner = "auth" }', "sync.user.fields.name.rule@23"),
        ('{ rule = "newest" }', '{ owner = "cms" }', "sync.user.fields.name.owner@23: is not among"),
        ('{ rule = "newest" }', '{ group = "mail" }', "sync.user.fields.name.group@23: is the group of"),
        ('{ rule = "newest" }', '{ group = "Mail" }', "sync.user.fields.name.group@23: expected a name"),
        ("name = { rule", "nmae = { rule", "sync.user.fields.nmae@23: is no canonical user field"),
        ("name = { rule", "email_verified = { rule", "sync.user.fields.email_verified@23: moves together"),
        (
            'name = { rule = "newest" }',
            'email_verified = { owner = "auth", group = "x" }',
            "sync.user.fields.email_verified.group@23: email and email_verified move together",
        ),
        (
            'name = { rule = "newest" }',
            'banned = { group = "x" }',
            "sync.user.fields.banned.group@23: the ban fields always form the group ban",
        ),
        (
            'email = { owner = "auth" }',
            'picture = { owner = "app", group = "look" }\npreferred_username = { group = "look" }',
            "sync.user.fields.preferred_username@23: moves together with picture",
        ),
        ("[sync.user]", "[sync.users]\n[sync.user]", "sync.users@17: expected one of"),
        ('"https://example.com/hook"', '"ftp://example.com"', "endpoints.audit.url@25: expected an"),
        ('"https://example.com/hook"', '"https://[::1"', "endpoints.audit.url@25: the host or port"),
        ('"https://example.com/hook"', '"https://a:99999"', "endpoints.audit.url@25: the host or port"),
        ('"https://example.com/hook"', '"https://a/ b"', "endpoints.audit.url@25: an address has no"),
        ('url = "https://example.com/hook"', "", "endpoints.audit.url@24: is required. Where events"),
        ('["user.*"]', '["user*"]', "endpoints.audit.events[0]@26: expected user.created, user.*, * or !user.deleted"),
        ('["user.*"]', "[]", "endpoints.audit.events@26: expected at least 1"),
        ('["user.*"]', "[[]]", "endpoints.audit.events[0]@26: expected text, got a list"),
        ('"standard"', '"standrad"', "endpoints.audit.dialect@27: expected one of"),
        ('"standard"', '"standard"\nsecret = " "', "endpoints.audit.secret[0]@28: is empty"),
        (
            '"standard"',
            '"standard"\nheaders = { Host = "x" }',
            "endpoints.audit.headers.Host@28: is set by idsync itself",
        ),
        (
            '"standard"',
            '"standard"\nheaders = { "X Y" = "x" }',
            "endpoints.audit.headers.'X Y'@28: is no name of a header",
        ),
        (
            '"standard"',
            '"standard"\nheaders = { X = "a\\r\\nY: b" }',
            "endpoints.audit.headers.X@28: a header's value is printable ASCII",
        ),
        ("timeout_s = 30", "timeout_s = 0", "delivery.timeout_s@29: expected a number > 0"),
        ("timeout_s = 30", "timeout_s = nan", "delivery.timeout_s@29: expected a number > 0"),
        ("timeout_s = 30", "timeout_s = inf", "delivery.timeout_s@29: expected a number <= 300"),
        ("timeout_s = 30", "timeout_s = true", "delivery.timeout_s@29: expected a number, got true"),
        ("timeout_s = 30", "timeuot_s = 30", "delivery.timeuot_s@29: unknown key; did you mean"),
        ("timeout_s = 30", 'allow_cidrs = ["10.0.0.1/8"]', "delivery.allow_cidrs[0]@29: expected a range"),
        ("timeout_s = 30", "retry = { first_s = 60, cap_s = 1 }", "delivery.retry.first_s@29: is longer"),
        ("timeout_s = 30", "[retention]\ninbox_days = 2", "retention.inbox_days@30: is shorter than"),
        ("timeout_s = 30", "[limits]\nbody_bytes_max = 2048", "limits.event_bytes_max@29: is larger"),
        ("timeout_s = 30", "[nats]\npublish = true", "nats.url@29: is required with"),
        ("timeout_s = 30", '[nats]\nurl = "http://x"', "nats.url@30: expected an address that begins"),
        ("timeout_s = 30", '[engine]\nurl = "redis://x"', "engine.url@30: expected an address that"),
        ("timeout_s = 30", '[store]\nurl = "mysql://x"', "store.url@30: expected an address that"),
        ('"127.0.0.1:8787"', '"8787"', "server.listen@3: expected host:port"),
        ('"127.0.0.1:8787"', '"127.0.0.1:70000"', "server.listen@3: expected host:port"),
        ('"127.0.0.1:8787"', '"::1:80"', "server.listen@3: expected host:port"),
        ('"127.0.0.1:8787"', '"a:80"\napi_keys = ["short"]', "server.api_keys[0]@4: an API key has"),
    ],
)  # fmt: skip
def test_mistake_is_named_where_it_is_made(good: str, bad: str, expected: str) -> None:
    """One mistake gives one problem: the setting, its line (here after an @), and what to write instead."""
    assert good in GOOD
    (problem,) = _problems(GOOD.replace(good, bad, 1))
    assert re.sub(r" \(idsync\.toml line (\d+)\)", r"@\1", problem).startswith(expected)


@pytest.mark.parametrize("subject", ["user .x", "user..x", ">.x", "us>", "", "user\n"])
def test_what_is_no_subject_is_refused(subject: str) -> None:
    """NATS would refuse the subscription, or take another subject than was meant."""
    with pytest.raises(ConfigError, match=r"nats\.subscribe\[0\].*expected a subject"):
        parse_settings("", flags={"nats.url": "nats://x", "nats.subscribe": [subject]})


@pytest.mark.parametrize("name", ["a\n", "", "1a", "a" * 64, "Å"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """Names become lanes, metric labels and parts of addresses."""
    with pytest.raises(ConfigError, match="expected a name"):
        parse_settings("", flags={"endpoints": {name: {"url": "https://example.com"}}})


def test_address_without_end_is_refused() -> None:
    """An address is bounded as everything is."""
    with pytest.raises(ConfigError, match="is longer than 2048 characters"):
        parse_settings("", flags={"store.url": f"postgresql://h/{'x' * 2048}"})


@pytest.mark.parametrize("connector", CONNECTORS_KNOWN)
def test_every_known_connector_is_taken(connector: str) -> None:
    """Whether this version has built it is not the configuration's matter."""
    text = f'[peers.a]\nconnector = "{connector}"\ndatabase = "sqlite:///a.db"\nsecret = "s"'
    assert parse_settings(text).peers["a"].connector == connector


def test_webhook_peer_needs_a_secret() -> None:
    """Without one, anybody could write identities."""
    (problem,) = _problems('[peers.a]\nconnector = "webhook"')
    assert problem == 'peers.a.secret (idsync.toml line 1): connector = "webhook" needs secret'


def test_sql_peer_that_takes_part_needs_its_table() -> None:
    """A peer named in `sync` without a table for the kind could neither be read nor written."""
    text = '[peers.a]\nconnector = "sql"\ndatabase = "sqlite:///a.db"\n[sync.session]\npeers = ["a"]'
    assert _problems(text) == ("peers.a.session (idsync.toml line 1): is required: sync.session.peers names a",)


def test_email_verified_is_said_once() -> None:
    """A mapped column and `always` would contradict each other."""
    text = GOOD.replace('email = "email",', 'email = "email", email_verified = "v",', 1)
    (problem,) = _problems(text.replace('key = "id"', 'key = "id"\nemail_verified = "always"'))
    assert problem.startswith('peers.app.user.email_verified (idsync.toml line 13): "always" contradicts')


def test_admin_email_and_password_go_together() -> None:
    """One of the two is a half-written login."""
    text = '[peers.a]\nconnector = "better-auth"\nurl = "https://x"\nadmin_email = "a@example.com"'
    assert "are only of use together" in _problems(text)[0]


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@h/db", "postgresql:///db?host=/tmp", "redis://h", "sqlite:////a/b.db"]
)
def test_every_store_of_the_contract_is_an_address(url: str) -> None:
    """Stores that are not in this version are refused by the application, which knows what is built."""
    assert parse_settings("", flags={"store.url": url}).store.url.reveal() == url


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "localhost:80", "[::1]:8787"])
def test_listen_gives_host_and_port(listen: str) -> None:
    """IPv6 stands in brackets, which are not part of the address."""
    server = parse_settings("", flags={"server.listen": listen}).server
    assert f"{server.host}:{server.port}" == listen.replace("[", "").replace("]", "")


def test_what_follows_from_a_problem_is_not_shown() -> None:
    """A peer with a mistake is still a peer: the sync that names it draws no second problem."""
    assert len(_problems(GOOD.replace('connector = "sql"', "connector = 5"))) == 1


def test_kinds_stand_beside_the_other_keys() -> None:
    """`kinds` is a word of the code, not of the file; it must not swallow a table silently."""
    (problem,) = _problems(GOOD + "[peers.app.kinds.session]")
    assert problem.startswith("peers.app.kinds (idsync.toml line 30): unknown key; known here: connector, ")
    assert "organizationMembership" in problem


def test_unknown_key_lists_what_is_known_where_nothing_is_near() -> None:
    """A key from another product gets the list instead of a guess."""
    assert _problems("[log]\nzzz = 1") == ("log.zzz (idsync.toml line 2): unknown key; known here: level, format",)
