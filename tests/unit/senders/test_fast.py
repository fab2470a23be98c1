"""The fast Sender from inside: turns, descriptors and look-ups are given back, whatever happens."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import cast

import pytest

from idsync.ports import Clock, Response, SendError
from idsync.senders.fast import FastSender
from idsync.senders.fast.pool import Pool
from idsync.senders.limits import Limits
from idsync.testing.sink import Answer, Then, open_sink
from idsync.wire.address import parse_networks
from tests.unit.senders.conftest import RealClock, ScriptedResolver

Post = Callable[..., Awaitable[Response]]
Make = Callable[..., FastSender]

SILENCE = Answer(raw=b"")


@pytest.fixture
def kind() -> type[FastSender]:
    """Only this one: what is looked at here is its inside."""
    return FastSender


def _pool(sender: FastSender) -> Pool:
    return sender._guarded


def _assert_nobody_waits(pool: Pool) -> None:
    assert (pool._busy, len(pool._waiting), len(pool._dials)) == (0, 0, 0)
    assert all(not host.busy and not host.waiting and host.idle for host in pool._hosts.values())
    assert len(pool._connections) == len(pool._idle) == sum(len(host.idle) for host in pool._hosts.values())


def _count_descriptors() -> int:
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


async def test_cancelled_at_any_moment_it_leaves_nothing_open(
    post: Post, make_sender: Make, black_hole_port: int, deaf_port: int
) -> None:
    """While it waits, looks up, connects, shakes hands, writes or reads."""
    dice = Random(1)
    resolver = ScriptedResolver(["127.0.0.3", "127.0.0.1"])
    sender = make_sender(resolver=resolver, limits=Limits(connections=20, connections_per_host=5))
    async with open_sink(*[Answer(raw=b"HTTP/1.1 200 OK\r\n", then=Then.KEEP)] * 30) as sink:
        descriptors = _count_descriptors()
        urls = [
            sink.url,
            f"http://many.example:{sink.port}/",
            f"https://127.0.0.1:{sink.port}/",
            f"http://127.0.0.1:{black_hole_port}/",
            f"https://127.0.0.1:{deaf_port}/",
        ]
        tasks = []
        for _ in range(400):
            url, body = dice.choice(urls), bytes(dice.choice((2, 300_000)))
            tasks.append(asyncio.ensure_future(post(url, sender, body=body, timeout_s=dice.choice((0.05, 5.0)))))
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(dice.choice((0, 0, 0.001)))
            dice.choice(tasks).cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)  # cancelled attempts end in the loop's own time
        _assert_nobody_waits(_pool(sender))
        await sender.close()
        await sink.hang_up()
        assert _count_descriptors() <= descriptors


async def test_no_answer_leaves_a_descriptor_or_a_turn(post: Post, make_sender: Make) -> None:
    """Good and bad ones, ended in every way."""
    raws = (
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n",
        b"\0",
        b"HTTP/1.1 200 OK\r\n\r\nx",
    )
    answers = [
        Answer(raw=raw, then=then) for raw in raws for then in (Then.KEEP, Then.CLOSE, Then.HALF_CLOSE, Then.RESET)
    ]
    sender = make_sender(limits=Limits(connections_per_host=3))
    async with open_sink(*answers * 3) as sink:
        descriptors = _count_descriptors()
        await asyncio.gather(*(post(sink.url, sender, timeout_s=0.1) for _ in range(3 * len(answers))))
        await asyncio.sleep(0.05)  # what was closed from the other side is noticed
        _assert_nobody_waits(_pool(sender))
        await sender.close()
        await sink.hang_up()
        assert _count_descriptors() <= descriptors


async def test_busy_host_cannot_starve_another(post: Post, make_sender: Make) -> None:
    """Whoever gets a turn with the host joins the queue for the pool at its end."""
    limits = Limits(connections=1, connections_per_host=1)
    sender = make_sender(resolver=ScriptedResolver(["127.0.0.1"]), limits=limits)
    async with open_sink() as sink:
        hosts = ["busy", "busy", "busy", "busy", "quiet"]
        posts = [asyncio.ensure_future(post(f"http://{host}.example:{sink.port}/", sender)) for host in hosts]
        assert {response.status for response in await asyncio.gather(*posts)} == {200}
        order = [(request.header("host") or "").partition(".")[0] for request in sink.requests]
    assert order == ["busy", "quiet", "busy", "busy", "busy"]
    _assert_nobody_waits(_pool(sender))


async def test_request_that_gives_up_waiting_leaves_its_turn_to_the_next(post: Post, make_sender: Make) -> None:
    """Whether it waits for the host or for the pool."""
    limits = Limits(connections=1, connections_per_host=2)
    sender = make_sender(limits=limits)
    async with open_sink(Answer(raw=b""), Answer()) as sink:
        first = asyncio.ensure_future(post(sink.url, sender, timeout_s=0.2))
        await sink.received(1)
        waiting = [asyncio.ensure_future(post(sink.url, sender, timeout_s=0.05)) for _ in range(5)]
        assert {(await one).error for one in waiting} == {SendError.TIMEOUT}
        assert (await first).error is SendError.TIMEOUT
        assert (await post(sink.url, sender)).status == 200
    _assert_nobody_waits(_pool(sender))


async def test_connections_kept_are_no_more_than_may_be_used(post: Post, make_sender: Make) -> None:
    """Those that were used longest ago are closed first."""
    sender = make_sender(resolver=ScriptedResolver(["127.0.0.1"]), limits=Limits(connections=2))
    async with open_sink() as sink:
        for host in ("a", "b", "c", "c", "b"):
            assert (await post(f"http://{host}.example:{sink.port}/", sender)).status == 200
        assert sink.connections == 3
        assert len(_pool(sender)._connections) == 2


async def test_connection_that_ends_between_requests_is_dropped_at_once(post: Post, make_sender: Make) -> None:
    """The next request finds a new one."""
    sender = make_sender()
    async with open_sink(Answer(then=Then.CLOSE), Answer(then=Then.HALF_CLOSE), Answer(then=Then.RESET)) as sink:
        for count in range(1, 5):
            assert (await post(sink.url, sender)).status == 200
            assert sink.connections == count
            await asyncio.sleep(0.05)


async def test_connection_that_speaks_between_requests_is_dropped_at_once(post: Post, make_sender: Make) -> None:
    """What it says would be taken for the next answer."""
    may_speak, is_dropped = asyncio.Event(), asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await may_speak.wait()
        writer.write(b"HTTP/1.1 408 Too Slow\r\nContent-Length: 0\r\n\r\n")
        assert await reader.read() == b""
        is_dropped.set()
        writer.close()

    sender = make_sender()
    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        assert (await post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", sender)).status == 200
        may_speak.set()
        await is_dropped.wait()
    assert _pool(sender)._connections == {}


async def test_hosts_that_are_no_longer_used_are_forgotten(post: Post, make_sender: Make) -> None:
    """A pool does not grow with every host that ever was."""
    sender = make_sender(resolver=ScriptedResolver(["127.0.0.1"]), limits=Limits(idle_s=0))
    async with open_sink() as sink:
        for number in range(20):
            await post(f"http://{number}.example:{sink.port}/", sender)
    assert _pool(sender)._hosts == {}


@pytest.fixture
async def two_addresses() -> AsyncIterator[tuple[int, socket.socket]]:
    """A port that answers on 127.0.0.1, and on 127.0.0.2 accepts no more connections than it has."""
    async with open_sink() as sink:
        with socket.socket() as hole:
            hole.bind(("127.0.0.2", sink.port))
            yield sink.port, hole


async def test_address_that_refuses_is_passed_over(
    post: Post, make_sender: Make, two_addresses: tuple[int, socket.socket]
) -> None:
    """At once."""
    port, _ = two_addresses
    sender = make_sender(resolver=ScriptedResolver(["127.0.0.2", "127.0.0.1"]))
    response = await post(f"http://two.example:{port}/", sender)
    assert response.status == 200
    assert response.latency_s < 0.2


async def test_address_that_never_answers_does_not_hold_up_the_next(
    post: Post, make_sender: Make, two_addresses: tuple[int, socket.socket]
) -> None:
    """It has a head start only."""
    port, hole = two_addresses
    hole.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.settimeout(0)
        filler.connect_ex(("127.0.0.2", port))
    sender = make_sender(resolver=ScriptedResolver(["127.0.0.2", "127.0.0.1"]))
    response = await post(f"http://two.example:{port}/", sender)
    for filler in fillers:
        filler.close()
    assert response.status == 200
    assert 0.2 < response.latency_s < 3
    _assert_nobody_waits(_pool(sender))


async def test_host_none_of_whose_addresses_answers_is_a_connect_error(post: Post, make_sender: Make) -> None:
    """All were tried."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sender = make_sender(resolver=ScriptedResolver(["127.0.0.1", "127.0.0.2", "127.0.0.3"]))
        response = await post(f"http://three.example:{closed.getsockname()[1]}/", sender)
    assert response.error is SendError.CONNECT


