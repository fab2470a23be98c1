"""Nothing that is written in a URL or answered by DNS leads a sender inside: the table of `hostile.py`, and the rest.

No connection leaves in the tests of the table: the event loop notes where a sender wants to go, and refuses.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, cast

import pytest
import uvloop

from idsync.ports import Clock, Request, Response, Sender, SendError
from idsync.senders import aiohttp_sender
from idsync.senders.aiohttp_sender import AiohttpSender
from idsync.senders.fast import FastSender, dial
from idsync.senders.limits import Limits
from idsync.senders.resolver import Resolver
from idsync.testing.sink import Answer, open_sink
from tests.unit.senders.conftest import RealClock
from tests.unit.senders.hostile import CASES, INVALID, Case

Post = Callable[..., Awaitable[Response]]
MakeSender = Callable[..., Sender]
MakeResolver = Callable[..., Resolver]

REQUESTS_MIN = 2
"""Of each case: the second finds whatever the first has left."""


class Refusing:
    """Notes where a loop was asked to connect to, and refuses."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    def __call__(self, address: str) -> NoReturn:
        """Note and refuse."""
        self.wanted.append(address)
        raise ConnectionRefusedError


def _asyncio_loop(refuse: Refusing) -> asyncio.AbstractEventLoop:
    class Loop(asyncio.SelectorEventLoop):
        async def create_connection(self, _make: object, host: str, *_: object, **__: object) -> NoReturn:  # type: ignore[override]  # the only form that is used
            refuse(host)

        async def sock_connect(self, _sock: object, address: object) -> NoReturn:
            refuse(cast("tuple[str, int]", address)[0])

    return Loop()


def _uvloop_loop(refuse: Refusing) -> asyncio.AbstractEventLoop:
    class Loop(uvloop.Loop):
        async def create_connection(self, _make: object, host: str, *_: object, **__: object) -> NoReturn:  # type: ignore[override]  # as above
            refuse(host)

        async def sock_connect(self, _sock: object, address: object) -> NoReturn:
            refuse(cast("tuple[str, int]", address)[0])

    return cast("asyncio.AbstractEventLoop", Loop())


class Dns:
    """Answers as a case says, else as the C library reads an address in a name's place."""

    def __init__(self, case: Case) -> None:
        self._answers = deque(case.answers)

    async def resolve(self, host: str) -> Sequence[str]:
        """Answer the next look-up."""
        if not self._answers:
            return [socket.inet_ntoa(socket.inet_aton(host))]
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]

    async def close(self) -> None:
        """Do nothing."""


def _send(
    case: Case, kind: MakeSender, make_loop: Callable[[Refusing], asyncio.AbstractEventLoop]
) -> tuple[list[Response], list[str]]:
    """Send a case's requests; give what each came to, and the addresses that were to be connected to."""
    refuse = Refusing()

    async def send() -> list[Response]:
        sender = kind(cast("Clock", RealClock()), (), limits=Limits(dns_s=0), resolver=Dns(case))
        request = Request(url=case.url, headers=(), body=b"{}", timeout_s=5.0)
        try:
            return [await sender.send(request) for _ in range(max(REQUESTS_MIN, len(case.answers) - 1))]
        finally:
            await sender.close()

    with asyncio.Runner(loop_factory=lambda: make_loop(refuse)) as runner:
        return runner.run(send()), refuse.wanted


