"""The hot doors on a real socket: served without a task, and yet as every other request is."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from idsync.api.events import Publisher
from idsync.api.http import Reader
from idsync.api.keys import Scope
from idsync.api.listener import Listener
from idsync.errors import DataRefused, StoreBusy, StoreError
from idsync.model.event import Arrival, Receipt, Verdict
from idsync.pipeline.ingest import Asker
from idsync.testing.wait import until
from tests.unit.api.conftest import KEY, KEYS, Line, OpenLine, listen

EVENT = b'{"id":"e1","type":"order.paid"}'
RECEIPTS = [Receipt("e1", Verdict.APPLIED)]


def request(body: bytes = EVENT, *fields: str, path: str = "/v1/events", key: str = KEY) -> bytes:
    """Write a request as a client that keeps its connection does."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


class Client:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: its status, its headers by lower-cased name, and its body."""
        async with asyncio.timeout(10):
            status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return int(status.split()[1]), head, await self._reader.readexactly(int(head["content-length"]))

    async def post(self, *args: str, body: bytes = EVENT, path: str = "/v1/events", key: str = KEY) -> int:
        """Send a request and give the status of its answer."""
        self.writer.write(request(body, *args, path=path, key=key))
        return (await self.answer())[0]

    async def is_closed(self) -> bool:
        """Whether the server has closed, and nothing more came."""
        async with asyncio.timeout(10):
            return await self._reader.read(1) == b""


class Held:
    """Stands in for ingest: takes what is handed in, and answers when the test does."""

    def __init__(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        self.askers: list[Asker] = []
        self.fault: type[StoreError] | None = None
        monkeypatch.setattr(line.app, "submit_for", self._take)

    def _take(self, asker: Asker, arrivals: Sequence[Arrival]) -> None:
        assert arrivals
        if self.fault is not None:
            raise self.fault("why")
        self.askers.append(asker)

    async def next(self) -> Asker:
        """Wait for what is handed in next."""
        await until(lambda: self.askers)
        return self.askers.pop(0)


async def open_client(listener: Listener) -> Client:
    """Open a connection."""
    return Client(*await asyncio.open_connection(*listener.address))


@pytest.fixture
async def listener(line: Line) -> AsyncIterator[Listener]:
    """The line behind a real socket."""
    async with listen(line) as listener:
        yield listener


@pytest.fixture
async def client(listener: Listener) -> AsyncIterator[Client]:
    """A connection to it."""
    client = await open_client(listener)
    yield client
    client.writer.close()


@pytest.fixture
def held(line: Line, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Hold back what the doors hand in; what passes them by is committed as ever."""
    return Held(line, monkeypatch)


async def test_answer_is_that_of_the_other_way(client: Client, held: Held) -> None:
    """Only a body in two pieces tells them apart; the time may be another."""
    client.writer.write(request())
    (await held.next()).set_result(RECEIPTS)
    hot = await client.answer()
    whole = request()
    client.writer.write(whole[:-5])
    await asyncio.sleep(0.02)
    client.writer.write(whole[-5:])
    other = await client.answer()
    assert hot[0] == other[0] == 202
    assert hot[1] | {"date": ""} == other[1] | {"date": ""}
    assert hot[2] == other[2]


async def test_one_connection_is_refused_and_served_in_turn(line: Line, client: Client) -> None:
    """Each request is judged by itself, whatever came before it on the connection."""
    assert await client.post() == 202
    assert await client.post(key=KEYS[Scope.READ]) == 403
    assert await client.post(key="wrong") == 401
    assert await client.post("Content-Type: text/plain") == 415
    assert await client.post(body=b"{") == 400
    assert await client.post(body=b"{}") == 422
    assert await client.post(path="/v1/events?a=1") == 400
    assert await client.post(path="/receive/nobody") == 404
    assert await client.post(path="/receive/crm") == 401
    assert await client.post("Authorization: Bearer twice") == 400
    assert await client.post() == 200
    assert len(await line.app.store.recent(0, 10)) == 1


async def test_key_that_was_deleted_ends_on_an_open_connection(line: Line, client: Client) -> None:
    """Nothing of an earlier request speaks for a later one."""
    made = await line.keys.add("short", [Scope.ADMIN], line.app.clock.now())
    assert isinstance(made, tuple)
    key, text = made
    assert await client.post(key=text) == 202
    await line.keys.remove(key.id)
    assert await client.post(key=text) == 401


