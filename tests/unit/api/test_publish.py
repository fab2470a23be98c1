"""`POST /v1/events`: what is taken, under which id, and in which words it is refused."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence

import httpx
import msgspec
import pytest

from idsync.errors import DataRefused, StoreBusy, StoreError
from idsync.model.event import Arrival, Receipt
from tests.unit.api.conftest import Line, OpenLine, problem_of


async def test_event_of_no_peer_is_passed_on_and_answered_with_its_receipt(client: httpx.AsyncClient) -> None:
    """Its id and its verdict come back once it is durable."""
    answer = await client.post("/v1/events", json={"id": "evt_1", "type": "order.paid", "data": {"total": 3}})
    assert answer.status_code == 202
    assert answer.json() == {"id": "evt_1", "verdict": "applied"}


async def test_event_of_a_peer_is_merged_into_an_entity(line: Line) -> None:
    """A source that names a peer makes it that peer's word about one of its people."""
    receipt = (await line.person(1, name="Ada")).json()
    entity = await line.app.store.get(receipt["entity"])
    assert receipt["verdict"] == "applied"
    assert entity is not None
    assert entity.value_of("name") == "Ada"
    assert entity.links["crm"].external_id == "u1"  # type: ignore[index]  # names in tests are plain text


async def test_custom_type_of_a_peer_is_passed_on_as_it_came(client: httpx.AsyncClient) -> None:
    """Only types that speak of an identity are merged."""
    answer = await client.post("/v1/events", json={"type": "order.paid", "source": "crm"})
    assert (answer.status_code, answer.json()["verdict"]) == (202, "applied")
    assert "entity" not in answer.json()


async def test_repeated_id_is_a_duplicate_and_says_so_with_200(client: httpx.AsyncClient) -> None:
    """Publishing is safe to repeat."""
    first = await client.post("/v1/events", json={"id": "evt_1", "type": "order.paid"})
    second = await client.post("/v1/events", json={"id": "evt_1", "type": "order.paid"})
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json() == {"id": "evt_1", "verdict": "duplicate"}


async def test_another_key_repeats_no_event(line: Line) -> None:
    """Keys are exchanged now and then; ids stay known."""
    async with line.client() as client:
        await client.post("/v1/events", json={"id": "evt_1", "type": "order.paid"})
    async with line.client(authorization="Bearer a-key-that-may-only-publish-0") as client:
        again = await client.post("/v1/events", json={"id": "evt_1", "type": "order.paid"})
    assert again.status_code == 200


async def test_idempotency_key_becomes_the_id_of_an_event_without_one(client: httpx.AsyncClient) -> None:
    """So a client without ids of its own may repeat, too."""
    for expected in (202, 200):
        answer = await client.post("/v1/events", json={"type": "order.paid"}, headers={"idempotency-key": "k-1"})
        assert (answer.status_code, answer.json()["id"]) == (expected, "k-1")


async def test_idempotency_key_leaves_an_id_alone(client: httpx.AsyncClient) -> None:
    """An event that has an id is known by it."""
    headers = {"idempotency-key": "k-1"}
    answer = await client.post("/v1/events", json={"id": "evt_1", "type": "order.paid"}, headers=headers)
    assert answer.json()["id"] == "evt_1"


@pytest.mark.parametrize("key", [b"a.b", b"", b"k" * 257, b"\xc3\xa9", b"a b"])
async def test_unusable_idempotency_key_is_refused(client: httpx.AsyncClient, key: bytes) -> None:
    """What no webhook could carry as an id is refused before anything is stored."""
    answer = await client.post("/v1/events", json={"type": "order.paid"}, headers={b"idempotency-key": key})
    assert (answer.status_code, problem_of(answer)) == (400, "bad-header")


async def test_idempotency_key_for_a_list_is_refused(client: httpx.AsyncClient) -> None:
    """One id cannot be that of two events."""
    events = [{"type": "order.paid"}, {"type": "order.sent"}]
    answer = await client.post("/v1/events", json=events, headers={"idempotency-key": "k-1"})
    assert (answer.status_code, problem_of(answer)) == (400, "bad-header")


async def test_list_is_answered_in_its_order(client: httpx.AsyncClient) -> None:
    """Each receipt stands where its event stood; some known ones do not make it 200."""
    await client.post("/v1/events", json={"id": "b", "type": "order.paid"})
    answer = await client.post("/v1/events", json=[{"id": one, "type": "order.paid"} for one in "cba"])
    assert answer.status_code == 202
    receipts = msgspec.json.decode(answer.content, type=list[Receipt])
    assert [(one.id, one.verdict.value) for one in receipts] == [("c", "applied"), ("b", "duplicate"), ("a", "applied")]


