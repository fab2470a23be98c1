"""Secrets at rest: encrypted under the first key, opened by all, and bound to their names."""

import base64

import pytest

from idsync.app import App
from idsync.app.endpoints import Created
from idsync.app.endpoints.vault import Vault, open_vault
from idsync.config import parse_settings
from idsync.errors import ConfigError, StoreError
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Secret
from tests.unit.app.conftest import Running, definition

OLD, NEW = b"o" * 32, b"n" * 32
NAME = "endpoint:audit"


def test_what_is_sealed_is_opened_by_every_key_that_is_given() -> None:
    """The first seals; the others only open, until all is sealed anew."""
    stored = Vault([OLD]).seal(NAME, b"{}")
    rotating = Vault([NEW, OLD])
    assert rotating.open(NAME, stored) == b"{}"
    assert not rotating.is_current(stored)
    assert rotating.is_current(rotating.seal(NAME, b"{}"))
    assert Vault([OLD]).seal(NAME, b"{}") != stored


def test_what_was_kept_in_the_clear_is_read_and_is_not_current() -> None:
    """Whoever gives a key later finds all that there was, and has it sealed."""
    assert Vault([OLD]).open(NAME, b"{}") == b"{}"
    assert not Vault([OLD]).is_current(b"{}")
    assert Vault([]).is_current(Vault([]).seal(NAME, b"{}"))


@pytest.mark.parametrize("keys", [[], [NEW]])
def test_wrong_key_is_named_by_its_setting_and_shows_nothing(keys: list[bytes]) -> None:
    """The operator must know what to do, and a log must not know more."""
    stored = Vault([OLD]).seal(NAME, b'{"secret":"whsec_"}')
    with pytest.raises(ConfigError, match=r"^server\.secret_key: .*endpoint:audit") as raised:
        Vault(keys).open(NAME, stored)
    assert "whsec_" not in str(raised.value)


def test_what_was_moved_or_changed_is_refused() -> None:
    """A document of another endpoint is no document of this one."""
    stored = Vault([OLD]).seal(NAME, b"{}")
    for name, body in (("endpoint:other", stored), (NAME, stored[:-1] + bytes([stored[-1] ^ 1]))):
        with pytest.raises(StoreError, match="changed outside"):
            Vault([OLD]).open(name, body)


@pytest.mark.parametrize("text", [base64.b64encode(OLD), base64.urlsafe_b64encode(OLD).rstrip(b"=")])
def test_key_is_read_in_either_alphabet(text: bytes) -> None:
    """As any tool prints 32 bytes."""
    settings = parse_settings(f'[server]\nsecret_key = "{text.decode()}"')
    assert open_vault(settings).open(NAME, Vault([OLD]).seal(NAME, b"{}")) == b"{}"


def keyed(*keys: bytes) -> str:
    """What the configuration says of keys."""
    texts = ", ".join(f'"{base64.b64encode(key).decode()}"' for key in keys)
    return f"secret_key = [{texts}]"


async def test_store_shows_no_secret_and_follows_the_keys(running: Running, store_url: str) -> None:
    """Kept in the clear with a note, then sealed, then sealed anew: the same endpoint signs with the same secret."""
    async with running(store_url) as app:
        made = await app.endpoints.create("audit", definition("http://127.0.0.1:9/", headers={"x-token": "hidden"}))
        assert isinstance(made, Created)
        secret = str(made.secret_text)
        assert secret.encode() in await document(app)
    async with running(store_url) as app:
        assert any(note.startswith("server.secret_key is not set") for note in app.settings.notes)
    for keys in ((OLD,), (NEW, OLD), (NEW,)):
        async with running(store_url, server=keyed(*keys)) as app:
            assert app.settings.notes == ()
            kept = await document(app)
            assert secret.encode() not in kept
            assert b"hidden" not in kept
            wired, dialect = app.endpoints.wired("audit"), DIALECTS["standard"]
            expected = dialect.parse_secret(secret)
            assert wired is not None
            assert isinstance(expected, Secret)
            assert [one.key for one in wired.secrets] == [expected.key]
    for line in (keyed(OLD), ""):
        with pytest.raises(ConfigError, match=r"^server\.secret_key: "):
            async with running(store_url, server=line):
                pass


async def document(app: App) -> bytes:
    """What the store keeps of the endpoint."""
    return await app.store.setting(NAME) or b""
