"""Receivers that are not ours take what we send, and refuse it once it is altered."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from proofs.webhooks_out.receivers import RECEIVERS, Receiver, judge, open_node


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    """Where the receivers in Node are, if this is one of them."""
    if receiver.is_python:
        yield ""
        return
    async with open_node() as found:
        yield found


@pytest.mark.parametrize(
    "receiver",
    [
        pytest.param(one, id=f"python-{one.name}")
        if one.is_python
        else pytest.param(one, id=one.name, marks=pytest.mark.node)
        for one in RECEIVERS
    ],
)
async def test_receiver_takes_what_was_sent_and_nothing_altered(receiver: Receiver, url: str, tmp_path: Path) -> None:
    """First and further try, both secrets of a rotation, a batch; not another body, time or secret, nor an old time."""
    async with aiohttp.ClientSession() as http:
        verdict = await judge(receiver, tmp_path, url, http)
    assert verdict.complaints == []
    assert verdict.accepted >= 3
    assert verdict.refused >= 3
