"""API keys: only hashes are kept, scopes are a set, and a stranger costs nothing."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest

from idsync.api.keys import (
    FORMER_SETTING,
    HEADERS_CACHED_MAX,
    PREFIX,
    ApiKeys,
    LastAdmin,
    Scope,
    TooMany,
    ensure_keys,
    hash_key,
)
from idsync.config import parse_settings
from idsync.model.values import Instant
from idsync.stores.postgres import open_store as open_postgres_store
from idsync.stores.sqlite import SqliteStore, open_store
from tests.unit.api.conftest import Line, problem_of

KEY = "0123456789abcdef"
KEYS = ApiKeys([hash_key("another-key-of-them"), hash_key(KEY, Scope.READ)])


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} "])
def test_key_is_found_however_the_scheme_is_written(header: str) -> None:
    """The scheme is case-insensitive (RFC 9110 §11.1)."""
    found = KEYS.find(header.encode())
    assert found is not None
    assert found.scopes == (Scope.READ,)


@pytest.mark.parametrize(
    "header",
    [b"", b"Bearer", b"Bearer ", KEY.encode(), b"Basic " + KEY.encode(), b"Bearer " + KEY[:-1].encode(),
     b"Bearer " + KEY.encode() + b"x", b"Bearer \xff\x00", b"Bearer " + b"k" * 60_000],
)  # fmt: skip
def test_anything_else_proves_nothing(header: bytes) -> None:
    """Near a key is not a key."""
    assert KEYS.find(header) is None


@pytest.mark.parametrize(
    ("scopes", "opened"),
    [
        ((Scope.PUBLISH,), {Scope.PUBLISH}),
        ((Scope.READ,), {Scope.READ}),
        ((Scope.PUBLISH, Scope.READ), {Scope.PUBLISH, Scope.READ}),
        ((Scope.ADMIN,), {Scope.PUBLISH, Scope.READ, Scope.ADMIN}),
    ],
)
def test_scopes_are_a_set_and_admin_is_all_of_them(scopes: tuple[Scope, ...], opened: set[Scope]) -> None:
    """A key that reads may not publish, unless it was given both."""
    keys = ApiKeys([hash_key(KEY, *scopes)])
    refusals = {scope: keys.refuse(f"Bearer {KEY}".encode(), scope) for scope in Scope}
    assert {scope for scope, refusal in refusals.items() if refusal is None} == opened
    assert all(one is None or one.type.status == 403 for one in refusals.values())


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
async def store() -> AsyncIterator[SqliteStore]:
    """A store in memory."""
    store = await open_store(":memory:")
    yield store
    await store.close()


async def test_keys_of_the_settings_are_used_and_none_is_made(store: SqliteStore) -> None:
    """What the operator wrote counts, with the scopes that stand there."""
    settings = parse_settings(f'[server]\napi_keys = ["{KEY}", {{ key = "publish-{KEY}", scopes = ["publish"] }}]')
    keys, made = await ensure_keys(store, settings)
    assert made is None
    assert keys.refuse(f"Bearer {KEY}".encode(), Scope.ADMIN) is None
    assert keys.refuse(f"Bearer publish-{KEY}".encode(), Scope.PUBLISH) is None
    assert keys.refuse(f"Bearer publish-{KEY}".encode(), Scope.READ) is not None
    assert await store.settings(PREFIX) == {}


async def test_key_is_made_once_and_only_its_hash_is_kept(store: SqliteStore) -> None:
    """It is told at the first start, and works after every other one."""
    settings = parse_settings("")
    _, made = await ensure_keys(store, settings)
    again, none = await ensure_keys(store, settings)
    assert made is not None
    assert len(made) > 40
    assert none is None
    assert again.refuse(f"Bearer {made}".encode(), Scope.ADMIN) is None
    assert all(made.encode() not in kept for kept in (await store.settings(PREFIX)).values())


async def test_one_is_made_where_no_key_of_the_settings_allows_everything(store: SqliteStore) -> None:
    """Else nobody could make another one."""
    settings = parse_settings(f'[server]\napi_keys = [{{ key = "{KEY}", scopes = ["read"] }}]')
    assert (await ensure_keys(store, settings))[1] is not None


async def test_the_key_of_an_older_version_goes_on(store: SqliteStore) -> None:
    """It is found under its own name from now on, and is not made anew."""
    digest = b64encode(hash_key(KEY).digest).decode()
    await store.put_setting(FORMER_SETTING, f'{{"digest":"{digest}","scope":3}}'.encode())
    keys, made = await ensure_keys(store, parse_settings(""))
    assert made is None
    assert keys.refuse(f"Bearer {KEY}".encode(), Scope.ADMIN) is None
    assert await store.setting(FORMER_SETTING) is None
    assert [one.name for one in keys.kept] == ["first"]


async def test_a_key_that_another_process_deleted_ends_within_a_second(store: SqliteStore) -> None:
    """What is older than that is read again before it is believed, by everybody who asks meanwhile."""
    ours = ApiKeys([], _Shared(store))
    theirs = ApiKeys([], _Shared(store))
    made = await ours.add("ours", [Scope.READ], Instant(1))
    assert not isinstance(made, TooMany)
    key, text = made
    head = {b"authorization": f"Bearer {text}".encode()}
    assert await theirs.check(head, Scope.READ, 100.0) is None
    await ours.add("admin", [Scope.ADMIN], Instant(2))
    await ours.remove(key.id)
    assert await ours.check(head, Scope.READ, 100.1) is not None
    assert await theirs.check(head, Scope.READ, 100.4) is None
    refusals = await asyncio.gather(*(theirs.check(head, Scope.READ, 101.0) for _ in range(3)))
    assert all(one is not None for one in refusals)


async def test_a_key_that_another_process_made_and_deleted_on_postgresql(postgres_url: str) -> None:
    """Two processes on one database: what the one does, the other knows at its next look."""
    ours_store, theirs_store = await open_postgres_store(postgres_url), await open_postgres_store(postgres_url)
    ours, theirs = ApiKeys([hash_key(KEY)], ours_store), ApiKeys([hash_key(KEY)], theirs_store)
    made = await ours.add("ours", [Scope.READ], Instant(1))
    assert not isinstance(made, TooMany)
    key, text = made
    head = {b"authorization": f"Bearer {text}".encode()}
    assert await theirs.check(head, Scope.READ, 10.0) is None
    assert await ours.remove(key.id) == key
    assert await theirs.check(head, Scope.READ, 11.0) is not None
    await ours_store.close()
    await theirs_store.close()


async def test_the_last_key_that_allows_everything_stays(store: SqliteStore) -> None:
    """Also where two operators delete the last two at the same time, each from his own process."""
    ours, theirs = ApiKeys([], _Shared(store)), ApiKeys([], _Shared(store))
    first = await ours.add("first", [Scope.ADMIN], Instant(1))
    assert not isinstance(first, TooMany)
    assert isinstance(await ours.remove(first[0].id), LastAdmin)
    second = await theirs.add("second", [Scope.ADMIN], Instant(2))
    assert not isinstance(second, TooMany)
    await asyncio.gather(ours.remove(first[0].id), theirs.remove(second[0].id))
    assert await store.settings(PREFIX)


async def test_the_last_kept_key_may_go_where_the_settings_have_one(store: SqliteStore) -> None:
    """They allow everything, too."""
    keys = ApiKeys([hash_key(KEY)], store)
    made = await keys.add("kept", [Scope.ADMIN], Instant(1))
    assert not isinstance(made, TooMany)
    assert await keys.remove(made[0].id) == made[0]
    assert await keys.remove(made[0].id) is None


class _Shared:
    """A store as one of several processes has it."""

    has_one_writer = False

    def __init__(self, store: SqliteStore) -> None:
        self.settings = store.settings
        self.put_setting = store.put_setting


async def test_keys_are_made_listed_used_and_deleted_over_http(line: Line) -> None:
    """The text is in one answer only; a deleted key ends at once."""
    async with line.client() as client:
        made = await client.post("/v1/keys", json={"name": "ci", "scopes": ["publish", "publish"]})
        assert made.status_code == 201
        assert made.headers["location"] == f"/v1/keys/{made.json()['id']}"
        assert made.json()["scopes"] == ["publish"]
        listed = await client.get("/v1/keys")
        assert made.json()["key"] not in listed.text
        assert [one["name"] for one in listed.json()["items"]] == ["ci"]
        own = {"authorization": f"Bearer {made.json()['key']}"}
        event = {"type": "order.paid", "data": {}}
        assert (await client.post("/v1/events", json=event, headers=own)).status_code == 202
        assert (await client.get("/v1/stats", headers=own)).status_code == 403
        gone = await client.delete(f"/v1/keys/{made.json()['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await client.post("/v1/events", json=event, headers=own)).status_code == 401
        again = await client.delete(f"/v1/keys/{made.json()['id']}")
        assert (again.status_code, problem_of(again)) == (404, "not-found")


@pytest.mark.parametrize("body", [{}, {"scopes": []}, {"scopes": ["root"]}, {"scopes": ["read"], "id": "x"}])
async def test_a_key_without_a_scope_that_exists_is_not_made(line: Line, body: dict[str, object]) -> None:
    """Nothing is guessed."""
    async with line.client() as client:
        refused = await client.post("/v1/keys", json=body)
        assert (refused.status_code, problem_of(refused)) == (422, "invalid-body")
        assert (await client.get("/v1/keys")).json()["items"] == []
