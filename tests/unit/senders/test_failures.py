"""What the network and the other side can do wrong: always a named error, never an exception, always in time."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from idsync.ports import Response, Sender, SendError
from idsync.senders.limits import Limits
from idsync.senders.resolver import Resolver
from idsync.testing.sink import Answer, Then, open_sink
from tests.unit.senders.conftest import Certificate

Post = Callable[..., Awaitable[Response]]
MakeSender = Callable[..., Sender]
MakeResolver = Callable[..., Resolver]

SILENCE = Answer(raw=b"")
HALF_A_HEAD = b"HTTP/1.1 200 OK\r\nContent-Le"


async def test_port_where_nobody_listens_is_a_connect_error(post: Post) -> None:
    """The kernel refuses at once."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        response = await post(f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert (response.status, response.error) == (None, SendError.CONNECT)


async def test_name_without_an_address_is_a_dns_error(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver
) -> None:
    """What the resolver says is passed on."""
    sender = make_sender(resolver=scripted_resolver(socket.gaierror(socket.EAI_NONAME, "unknown")))
    response = await post("http://nobody.example/", sender)
    assert response.error is SendError.DNS


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", ".example", "a b", "[v1.x]", "_", "-", "%00"])
async def test_host_that_cannot_be_a_name_has_no_address(post: Post, host: str) -> None:
    """Whoever finds it out; the system's resolver raises other errors for such names than for unknown ones."""
    response = await post(f"http://{host}/")
    assert response.error in {SendError.DNS, SendError.INVALID_URL}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(raw=b"", then=Then.CLOSE),
        Answer(raw=b"", then=Then.HALF_CLOSE),
        Answer(raw=b"", then=Then.RESET),
        Answer(raw=HALF_A_HEAD, then=Then.CLOSE),
        Answer(raw=HALF_A_HEAD, then=Then.HALF_CLOSE),
        Answer(raw=HALF_A_HEAD, then=Then.RESET),
        Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\n", then=Then.CLOSE),
    ],
    ids=lambda answer: f"{answer.raw.decode()!r} then {answer.then}",
)
async def test_connection_that_ends_before_the_head_is_a_read_error(post: Post, answer: Answer) -> None:
    """However the other side ends it."""
    async with open_sink(answer) as sink:
        response = await post(sink.url)
    assert (response.status, response.error) == (None, SendError.READ)


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(300)) + b"\r\n",
    ],
    ids=lambda raw: raw[:40].decode("latin-1"),
)
async def test_answer_that_is_not_http_is_a_protocol_error(post: Post, raw: bytes) -> None:
    """The parser's refusal has a name of its own."""
    async with open_sink(Answer(raw=raw, then=Then.CLOSE)) as sink:
        response = await post(sink.url)
    assert (response.status, response.error) == (None, SendError.PROTOCOL)


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 200 " + b"x" * 40_000, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n"],
    ids=["reason", "field"],
)
async def test_head_without_end_is_too_large(post: Post, raw: bytes) -> None:
    """A head is bounded as a body is."""
    async with open_sink(Answer(raw=raw)) as sink:
        response = await post(sink.url)
    assert (response.status, response.error) == (None, SendError.TOO_LARGE)


@pytest.mark.parametrize(
    "answer",
    [SILENCE, Answer(raw=HALF_A_HEAD), Answer(raw=HALF_A_HEAD, body=b"0", then=Then.DRIP)],
    ids=["silence", "half a head", "dripping head"],
)
async def test_head_that_never_ends_is_a_time_out(post: Post, answer: Answer) -> None:
    """One deadline bounds the whole request, however busy the other side looks."""
    async with open_sink(answer) as sink:
        response = await asyncio.wait_for(post(sink.url, timeout_s=0.2), 5)
    assert (response.status, response.error) == (None, SendError.TIMEOUT)
    assert 0.15 < response.latency_s < 4


async def test_interim_answers_without_end_are_a_time_out(post: Post) -> None:
    """They are passed over only as long as there is time."""
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    async with open_sink(Answer(raw=interim, body=interim, then=Then.DRIP)) as sink:
        response = await asyncio.wait_for(post(sink.url, timeout_s=0.2), 5)
    assert response.error is SendError.TIMEOUT


async def test_connecting_that_never_ends_is_a_time_out(post: Post, black_hole_port: int) -> None:
    """Connecting is inside the deadline."""
    response = await asyncio.wait_for(post(f"http://127.0.0.1:{black_hole_port}/", timeout_s=0.2), 5)
    assert response.error is SendError.TIMEOUT


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_listener_that_never_reads_is_a_time_out(post: Post, deaf_port: int, scheme: str) -> None:
    """Neither a handshake nor a request larger than every buffer waits longer than it may."""
    url = f"{scheme}://127.0.0.1:{deaf_port}/"
    response = await asyncio.wait_for(post(url, body=bytes(20_000_000), timeout_s=0.3), 5)
    assert response.error is SendError.TIMEOUT


