"""Where the time of a request went: both senders tell, of real connections, on both loops."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from idsync.ports import Response, Sender, SendError
from idsync.testing.sink import Answer, open_sink
from tests.unit.senders.conftest import Certificate

Post = Callable[..., Awaitable[Response]]
Make = Callable[..., Sender]

PAUSE_S: Final = 0.2
PAUSED_MS: Final = 150.0
"""A phase that held a pause took at least so long; one without it is shorter, but on a machine that stands still."""
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class SlowResolver:
    """Knows every name, after a pause."""

    async def resolve(self, host: str) -> Sequence[str]:  # as the port has it
        """Answer late."""
        await asyncio.sleep(PAUSE_S)
        return ["127.0.0.1"]

    async def close(self) -> None:
        """Do nothing."""


@contextlib.contextmanager
def open_slow_server(requests: int, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Take one connection: a pause before the handshake, before each answer, and within it; give the port."""

    def serve(listening: socket.socket) -> None:
        stream, _ = listening.accept()
        if tls is not None:
            time.sleep(PAUSE_S)
            stream = tls.wrap_socket(stream, server_side=True)
        with stream:
            for _ in range(requests):
                while not stream.recv(65_536).endswith(b"{}"):
                    pass
                for piece in (HEAD, b"ok"):
                    time.sleep(PAUSE_S)
                    stream.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:
        served = threads.submit(serve, listening)
        yield listening.getsockname()[1]
        served.result()


def _paused(response: Response) -> dict[str, bool]:
    """Say of each phase whether it held a pause."""
    assert response.phases is not None
    told = msgspec.structs.asdict(response.phases)
    assert 0 <= sum(told.values()) <= response.latency_s * 1000 + 1
    return {name: ms >= PAUSED_MS for name, ms in told.items()}


WAITED: Final = {"dns_ms": False, "connect_ms": False, "tls_ms": False, "wait_ms": True, "read_ms": True}


async def test_each_phase_is_told_and_the_first_three_only_of_a_new_connection(
    post: Post, make_sender: Make, certificate: Certificate
) -> None:
    """Of a name that is looked up slowly, and a server that is slow with its handshake, its head and its body."""
    sender = make_sender(resolver=SlowResolver(), tls=certificate.client())
    with open_slow_server(2, certificate.server()) as port:
        first = await post(f"https://localhost:{port}/", sender)
        second = await post(f"https://localhost:{port}/", sender)
    assert _paused(first) == WAITED | {"dns_ms": True, "tls_ms": True}
    assert _paused(second) == WAITED
    assert second.phases is not None
    assert (second.phases.dns_ms, second.phases.connect_ms, second.phases.tls_ms) == (0, 0, 0)


async def test_without_tls_there_is_no_handshake(post: Post) -> None:
    """Nor a look-up where the URL spells the address."""
    with open_slow_server(1) as port:
        response = await post(f"http://127.0.0.1:{port}/")
    assert _paused(response) == WAITED
    assert response.phases is not None
    assert (response.phases.dns_ms, response.phases.tls_ms) == (0, 0)
    assert response.phases.connect_ms > 0


async def test_answer_that_never_begins_was_waited_for(post: Post) -> None:
    """Until the time-out; nothing was read."""
    async with open_sink(Answer(raw=b"")) as sink:
        response = await post(sink.url, timeout_s=3 * PAUSE_S)
    assert response.error is SendError.TIMEOUT
    assert _paused(response) == WAITED | {"read_ms": False}


async def test_answer_that_breaks_off_was_read_until_then(post: Post) -> None:
    """The status came; the time-out cut the body."""
    async with open_sink(Answer(raw=HEAD)) as sink:
        response = await post(sink.url, timeout_s=3 * PAUSE_S)
    assert response.status == 200
    assert _paused(response) == WAITED | {"wait_ms": False}


async def test_nothing_is_told_where_no_request_left(post: Post, black_hole_port: int) -> None:
    """No connection was made."""
    responses = [
        await post("http://10.0.0.1/"),
        await post("not a url"),
        await post(f"http://127.0.0.1:{black_hole_port}/", timeout_s=PAUSE_S),
    ]
    assert [(one.status, one.phases) for one in responses] == [(None, None)] * 3
