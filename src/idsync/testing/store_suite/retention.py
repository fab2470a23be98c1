"""What is forgotten: all that is settled or old enough, and never what somebody still needs."""

from typing import Final

from idsync.model.plan import LaneCursor, LaneRow, Plan, Wait
from idsync.ports import Store
from idsync.testing.store_suite.samples import AT, LATER, Check, begin, parked_row, row, tried


async def settled_deliveries_are_forgotten_at_once(store: Store) -> None:
    """Behind the position of their lane and nowhere else, a few at a time if so asked."""
    line = await begin(store)
    first, second = line.audit
    rows = tuple(row(f"e{number}") for number in range(6))
    queued = tuple(LaneRow(line.audit[index % 2].id, one.subject, 0, row=index) for index, one in enumerate(rows))
    committed = await line.commit(Plan(epoch=0, inbox=rows, deliveries=queued))
    await line.commit(Plan(epoch=0, progress={first.id: committed.deliveries[2]}))
    assert await store.trim(AT, 1) == 1
    assert await store.trim(AT, 10) == 1
    assert await store.trim(AT, 10) == 0
    page = await store.read([LaneCursor(first.id, 0), LaneCursor(second.id, 0)], 10)
    assert [one.id for one in page.deliveries if one.lane == first.id] == [committed.deliveries[4]]
    assert [one.id for one in page.deliveries if one.lane == second.id] == list(committed.deliveries[1::2])


async def rows_are_kept_for_their_time(store: Store) -> None:
    """What is young stays; what is a hundred years old goes, inbox, attempts and conflicts."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, inbox=(row("e1"),), attempts=(tried(1, 5),)))
    assert await store.trim(AT, 100) == 0
    assert await line.is_known(row("e1"))
    assert await store.trim(LATER, 100) == 2
    assert not await line.is_known(row("e1"))
    assert not await store.attempts(5)


async def trim_leaves_the_inbox_rows_that_are_needed(store: Store) -> None:
    """What waits, what is parked and what is not delivered yet, however old; the rest between them goes."""
    line = await begin(store)
    lane = line.audit[0]
    rows = tuple(row(f"e{number}") for number in range(40))
    waits = (Wait(row=5, reason="missing_parent"),)
    queued = (LaneRow(lane.id, rows[20].subject, 0, row=20),)
    committed = await line.commit(Plan(epoch=0, inbox=rows, waits=waits, deliveries=queued))
    await line.commit(Plan(epoch=0, parked=(parked_row(99, lane, event=committed.inbox[30]),)))
    deleted = [await store.trim(LATER, 7) for _ in range(20)]
    assert max(deleted) <= 7
    assert sum(deleted) == 37
    assert {entry.row.id for entry in await store.recent(0, 100)} == {"e5", "e20", "e30"}
    await line.commit(Plan(epoch=0, progress={lane.id: committed.deliveries[0]}, unparked=(99,)))
    assert await store.trim(LATER, 100) == 3
    assert {entry.row.id for entry in await store.recent(0, 100)} == {"e5"}


async def numbers_are_never_given_twice(store: Store) -> None:
    """Also when everything was forgotten: a position or a sequence that somebody kept would lie."""
    line = await begin(store)
    before = await line.accept(row("e1"))
    await line.commit(Plan(epoch=0, progress={line.audit[0].id: before.deliveries[0]}))
    assert await store.trim(LATER, 100) == 2
    after = await line.accept(row("e2"))
    assert after.inbox[0] > before.inbox[0]
    assert after.deliveries[0] > before.deliveries[0]


CHECKS: Final[tuple[Check, ...]] = (
    settled_deliveries_are_forgotten_at_once,
    rows_are_kept_for_their_time,
    trim_leaves_the_inbox_rows_that_are_needed,
    numbers_are_never_given_twice,
)
