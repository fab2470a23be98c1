"""Whatever is asked and whatever is answered: `send` returns a status, or the reason why there is none."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idsync.ports import Response, Sender, SendError
from idsync.senders.resolver import Resolver
from idsync.testing.sink import Answer, Then, open_sink

Post = Callable[..., Awaitable[Response]]
MakeSender = Callable[..., Sender]
MakeResolver = Callable[..., Resolver]

fixtures_stay = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

_PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 500 \r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 204\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Connection: close\r\n",
        b"Retry-After: 1\r\n",
        b"Set-Cookie: a=b\r\n",
        b"Location: http://10.0.0.1/\r\n",
        b" folded\r\n",
        b"\r\n",
        b"\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"\0",
        b"\xff",
    ]
)
answers = st.builds(
    Answer,
    raw=st.lists(_PIECES | st.binary(max_size=20), max_size=12).map(b"".join),
    then=st.sampled_from([Then.KEEP, Then.CLOSE, Then.HALF_CLOSE, Then.RESET]),
)


@fixtures_stay
@given(scripted=st.lists(answers, min_size=1, max_size=3))
async def test_no_answer_breaks_it_or_outlives_its_time(post: Post, scripted: list[Answer]) -> None:
    """Nor does one answer leave anything behind that spoils the connection of the next."""
    async with open_sink(*scripted) as sink:
        for _ in scripted:
            response = await asyncio.wait_for(post(sink.url, timeout_s=0.02), 5)
            assert (response.status is None) is (response.error is not None)


_HOSTS = st.text(max_size=80) | st.sampled_from(["[::1]", "127.1", "a..b", "xn--a", "1.2.3.4.", "①", "a" * 64])
_URLS = st.text(max_size=50) | st.builds(
    lambda scheme, host, rest: f"{scheme}{host}{rest}",
    st.sampled_from(["http://", "https://", "HTTP://", "//", "http:"]),
    _HOSTS,
    st.sampled_from(["", "/", ":0", ":65536", "/?", "/#", "/\r\nX: y", "@b", "/\\..", "/%zz"]) | st.text(max_size=20),
)


@fixtures_stay
@given(url=_URLS)
async def test_no_url_breaks_it(post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver, url: str) -> None:
    """Every name is unknown and every address refused, so that nothing leaves this test."""
    resolver = scripted_resolver(socket.gaierror(socket.EAI_NONAME, "unknown"))
    response = await post(url, make_sender("192.0.2.0/32", resolver=resolver), timeout_s=0.05)
    assert response.status is None
    assert response.error in {
        SendError.INVALID_URL,
        SendError.DNS,
        SendError.BLOCKED,
        SendError.CONNECT,
        SendError.TIMEOUT,
    }
