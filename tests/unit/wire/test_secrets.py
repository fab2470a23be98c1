"""Secrets: how their text is read, and that they never show."""

import hmac
import json
from base64 import b64encode

import msgspec
import orjson
import pytest

from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import MalformedSecret, Secret

RAW = bytes(range(24))
ENCODED = b64encode(RAW).decode()


def _parse(name: str, text: str) -> Secret | MalformedSecret:
    return DIALECTS[name].parse_secret(text)


@pytest.mark.parametrize("text", [f"whsec_{ENCODED}", f"v1,whsec_{ENCODED}", ENCODED])
@pytest.mark.parametrize("name", ["standard", "svix", "clerk", "stytch", "supabase"])
def test_the_standard_family_reads_base64_with_and_without_its_prefixes(name: str, text: str) -> None:
    """The same key, however a console or a library writes it."""
    secret = _parse(name, text)
    assert isinstance(secret, Secret)
    assert secret.key == RAW


def test_missing_padding_is_forgiven() -> None:
    """Some consoles cut the equals signs off; the key is the same."""
    secret = _parse("standard", "whsec_" + b64encode(b"0123456789").decode().rstrip("="))
    assert isinstance(secret, Secret)
    assert secret.key == b"0123456789"


@pytest.mark.parametrize("name", ["plain-hex", "better-auth", "authon", "timestamped", "github", "qstash"])
def test_other_dialects_use_the_text_itself(name: str) -> None:
    """What looks like base64 is not decoded where the sender does not decode it."""
    secret = _parse(name, f"whsec_{ENCODED}")
    assert isinstance(secret, Secret)
    assert secret.key == f"whsec_{ENCODED}".encode()


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize("text", ["", " ", "secret\n", "\tsecret"])
def test_an_empty_or_padded_text_is_no_secret(name: str, text: str) -> None:
    """A line break at the end of a file is a mistake that would otherwise show as wrong signatures only."""
    assert isinstance(_parse(name, text), MalformedSecret)


@pytest.mark.parametrize(
    "text",
    [
        "whsec_",
        "whsec_hunter2!",
        "whsec_hunter2hunter2hu!!!!",
        "whsec_hunter2-hunter2_hunter2",
        f"whsec_{ENCODED}|v1,whsec_{ENCODED}",
        "whkey_hunter2hunter2",
        f"whpk_{ENCODED}",
        f"whsk_{ENCODED}",
        "whsk_" + b64encode(bytes(64)).decode(),
    ],
)
def test_a_malformed_secret_is_explained_without_being_shown(text: str) -> None:
    """The problem says what was expected; no part of the text is in it."""
    malformed = _parse("standard", text)
    assert isinstance(malformed, MalformedSecret)
    assert "hunter2" not in malformed.problem
    assert ENCODED not in malformed.problem


def test_a_bearer_token_must_fit_into_a_header() -> None:
    """A token with a line break or a space would not arrive as it was sent."""
    assert isinstance(_parse("auth0", "abc\r\ndef"), MalformedSecret)
    assert isinstance(_parse("auth0", "abc def"), MalformedSecret)


def test_a_secret_never_shows() -> None:
    """Neither as text nor through any encoder that a log line or an API could use."""
    secret = Secret(b"hunter2")

    assert "hunter2" not in f"{secret!r} {secret!s} {secret} {[secret]}"
    for encode in (json.dumps, orjson.dumps, msgspec.json.encode):
        with pytest.raises(TypeError):
            encode(secret)


@pytest.mark.parametrize("length", [1, 32, 63, 64, 65, 200])
def test_the_prepared_digest_is_that_of_the_standard_library(length: int) -> None:
    """Whatever the key's length, also beyond one block, and however often it is asked."""
    key = bytes(range(length))
    secret = Secret(key)
    for content in (b"", b"a", bytes(1000)):
        assert secret.digest(content) == hmac.digest(key, content, "sha256")
