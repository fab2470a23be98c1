"""Idempotency keys: a request is carried out once, repeated it gets its answer, and no secret is kept in plain."""

import asyncio

import httpx
import pytest

from idsync.api import once
from idsync.api.http import Answer, Outcome, Problem, ProblemType
from idsync.api.once import KEPT_MAX, KEPT_MS, OPEN_MAX_MS, PREFIX, Caller, Once
from idsync.stores.sqlite import SqliteStore, open_store
from idsync.testing.clock import FakeClock
from tests.unit.api.conftest import KEYS, Line, problem_of

ENDPOINT = {"name": "shop", "url": "http://127.0.0.1:1/hook"}
HEADERS = {"idempotency-key": "order-66"}


async def test_a_repeated_request_gets_the_first_answer_with_the_secret_in_it(line: Line) -> None:
    """Whoever lost the answer asks again; nothing is made twice, and the store does not hold the secret."""
    async with line.client(**HEADERS) as client:
        first = await client.post("/v1/endpoints", json=ENDPOINT)
        again = await client.post("/v1/endpoints", json=ENDPOINT)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"]
    assert "idempotent-replay" not in first.headers
    assert again.headers["idempotent-replay"] == "true"
    kept = await line.app.store.settings(PREFIX)
    assert len(kept) == 1
    assert first.json()["secret"].encode() not in b"".join(kept.values())


async def test_another_request_under_the_same_key_is_refused(line: Line) -> None:
    """A mistake of the client is told, not answered with something else."""
    async with line.client(**HEADERS) as client:
        await client.post("/v1/endpoints", json=ENDPOINT)
        other = await client.post("/v1/endpoints", json=ENDPOINT | {"name": "other"})
    assert (other.status_code, problem_of(other)) == (422, "idempotency-key-reused")


async def test_keys_of_other_callers_and_operations_are_their_own(line: Line) -> None:
    """One's key is no other's."""
    async with line.client(**HEADERS) as client:
        made = await client.post("/v1/keys", json={"scopes": ["admin"]})
        await client.post("/v1/endpoints", json=ENDPOINT)
        own = {"authorization": f"Bearer {made.json()['key']}"}
        other = await client.post("/v1/keys", json={"scopes": ["admin"]}, headers=own)
    assert (made.status_code, other.status_code) == (201, 201)
    assert made.json()["key"] != other.json()["key"]


async def test_a_refused_request_may_be_mended_and_sent_again(line: Line) -> None:
    """Only what was made is kept."""
    async with line.client(**HEADERS) as client:
        refused = await client.post("/v1/endpoints", json={"name": "shop", "url": "gopher://x"})
        mended = await client.post("/v1/endpoints", json=ENDPOINT)
    assert (refused.status_code, mended.status_code) == (422, 201)


@pytest.mark.parametrize("key", ["", "a.b", "x" * 257, "a b"])
async def test_a_key_that_cannot_be_one_is_refused(line: Line, key: str) -> None:
    """As `POST /v1/events` refuses it."""
    async with line.client(**{"idempotency-key": key}) as client:
        refused = await client.post("/v1/keys", json={"scopes": ["read"]})
    assert (refused.status_code, problem_of(refused)) == (400, "bad-header")


async def test_a_published_event_is_told_to_be_known(client: httpx.AsyncClient) -> None:
    """There the key is the event's id, and the inbox remembers it."""
    event = {"type": "order.paid", "data": {}}
    first = await client.post("/v1/events", json=event, headers=HEADERS)
    again = await client.post("/v1/events", json=event, headers=HEADERS)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"] == "order-66"
    assert ("idempotent-replay" in first.headers, again.headers["idempotent-replay"]) == (False, "true")


class _Work:
    """Something that is made, and how often."""

    def __init__(self) -> None:
        self.made = 0
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def run(self) -> Outcome:
        self.made += 1
        self.begun.set()
        await self.go_on.wait()
        return Answer(201, b"%d" % self.made)


CALLER = Caller(operation="make", authorization=b"Bearer " + KEYS[next(iter(KEYS))].encode(), key=b"k", request=b"r")


@pytest.fixture
async def store() -> SqliteStore:
    """A store in memory."""
    return await open_store(":memory:")


async def test_a_request_that_is_under_way_is_not_begun_again(store: SqliteStore) -> None:
    """Two at once make one thing."""
    work, clock = _Work(), FakeClock()
    ours = Once(store, clock)
    work.go_on.clear()
    running = asyncio.create_task(ours.run(CALLER, work.run))
    await work.begun.wait()
    second = await Once(store, clock).run(CALLER, work.run)
    assert isinstance(second, Problem)
    assert second.type is ProblemType.UNDER_WAY
    work.go_on.set()
    assert (await running, work.made) == (Answer(201, b"1"), 1)
    await store.close()


async def test_a_request_whose_process_died_runs_again_after_a_minute(store: SqliteStore) -> None:
    """It left its mark open, and nobody else can close it."""
    work, clock = _Work(), FakeClock()
    work.go_on.clear()
    dying = asyncio.create_task(Once(store, clock).run(CALLER, work.run))
    await work.begun.wait()
    left = await store.settings(PREFIX)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    for name, mark in left.items():
        await store.put_setting(name, mark)
    work.go_on.set()
    early = await Once(store, clock).run(CALLER, work.run)
    assert isinstance(early, Problem)
    await clock.advance(OPEN_MAX_MS / 1000 + 1)
    assert await Once(store, clock).run(CALLER, work.run) == Answer(201, b"2")
    await store.close()


async def test_answers_are_forgotten_after_a_day(store: SqliteStore) -> None:
    """Their documents, too."""
    work, clock = _Work(), FakeClock()
    ours = Once(store, clock)
    await ours.run(CALLER, work.run)
    await clock.advance(KEPT_MS / 1000 - 1)
    assert await ours.run(CALLER, work.run) == Answer(201, b"1", headers=once.REPLAYED)
    await clock.advance(100)
    other = Caller(operation="make", authorization=CALLER.authorization, key=b"other", request=b"r")
    await ours.run(other, work.run)
    assert (work.made, len(await store.settings(PREFIX))) == (2, 1)
    await store.close()


async def test_so_many_answers_are_kept_and_no_more(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then new keys are refused until old ones end; what is kept is still given."""
    monkeypatch.setattr(once, "KEPT_MAX", 2)
    assert KEPT_MAX > 100
    work, ours = _Work(), Once(store, FakeClock())
    callers = [Caller(operation="make", authorization=b"a", key=b"k%d" % one, request=b"r") for one in range(3)]
    outcomes = [await ours.run(one, work.run) for one in callers]
    assert [isinstance(one, Answer) for one in outcomes] == [True, True, False]
    assert isinstance(await ours.run(callers[0], work.run), Answer)
    assert work.made == 2
    await store.close()