async def test_list_of_one_is_answered_with_a_list(client: httpx.AsyncClient) -> None:
    """What is sent as a list comes back as one, whatever its length."""
    answer = await client.post("/v1/events", json=[{"id": "a", "type": "order.paid"}])
    assert answer.json() == [{"id": "a", "verdict": "applied"}]


async def test_list_of_known_events_is_answered_with_200(client: httpx.AsyncClient) -> None:
    """Nothing of it was new."""
    events = [{"id": one, "type": "order.paid"} for one in "ab"]
    statuses = [(await client.post("/v1/events", json=events)).status_code for _ in range(2)]
    assert statuses == [202, 200]


async def test_list_with_one_bad_event_is_refused_whole_and_says_which(client: httpx.AsyncClient) -> None:
    """A list is taken or refused, so that nobody must work out what of it to send again."""
    answer = await client.post("/v1/events", json=[{"id": "a", "type": "order.paid"}, {"id": "b"}])
    assert (answer.status_code, problem_of(answer)) == (422, "invalid-body")
    assert answer.json()["detail"].startswith("Event 1 of the list")
    assert (await client.get("/v1/inbox")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"", 400, "malformed-json"),
        (b"{", 400, "malformed-json"),
        (b"\xff\xfe", 400, "malformed-json"),
        (b'{"type": "order.paid", "data": {"name": "\xc3\x28"}}', 400, "malformed-json"),
        (b'{"type": "order.paid"} {}', 400, "malformed-json"),
        (b"[", 400, "malformed-json"),
        (b"[]", 422, "invalid-body"),
        (b"null", 422, "invalid-body"),
        (b"{}", 422, "invalid-body"),
        (b'{"type": 1}', 422, "invalid-body"),
        (b'{"id": "a b", "type": "order.paid"}', 422, "invalid-body"),
        (b'{"id": "a.b", "type": "order.paid"}', 422, "invalid-body"),
        (b'{"type": "order.paid", "type": "order.sent"}', 422, "invalid-body"),
        (b'{"type": "user.updated", "source": "crm", "data": 1}', 422, "invalid-body"),
        (b'{"type": "user.updated", "source": "crm", "data": {"email": "a@example.com"}}', 422, "invalid-body"),
        (b'{"type": "order.paid", "data": ' + b"[" * 100 + b"]" * 100 + b"}", 422, "invalid-body"),
        (b"[" * 100_000, 422, "invalid-body"),
        (b'{"type": "order.paid", "data": "' + b"x" * 300_000 + b'"}', 422, "invalid-body"),
        (b"[" + b'{"type":"order.paid"},' * 1_000 + b'{"type":"order.paid"}]', 422, "invalid-body"),
    ],
)
async def test_body_that_is_no_event_is_refused(client: httpx.AsyncClient, body: bytes, status: int, slug: str) -> None:
    """The status tells whether it was no JSON, or JSON and no event."""
    answer = await client.post("/v1/events", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, problem_of(answer)) == (status, slug)


async def test_refusal_repeats_nothing_that_was_sent(client: httpx.AsyncClient) -> None:
    """What somebody sends by mistake must not come back in logs of whoever sent it."""
    answer = await client.post("/v1/events", json={"type": ["s3cret"], "s3cret": "s3cret", "data": {"s3cret": 1}})
    assert answer.status_code == 422
    assert "s3cret" not in answer.text


async def test_body_beyond_the_limit_is_refused(open_line: OpenLine) -> None:
    """The limit of the settings counts, whether the size was announced or not."""
    line = await open_line(limits__body_bytes_max=2_000, limits__event_bytes_max=1_500)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100

    async with line.client(**{"content-type": "application/json"}) as client:
        told = await client.post("/v1/events", content=b" " * 2_001)
        untold = await client.post("/v1/events", content=pieces())
    assert (told.status_code, problem_of(told), told.headers["connection"]) == (413, "too-large", "close")
    assert (untold.status_code, problem_of(untold)) == (413, "too-large")


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp", "json", "a" * 5_000]
)
async def test_other_media_type_is_refused(client: httpx.AsyncClient, media: str) -> None:
    """A form that some page made a browser send is no event."""
    answer = await client.post("/v1/events", content=b"{}", headers={"content-type": media})
    assert (answer.status_code, problem_of(answer)) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "media", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/cloudevents+json"]
)
async def test_every_json_type_is_taken(client: httpx.AsyncClient, media: str) -> None:
    """Parameters and structured suffixes change nothing (RFC 6839)."""
    answer = await client.post("/v1/events", content=b'{"type": "order.paid"}', headers={"content-type": media})
    assert answer.status_code == 202