@pytest.mark.parametrize(("dns_s", "count"), [(10, 1), (0, 2)])
async def test_name_is_looked_up_once_and_believed_for_a_while(
    post: Post, make_sender: Make, dns_s: int, count: int
) -> None:
    """Also by those who ask at the same time."""
    resolver = ScriptedResolver(["127.0.0.1"])
    sender = make_sender(resolver=resolver, limits=Limits(dns_s=dns_s, idle_s=0))
    async with open_sink() as sink:
        url = f"http://name.example:{sink.port}/"
        assert {(await one).status for one in [asyncio.ensure_future(post(url, sender)) for _ in range(9)]} == {200}
        assert (await post(url, sender)).status == 200
    assert resolver.names == ["name.example"] * count


async def test_look_up_that_fails_is_tried_again(post: Post, make_sender: Make) -> None:
    """An error is not remembered."""
    resolver = ScriptedResolver(socket.gaierror(socket.EAI_AGAIN, "later"), [], ["127.0.0.1"])
    sender = make_sender(resolver=resolver)
    async with open_sink() as sink:
        url = f"http://name.example:{sink.port}/"
        errors = [(await post(url, sender)).error for _ in range(3)]
    assert errors == [SendError.DNS, SendError.DNS, None]


async def test_one_who_gives_up_stops_no_look_up_of_others(post: Post) -> None:
    """They share it."""

    class Gated:
        def __init__(self) -> None:
            self.gate = asyncio.Event()

        async def resolve(self, host: str) -> list[str]:
            await self.gate.wait()
            return ["127.0.0.1"]

        async def close(self) -> None:
            pass

    resolver = Gated()
    sender = FastSender(cast("Clock", RealClock()), parse_networks(["127.0.0.0/8"]), resolver=resolver)
    async with open_sink() as sink:
        posts = [asyncio.ensure_future(post(f"http://name.example:{sink.port}/", sender)) for _ in range(2)]
        await asyncio.sleep(0)
        posts[0].cancel()
        await asyncio.sleep(0)
        resolver.gate.set()
        assert (await posts[1]).status == 200
    await sender.close()
