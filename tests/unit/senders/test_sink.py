"""The sink itself: what it does with what a Sender never sends."""

import asyncio

import pytest

from idsync.testing.sink import Answer, Sink, open_sink


async def _say(sink: Sink, text: bytes) -> bytes:
    """Write raw bytes to the sink, say that no more will come, and return all that it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET",
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
        b"POST / HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=lambda text: text[:50].decode(),
)
async def test_request_that_is_none_ends_the_connection_and_is_not_kept(text: bytes) -> None:
    """It was never received."""
    async with open_sink() as sink:
        assert await _say(sink, text) == b""
        assert (sink.connections, sink.requests) == (1, [])


async def test_request_is_kept_as_it_came() -> None:
    """Names keep their case and are found in any."""
    async with open_sink(Answer(status=201, headers=(("A", "b"),), body=b"made")) as sink:
        answer = await _say(sink, b"PUT /x?y HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\nContent-Length: 2\r\n\r\nhi")
        (request,) = await sink.received(1)
    assert answer == b"HTTP/1.1 201 Scripted\r\nA: b\r\nContent-Length: 4\r\n\r\nmade"
    assert (request.method, request.target, request.body, request.connection) == ("PUT", "/x?y", b"hi", 1)
    assert request.headers == (("Host", "h"), ("X-Y", "z"), ("Content-Length", "2"))
    assert request.header("x-y") == "z"
    assert request.header("missing") is None


async def test_answers_are_given_in_order_and_then_it_is_200() -> None:
    """Also those that are added while it serves."""
    request = b"POST / HTTP/1.1\r\n\r\n"
    async with open_sink(Answer(status=500)) as sink:
        sink.script(Answer(status=503))
        answers = await _say(sink, request * 3)
    assert [line.split()[1] for line in answers.split(b"\r\n") if line.startswith(b"HTTP")] == [b"500", b"503", b"200"]


async def test_waiting_for_requests_that_do_not_come_ends() -> None:
    """A test that waits in vain fails; it does not hang."""
    async with open_sink() as sink:
        with pytest.raises(TimeoutError):
            await sink.received(1, within_s=0.01)