async def test_packed_body_is_refused(client: httpx.AsyncClient) -> None:
    """Nothing is unpacked, so nothing can burst."""
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await client.post("/v1/events", content=b"x", headers=headers)
    assert (answer.status_code, problem_of(answer)) == (415, "unsupported-media-type")


async def test_query_is_refused(client: httpx.AsyncClient) -> None:
    """There are no parameters, so whoever sends one expects something that does not happen."""
    answer = await client.post("/v1/events?dry_run=1", json={"type": "order.paid"})
    assert (answer.status_code, problem_of(answer)) == (400, "bad-parameter")


@pytest.mark.parametrize(
    ("fault", "status", "slug"),
    [
        (StoreBusy("full"), 429, "busy"),
        (StoreError("the disk /secret/place is full"), 503, "unavailable"),
        (DataRefused("bad"), 422, "invalid-body"),
    ],
)
async def test_failing_store_is_a_clear_refusal(
    line: Line, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int, slug: str
) -> None:
    """The client learns when to come again, and nothing of our inside."""

    async def submit(_: Sequence[Arrival]) -> list[Receipt]:
        raise fault

    monkeypatch.setattr(line.app, "submit", submit)
    answer = await line.publish(type="order.paid")
    assert (answer.status_code, problem_of(answer)) == (status, slug)
    assert ("retry-after" in answer.headers) is (status != 422)
    assert "secret" not in answer.text


async def test_commit_that_never_comes_is_answered_in_time(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told that it is not known, and to send the same id again."""
    line = await open_line(server__request_timeout_s=0.05)

    async def submit(_: Sequence[Arrival]) -> list[Receipt]:
        await asyncio.get_running_loop().create_future()
        return []

    monkeypatch.setattr(line.app, "submit", submit)
    answer = await line.publish(type="order.paid")
    assert (answer.status_code, problem_of(answer)) == (503, "unavailable")
    assert "same id" in answer.json()["detail"]


async def test_cancelled_request_stays_cancelled(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops is not mistaken for a request that is late."""
    began = asyncio.Event()

    async def submit(_: Sequence[Arrival]) -> list[Receipt]:
        began.set()
        await asyncio.get_running_loop().create_future()
        return []

    monkeypatch.setattr(line.app, "submit", submit)
    request = asyncio.create_task(line.publish(type="order.paid"))
    await began.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def test_fault_of_ours_is_confessed_without_its_trace(
    line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has the place under the instance that the client was told; neither holds a value."""

    async def submit(_: Sequence[Arrival]) -> list[Receipt]:
        raise KeyError("a@example.com")

    monkeypatch.setattr(line.app, "submit", submit)
    monkeypatch.setattr(line.app.log, "_out", sys.stderr)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=line.asgi, raise_app_exceptions=False),
        base_url="http://test",
        headers={"authorization": "Bearer a-key-that-may-only-publish-0"},
    ) as client:
        answer = await client.post("/v1/events", json={"type": "order.paid"})
    log = capsys.readouterr().err
    assert (answer.status_code, problem_of(answer)) == (500, "fault")
    assert answer.json()["instance"].removeprefix("urn:uuid:") in log
    assert "KeyError" in log
    assert "submit:" in log
    assert "example.com" not in answer.text + log


async def test_nobody_speaks_for_idsync(line: Line) -> None:
    """What it says of itself bears its name, and receivers may trust that."""
    answer = await line.publish(type="endpoint.disabled", source="idsync")
    assert (answer.status_code, problem_of(answer)) == (422, "invalid-body")
    assert not await line.app.store.recent(0, 1)


async def test_trace_of_the_request_goes_along(line: Line) -> None:
    """A good `traceparent` is kept with the event; a bad one is dropped without a word."""
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for trace in (good, "00-zz-01"):
        async with line.client(traceparent=trace) as client:
            await client.post("/v1/events", json={"type": "order.paid"})
    rows = await line.app.store.recent(0, 10)
    assert [one.row.trace for one in rows] == [good, None]
