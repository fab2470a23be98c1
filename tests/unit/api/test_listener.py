"""The listener on a real socket: what is slow, too large, without end or without sense costs its sender, not us."""

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from idsync.api.asgi import Ticket
from idsync.api.http import Asgi, Message, Receive, Request, Send
from idsync.api.listener import HEAD_BYTES_MAX, LINGER_S, PIPELINE_MAX, Listener, open_listener
from idsync.config import ServerSettings
from idsync.errors import ConfigError
from idsync.testing.wait import until
from tests.unit.api.conftest import KEY, Line, OpenLine, listen

HEAD = (
    b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer %b\r\n"
    % KEY.encode()
)
EVENT = b'{"type":"order.paid"}'
QUICK_S = 0.2
"""The time that a request gets in these tests."""


@pytest.fixture
async def served(open_line: OpenLine) -> AsyncIterator[tuple[Line, Listener]]:
    """A line behind a real socket, with little patience."""
    line = await open_line(server__request_timeout_s=QUICK_S, server__connections_max=8)
    async with listen(line) as listener:
        yield line, listener


async def talk(listener: Listener, *pieces: bytes) -> bytes:
    """Send pieces one by one and read until the server closes."""
    reader, writer = await asyncio.open_connection(*listener.address)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            return await reader.read(-1)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    """Give the statuses of the answers in what was read."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def slugs(answer: bytes) -> list[str]:
    """Give the problems in what was read."""
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]
    return [json.loads(body)["type"].rpartition(":")[2] for body in bodies if body.startswith(b'{"type"')]


async def test_event_is_published_over_the_socket(served: tuple[Line, Listener]) -> None:
    """Nothing about the server or its time is told but the date."""
    _, listener = served
    async with httpx.AsyncClient(base_url=listener.url, headers={"authorization": f"Bearer {KEY}"}) as client:
        answer = await client.post("/v1/events", json={"id": "e1", "type": "order.paid"})
    assert (answer.status_code, answer.json()) == (202, {"id": "e1", "verdict": "applied"})
    assert "server" not in answer.headers


async def test_nothing_of_an_answered_request_is_kept(served: tuple[Line, Listener]) -> None:
    """A circle would hold each body until the collector comes, which is rarely, and here never."""
    _, listener = served
    gc.collect()
    gc.disable()

    def is_nothing_kept() -> bool:
        return not any(isinstance(one, Request | Ticket) for one in gc.get_objects())

    try:
        async with httpx.AsyncClient(base_url=listener.url, headers={"authorization": f"Bearer {KEY}"}) as client:
            for number in range(5):
                answer = await client.post("/v1/events", json={"id": f"e{number}", "type": "order.paid"})
                assert answer.status_code == 202
            await until(is_nothing_kept, within_s=5)
    finally:
        gc.enable()


async def test_answer_is_not_held_back_until_its_head_is_acknowledged(served: tuple[Line, Listener]) -> None:
    """Else each answer that is written in two pieces takes 40 ms longer."""
    _, listener = served
    _, writer = await asyncio.open_connection(*listener.address)
    try:
        await until(lambda: listener._server.server_state.connections)
        (inner,) = listener._server.server_state.connections
        connection = inner.transport.get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    finally:
        writer.close()


async def test_large_body_that_comes_at_once_stops_nothing(served: tuple[Line, Listener]) -> None:
    """Reading is paused beyond 64 KiB, and goes on for the next request of the connection."""
    _, listener = served
    async with httpx.AsyncClient(base_url=listener.url, headers={"authorization": f"Bearer {KEY}"}) as client:
        for size in (100_000, 200_000, 10):
            answer = await client.post("/v1/events", json={"type": "order.paid", "data": {"text": "x" * size}})
            assert answer.status_code == 202


async def test_body_in_two_pieces_is_taken_on_a_kept_connection(served: tuple[Line, Listener]) -> None:
    """What did not come at once is served another way, and what follows it the first way again."""
    _, listener = served
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(EVENT) + EVENT
    last = HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(EVENT) + EVENT
    reader, writer = await asyncio.open_connection(*listener.address)
    for pieces in ((whole,), (whole[:-5], whole[-5:]), (whole,), (last,)):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.02)
        if pieces != (last,):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 202 ")
    assert statuses(await reader.read(-1)) == [202]
    writer.close()


async def test_body_that_trickles_is_answered_in_time(served: tuple[Line, Listener]) -> None:
    """The rest of it is not waited for."""
    _, listener = served
    answer = await talk(listener, HEAD + b"content-length: 100\r\n\r\n", b'{"type"')
    assert (statuses(answer), slugs(answer)) == ([408], ["too-slow"])
    assert b"connection: close" in answer


async def test_command_that_trickles_is_answered_in_time(served: tuple[Line, Listener]) -> None:
    """Every body is under the same clock."""
    _, listener = served
    head = HEAD.replace(b"/v1/events", b"/v1/waiting/requeue")
    answer = await talk(listener, head + b"content-length: 100\r\n\r\n", b"{")
    assert (statuses(answer), slugs(answer)) == ([408], ["too-slow"])


async def test_head_that_trickles_is_answered_in_time(served: tuple[Line, Listener]) -> None:
    """No connection is held open by one header after the other."""
    _, listener = served
    answer = await talk(listener, b"GET / HTTP/1.1\r\nhost: x\r\n", b"x-a: 1\r\n")
    assert (statuses(answer), slugs(answer)) == ([408], ["too-slow"])


async def test_connection_that_says_nothing_is_closed(served: tuple[Line, Listener]) -> None:
    """There is nothing to answer."""
    _, listener = served
    assert await talk(listener) == b""


async def test_rest_of_a_refused_body_is_not_waited_for(served: tuple[Line, Listener]) -> None:
    """Whoever has no key can hold no connection by a body that never ends."""
    _, listener = served
    head = HEAD.replace(KEY.encode(), b"wrong") + b"content-length: 1000\r\n\r\n"
    answer = await talk(listener, head, *[b"x"] * 5)
    assert statuses(answer) == [401]


async def test_idle_connection_may_wait_between_two_requests(served: tuple[Line, Listener]) -> None:
    """The short clock is for half requests only."""
    _, listener = served
    async with httpx.AsyncClient(base_url=listener.url) as client:
        connections = set()
        for _ in range(2):
            answer = await client.get("/readyz")
            connections.add(id(answer.extensions["network_stream"]))
            await asyncio.sleep(QUICK_S * 2.5)  # longer than any half request may take
    assert len(connections) == 1


async def test_head_without_end_is_refused(served: tuple[Line, Listener]) -> None:
    """One endless header, or ever more of them."""
    _, listener = served
    endless = [b"GET / HTTP/1.1\r\nx: ", *[b"y" * 100_000] * 20]
    many = [b"GET / HTTP/1.1\r\n", *[b"x: y\r\n" * 20_000] * 10]
    for pieces in (endless, many):
        answer = await talk(listener, *pieces)
        assert (statuses(answer), slugs(answer)) == ([431], ["head-too-large"])


async def test_refused_client_is_cut_if_it_goes_on(served: tuple[Line, Listener]) -> None:
    """It gets a moment to read the answer, and no more."""
    _, listener = served
    _, writer = await asyncio.open_connection(*listener.address)
    writer.write(b"GET / HTTP/1.1\r\nx: ")

    async def is_cut() -> bool:
        writer.write(b"y" * (HEAD_BYTES_MAX + 1))
        try:
            await writer.drain()
        except ConnectionError:
            return True
        return False

    await until(is_cut, within_s=LINGER_S + 10)
    writer.close()


async def test_address_that_is_too_long_is_refused(served: tuple[Line, Listener]) -> None:
    """One that fits into one piece gets its own words."""
    _, listener = served
    answer = await talk(listener, b"GET /readyz?" + b"a" * 20_000 + b" HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert (statuses(answer), slugs(answer)) == ([414], ["address-too-long"])


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100,
        b"GET / HTTP/1.1\r\nhost x\r\n\r\n", b"GET / HTTP/1.1\r\n: y\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n", HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT x:443 HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_http_is_refused_in_words(served: tuple[Line, Listener], junk: bytes) -> None:
    """One answer, a problem, and the end of the connection; nothing of it becomes an event."""
    line, listener = served
    answer = await talk(listener, junk)
    assert len(statuses(answer)) == 1
    assert statuses(answer)[0] in {400, 405, 408}
    assert slugs(answer)[0] in {"malformed-http", "method-not-allowed", "too-slow"}
    assert await line.app.store.recent(0, 1) == []


async def test_chunks_are_one_body(served: tuple[Line, Listener]) -> None:
    """However small they are, and whatever their extensions say."""
    _, listener = served
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in EVENT) + b"0\r\ntrailer: x\r\n\r\n"
    answer = await talk(listener, HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n", chunks)
    assert statuses(answer) == [202]


async def test_junk_after_a_request_does_not_take_its_answer_away(served: tuple[Line, Listener]) -> None:
    """A body longer than announced: the announced part is answered, the rest ends the connection."""
    _, listener = served
    answer = await talk(listener, HEAD + b"content-length: %d\r\n\r\n" % len(EVENT) + EVENT + b"\x00\x01\x02")
    assert statuses(answer)[0] == 202
    assert set(statuses(answer)) <= {202, 400}


async def test_requests_in_a_row_are_answered_in_their_order(served: tuple[Line, Listener]) -> None:
    """Pipelining is allowed (RFC 9112 §9.3.2), in reason."""
    _, listener = served
    last = b"GET /nowhere HTTP/1.1\r\nconnection: close\r\n\r\n"
    answer = await talk(listener, b"GET /readyz HTTP/1.1\r\n\r\n" * 10 + last)
    assert statuses(answer) == [200] * 10 + [404]


async def test_requests_in_an_endless_row_are_cut(served: tuple[Line, Listener]) -> None:
    """Each costs memory before it is answered."""
    _, listener = served
    answer = await talk(listener, b"GET /readyz HTTP/1.1\r\n\r\n" * (PIPELINE_MAX * 20))
    assert len(statuses(answer)) < PIPELINE_MAX


async def test_body_that_is_too_large_is_refused_after_it_was_let_in(served: tuple[Line, Listener]) -> None:
    """A client that is still sending sees why; one that asks first is told at once (RFC 9110 §10.1.1)."""
    _, listener = served
    size = 1_500_000
    sent = await talk(listener, HEAD + b"content-length: %d\r\n\r\n" % size, b" " * size)
    asked = await talk(listener, HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % size)
    for answer in (sent, asked):
        assert (statuses(answer), slugs(answer)) == ([413], ["too-large"])


async def test_client_that_asks_first_is_let_on(served: tuple[Line, Listener]) -> None:
    """100 Continue comes before the answer."""
    _, listener = served
    head = HEAD + b"connection: close\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(EVENT)
    answer = await talk(listener, head, EVENT)
    assert statuses(answer) == [100, 202]


async def test_upgrade_is_not_followed(served: tuple[Line, Listener]) -> None:
    """There is no other protocol here."""
    _, listener = served
    answer = await talk(listener, b"GET /readyz HTTP/1.1\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n")
    assert statuses(answer) == [200]


async def test_connections_beyond_the_limit_are_told_so(served: tuple[Line, Listener]) -> None:
    """And the next one is let in as soon as one has gone."""
    _, listener = served
    held = [await asyncio.open_connection(*listener.address) for _ in range(8)]
    request = b"GET /readyz HTTP/1.1\r\nconnection: close\r\n\r\n"
    assert statuses(await talk(listener, request)) == [503]
    for _, writer in held:
        writer.close()

    async def is_let_in() -> bool:
        return statuses(await talk(listener, request)) == [200]

    await until(is_let_in)


async def test_connections_far_beyond_the_limit_are_cut(served: tuple[Line, Listener]) -> None:
    """Saying no costs a connection too."""
    _, listener = served
    pairs = [await asyncio.open_connection(*listener.address) for _ in range(100)]
    cut = 0
    for reader, writer in pairs:
        try:
            async with asyncio.timeout(QUICK_S / 10):
                cut += not await reader.read(1)
        except (ConnectionError, TimeoutError) as fault:
            cut += isinstance(fault, ConnectionError)
        writer.close()
    assert cut >= 100 - 8 - 64


def listen_with(app: Asgi) -> Listener:
    """Listen on a free port."""
    return open_listener(app, ServerSettings(listen="127.0.0.1:0", shutdown_s=5.0))


async def test_stop_lets_the_request_under_way_end() -> None:
    """It is answered; then nobody listens any more."""
    began, may_end = asyncio.Event(), asyncio.Event()

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        began.set()
        await may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    listener = listen_with(app)
    serving = asyncio.create_task(listener.run())
    async with httpx.AsyncClient(base_url=listener.url) as client:
        request = asyncio.create_task(client.get("/"))
        await began.wait()
        listener.stop()
        may_end.set()
        assert (await request).text == "ok"
        await serving
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


async def test_client_that_never_reads_its_answer_is_cut() -> None:
    """What it does not take must not stay in our memory, nor its connection among those that are allowed."""

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"20000000")]})
        await send({"type": "http.response.body", "body": b"x" * 20_000_000})

    listener = open_listener(app, ServerSettings(listen="127.0.0.1:0", request_timeout_s=QUICK_S))
    serving = asyncio.create_task(listener.run())
    connections = listener._server.server_state.connections
    with socket.create_connection(listener.address) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: len(connections) == 1)
        await until(lambda: not connections)
    listener.stop()
    await serving


def test_taken_address_is_a_clear_error() -> None:
    """It names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cannot listen on {address}: Address already in use; choose another"):
            open_listener(_no_app, ServerSettings(listen=address))


async def _no_app(_scope: Message, _receive: Receive, _send: Send) -> None:
    raise AssertionError


async def test_ipv6_address_is_listened_on() -> None:
    """It is written in brackets."""
    listener = open_listener(_no_app, ServerSettings(listen="[::1]:0"))
    serving = asyncio.create_task(listener.run())
    assert listener.url.startswith("http://[::1]:")
    listener.stop()
    await serving
