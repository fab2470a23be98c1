"""Requests without a task: what is told, when, and to whom no more."""

import asyncio
from collections.abc import Callable

import pytest

from idsync.ports import Request, Response, Sender, SendError
from idsync.testing.sink import Answer, open_sink

MakeSender = Callable[..., Sender]

SILENCE = Answer(raw=b"")


def _request(url: str, timeout_s: float = 5.0) -> Request:
    return Request(url=url, headers=(), body=b"{}", timeout_s=timeout_s)


class Told:
    """What was told, and a wait for it."""

    def __init__(self) -> None:
        self.responses: list[Response] = []
        self._arrived = asyncio.Event()

    def take(self, response: Response) -> None:
        """Keep a response."""
        self.responses.append(response)
        self._arrived.set()

    async def wait(self) -> Response:
        """Give the first response."""
        async with asyncio.timeout(10):
            await self._arrived.wait()
        return self.responses[0]


async def test_response_is_told_once(make_sender: MakeSender) -> None:
    """As `send` returns it."""
    told = Told()
    async with open_sink(Answer(status=418, body=b"tea")) as sink:
        make_sender().post(_request(sink.url), told.take)
        response = await told.wait()
    assert (response.status, response.body, len(told.responses)) == (418, b"tea", 1)


@pytest.mark.parametrize(
    ("url", "error"), [("nowhere", SendError.INVALID_URL), ("http://10.0.0.1/", SendError.BLOCKED)]
)
async def test_nothing_is_told_before_post_returns(make_sender: MakeSender, url: str, error: SendError) -> None:
    """Whoever posts again when told must not end in a recursion."""
    told = Told()
    make_sender().post(_request(url), told.take)
    assert told.responses == []
    assert (await told.wait()).error is error


async def test_header_that_would_begin_another_is_refused_at_once(make_sender: MakeSender) -> None:
    """By the same error as `send`."""
    request = Request(url="http://127.0.0.1:9/", headers=(("a", "b\r\nc: d"),), body=b"", timeout_s=1.0)
    with pytest.raises(ValueError, match="header"):
        make_sender().post(request, lambda _: None)


async def test_request_that_was_given_up_is_not_told(make_sender: MakeSender) -> None:
    """And its connection is not used again: its answer could still come."""
    told, later = Told(), Told()
    sender = make_sender()
    async with open_sink(SILENCE) as sink:
        cancel = sender.post(_request(sink.url, timeout_s=0.1), told.take)
        await sink.received(1)
        cancel()
        cancel()
        sender.post(_request(sink.url), later.take)
        assert (await later.wait()).status == 200
        await asyncio.sleep(0.2)  # longer than the time-out of the first
        assert sink.connections == 2
    assert told.responses == []


@pytest.mark.parametrize("url", ["nowhere", "http://127.0.0.1:9/"])
async def test_request_given_up_at_once_is_not_told(make_sender: MakeSender, url: str) -> None:
    """Not even that it cannot be sent."""
    told, later = Told(), Told()
    sender = make_sender()
    sender.post(_request(url), told.take)()
    sender.post(_request(url), later.take)
    await later.wait()
    assert told.responses == []


async def test_giving_up_after_the_end_does_nothing(make_sender: MakeSender) -> None:
    """The connection serves others by then."""
    told, later = Told(), Told()
    sender = make_sender()
    async with open_sink() as sink:
        cancel = sender.post(_request(sink.url), told.take)
        await told.wait()
        sender.post(_request(sink.url), later.take)
        cancel()
        assert (await later.wait()).status == 200
        assert sink.connections == 1


async def test_whoever_posts_again_when_told_finds_the_connection_free(make_sender: MakeSender) -> None:
    """A chain of requests needs one."""
    sender, told = make_sender(), Told()
    async with open_sink() as sink:

        def go_on(response: Response) -> None:
            if len(sink.requests) < 50:
                sender.post(_request(sink.url), go_on)
            else:
                told.take(response)

        sender.post(_request(sink.url), go_on)
        assert (await told.wait()).status == 200
        assert sink.connections == 1


async def test_close_ends_what_is_under_way(make_sender: MakeSender) -> None:
    """On a connection, and in the queue for one."""
    sender = make_sender()
    tolds = [Told() for _ in range(100)]
    async with open_sink(*[SILENCE] * 100) as sink:
        for told in tolds:
            sender.post(_request(sink.url), told.take)
        await sink.received(1)
        await sender.close()
        responses = [await told.wait() for told in tolds]
    assert {response.error for response in responses} == {SendError.READ}
