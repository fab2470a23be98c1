"""The contract of the configuration: the documented file works as written, and so does no file at all."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from idsync.config import ApiKeySettings, SecretText, Url, load_settings, parse_settings
from idsync.errors import ConfigError
from idsync.model.mapping import FieldRule, Match, Others, Rule
from idsync.model.values import Kind

GOLDEN = Path(__file__).with_name("golden.toml")
SECRETS = {"IDSYNC_API_KEY": "k" * 32, "PAYLOAD_API_KEY": "p" * 32, "AUDIT_SECRET": "s" * 32}


def test_documented_file_works_as_written() -> None:
    """Every line of the documented file arrives where the reference says."""
    settings = parse_settings(GOLDEN.read_text(), environ=SECRETS)

    assert settings.store.url == Url("sqlite:///idsync.db")
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8787)
    assert settings.server.api_keys == (ApiKeySettings(key=SecretText("k" * 32)),)
    assert settings.endpoints["audit"].url == Url("http://127.0.0.1:9000/hook")
    assert settings.endpoints["audit"].secret == (SecretText("s" * 32),)
    assert settings.endpoints["audit"].events == ("user.*", "session.revoked")
    assert settings.endpoints["audit"].dialect == "standard"
    assert settings.delivery.allow_cidrs == ("127.0.0.0/8",)
    assert settings.engine.url == Url("")
    assert settings.nats.url == Url("nats://127.0.0.1:4222")
    assert settings.nats.subscribe == ("user.>", "organization.>", "organizationMembership.>")
    assert settings.nats.publish
    assert settings.notes == ()


def test_documented_peers_arrive_with_their_kinds() -> None:
    """A peer keeps its connection, and one table per kind beside it."""
    peers = parse_settings(GOLDEN.read_text(), environ=SECRETS).peers

    assert [(name, peer.connector) for name, peer in peers.items()] == [
        ("auth", "better-auth"),
        ("app", "sql"),
        ("cms", "payload"),
    ]
    assert peers["auth"].database == Url("sqlite:///auth.db")
    assert peers["auth"].kinds == {}
    users = peers["app"].kinds[Kind.USER]
    assert (users.table, users.key, users.link) == ("users", "id", "auth_id")
    assert users.fields == {
        "email": "email",
        "email_verified": "verified",
        "name": "full_name",
        "roles": "role",
    }
    assert (users.on_delete, users.on_ban) == ("soft:deleted_at", "flag:suspended")
    assert peers["cms"].api_key == SecretText("p" * 32)
    people = peers["cms"].kinds[Kind.USER]
    assert (people.collection, people.link, people.email_verified) == ("users", "betterAuthUserId", "always")


def test_documented_sync_arrives_as_rules() -> None:
    """Owners, groups and the lifecycle arrive, and the ban fields form their group without being named."""
    sync = parse_settings(GOLDEN.read_text(), environ=SECRETS).sync[Kind.USER]

    assert sync.peers == ("auth", "app", "cms")
    assert sync.match is Match.EMAIL
    assert (sync.lifecycle.owner, sync.lifecycle.others) == ("auth", Others.UNLINK)
    owned = Rule.OWNER
    assert sync.rules(Kind.USER) == {
        "email": FieldRule(rule=owned, owner=sync.peers[0], group="mail"),
        "email_verified": FieldRule(rule=owned, owner=sync.peers[0], group="mail"),
        "name": FieldRule(rule=Rule.NEWEST),
        "roles": FieldRule(rule=owned, owner=sync.peers[0]),
        "banned": FieldRule(group="ban"),
        "ban_reason": FieldRule(group="ban"),
        "ban_expires_at": FieldRule(group="ban"),
    }


def test_no_file_gives_the_documented_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, a variable or a flag every setting has its default; those of the retry are DESIGN §6."""
    monkeypatch.chdir(tmp_path)

    settings = load_settings(environ={})

    assert settings.file is None
    assert settings.peers == {}
    assert settings.server.api_keys == ()
    assert settings.limits.body_bytes_max == 1024 * 1024
    assert (settings.delivery.lanes_target, settings.delivery.lanes_endpoint) == (16, 4)
    assert (settings.delivery.timeout_s, settings.delivery.flush_ms) == (30, 20)
    retry = settings.delivery.retry
    assert (retry.first_s, retry.factor, retry.jitter) == (1, 2, 0.1)
    assert (retry.cap_s, retry.attempts_max, retry.age_max_s) == (3 * 3600, 30, 72 * 3600)


def test_settings_are_frozen() -> None:
    """Nothing that reads the settings can change them."""
    settings = parse_settings("")
    with pytest.raises(AttributeError):
        settings.store = settings.store  # type: ignore[misc]  # that this is refused is the point