async def test_look_up_that_never_ends_is_a_time_out(post: Post, make_sender: MakeSender) -> None:
    """Looking a name up is inside the deadline."""

    class Asleep:
        async def resolve(self, host: str) -> None:
            await asyncio.Event().wait()

        async def close(self) -> None:
            pass

    response = await asyncio.wait_for(post("http://slow.example/", make_sender(resolver=Asleep()), timeout_s=0.1), 5)
    assert response.error is SendError.TIMEOUT


async def test_request_that_waits_for_a_connection_times_out_by_itself(post: Post, make_sender: MakeSender) -> None:
    """A full pool is no excuse."""
    sender = make_sender(limits=Limits(connections_per_host=1))
    async with open_sink(SILENCE, SILENCE) as sink:
        responses = await asyncio.gather(*(post(sink.url, sender, timeout_s=0.2) for _ in range(3)))
        assert len(sink.requests) <= 2
    assert {response.error for response in responses} == {SendError.TIMEOUT}


async def test_cancelled_send_is_cancelled_and_leaves_no_connection(post: Post) -> None:
    """A cancellation from outside is not taken for a time-out."""
    async with open_sink(SILENCE) as sink:
        task = asyncio.ensure_future(post(sink.url))
        await sink.received(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await post(sink.url)).status == 200
        assert sink.connections == 2


async def test_endpoint_that_speaks_first_is_a_protocol_error(post: Post) -> None:
    """A greeting is no answer, whether it comes before or after our request."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        response = await post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert response.error is SendError.PROTOCOL


async def test_answer_that_nobody_asked_for_is_never_taken_for_the_next_one(post: Post) -> None:
    """Two answers to one request end the connection; the next request gets its own answer."""
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none" + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    async with open_sink(Answer(raw=twice), Answer(status=202)) as sink:
        assert (await post(sink.url)).body == b"one"
        assert (await post(sink.url)).status == 202


async def test_early_answer_to_a_request_not_yet_written_ends_the_connection(post: Post) -> None:
    """Else the rest of the body would be read as the next request."""
    ended = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        while await reader.read(65_536):
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        response = await post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", body=bytes(50_000_000))
        async with asyncio.timeout(5):
            await ended.wait()
    assert response.status == 413


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/hook",
        "//host/hook",
        "http://",
        "http:///hook",
        "https:host",
        "ftp://host/",
        "file:///etc/passwd",
        "ws://host/",
        "unix:///run/docker.sock",
        "gopher://host/",
        "http://host:99999/",
        "http://host:port/",
        "http://[::1/",
        "http://[]@",
        "http://user@host/",
        "http://user:secret@host/",
        "http://:secret@host/",
        "http://host\\@evil/",
        "\0",
        "http://\ud800/",
    ],
)
async def test_url_that_cannot_be_posted_to_is_refused_by_name(post: Post, url: str) -> None:
    """Nothing is looked up or sent."""
    response = await post(url)
    assert (response.status, response.error) == (None, SendError.INVALID_URL)


@pytest.mark.parametrize("header", [("a", "b\r\nc: d"), ("a\nb", "c"), ("a", "\r"), ("a", "\0"), ("a", "\ud800")])
async def test_header_that_would_begin_another_is_a_bug_of_the_caller(post: Post, header: tuple[str, str]) -> None:
    """Such text must be refused where it enters; here it is the last line of defence."""
    async with open_sink() as sink:
        with pytest.raises(ValueError, match=r"header|surrogates"):
            await post(sink.url, headers=(header,))
        assert sink.connections == 0


async def test_certificate_that_nobody_vouches_for_is_a_tls_error(post: Post, certificate: Certificate) -> None:
    """Verification is on unless the operator says otherwise."""
    async with open_sink(tls=certificate.server()) as sink:
        response = await post(sink.url)
        assert sink.requests == []
    assert (response.status, response.error) == (None, SendError.TLS)


async def test_certificate_of_another_host_is_a_tls_error(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver, certificate: Certificate
) -> None:
    """Trust in the issuer is not enough: the name must be the one in the URL, not the address we connect to."""
    sender = make_sender(tls=certificate.client(), resolver=scripted_resolver(["127.0.0.1"]))
    async with open_sink(tls=certificate.server()) as sink:
        response = await post(f"https://other.example:{sink.port}/", sender)
    assert response.error is SendError.TLS


async def test_https_to_a_port_that_speaks_http_is_a_tls_error(post: Post) -> None:
    """What is no handshake fails as one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        response = await post(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert response.error in {SendError.TLS, SendError.CONNECT}


async def test_trusted_certificate_lets_requests_through_on_one_connection(
    post: Post, make_sender: MakeSender, certificate: Certificate
) -> None:
    """The handshake is paid once."""
    sender = make_sender(tls=certificate.client())
    async with open_sink(tls=certificate.server()) as sink:
        statuses = [(await post(sink.url, sender)).status for _ in range(5)]
        assert sink.connections == 1
    assert statuses == [200] * 5
