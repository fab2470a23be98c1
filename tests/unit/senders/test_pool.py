"""Connections are kept, counted and bounded."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from idsync.ports import Response, Sender
from idsync.senders.limits import Limits
from idsync.testing.sink import Answer, Then, open_sink

Post = Callable[..., Awaitable[Response]]
MakeSender = Callable[..., Sender]


async def test_one_request_after_another_uses_one_connection(post: Post) -> None:
    """Whatever the path, the status and the body, as long as the answer was read to its end."""
    answers = [Answer(status=500), Answer(body=b"x" * 4000), Answer(status=302), Answer(status=204, body=b"")]
    async with open_sink(*answers) as sink:
        for number in range(20):
            assert (await post(f"{sink.url}{number}")).status is not None
        assert sink.connections == 1
        assert {request.connection for request in sink.requests} == {1}


async def test_requests_at_once_use_no_more_connections_than_allowed(post: Post, make_sender: MakeSender) -> None:
    """The others wait their turn."""
    sender = make_sender(limits=Limits(connections_per_host=2))
    async with open_sink() as sink:
        responses = await asyncio.gather(*(post(sink.url, sender) for _ in range(20)))
        assert sink.connections == 2
    assert [response.status for response in responses] == [200] * 20


@pytest.mark.parametrize(
    "answer",
    [
        Answer(headers=(("Connection", "close"),), then=Then.CLOSE),
        Answer(headers=(("Connection", "close"),)),
        Answer(raw=b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Answer(body=b"x" * 100_000),
    ],
    ids=["closed", "only announced", "HTTP/1.0", "not read to its end"],
)
async def test_connection_that_cannot_be_kept_is_replaced(post: Post, answer: Answer) -> None:
    """Without harm to either request."""
    async with open_sink(answer) as sink:
        assert (await post(sink.url)).status == 200
        assert (await post(sink.url)).status == 200
        assert sink.connections == 2


async def test_connection_that_was_idle_too_long_is_replaced(post: Post, make_sender: MakeSender) -> None:
    """Servers forget; so do we, before them."""
    sender = make_sender(limits=Limits(idle_s=0))
    async with open_sink() as sink:
        assert (await post(sink.url, sender)).status == 200
        assert (await post(sink.url, sender)).status == 200
        assert sink.connections == 2


async def test_close_ends_every_connection_and_may_be_repeated(post: Post, make_sender: MakeSender) -> None:
    """What comes after it fails by name."""
    sender = make_sender()
    async with open_sink() as sink:
        await post(sink.url, sender)
        await sender.close()
        await sender.close()
        assert (await post(sink.url, sender)).status is None
