"""Claim 6: receivers that are not ours take what we send: official libraries, and those of seeds 000 to 003.

A service in this process posts to a server that keeps each request as it came. The judges get those very bytes, and
altered ones: `standardwebhooks` and `svix` in Python here, everything else in Node, over HTTP.
"""

import asyncio
import base64
import contextlib
import io
import re
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import aiohttp
import msgspec
import standardwebhooks
import svix.webhooks
from standardwebhooks import WebhookVerificationError

from idsync.app import App, SystemClock, open_app
from idsync.app.endpoints import Created, Rotated
from idsync.config import EndpointSettings, parse_endpoint, parse_settings
from idsync.connectors.webhook import fan_out_arrival
from idsync.model.event import Arrival
from idsync.model.values import Instant, PeerName
from idsync.ports import Clock
from idsync.telemetry import Log
from idsync.testing.sink import Answer, Received, open_sink
from idsync.wire.envelope import Incoming, parse_batch
from idsync.worker import Worker
from proofs.claims import Row, count
from proofs.pair import ROOT, scratch

PROJECT: Final = ROOT / "tests" / "e2e" / "receivers"
READY_S: Final = 20.0
SLOW_MS: Final = 600_000
"""How far behind the clock of a service is whose webhooks are too old: twice what receivers bear."""
RETRY_S: Final = 1.1
"""Signed times are in whole seconds: a further try is at another one."""
NAMED: Final = b"Ada Lovelace"
FORGED: Final = b"Eve Lovelace"

SETTINGS: Final = """
[store]
url = "sqlite:///{folder}/{name}.db"
[delivery]
allow_cidrs = ["127.0.0.0/8"]
"""


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver, and what it can do beyond checking a signature."""

    name: str
    dialect: str
    is_python: bool = False
    source: str = "payload"
    """Where the events come from: the routes of seed 000 take those of one origin only."""
    is_dated: bool = True
    """Whether the dialect names a time."""
    minds_age: bool = False
    """Whether it refuses what is old; seeds 002 and 003 have the time signed and never look at it."""
    has_overlap: bool = False
    """Whether the old secret goes on to verify: the dialect has room for two signatures."""
    takes_batches: bool = False


STANDARD: Final = Receiver(
    name="standardwebhooks", dialect="standard", minds_age=True, has_overlap=True, takes_batches=True
)
SVIX: Final = msgspec.structs.replace(STANDARD, name="svix", dialect="svix")

RECEIVERS: Final = (
    msgspec.structs.replace(STANDARD, is_python=True),
    msgspec.structs.replace(SVIX, is_python=True),
    STANDARD,
    SVIX,
    Receiver(name="seed-000-better-auth", dialect="plain-hex", minds_age=True),
    Receiver(name="seed-000-payload", dialect="plain-hex", source="better-auth", minds_age=True),
    Receiver(name="seed-000-queue", dialect="qstash", minds_age=True),
    Receiver(name="seed-001", dialect="better-auth", is_dated=False),
    Receiver(name="seed-002-express", dialect="authon"),
    Receiver(name="seed-002-next", dialect="authon"),
    Receiver(name="seed-003", dialect="timestamped", has_overlap=True),
)


class Sent(NamedTuple):
    """What one endpoint was sent, in this order."""

    first: Received
    again: Received
    """The same event, after an answer of 500."""
    rotated: Received
    """Signed while a rotation overlaps."""
    batch: Received | None
    """Three events in one request, to those who can read it."""
    old: Received
    """By a service whose clock is ten minutes behind."""


class Verdict(NamedTuple):
    """What one receiver said."""

    accepted: int
    refused: int
    complaints: list[str]


class Heard(msgspec.Struct, frozen=True):
    """What a receiver read from a request that it took."""

    id: str
    """Of the event; those of a batch, parted by commas."""
    subject: str
    """The name of the person that the last event is about."""


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # there is no longer form
    """Show each receiver what its endpoint was sent, as it was and altered."""
    with scratch("receivers") as folder:
        async with open_node() as url, aiohttp.ClientSession() as http:
            verdicts = await asyncio.gather(*(judge(one, folder, url, http) for one in RECEIVERS))
    return [
        Row(
            f"{'python' if one.is_python else 'node'} {one.name} verifies {one.dialect}",
            f"{count(found.accepted, 'accepted')}, {count(found.refused, 'altered refused')}"
            + "".join(f"; {complaint}" for complaint in found.complaints),
            "every one as sent, none altered",
            holds=not found.complaints,
        )
        for one, found in zip(RECEIVERS, verdicts, strict=True)
    ]


async def judge(receiver: Receiver, folder: Path, url: str, http: aiohttp.ClientSession) -> Verdict:
    """Send to one receiver's endpoint, and hear the receiver on all of it."""
    first, newer, foreign = (make_secret(receiver, one) for one in ("first", "newer", "foreign"))
    sent = await send(receiver, folder, first, newer)
    good = [("the first try", sent.first, first, "evt_1"), ("the second try", sent.again, first, "evt_1")]
    good.append(("the newer secret", sent.rotated, newer, "evt_2"))
    bad = [("another body", with_body(sent.first), first), ("another secret", sent.first, foreign)]
    if receiver.has_overlap:
        good.append(("the older secret", sent.rotated, first, "evt_2"))
    else:
        bad.append(("the older secret", sent.rotated, first))
    if sent.batch is not None:
        good.append(("a batch", sent.batch, newer, "evt_3,evt_4,evt_5"))
        bad.append(("another batch", with_body(sent.batch), newer))
    if receiver.is_dated:
        bad.append(("another time", with_time(sent.first), first))
    if receiver.minds_age:
        bad.append(("an old time", sent.old, first))
    complaints = [] if is_anew(receiver, sent) else ["a further try has the old time"]
    for what, request, secret, ids in good:
        heard = await ask(receiver, request, secret, url, http)
        if heard != Heard(ids, NAMED.decode()):
            complaints.append(f"{what}: heard {heard}")
    for what, request, secret in bad:
        if await ask(receiver, request, secret, url, http) is not None:
            complaints.append(f"{what} was taken")
    return Verdict(len(good), len(bad), complaints)


