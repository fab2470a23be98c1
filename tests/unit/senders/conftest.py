"""What the tests of a Sender share: both event loops, senders that may reach 127.0.0.1, a short way to post."""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from idsync.model.values import Instant
from idsync.ports import Clock, Request, Response, Sender
from idsync.senders.aiohttp_sender import AiohttpSender
from idsync.senders.fast import FastSender
from idsync.senders.limits import Limits
from idsync.senders.resolver import Resolver
from idsync.wire.address import parse_networks


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on the loop of the standard library and on the one that idsync runs on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class RealClock:
    """The machine's clock, as far as a sender looks at it."""

    def now(self) -> Instant:
        """Tell the milliseconds since 1970."""
        return Instant(time.time_ns() // 1_000_000)

    def monotonic(self) -> float:
        """Tell seconds that never go back."""
        return time.monotonic()


class ScriptedResolver:
    """Gives scripted answers, one for each look-up and the last one for ever: addresses, or an error to raise."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.names: list[str] = []
        self._answers = deque(answers)

    async def resolve(self, host: str) -> Sequence[str]:
        """Answer the next look-up."""
        self.names.append(host)
        answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def scripted_resolver() -> Callable[..., Resolver]:
    """Make a resolver of scripted answers."""
    return ScriptedResolver


@pytest.fixture(params=[FastSender, AiohttpSender])
def kind(request: pytest.FixtureRequest) -> Callable[..., Sender]:
    """Each implementation in turn: what is promised, both keep."""
    return cast("Callable[..., Sender]", request.param)


@pytest.fixture
async def make_sender(kind: Callable[..., Sender]) -> AsyncIterator[Callable[..., Sender]]:
    """Make senders, which may reach 127.0.0.1 unless told otherwise, and close them after the test."""
    made: list[Sender] = []

    def make(
        *allowed: str,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> Sender:
        networks = parse_networks(allowed or ["127.0.0.0/8"])
        made.append(kind(cast("Clock", RealClock()), networks, limits=limits, tls=tls, resolver=resolver))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


@pytest.fixture
def post(make_sender: Callable[..., Sender]) -> Callable[..., Awaitable[Response]]:
    """Post a small request through a sender of its own, or the one that is given."""
    senders: list[Sender] = []

    async def send(
        url: str,
        sender: Sender | None = None,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"{}",
        timeout_s: float = 5.0,
        is_exempt: bool = False,
    ) -> Response:
        if sender is None:
            senders[:] = senders or [make_sender()]
        request = Request(url=url, headers=headers, body=body, timeout_s=timeout_s, is_exempt=is_exempt)
        return await (sender or senders[0]).send(request)

    return send


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port where connections succeed and nobody ever reads or answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def black_hole_port() -> Iterator[int]:
    """A port where connecting never ends: its queue is full and stays full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(address)
        yield address[1]
        for filler in fillers:
            filler.close()


class Certificate:
    """A self-signed certificate for 127.0.0.1 and localhost in a file."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink")])
        now = datetime.now(UTC)
        day = timedelta(days=1)
        alternative = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(alternative, critical=False)
            .sign(key, hashes.SHA256())
        )
        self.path = folder / "sink.pem"
        self.path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )

    def server(self) -> ssl.SSLContext:
        """For the side that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context

    def client(self) -> ssl.SSLContext:
        """For the side that trusts it."""
        return ssl.create_default_context(cafile=self.path)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Make a certificate once."""
    return Certificate(tmp_path_factory.mktemp("tls"))
