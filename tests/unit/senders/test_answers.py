"""What an endpoint may answer, and what the sender makes of it."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from idsync.ports import Response, Sender
from idsync.senders.limits import Limits
from idsync.testing.sink import Answer, Then, open_sink

Post = Callable[..., Awaitable[Response]]
MakeSender = Callable[..., Sender]


async def test_request_arrives_as_it_was_given_and_with_nothing_added_but_its_frame(post: Post) -> None:
    """No cookie, user agent or accepted encoding is sent that the caller did not ask for."""
    async with open_sink() as sink:
        await post(f"{sink.url}a%20b?x=1&y=a%2Bb#z", headers=(("webhook-id", "msg_é"), ("X", "")), body=b"\0\xff")
        (request,) = await sink.received(1)
    assert (request.method, request.target, request.body) == ("POST", "/a%20b?x=1&y=a%2Bb", b"\0\xff")
    assert request.headers == (
        ("Host", f"127.0.0.1:{sink.port}"),
        ("webhook-id", "msg_é".encode().decode("latin-1")),
        ("X", ""),
        ("Content-Length", "2"),
    )


async def test_empty_body_is_sent_as_such(post: Post) -> None:
    """An empty body has a length of its own: zero."""
    async with open_sink() as sink:
        response = await post(sink.url, body=b"")
        (request,) = await sink.received(1)
    assert response.status == 200
    assert request.header("content-length") == "0"


@pytest.mark.parametrize("status", [200, 201, 202, 400, 401, 404, 408, 410, 413, 429, 500, 502, 503, 504, 599])
async def test_status_and_body_come_back_whatever_the_status(post: Post, status: int) -> None:
    """Every status is an answer, none is an error."""
    async with open_sink(Answer(status=status, body=b"because")) as sink:
        response = await post(sink.url)
    assert (response.status, response.error, response.body) == (status, None, b"because")
    assert 0 < response.latency_s < 5


@pytest.mark.parametrize("status", [204, 304])
async def test_status_that_has_no_body_ends_with_its_head(post: Post, status: int) -> None:
    """What follows such a head is not waited for."""
    async with open_sink(Answer(status=status, raw=f"HTTP/1.1 {status} X\r\n\r\n".encode())) as sink:
        response = await post(sink.url)
    assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize(
    ("text", "least_s", "most_s"),
    [("120", 120, 120), ("0", 0, 0), ("99999999999", 86_400, 86_400), ("9" * 5000, 86_400, 86_400)],
)
async def test_retry_after_in_seconds_is_bounded(post: Post, text: str, least_s: float, most_s: float) -> None:
    """Seconds are taken as they are, up to a day."""
    async with open_sink(Answer(status=429, headers=(("Retry-After", text),))) as sink:
        response = await post(sink.url)
    assert response.retry_after_s is not None
    assert least_s <= response.retry_after_s <= most_s


async def test_retry_after_as_a_date_is_counted_from_now(post: Post) -> None:
    """Without a date of the answer itself our own clock counts."""
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    async with open_sink(Answer(status=503, headers=(("Retry-After", at),))) as sink:
        response = await post(sink.url)
    assert response.retry_after_s is not None
    assert 90 < response.retry_after_s <= 100


async def test_retry_after_as_a_date_is_counted_from_the_date_of_the_answer(post: Post) -> None:
    """An endpoint whose clock is years behind still asks for ten seconds."""
    headers = (
        ("Date", "Sun, 06 Nov 1994 08:49:27 GMT"),
        ("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
    )
    async with open_sink(Answer(status=503, headers=headers)) as sink:
        response = await post(sink.url)
    assert response.retry_after_s == 10


@pytest.mark.parametrize("text", ["", "-1", "soon", "1.5", "1 2", "Sun, 99 Foo 1994 08:49:37 GMT"])
async def test_retry_after_that_means_nothing_is_none(post: Post, text: str) -> None:
    """Garbage is no wish."""
    async with open_sink(Answer(status=429, headers=(("Retry-After", text),))) as sink:
        response = await post(sink.url)
    assert (response.status, response.retry_after_s) == (429, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_is_not_followed(post: Post, status: int) -> None:
    """The place it points to hears nothing."""
    async with open_sink() as other, open_sink(Answer(status=status, headers=(("Location", other.url),))) as sink:
        response = await post(sink.url)
        assert len(await sink.received(1)) == 1
        assert other.connections == 0
    assert response.status == status


async def test_interim_answers_are_passed_over(post: Post) -> None:
    """Only the final head counts."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    final = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
    async with open_sink(Answer(raw=interim + final)) as sink:
        response = await post(sink.url)
    assert (response.status, response.body) == (202, b"ok")


