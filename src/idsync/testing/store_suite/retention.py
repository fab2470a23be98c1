"""What is forgotten: all that is settled or old enough, and never what somebody still needs."""

from typing import Final

from msgspec.structs import replace

from idsync.model.plan import LaneRow, Plan, Wait
from idsync.ports import Store
from idsync.testing.store_suite.samples import AT, AUDIT, LATER, Check, begin, parked_row, row, tried


async def deliveries_that_are_not_settled_are_never_forgotten(store: Store) -> None:
    """Only what is behind the position of its own lane may go, whatever the others have settled."""
    line = await begin(store)
    first, second = line.audit
    rows = tuple(row(f"e{number}", body=b"body") for number in range(6))
    queued = tuple(LaneRow(line.audit[index % 2].id, one.subject, 0, row=index) for index, one in enumerate(rows))
    committed = await line.commit(Plan(epoch=0, inbox=rows, deliveries=queued))
    place = await line.place(committed.deliveries[2])
    await line.pass_by(first, committed.deliveries[2])
    for _ in range(3):
        await store.trim(LATER, 100)
    page = await line.read(first.id, after=place)
    assert [(one.id, one.body) for one in page.deliveries] == [(committed.deliveries[4], b"body")]
    page = await line.read(second.id)
    assert [(one.id, one.body) for one in page.deliveries] == [(id_, b"body") for id_ in committed.deliveries[1::2]]


async def delivery_without_a_place_is_not_forgotten(store: Store) -> None:
    """It was committed and nobody can have read it yet."""
    line = await begin(store)
    lane = line.audit[0]
    settled = await line.accept(row("e1"))
    place = await line.place(settled.deliveries[0])
    await line.pass_by(lane, settled.deliveries[0])
    unseen = await line.accept(row("e2", body=b"body"))
    await store.trim(LATER, 100)
    page = await line.read(lane.id, after=place)
    assert [(one.id, one.body) for one in page.deliveries] == [(unseen.deliveries[0], b"body")]


async def rows_are_kept_for_their_time(store: Store) -> None:
    """What is young stays; what is a hundred years old goes, inbox and attempts."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, inbox=(row("e1"),), attempts=(tried(1, 5),)))
    assert await store.trim(AT, 100) == 0
    assert await line.is_known(row("e1"))
    assert await store.trim(LATER, 100) > 0
    assert not await line.is_known(row("e1"))
    assert not await store.attempts(5)
    assert await store.trim(LATER, 100) == 0


async def trim_leaves_the_inbox_rows_that_are_needed(store: Store) -> None:
    """What waits, what is parked and what is not delivered yet, however old; the rest between them goes."""
    line = await begin(store)
    lane = line.audit[0]
    rows = tuple(replace(row(f"e{number}"), trace="00-trace", not_before=LATER) for number in range(40))
    waits = (Wait(row=5, reason="missing_parent"),)
    queued = (LaneRow(lane.id, rows[20].subject, 0, row=20),)
    committed = await line.commit(Plan(epoch=0, inbox=rows, waits=waits, deliveries=queued))
    await line.commit(Plan(epoch=0, parked=(parked_row(99, lane, event=committed.inbox[30]),)))
    for _ in range(20):
        await store.trim(LATER, 7)
    assert [entry.row for entry in await store.recent(0, 100)] == [rows[5], rows[20], rows[30]]
    place = await line.place(committed.deliveries[0])
    await line.commit(Plan(epoch=0, progress={lane.id: place}, unparked=(99,)))
    await store.trim(LATER, 100)
    assert {entry.row.id for entry in await store.recent(0, 100)} == {"e5"}
    assert [one.id for one in await store.waits(0, 10)] == ["e5"]
    assert await line.is_known(row("e5"))


async def positions_outlive_the_deliveries_before_them(store: Store) -> None:
    """What a lane has behind it may be forgotten, but not how far it was."""
    line = await begin(store)
    lane = line.audit[0]
    committed = await line.accept(row("e1"), row("e2"))
    for delivery in committed.deliveries:
        await line.pass_by(lane, delivery)
        position = dict(await store.open([AUDIT]))[lane]
        for _ in range(3):
            await store.trim(LATER, 100)
        assert dict(await store.open([AUDIT]))[lane] == position


async def numbers_are_never_given_twice(store: Store) -> None:
    """Also when everything was forgotten: a position or a sequence that somebody kept would lie."""
    line = await begin(store)
    before = await line.accept(row("e1"))
    place = await line.place(before.deliveries[0])
    await line.pass_by(line.audit[0], before.deliveries[0])
    assert await store.trim(LATER, 100) > 0
    after = await line.accept(row("e2"))
    assert after.inbox[0] > before.inbox[0]
    assert after.deliveries[0] > before.deliveries[0]
    assert await line.place(after.deliveries[0]) > place


CHECKS: Final[tuple[Check, ...]] = (
    deliveries_that_are_not_settled_are_never_forgotten,
    delivery_without_a_place_is_not_forgotten,
    rows_are_kept_for_their_time,
    trim_leaves_the_inbox_rows_that_are_needed,
    positions_outlive_the_deliveries_before_them,
    numbers_are_never_given_twice,
)