def is_anew(receiver: Receiver, sent: Sent) -> bool:
    """Whether the second try has the same body and a signature of its own time."""
    return sent.first.body == sent.again.body and (sent.first.headers != sent.again.headers) is receiver.is_dated


async def send(receiver: Receiver, folder: Path, first: str, newer: str) -> Sent:
    """Make an endpoint of the receiver's dialect, and let everything happen to it."""
    async with open_sink(Answer(status=500)) as sink, running(receiver, folder, SystemClock()) as app:
        await make(app, receiver, sink.url, first)
        await publish(app, receiver, 1)
        await sink.received(2)
        found = await app.endpoints.rotate("receiver", newer)
        assert isinstance(found, Rotated), found
        await publish(app, receiver, 2)
        await sink.received(3)
        requests = list(sink.requests)
    batch = await send_batch(receiver, folder, newer) if receiver.takes_batches else None
    async with open_sink() as sink, running(receiver, folder, SlowClock(), "slow") as app:
        await make(app, receiver, sink.url, first)
        await publish(app, receiver, 1)
        (old,) = await sink.received(1)
    return Sent(requests[0], requests[1], requests[2], batch, old)


async def send_batch(receiver: Receiver, folder: Path, secret: str) -> Received:
    """Let three events go together."""
    async with open_sink() as sink, running(receiver, folder, SystemClock(), "batch") as app:
        await make(app, receiver, sink.url, secret, batch={"events_max": 3, "linger_ms": 5_000})
        await publish(app, receiver, 3, 4, 5)
        (batch,) = await sink.received(1)
    return batch


@contextlib.asynccontextmanager
async def running(receiver: Receiver, folder: Path, clock: Clock, suffix: str = "") -> AsyncIterator[App]:
    """Run one service with a store of its own."""
    name = f"{receiver.name}-{receiver.is_python}{suffix}"
    settings = parse_settings(SETTINGS.format(folder=folder, name=name))
    app = await open_app(settings, log=Log(io.StringIO()), clock=clock)
    worker = Worker(app)
    await worker.start()
    try:
        yield app
    finally:
        await worker.stop(1.0)


async def make(app: App, receiver: Receiver, url: str, secret: str, **more: object) -> None:
    """Make the endpoint."""
    settings = parse_endpoint(
        {
            "url": f"{url}{receiver.name}",
            "secret": secret,
            "dialect": receiver.dialect,
            "retry": {"first_s": RETRY_S, "jitter": 0},
            **more,
        }
    )
    assert isinstance(settings, EndpointSettings), settings
    made = await app.endpoints.create("receiver", settings)
    assert isinstance(made, Created), made