async def test_switch_of_protocols_is_an_answer_that_ends_the_connection(post: Post) -> None:
    """We never speak anything but HTTP."""
    raw = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello"
    async with open_sink(Answer(raw=raw)) as sink:
        assert (await post(sink.url)).status == 101
        assert (await post(sink.url)).status == 200
        assert sink.connections == 2


async def test_chunked_body_is_put_together(post: Post) -> None:
    """The frame of the chunks is not part of the body."""
    headers = (("Transfer-Encoding", "chunked"),)
    async with open_sink(Answer(headers=headers, body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) as sink:
        assert (await post(sink.url)).body == b"abcde"
        assert (await post(sink.url)).status == 200
        assert sink.connections == 1


async def test_body_without_a_length_ends_with_the_connection(post: Post) -> None:
    """So HTTP/1.0 does it."""
    async with open_sink(Answer(raw=b"HTTP/1.0 200 OK\r\n\r\nold", then=Then.CLOSE)) as sink:
        response = await post(sink.url)
    assert (response.status, response.body) == (200, b"old")


async def test_compressed_body_is_kept_as_it_came(post: Post) -> None:
    """Nobody can make us unpack a bomb."""
    packed = gzip.compress(b"0" * 1_000_000)
    async with open_sink(Answer(headers=(("Content-Encoding", "gzip"),), body=packed)) as sink:
        response = await post(sink.url)
    assert response.body == packed[:4096]


async def test_body_of_just_the_cap_is_whole_and_a_longer_one_is_cut(post: Post, make_sender: MakeSender) -> None:
    """The cap is what is kept, not what is refused."""
    sender = make_sender(limits=Limits(body_bytes=10))
    async with open_sink(Answer(body=b"0123456789"), Answer(body=b"0123456789a")) as sink:
        assert (await post(sink.url, sender)).body == b"0123456789"
        response = await post(sink.url, sender)
    assert (response.status, response.error, response.body) == (200, None, b"0123456789")


async def test_endless_body_is_read_to_the_cap_and_cut_off(post: Post) -> None:
    """The status stands, and the endpoint loses its connection."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    async with open_sink(Answer(raw=head, body=b"x" * 10_000, then=Then.REPEAT)) as sink:
        response = await post(sink.url)
        assert (response.status, response.error, response.body) == (200, None, b"x" * 4096)
        assert (await post(sink.url)).status == 200
        assert sink.connections == 2


async def test_body_that_drips_ends_with_the_time_out_and_keeps_what_came(post: Post) -> None:
    """Each byte arrives in time, all of them never do."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
    async with open_sink(Answer(raw=head, body=b"x", then=Then.DRIP)) as sink:
        response = await asyncio.wait_for(post(sink.url, timeout_s=0.3), 5)
    assert (response.status, response.error) == (200, None)
    assert 0 < len(response.body) < 100
    assert 0.25 < response.latency_s < 4


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_body_that_breaks_keeps_the_status(post: Post, then: Then) -> None:
    """The head is the answer, and it came whole."""
    async with open_sink(Answer(raw=b"HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\npart", then=then)) as sink:
        response = await post(sink.url)
    assert (response.status, response.error) == (500, None)
    assert response.body in {b"", b"part"}
