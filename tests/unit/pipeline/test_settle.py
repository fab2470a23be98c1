"""Settle: what became of deliveries is written once, whoever asks for it and however often."""

import asyncio

import pytest

from idsync.errors import StoreError
from idsync.model.delivery import Attempt, Delivery, Outcome
from idsync.model.event import Verdict
from idsync.model.plan import CommitResult, Plan
from idsync.pipeline.parts.feed import Feed
from idsync.pipeline.parts.settle import Book, Settler
from idsync.stores.sqlite import SqliteStore
from tests.unit.pipeline.conftest import Door


class Deaf:
    """A store whose answer to a commit is lost as often as it is told; the commit itself is not."""

    def __init__(self, store: SqliteStore, losses: int) -> None:
        """Lose the first answers."""
        self._store = store
        self._losses = losses

    async def commit(self, plan: Plan) -> CommitResult:
        """Write it."""
        result = await self._store.commit(plan)
        self._losses -= 1
        if self._losses >= 0:
            raise StoreError("the connection was lost")
        return result


async def test_two_who_flush_at_once_write_every_try_once(door: Door) -> None:
    """The settle loop and a command's end meet: the second waits, and finds nothing left to write."""
    settler = Settler(door.store, door.clock, epoch=1)
    delivery = await _try_one(door, settler)
    await asyncio.gather(settler.flush(), settler.flush(), settler.flush())
    assert [one.number for one in await door.store.attempts(delivery.event)] == [1]


async def test_flush_whose_answer_was_lost_writes_every_try_once(door: Door) -> None:
    """It is repeated until it is answered, and leaves out what is there."""
    settler = Settler(Deaf(door.store, losses=2), door.clock, epoch=1)  # type: ignore[arg-type]  # only `commit` is called
    delivery = await _try_one(door, settler)
    for _ in range(2):
        with pytest.raises(StoreError):
            await settler.flush()
    await settler.flush()
    assert [one.number for one in await door.store.attempts(delivery.event)] == [1]


async def test_only_those_who_wait_for_a_flush_are_called_back(door: Door) -> None:
    """A flush of one endpoint's results wakes whoever asked for its number, once, and nobody else."""
    settler, woken = Settler(door.store, door.clock, epoch=1), list[str]()
    waiting, quiet = (_open_book(door, settler, woken, name) for name in ("waiting", "quiet"))
    waiting.keep({"one": b"1"})
    quiet.keep({"two": b"2"})
    assert waiting.next_flush() > waiting.flushed
    await settler.flush()
    quiet.keep({"two": b"3"})
    await settler.flush()
    assert woken == ["waiting"]


async def test_flush_that_failed_calls_back_when_it_is_durable(door: Door) -> None:
    """Whoever waits for it is not woken for a flush that was not answered."""
    settler, woken = Settler(Deaf(door.store, losses=1), door.clock, epoch=1), list[str]()  # type: ignore[arg-type]  # only `commit` is called
    book = _open_book(door, settler, woken, "waiting")
    book.keep({"one": b"1"})
    number = book.next_flush()
    with pytest.raises(StoreError):
        await settler.flush()
    assert not woken
    await settler.flush()
    assert (woken, book.flushed) == (["waiting"], number)


def _open_book(door: Door, settler: Settler, woken: list[str], name: str) -> Book:
    """Open a book that tells by its name that it was called back."""
    return settler.open(Feed(door.store, [], memory_max=1, page_max=1), lambda: woken.append(name))


async def _try_one(door: Door, settler: Settler) -> Delivery:
    """Take one event in, and record one try of its delivery."""
    (receipt,) = await door.take(door.event("e1"))
    assert receipt.verdict is Verdict.APPLIED
    (delivery,) = door.queued
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
    return delivery