@pytest.mark.parametrize(
    ("create", "expected"), [("", [True, True]), ('create = ["app"]', [False, True]), ("create = []", [False, False])]
)
def test_create_says_who_may_bring_new_people(create: str, expected: list[bool]) -> None:
    """Absent, every peer may; an empty list means nobody."""
    sync = parse_settings(f'{PEERS}[sync.user]\npeers = ["auth", "app"]\n{create}').sync[Kind.USER]
    assert [sync.may_create(peer) for peer in ("auth", "app")] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, FieldRule(group="mail")),
        ({"email": {"owner": "auth"}}, FieldRule(rule=Rule.OWNER, owner="auth", group="mail")),  # type: ignore[arg-type]
        ({"email": {"rule": "manual", "group": "contact"}}, FieldRule(rule=Rule.MANUAL, group="contact")),
    ],
)
def test_email_verified_follows_email(fields: Mapping[str, object], expected: FieldRule) -> None:
    """The flag that vouches for an address has the rule of the address, named or not (MISSION R14)."""
    flags = {"sync.user.fields": fields}
    sync = parse_settings(f'{PEERS}[sync.user]\npeers = ["auth", "app"]', flags=flags).sync[Kind.USER]
    assert sync.rules(Kind.USER)["email_verified"] == expected


def test_ban_fields_share_the_rule_of_the_one_that_has_a_line() -> None:
    """A ban, its reason and its expiry come from one writer even where one of them is configured."""
    text = f'{PEERS}[sync.user]\npeers = ["auth", "app"]\nfields = {{ ban_reason = {{ owner = "auth" }} }}'
    rules = parse_settings(text).sync[Kind.USER].rules(Kind.USER)
    assert {rules[field].owner for field in ("banned", "ban_reason", "ban_expires_at")} == {"auth"}
    assert {rules[field].group for field in ("banned", "ban_reason", "ban_expires_at")} == {"ban"}


def test_other_kinds_have_no_coupled_fields() -> None:
    """Only users have addresses and bans."""
    text = f'{PEERS}[sync.session]\npeers = ["auth"]\nfields = {{ expires_at = {{ owner = "auth" }} }}'
    sync = parse_settings(text).sync[Kind.SESSION]
    assert list(sync.rules(Kind.SESSION)) == ["expires_at"]


def test_api_key_of_a_peer_is_its_credential_as_text_and_its_kind_as_table() -> None:
    """The one word that names both is told apart by what stands behind it."""
    text = '[peers.a]\nconnector = "payload"\napi_key = "{}"\n[peers.b]\nconnector = "payload"\n[peers.b.api_key]\n'
    peers = parse_settings(text.format("x" * 16) + 'table = "apikey"').peers
    assert (peers["a"].api_key, peers["a"].kinds) == (SecretText("x" * 16), {})
    assert (peers["b"].api_key, peers["b"].kinds[Kind.API_KEY].table) == (None, "apikey")


def test_one_value_counts_as_a_list_of_one() -> None:
    """A single secret, event or range needs no brackets."""
    text = '[endpoints.a]\nurl = "https://example.com"\nevents = "user.*"\nsecret = "s"'
    endpoint = parse_settings(text).endpoints["a"]
    assert (endpoint.events, endpoint.secret) == (("user.*",), (SecretText("s"),))


def test_rate_has_the_defaults_of_the_builder() -> None:
    """An endpoint is unlimited unless it has a rate; an empty one is that of seed 003."""
    text = '[endpoints.{}]\nurl = "https://example.com"\n'
    settings = parse_settings(text.format("a") + text.format("b") + "rate = {}")
    assert settings.endpoints["a"].rate is None
    rate = settings.endpoints["b"].rate
    assert rate is not None
    assert msgspec.structs.astuple(rate) == (10, 20)


def test_error_lists_every_problem() -> None:
    """An operator sees all there is to mend at once, one line each."""
    text = '[store]\nurl = "ftp://x"\n[log]\nlevel = "loud"\n[delivery]\ntimeout_s = 0\n[sevrer]\n'
    with pytest.raises(ConfigError) as caught:
        parse_settings(text)
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "sevrer",
        "delivery.timeout_s",
        "log.level",
        "store.url",
    ]
    assert str(caught.value).splitlines() == list(caught.value.problems)


PEERS = """
[peers.auth]
connector = "better-auth"
database = "sqlite:///auth.db"
[peers.app]
connector = "sql"
database = "sqlite:///app.db"
[peers.app.user]
table = "users"
key = "id"
fields = { email = "email" }
"""
