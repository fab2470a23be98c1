"""The fast Sender and the reference make the same of an endpoint, whatever it does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

import pytest

from idsync.ports import Clock, Response
from idsync.senders.aiohttp_sender import AiohttpSender
from idsync.senders.fast import FastSender
from idsync.testing.endpoints import Agreement, Play, Reading, Scene, agreement, compare, is_alike, make_play
from idsync.testing.sink import Then
from idsync.wire.address import parse_networks
from tests.unit.senders.conftest import RealClock

PLAYS = 150
AT_ONCE = 100

Pair = tuple[FastSender, AiohttpSender]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Both senders."""
    clock, allowed = cast("Clock", RealClock()), parse_networks(["127.0.0.0/8"])
    ours, theirs = FastSender(clock, allowed), AiohttpSender(clock, allowed)
    yield ours, theirs
    await ours.close()
    await theirs.close()


async def test_both_make_the_same_of_any_endpoint_but_for_the_named_differences(pair: Pair) -> None:
    """Thousands more are in the proofs."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def judge(seed: int) -> Agreement:
        async with gate:
            return (await compare(make_play(seed), *pair)).agreement

    found = await asyncio.gather(*(judge(seed) for seed in range(PLAYS)))
    assert [seed for seed, agreement in enumerate(found) if agreement is Agreement.NONE] == []
    assert Counter(found)[Agreement.FULL] > PLAYS * 0.7


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (OK, Agreement.FULL),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", Agreement.HEAD_LOST),
        (OK + b"garbage", Agreement.HEAD_LOST),
        (OK.replace(b"OK\r\n", b"OK\r\nTransfer-Encoding:\r\n"), Agreement.EMPTY_CODING),
        (b"HTTP/1.1 103 Wait\r\n\r\n" * 5_000, Agreement.BOUNDED),
        (OK.replace(b"OK\r\n", b"OK\r\nX-Long: " + b"y" * 20_000 + b"\r\n"), Agreement.FULL),
    ],
    ids=["good", "broken chunk", "garbage after it", "empty coding", "interim answers", "a long line"],
)
async def test_difference_goes_by_its_name(
    pair: Pair, raw: bytes, expected: Agreement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reference makes of it is worse, and why is written beside the name."""
    for pause in ("PAUSE_S", "LONG_PAUSE_S"):  # on a busy machine both, or the slower one, would time out
        monkeypatch.setattr(agreement, pause, 3 * agreement.LONG_PAUSE_S)
    verdict = await compare(Play(scenes=(Scene(pieces=(raw,), then=Then.CLOSE),), body_bytes=2), *pair)
    assert verdict.agreement is expected


@pytest.mark.parametrize(
    "other",
    [
        Reading((Response(status=201, body=b"ok"),), 1),
        Reading((Response(status=200, body=b"o"),), 1),
        Reading((Response(status=200, body=b"ok", retry_after_s=1.0),), 1),
        Reading((Response(status=200, body=b"ok"),), 2),
    ],
    ids=["status", "body", "wait", "connections"],
)
def test_readings_that_differ_are_not_alike(other: Reading) -> None:
    """Else nothing above could fail."""
    reading = Reading((Response(status=200, body=b"ok", latency_s=1.0),), 1)
    assert is_alike(reading, reading)
    assert not is_alike(other, reading)
    assert not is_alike(reading, other)