@pytest.mark.parametrize("make_loop", [_asyncio_loop, _uvloop_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", [FastSender, AiohttpSender], ids=["fast", "aiohttp"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_hostile_url_or_answer_reaches_nothing_inside(
    case: Case, kind: MakeSender, make_loop: Callable[[Refusing], asyncio.AbstractEventLoop]
) -> None:
    """It is refused by its name, and nothing is connected to but what is public."""
    responses, wanted = _send(case, kind, make_loop)
    assert responses[-1].error in case.errors
    assert {response.status for response in responses} == {None}
    assert set(wanted) == set(case.tried)


@pytest.mark.parametrize("kind", [FastSender, AiohttpSender], ids=["fast", "aiohttp"])
@pytest.mark.parametrize("case", [case for case in CASES if case.errors is not INVALID], ids=lambda case: case.id)
def test_without_the_guard_the_hostile_case_would_connect(
    case: Case, kind: MakeSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the guard that keeps it out; else its case would show nothing."""
    for module in (aiohttp_sender, dial):
        monkeypatch.setattr(module, "may_connect", lambda _address, _allowed: True)
    _, wanted = _send(case, kind, _asyncio_loop)
    assert set(wanted) - set(case.tried)


def test_table_is_as_long_as_promised_and_names_each_case_once() -> None:
    """A case that is there twice counts once."""
    assert len({case.id for case in CASES}) == len({(case.url, case.answers) for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
async def test_redirect_to_an_address_inside_is_not_followed(post: Post, make_sender: MakeSender, status: int) -> None:
    """Not even to one that is allowed: the status is the answer."""
    async with open_sink() as inside:
        headers = (("Location", inside.url), ("Refresh", f"0; url={inside.url}"), ("Alt-Svc", f'h2=":{inside.port}"'))
        async with open_sink(Answer(status=status, headers=headers)) as sink:
            assert (await post(sink.url, make_sender())).status == status
            assert len(sink.requests) == 1
        assert inside.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_of_the_environment_is_ignored(
    post: Post, make_sender: MakeSender, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """It would connect in our place, and look names up in its own way."""
    came = 0

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        came += 1
        writer.close()

    async with open_sink() as proxy, await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await post(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", make_sender())
        assert (proxy.connections, came) == (0, 1)


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r", "\0"], ids=["crlf", "lf", "cr", "nul"])
@pytest.mark.parametrize("place", ["name", "value"])
async def test_header_that_would_end_its_line_is_never_written(post: Post, place: str, ending: str) -> None:
    """It would be read as another header, or another request."""
    evil = f"a{ending}X-Evil: 1"
    async with open_sink() as sink:
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            await post(sink.url, headers=((evil, "a") if place == "name" else ("X-Good", evil),))
        assert sink.connections == 0


@pytest.mark.parametrize(
    ("network", "judged"),
    [
        ("127.0.0.2/32", (["127.0.0.2"], ["127.0.0.1", "127.0.0.3"])),
        ("127.0.0.4/30", (["127.0.0.4", "127.0.0.7"], ["127.0.0.3", "127.0.0.8", "10.0.0.4", "::1"])),
    ],
    ids=["one address", "four addresses"],
)
async def test_allowed_range_lets_exactly_itself_pass(
    post: Post,
    make_sender: MakeSender,
    scripted_resolver: MakeResolver,
    network: str,
    judged: tuple[Sequence[str], Sequence[str]],
) -> None:
    """Its first and last address, and neither neighbour; whether spelt or looked up."""
    passes, refused = judged
    for address in passes:
        sender = make_sender(network, resolver=scripted_resolver([address]), limits=Limits(idle_s=0))
        with socket.create_server((address, 0)) as server:
            for host in (address, "name.example"):
                response = await post(f"http://{host}:{server.getsockname()[1]}/", sender, timeout_s=0.05)
                assert response.error is SendError.TIMEOUT  # nobody answers, but the connection was made
    for address in refused:
        sender = make_sender(network, resolver=scripted_resolver([address]))
        host = f"[{address}]" if ":" in address else address
        assert (await post(f"http://{host}:9/", sender)).error is SendError.BLOCKED
        assert (await post("http://name.example:9/", sender)).error is SendError.BLOCKED


async def test_kept_connection_stays_with_the_address_that_was_vetted(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver
) -> None:
    """DNS may move the name inside: what is open leads where it did, and what is opened anew is refused."""
    resolver = scripted_resolver(["127.0.0.1"], ["127.0.0.2"])
    sender = make_sender("127.0.0.1/32", resolver=resolver, limits=Limits(dns_s=0))
    async with open_sink(Answer(), Answer(headers=(("Connection", "close"),))) as sink:
        with socket.create_server(("127.0.0.2", sink.port)) as inside:
            inside.settimeout(0)
            url = f"http://moving.example:{sink.port}/"
            assert [(await post(url, sender)).status for _ in range(2)] == [200, 200]
            assert sink.connections == 1
            assert (await post(url, sender)).error is SendError.BLOCKED
            with pytest.raises(BlockingIOError):
                inside.accept()


async def test_kept_connection_serves_no_other_name(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver
) -> None:
    """Two names of one address are two hosts: a name that moved inside cannot ride on another's connection."""
    resolver = scripted_resolver(["127.0.0.1"], ["10.0.0.1"])
    sender = make_sender("127.0.0.1/32", resolver=resolver)
    async with open_sink() as sink:
        assert (await post(f"http://one.example:{sink.port}/", sender)).status == 200
        assert (await post(f"http://other.example:{sink.port}/", sender)).error is SendError.BLOCKED
        assert sink.connections == 1