async def publish(app: App, receiver: Receiver, *numbers: int) -> None:
    """Publish events about one person, as an application would."""
    await app.submit([event(receiver, number) for number in numbers])


def event(receiver: Receiver, number: int) -> Arrival:
    """One change of a person."""
    body = {
        "id": f"evt_{number}",
        "type": "user.updated",
        "source": receiver.source,
        "subject": "user/u1",
        "data": {"id": "u1", "email": "ada@example.org", "name": NAMED.decode()},
    }
    [one] = cast("list[Incoming]", parse_batch(msgspec.json.encode(body)))
    arrival = fan_out_arrival(one, PeerName("@api"), lambda: f"evt_{number}", SystemClock().now())
    assert isinstance(arrival, Arrival), arrival
    return arrival


class SlowClock:
    """The machine's clock, ten minutes behind."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.monotonic = self._clock.monotonic
        self.sleep = self._clock.sleep
        self.new_id = self._clock.new_id
        self.spread = self._clock.spread

    def now(self) -> Instant:
        """Read the wall clock as it was."""
        return Instant(self._clock.now() - SLOW_MS)


def make_secret(receiver: Receiver, text: str) -> str:
    """Write a secret as the dialect has it."""
    raw = text.encode().ljust(32, b"-")
    is_standard = receiver.dialect in {"standard", "svix"}
    return "whsec_" + base64.b64encode(raw).decode() if is_standard else raw.decode()


def with_body(request: Received) -> Received:
    """Say it of somebody else."""
    assert NAMED in request.body
    return msgspec.structs.replace(request, body=request.body.replace(NAMED, FORGED))


def with_time(request: Received) -> Received:
    """Change the time that the headers name: the first digit of it, one less or more."""
    headers = tuple((name, _moved(name, value)) for name, value in request.headers)
    assert headers != request.headers
    return msgspec.structs.replace(request, headers=headers)


def _moved(name: str, value: str) -> str:
    if name.lower().endswith("-timestamp") or value.startswith("t="):
        return re.sub(r"\d", lambda digit: str(int(digit[0]) - 1), value, count=1)
    if name == "Upstash-Signature":
        header, claims, signature = value.split(".")
        read = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=="))
        later = msgspec.json.encode({**read, "exp": read["exp"] + 1})
        return ".".join((header, base64.urlsafe_b64encode(later).decode().rstrip("="), signature))
    return value


async def ask(
    receiver: Receiver, request: Received, secret: str, url: str, http: aiohttp.ClientSession
) -> Heard | None:
    """Show a request to the receiver, which holds this secret; None: it refuses."""
    if receiver.is_python:
        return ask_python(receiver, request, secret)
    headers = [(name, value) for name, value in request.headers if name.lower() not in {"host", "content-length"}]
    asked = {"secret": secret, "url": f"http://{request.header('host')}{request.target}"}
    async with http.post(f"{url}/{receiver.name}", params=asked, headers=headers, data=request.body) as answer:
        said = await answer.read()
        return msgspec.json.decode(said, type=Heard) if answer.ok else None


def ask_python(receiver: Receiver, request: Received, secret: str) -> Heard | None:
    """Let the library of this language judge."""
    library = standardwebhooks.Webhook if receiver.name == "standardwebhooks" else svix.webhooks.Webhook
    try:
        library(secret).verify(request.body, {name.lower(): value for name, value in request.headers})
    except WebhookVerificationError:
        return None
    found = msgspec.json.decode(request.body)
    events: Sequence[dict[str, Any]] = found if isinstance(found, list) else [found]
    return Heard(",".join(one["id"] for one in events), events[-1]["data"]["name"])


@contextlib.asynccontextmanager
async def open_node() -> AsyncIterator[str]:
    """Run the receivers in Node until the block ends; they are reached at this address."""
    process = await asyncio.create_subprocess_exec("node", "receivers.mjs", cwd=PROJECT, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_S):
            line = await process.stdout.readline()
        yield f"http://127.0.0.1:{int(line.split()[-1])}"
    finally:
        process.stdin.close()
        await process.wait()
