"""The environment variables of earlier set-ups are understood (MISSION R42)."""

import pytest

from idsync.config import SecretText, parse_settings
from idsync.config.variables import INACTIVE
from idsync.errors import ConfigError

OUT = {"PAYLOAD_WEBHOOK_URL": "https://cms.example.com/hook", "PAYLOAD_OUTBOUND_WEBHOOK_SECRET": "out"}


def test_variables_of_seed_000_make_the_payload_endpoint() -> None:
    """Address and secret become an endpoint in the dialect and with the events that its receiver takes."""
    settings = parse_settings("", environ=OUT)
    endpoint = settings.endpoints["payload"]
    assert endpoint.url.reveal() == "https://cms.example.com/hook"
    assert (endpoint.secret, endpoint.dialect) == ((SecretText("out"),), "plain-hex")
    assert endpoint.events == ("user.created", "user.updated", "user.deleted")
    assert settings.notes == ("PAYLOAD_WEBHOOK_URL and PAYLOAD_OUTBOUND_WEBHOOK_SECRET set the endpoint payload.",)


def test_variables_of_seed_001_make_the_payload_endpoint() -> None:
    """The other secret's name means the other dialect and its wider events."""
    environ = {"PAYLOAD_WEBHOOK_URL": "https://cms.example.com/hook", "PAYLOAD_WEBHOOK_SECRET": "s"}
    endpoint = parse_settings("", environ=environ).endpoints["payload"]
    assert (endpoint.secret, endpoint.dialect) == ((SecretText("s"),), "better-auth")
    assert endpoint.events == ("user.*", "session.*", "oauth_client.*", "api_key.*")


def test_variables_of_seed_000_make_the_better_auth_endpoint() -> None:
    """The way back has its own address and secret."""
    environ = {"BETTER_AUTH_WEBHOOK_URL": "https://a.example.com", "BETTER_AUTH_OUTBOUND_WEBHOOK_SECRET": "s"}
    endpoint = parse_settings("", environ=environ).endpoints["better-auth"]
    assert (endpoint.dialect, endpoint.events) == ("plain-hex", ("user.updated", "user.deleted"))


def test_both_secrets_for_one_address_are_refused() -> None:
    """They name two ways to sign; only the operator knows which receiver is there."""
    with pytest.raises(ConfigError) as caught:
        parse_settings("", environ={**OUT, "PAYLOAD_WEBHOOK_SECRET": "s"})
    (problem,) = caught.value.problems
    assert "PAYLOAD_OUTBOUND_WEBHOOK_SECRET and PAYLOAD_WEBHOOK_SECRET are both set" in problem


@pytest.mark.parametrize(
    ("environ", "note"),
    [
        (
            {"PAYLOAD_WEBHOOK_URL": "https://x"},
            "PAYLOAD_WEBHOOK_URL sets nothing without PAYLOAD_OUTBOUND_WEBHOOK_SECRET or PAYLOAD_WEBHOOK_SECRET.",
        ),
        ({"PAYLOAD_WEBHOOK_SECRET": "s"}, "PAYLOAD_WEBHOOK_SECRET sets nothing without PAYLOAD_WEBHOOK_URL."),
        (
            {"BETTER_AUTH_WEBHOOK_URL": "https://x"},
            "BETTER_AUTH_WEBHOOK_URL sets nothing without BETTER_AUTH_OUTBOUND_WEBHOOK_SECRET.",
        ),
    ],
)
def test_half_of_a_pair_is_noted(environ: dict[str, str], note: str) -> None:
    """An address without its secret, or the reverse, sends nothing; the operator is told."""
    settings = parse_settings("", environ=environ)
    assert settings.endpoints == {}
    assert settings.notes == (note,)


