"""No delivery leaves for an address inside, by whatever name it is called."""

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from idsync.ports import Clock, Response, Sender, SendError
from idsync.senders import aiohttp_sender
from idsync.senders.fast import dial
from idsync.senders.limits import Limits
from idsync.senders.resolver import Resolver
from idsync.senders.timing import TIMING, Timing
from idsync.testing.sink import Answer, open_sink
from idsync.wire.address import parse_networks
from tests.unit.senders.conftest import RealClock

Post = Callable[..., Awaitable[Response]]
MakeSender = Callable[..., Sender]
MakeResolver = Callable[..., Resolver]

NOWHERE = "198.51.100.255/32"
"""Allows nothing that matters, so that the guard stands alone."""

INSIDE = [
    "0.0.0.0",  # noqa: S104 - an address to be refused, not bound to
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", INSIDE)
async def test_address_inside_is_blocked_when_the_url_spells_it(
    post: Post, make_sender: MakeSender, address: str
) -> None:
    """No look-up takes place, so the guard cannot live there alone."""
    response = await post(f"http://{_bracket(address)}:9/", make_sender(NOWHERE))
    assert (response.status, response.error) == (None, SendError.BLOCKED)


@pytest.mark.parametrize("address", INSIDE)
async def test_address_inside_is_blocked_when_a_look_up_gives_it(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver, address: str
) -> None:
    """The name proves nothing; the address that is connected to does."""
    sender = make_sender(NOWHERE, resolver=scripted_resolver([address]))
    response = await post("https://innocent.example/", sender)
    assert (response.status, response.error) == (None, SendError.BLOCKED)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost",
        "①27.0.0.1",
    ],
)
async def test_other_spelling_of_an_address_inside_reaches_nothing(
    post: Post, make_sender: MakeSender, host: str
) -> None:
    """Refused as an address, as a URL or as a name: all three are fine."""
    async with open_sink() as sink:
        response = await post(f"http://{host}:{sink.port}/", make_sender(NOWHERE))
        assert sink.connections == 0
    assert response.error in {SendError.BLOCKED, SendError.INVALID_URL, SendError.DNS}


async def test_several_addresses_inside_are_blocked_together(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver
) -> None:
    """The error keeps its name however many addresses failed."""
    sender = make_sender(NOWHERE, resolver=scripted_resolver(["10.0.0.1", "::1", "127.0.0.1", "fd00::1"]))
    assert (await post("http://many.example/", sender)).error is SendError.BLOCKED


async def test_address_inside_is_passed_over_for_one_that_is_allowed(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver
) -> None:
    """A host is reached by those of its addresses that pass."""
    sender = make_sender("127.0.0.1/32", resolver=scripted_resolver(["127.0.0.2", "::1", "127.0.0.1"]))
    async with open_sink() as sink:
        assert (await post(f"http://mixed.example:{sink.port}/", sender)).status == 200


async def test_name_that_moves_inside_is_blocked_at_its_next_connection(
    post: Post, make_sender: MakeSender, scripted_resolver: MakeResolver
) -> None:
    """Rebinding gains nothing: each connection's own address is vetted."""
    resolver = scripted_resolver(["127.0.0.1"], ["10.0.0.1"])
    sender = make_sender(resolver=resolver, limits=Limits(dns_s=0))
    async with open_sink(Answer(headers=(("Connection", "close"),))) as sink:
        url = f"http://moving.example:{sink.port}/"
        assert (await post(url, sender)).status == 200
        assert (await post(url, sender)).error is SendError.BLOCKED


async def test_request_to_the_operators_own_peer_is_exempt(post: Post, make_sender: MakeSender) -> None:
    """And the connection it leaves behind serves no other request."""
    sender = make_sender(NOWHERE)
    async with open_sink() as sink:
        assert (await post(sink.url, sender, is_exempt=True)).status == 200
        assert (await post(sink.url, sender)).error is SendError.BLOCKED
        assert len(sink.requests) == 1


async def test_allowed_network_passes_whatever_the_port(post: Post, make_sender: MakeSender) -> None:
    """The guard asks where, not for which service."""
    async with open_sink() as sink:
        assert (await post(sink.url, make_sender("127.0.0.1/32"))).status == 200
        assert (await post(sink.url, make_sender("127.0.0.2/32"))).error is SendError.BLOCKED


async def test_without_the_policy_the_address_inside_is_reached(
    post: Post, make_sender: MakeSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the policy, and nothing else, that keeps requests out."""
    for module in (aiohttp_sender, dial):
        monkeypatch.setattr(module, "may_connect", lambda _address, _allowed: True)
    async with open_sink() as sink:
        assert (await post(sink.url, make_sender(NOWHERE))).status == 200


async def test_system_resolver_is_guarded_too(post: Post, make_sender: MakeSender) -> None:
    """The name of this machine leads to this machine."""
    response = await post("http://localhost/", make_sender(NOWHERE))
    expected = SendError.BLOCKED if socket.gethostbyname("localhost") == "127.0.0.1" else SendError.DNS
    assert response.error is expected


async def test_socket_left_by_a_cancelled_connect_closes_no_descriptor_but_its_own() -> None:
    """The number may belong to another file by the time the socket is forgotten."""
    loop = asyncio.get_running_loop()
    TIMING.set(Timing(cast("Clock", RealClock())))
    async with open_sink() as sink:
        address = ("127.0.0.1", sink.port)
        forgotten = aiohttp_sender._guard(parse_networks(["127.0.0.0/8"]))(
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
        )
        forgotten.settimeout(0)
        await loop.sock_connect(forgotten, address)
        connecting = asyncio.ensure_future(loop.create_connection(asyncio.Protocol, sock=forgotten))
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await asyncio.sleep(0)
        number = forgotten.fileno()
    if number >= 0:  # not on asyncio, and not on uvloop from 0.23 on
        stranger = os.dup2(os.open(os.devnull, os.O_RDONLY), number)
        del forgotten, connecting
        gc.collect()
        os.close(stranger)  # raises where it was closed already
