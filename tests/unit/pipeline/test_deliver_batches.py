"""Several events in one request."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from idsync.pipeline.sending.endpoint import BatchPolicy
from idsync.ports import Response, SendError
from tests.unit.pipeline.conftest import Door
from tests.unit.pipeline.posting import BUSY, SECRET, delivering, endpoint

BATCH = BatchPolicy(events_max=3, linger_ms=100)


async def test_batch_is_an_array_signed_as_the_official_library_signs(door: Door) -> None:
    """Signed like one body, under an id that is the same when it is sent again."""
    async with delivering(door, endpoint(batch=BATCH)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"), ("e3", "order/1"))
        (post,) = rig.open
        signed_at = datetime.fromtimestamp(int(post.header("webhook-timestamp")), tz=UTC)
        signature = Webhook(SECRET).sign(post.header("webhook-id"), signed_at, post.request.body.decode())
        assert post.header("webhook-signature") == signature
        assert sorted(post.ids) == ["e1", "e2", "e3"]
        await rig.answer(Response(error=SendError.TIMEOUT))
        await rig.pass_time(2.0)
        (again,) = rig.open
        assert again.header("webhook-id") == post.header("webhook-id")
        await rig.answer()
        assert [one.outcome for one in await rig.attempts("e2")] == ["delivered"]


async def test_batch_that_is_not_full_waits_a_little(door: Door) -> None:
    """And goes when it is full."""
    async with delivering(door, endpoint(batch=BATCH)) as rig:
        await rig.take(("e1", "order/1"))
        await rig.take(("e2", "order/2"))
        assert rig.open == []
        await rig.pass_time(0.1)
        assert [sorted(one.ids) for one in rig.open] == [["e1", "e2"]]
        await rig.take(*((f"f{number}", f"order/f{number}") for number in range(3)))
        assert len(rig.open) == 2


async def test_batch_is_no_larger_than_its_bounds(door: Door) -> None:
    """Neither in events nor in bytes; one event that is larger goes alone."""
    policy = BatchPolicy(events_max=4, bytes_max=1_024, linger_ms=0)
    async with delivering(door, endpoint(batch=policy)) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(40)))
        assert all(len(one.request.body) <= 1_024 and len(one.ids) <= 4 for one in rig.sender.posts)
        while rig.open:
            await rig.answer()
            await rig.pass_time(0.1)
        assert len(set(rig.sent)) == len(rig.sent) == 40


async def test_answer_that_names_events_settles_the_others(door: Door) -> None:
    """Those that it names are tried again, and what follows them of their identity waits."""
    async with delivering(door, endpoint(batch=BatchPolicy(events_max=4, linger_ms=0))) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"), ("e3", "order/2"), ("e4", "order/3"))
        await rig.answer(Response(status=207, body=b'{"failed": ["e2", "unknown"]}'))
        assert [one.event_id for one in await rig.parked()] == ["e2"]
        assert [(one.outcome, one.error) for one in await rig.attempts("e2")] == [("failed", "failed_in_batch")]
        assert [one.outcome for one in await rig.attempts("e3")] == ["delivered"]
        await rig.pass_time(2.0)
        assert [one.ids for one in rig.open] == [["e2"]]


@pytest.mark.parametrize(
    ("status", "body", "is_taken"),
    [
        (200, b"", True),
        (200, b"thanks", True),
        (200, b'{"failed": []}', True),
        (200, b'{"failed": 0}', True),
        (207, b'{"ok": true}', True),
        (200, b'{"failed": ["e1", "e', False),
        (207, b"<multistatus/>", False),
        (200, b'{"failed": 3}', False),
    ],
)
async def test_unreadable_answer_takes_nothing(door: Door, status: int, body: bytes, *, is_taken: bool) -> None:
    """A list that was cut off might name any of them."""
    async with delivering(door, endpoint(batch=BATCH)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"), ("e3", "order/3"))
        await rig.answer(Response(status=status, body=body))
        assert (rig.open == []) is is_taken


async def test_dead_endpoint_is_not_sent_halves(door: Door) -> None:
    """Where nobody judged the events, the same batch is sent again, and its events stay queued."""
    async with delivering(door, endpoint(batch=BatchPolicy(events_max=8, linger_ms=0))) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(8)))
        for _ in range(4):
            await rig.answer(BUSY)
            await rig.pass_time(61.0)
        assert {len(one.ids) for one in rig.sender.posts} == {8}
        assert await rig.parked() == []
        assert [one.type for one in rig.told] == ["breaker.opened"]