async def test_keys_that_may_be_old_are_read_first(line: Line, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes time, so it is done where a request may wait."""
    monkeypatch.setattr(line.keys, "_is_shared", True)
    assert await client.post() == 202
    assert not line.keys.is_stale(line.app.clock.monotonic())
    assert await client.post() == 200


async def test_repeated_key_of_one_event_is_told(client: Client) -> None:
    """As on every other way."""
    for status, replayed in ((202, None), (200, "true")):
        client.writer.write(request(b'{"type":"order.paid"}', "Idempotency-Key: k1"))
        answer = await client.answer()
        assert (answer[0], answer[1].get("idempotent-replay")) == (status, replayed)


async def test_requests_in_a_row_wait_for_their_turn(client: Client, held: Held) -> None:
    """What comes while one is under way is neither lost nor answered before it."""
    first, second = (b'{"id":"%b","type":"order.paid"}' % name for name in (b"a", b"b"))
    client.writer.write(request(first))
    asker = await held.next()
    rest = request(second)
    for piece in (rest[:10], rest[10:]):
        client.writer.write(piece)
        await asyncio.sleep(0.02)
    assert not held.askers
    asker.set_result([Receipt("a", Verdict.APPLIED)])
    assert [json.loads((await client.answer())[2])["id"] for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize(("fault", "status"), [(StoreBusy, 429), (StoreError, 503), (DataRefused, 422)])
async def test_failing_store_is_a_clear_refusal(
    client: Client, held: Held, fault: type[StoreError], status: int
) -> None:
    """Before it took a request as well as after."""
    client.writer.write(request())
    (await held.next()).set_exception(fault("why"))
    assert (await client.answer())[0] == status
    held.fault = fault
    assert await client.post() == status


async def test_commit_that_is_late_is_answered_once(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told in time; what comes after that is told nobody."""
    line = await open_line(server__request_timeout_s=0.05)
    held = Held(line, monkeypatch)
    async with listen(line) as listener:
        client = await open_client(listener)
        client.writer.write(request())
        asker = await held.next()
        status, head, body = await client.answer()
        assert (status, head["retry-after"]) == (503, "1")
        assert b"same id" in body
        assert asker.done()
        client.writer.write(request())
        (await held.next()).set_result(RECEIPTS)
        assert (await client.answer())[0] == 202
        client.writer.close()


async def test_fault_of_ours_is_confessed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the other way, which ends with the connection."""

    def fail(*_: object) -> list[Arrival]:
        raise KeyError("a@example.com")

    monkeypatch.setattr(Publisher, "_understand", fail)
    client.writer.write(request())
    status, _, body = await client.answer()
    assert (status, b"example" in body) == (500, False)
    assert await client.is_closed()


async def test_stop_lets_what_is_under_way_be_answered(line: Line, held: Held) -> None:
    """It is the connection's last answer, and says so."""
    async with listen(line) as listener:
        client = await open_client(listener)
        client.writer.write(request())
        asker = await held.next()
        connections = listener._server.server_state.connections
        listener.stop()
        await until(lambda: not listener._server.servers[0].is_serving())
        asker.set_result(RECEIPTS)
        status, head, _ = await client.answer()
        assert (status, head["connection"]) == (202, "close")
        assert await client.is_closed()
        await until(lambda: not connections)
        client.writer.close()


async def test_client_that_went_away_stops_nothing(listener: Listener, held: Held) -> None:
    """Its receipts are told nobody."""
    client = await open_client(listener)
    connections = listener._server.server_state.connections
    client.writer.write(request())
    asker = await held.next()
    client.writer.transport.abort()
    await until(lambda: not connections)
    asker.set_result(RECEIPTS)
    assert asker.done()


def change(text: bytes, chance: random.Random) -> bytes:
    """Change a byte or two: put one in, take one away, or replace one."""
    changed = bytearray(text)
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(len(changed))
        changed[place : place + chance.randint(0, 1)] = chance.choice((b"", b"0", b"1", b"\r\n", b" ", b"a", b"\xff"))
    return bytes(changed)


@pytest.mark.parametrize("name", ["Content-Length: ", "content-length:"])
def test_known_head_is_read_as_if_it_were_parsed(name: str) -> None:
    """What a connection sent before changes nothing of what a request is."""
    chance = random.Random(name)
    whole = request().replace(b"Content-Length: ", name.encode())
    head = whole[: whole.index(b"\r\n\r\n") + 4]
    size = name.encode() + b"%d"
    cases = [
        whole + b"\r\n", whole + whole, whole[:-1], head,
        *(whole.replace(size % len(EVENT), size % long) + b"x" * (long - len(EVENT)) for long in (31, 99, 100, 12_345)),
        *(whole.replace(name.encode(), name.encode() + zeros) for zeros in (b"0", b"0" * 20, b"+", b"-", b" ")),
        *(change(whole, chance) for _ in range(3_000)),
        *(change(head, chance) + EVENT for _ in range(3_000)),
    ]  # fmt: skip
    told = 0
    for case in cases:
        reader = Reader()
        assert reader.read(whole) is not None
        found = reader.read(case)
        assert found == Reader().read(case), case
        told += found is not None
    assert 100 < told < len(cases) - 100


async def test_client_that_does_not_read_is_waited_for(listener: Listener, client: Client) -> None:
    """Its answers do not gather here: the next one is written where that can be waited for."""
    assert await client.post() == 202
    (inner,) = listener._server.server_state.connections
    assert isinstance(inner, HttpToolsProtocol)
    assert inner.cycle is None
    inner.pause_writing()
    client.writer.write(request())
    await until(lambda: inner.cycle is not None)
    inner.resume_writing()
    assert (await client.answer())[0] == 200
