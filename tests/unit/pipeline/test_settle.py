"""Settle: what became of deliveries is written once, whoever asks for it and however often."""

import asyncio

from idsync.model.delivery import Attempt, Outcome
from idsync.model.event import Verdict
from idsync.pipeline.parts.feed import Feed
from idsync.pipeline.parts.settle import Settler
from tests.unit.pipeline.conftest import Door


async def test_two_who_flush_at_once_write_every_try_once(door: Door) -> None:
    """The settle loop and a command's end meet: the second waits, and finds nothing left to write."""
    (receipt,) = await door.take(door.event("e1"))
    assert receipt.verdict is Verdict.APPLIED
    (delivery,) = door.queued
    settler = Settler(door.store, door.clock, epoch=1)
    feed = Feed(door.store, [], memory_max=1, page_max=1)
    book = settler.open(feed, lambda: None)
    book.record(
        Attempt(
            delivery=delivery.id,
            event=delivery.event,
            destination="endpoint:audit",
            subject=delivery.subject,
            number=1,
            at=door.clock.now(),
            outcome=Outcome.DELIVERED,
        )
    )
    await asyncio.gather(settler.flush(), settler.flush(), settler.flush())
    assert [one.number for one in await door.store.attempts(delivery.event)] == [1]
