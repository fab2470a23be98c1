"""API keys: only hashes are kept, scopes include one another, and a stranger costs nothing."""

import pytest

from idsync.api.keys import HEADERS_CACHED_MAX, SETTING, ApiKey, ApiKeys, Scope, ensure_keys, hash_key
from idsync.config import parse_settings
from idsync.stores.sqlite import SqliteStore, open_store

KEY = "0123456789abcdef"
KEYS = ApiKeys([hash_key("another-key-of-them"), hash_key(KEY, Scope.READ)])


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} "])
def test_key_is_found_however_the_scheme_is_written(header: str) -> None:
    """The scheme is case-insensitive (RFC 9110 §11.1)."""
    found = KEYS.find(header.encode())
    assert found is not None
    assert found.scope is Scope.READ


@pytest.mark.parametrize(
    "header",
    [b"", b"Bearer", b"Bearer ", KEY.encode(), b"Basic " + KEY.encode(), b"Bearer " + KEY[:-1].encode(),
     b"Bearer " + KEY.encode() + b"x", b"Bearer \xff\x00", b"Bearer " + b"k" * 60_000],
)  # fmt: skip
def test_anything_else_proves_nothing(header: bytes) -> None:
    """Near a key is not a key."""
    assert KEYS.find(header) is None


def test_scopes_include_those_before_them() -> None:
    """A key that reads may publish, and may not command."""
    header = f"Bearer {KEY}".encode()
    refusals = [KEYS.refuse(header, scope) for scope in Scope]
    assert refusals[:2] == [None, None]
    assert refusals[2] is not None
    assert refusals[2].type.status == 403


def test_missing_key_is_asked_for() -> None:
    """The answer names the scheme (RFC 9110 §15.5.2)."""
    refusal = KEYS.refuse(None, Scope.PUBLISH)
    assert refusal is not None
    assert refusal.type.status == 401
    assert dict(refusal.headers) == {b"www-authenticate": b'Bearer realm="idsync"'}


def test_remembered_headers_are_bounded() -> None:
    """Only good headers are remembered, and only so many spellings of them."""
    keys = ApiKeys([hash_key(KEY)])
    for spaces in range(HEADERS_CACHED_MAX + 50):
        assert keys.find(b"Bearer " + b" " * spaces + KEY.encode()) is not None
        assert keys.find(b"Bearer wrong" + b" " * spaces) is None
    assert len(keys._cache) == HEADERS_CACHED_MAX


@pytest.fixture
async def store() -> SqliteStore:
    """A store in memory."""
    return await open_store(":memory:")


async def test_keys_of_the_settings_are_used_and_none_is_made(store: SqliteStore) -> None:
    """What the operator wrote counts."""
    settings = parse_settings(f'[server]\napi_keys = ["{KEY}"]')
    keys, made = await ensure_keys(store, settings)
    assert made is None
    assert keys.find(f"Bearer {KEY}".encode()) is not None
    assert await store.setting(SETTING) is None
    await store.close()


async def test_key_is_made_once_and_only_its_hash_is_kept(store: SqliteStore) -> None:
    """It is told at the first start, and works after every other one."""
    settings = parse_settings("")
    _, made = await ensure_keys(store, settings)
    again, none = await ensure_keys(store, settings)
    kept = await store.setting(SETTING)
    await store.close()
    assert made is not None
    assert len(made) > 40
    assert none is None
    assert again.find(f"Bearer {made}".encode()) == ApiKey(hash_key(made).digest, Scope.ADMIN)
    assert kept is not None
    assert made.encode() not in kept
