"""Secrets and addresses do not show what must not be seen."""

import pytest

from idsync.config import SecretText, Url, parse_settings


def test_secret_shows_only_when_asked() -> None:
    """Neither `repr`, `str` nor formatting gives it away."""
    secret = SecretText("hunter2")
    assert secret.reveal() == "hunter2"
    assert "hunter2" not in f"{secret!r} {secret} {[secret]}"


def test_secrets_are_equal_by_their_text() -> None:
    """Equal texts are the same secret, also as keys."""
    assert SecretText("é") == SecretText("é")
    assert SecretText("a") != SecretText("b")
    assert len({SecretText("a"), SecretText("a")}) == 1
    assert SecretText("a") != "a"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ada:pw@db:5432/app?sslkey=pw", "postgresql://db:5432/app?…"),
        ("nats://pw@h:4222", "nats://h:4222"),
        ("https://example.com/hook?token=pw#pw", "https://example.com/hook?…"),
        ("sqlite:///dir/app.db", "sqlite:///dir/app.db"),
        ("", ""),
    ],
)
def test_address_shows_without_what_may_be_secret(text: str, shown: str) -> None:
    """User, password, query and fragment stay out of logs; the rest names the system."""
    url = Url(text)
    assert str(url) == shown
    assert repr(url) == f"Url({shown!r})"
    assert url.reveal() == text


def test_address_gives_its_parts() -> None:
    """The parts that choose a store or a connector."""
    url = Url("postgresql://u:p@Host:5432/db")
    assert (url.scheme, url.host, url.port) == ("postgresql", "host", 5432)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///idsync.db", "idsync.db"),
        ("sqlite:////var/lib/idsync.db", "/var/lib/idsync.db"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_sqlite_address_names_a_file(text: str, path: str) -> None:
    """Three slashes: relative to the working directory; four: absolute."""
    assert Url(text).sqlite_path == path


def test_settings_as_a_whole_show_no_secret() -> None:
    """A log line with the settings in it is no leak."""
    text = """
    [server]
    api_keys = ["hunter2-hunter2-hunter2"]
    [store]
    url = "postgresql://ada:hunter2@db/app"
    [peers.a]
    connector = "payload"
    url = "https://ada:hunter2@cms/api?key=hunter2"
    api_key = "hunter2"
    admin_token = "hunter2"
    admin_email = "a@example.com"
    admin_password = "hunter2"
    secret = ["hunter2"]
    [endpoints.b]
    url = "https://example.com?hunter2"
    secret = "hunter2"
    headers = { Authorization = "Bearer hunter2" }
    """
    assert "hunter2" not in repr(parse_settings(text))