@pytest.mark.parametrize(
    ("variable", "name"),
    [("PAYLOAD_INBOUND_WEBHOOK_SECRET", "payload"), ("BETTER_AUTH_INBOUND_WEBHOOK_SECRET", "better-auth")],
)
def test_inbound_secret_opens_a_webhook_peer(variable: str, name: str) -> None:
    """Without such a peer in the file, one is made that only receives."""
    peer = parse_settings("", environ={variable: "s"}).peers[name]
    assert (peer.connector, peer.dialect, peer.secret) == ("webhook", "plain-hex", (SecretText("s"),))


def test_inbound_secret_goes_to_the_peer_with_that_connector() -> None:
    """A peer of the file is found by what it is, whatever its name; the dialect it names stays."""
    text = '[peers.cms]\nconnector = "payload"\ndialect = "standard"\nsecret = "old"'
    settings = parse_settings(text, environ={"PAYLOAD_INBOUND_WEBHOOK_SECRET": "new"})
    assert list(settings.peers) == ["cms"]
    assert (settings.peers["cms"].secret, settings.peers["cms"].dialect) == ((SecretText("new"),), "standard")


def test_inbound_secret_that_could_mean_two_peers_is_noted() -> None:
    """Guessing would open the wrong door."""
    text = '[peers.a]\nconnector = "payload"\n[peers.b]\nconnector = "payload"'
    settings = parse_settings(text, environ={"PAYLOAD_INBOUND_WEBHOOK_SECRET": "s"})
    assert [peer.secret for peer in settings.peers.values()] == [(), ()]
    assert settings.notes == (
        "PAYLOAD_INBOUND_WEBHOOK_SECRET sets nothing: it could mean a or b. Give each its `secret`.",
    )


def test_nats_url_sets_address_and_subjects() -> None:
    """Seed 004 listens to people, organizations and memberships."""
    nats = parse_settings("", environ={"NATS_URL": "nats://127.0.0.1:4222"}).nats
    assert nats.url.reveal() == "nats://127.0.0.1:4222"
    assert nats.subscribe == ("user.>", "organization.>", "organizationMembership.>")


def test_nats_url_leaves_the_subjects_of_the_file() -> None:
    """The variable is an address, no more, where the file says what to listen to."""
    text = '[nats]\nurl = "nats://old"\nsubscribe = []'
    nats = parse_settings(text, environ={"NATS_URL": "nats://new"}).nats
    assert (nats.url.host, nats.subscribe) == ("new", ())


def test_our_own_variable_wins() -> None:
    """`IDSYNC_…` is said to idsync alone."""
    environ = {"NATS_URL": "nats://theirs", "IDSYNC_NATS__URL": "nats://ours"}
    assert parse_settings("", environ=environ).nats.url.host == "ours"


@pytest.mark.parametrize("variable", INACTIVE)
def test_variable_of_a_later_feature_is_understood_and_noted(variable: str) -> None:
    """It is no error, and no silence either."""
    settings = parse_settings("", environ={variable: "https://x"})
    (note,) = settings.notes
    assert note.startswith(f"{variable} is understood but sets nothing: ")


def test_variable_that_the_file_reads_itself_sets_nothing_more() -> None:
    """Else the file's endpoint would get every event twice."""
    text = '[endpoints.cms]\nurl = "env:PAYLOAD_WEBHOOK_URL"\nsecret = "env:PAYLOAD_OUTBOUND_WEBHOOK_SECRET"'
    settings = parse_settings(text, environ=OUT)
    assert list(settings.endpoints) == ["cms"]
    assert settings.notes == ()


def test_empty_variable_is_not_set() -> None:
    """A compose file often passes on variables that nobody set."""
    environ = dict.fromkeys([*OUT, *INACTIVE, "NATS_URL", "PAYLOAD_INBOUND_WEBHOOK_SECRET"], "")
    assert parse_settings("", environ=environ) == parse_settings("")


def test_value_that_cannot_be_used_names_the_variable() -> None:
    """The operator looks for the mistake where it is."""
    with pytest.raises(ConfigError, match=r"nats\.url \(environment variable NATS_URL\): an address begins with"):
        parse_settings("", environ={"NATS_URL": "localhost"})
