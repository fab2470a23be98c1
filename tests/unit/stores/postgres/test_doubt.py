"""What is under way: nobody who reads on from a number passes it over; a repeated plan waits for its first try."""

import asyncio

import asyncpg
import msgspec

from idsync.model.plan import Committed, EntityWrite, Plan, Redo, Reread
from idsync.model.values import ExternalId, Instant
from idsync.ports import PassedOn
from idsync.stores.postgres import PostgresStore
from idsync.stores.postgres.db import read_texts
from idsync.testing.store_suite.samples import AT, AUTH, HOLDER, begin, person, row, tried

VERBS = read_texts("sql")


async def test_event_of_a_slower_commit_is_not_passed_over(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Whoever follows the inbox is given what came later only when nothing can come before it any more."""
    line = await begin(store)
    await line.accept(row("e1"))
    slower = raw.transaction()
    await slower.start()
    await raw.fetch(VERBS["begin_commit"], [], 1, None)
    await line.accept(row("e3"))
    for read in (store.recent(0, 10), store.passed_on(PassedOn(), 10)):
        assert [one.row.id for one in await read] == ["e1"]
    await slower.rollback()
    for read in (store.recent(0, 10), store.passed_on(PassedOn(), 10)):
        assert [one.row.id for one in await read] == ["e1", "e3"]


async def test_followers_miss_no_event_of_many_writers(store: PostgresStore, other: PostgresStore) -> None:
    """Each reads on from the last one that it was given."""
    writers = [await begin(store), await begin(other)]

    async def write(number: int) -> None:
        for turn in range(40):
            await writers[number % 2].accept(*(row(f"e{number}-{turn}-{n}") for n in range(1 + number % 3)))

    writing = asyncio.gather(*(write(number) for number in range(8)))
    seen: list[str] = []
    after, is_over = 0, False
    while not is_over:
        is_over = writing.done()
        found = await other.recent(after, 50)
        seen += [one.row.id for one in found]
        after = found[-1].seq if found else after
        is_over = is_over and not found
    await writing
    assert sorted(seen) == sorted(one.row.id for one in await store.recent(0, 10_000))
    assert len(seen) == 40 * (3 * 1 + 3 * 2 + 2 * 3)


async def test_one_of_two_processes_that_expect_the_same_setting_writes(
    store: PostgresStore, other: PostgresStore
) -> None:
    """Each counts up what it has read, again where it was too late: no count is lost."""

    async def count_up(one: PostgresStore) -> None:
        for _ in range(20):
            while True:
                seen = await one.setting("revision")
                if await one.put_setting("revision", b"%d" % (int(seen or b"0") + 1), seen):
                    break

    await asyncio.gather(*(count_up(one) for one in (store, other, store, other)))
    assert await store.setting("revision") == b"80"


async def test_repeated_plan_waits_for_the_first_which_is_under_way(
    store: PostgresStore, raw: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Its connection was lost and the server does not know it yet: what it writes is seen, and not written again."""
    line = await begin(store)
    fences = await store.lease(HOLDER, ["lane:1"], 60)
    first = raw.transaction()
    await first.start()
    await raw.fetch(VERBS["lock_leases"], ["lane:1"])
    await raw.execute(
        "INSERT INTO attempt (slot, delivery, event, destination, subject, number, at, outcome, latency_ms, response)"
        " SELECT r.slot, $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM ring AS r WHERE r.name = 'attempt'",
        *_columns(),
    )
    plan = Plan(epoch=0, fences=fences, attempts=(tried(1, 5),), is_repeated=True)
    repeating = asyncio.ensure_future(line.commit(plan))
    done, _ = await asyncio.wait([repeating], timeout=0.2)
    assert not done
    await first.commit()
    await repeating
    assert len(await store.attempts(5)) == 1


async def test_one_of_two_who_make_an_entity_makes_it(store: PostgresStore, other: PostgresStore) -> None:
    """Whatever revs they give it: its id was claimed, and no index would have said that it is there."""
    lines = [await begin(store), await begin(other)]
    for turn in range(10):
        plans = [Plan(epoch=0, entities=(EntityWrite(person(turn, rev=rev), None),)) for rev in (1, 2, 1, 3)]
        results = await asyncio.gather(*(lines[n % 2].try_commit(plan) for n, plan in enumerate(plans)))
        assert [isinstance(one, Committed) for one in results].count(True) == 1
        assert {type(one) for one in results} == {Committed, Redo}
    assert len(await store.page("user", None, 100)) == 10


async def test_read_that_was_asked_for_by_a_clock_that_is_behind_is_not_ended(store: PostgresStore) -> None:
    """Two processes take one job; between their ends somebody asks again: only the look that was asked for ends it."""
    line = await begin(store)
    taken = Reread(peer=AUTH, kind="user", external_id=ExternalId("a1"), asked_at=AT, retry_at=AT)
    again = msgspec.structs.replace(taken, asked_at=Instant(AT - 5))
    await line.commit(Plan(epoch=0, rereads=(taken,)))
    await line.commit(Plan(epoch=0, rereads_done=(taken,)))
    await line.commit(Plan(epoch=0, rereads=(again,)))
    await line.commit(Plan(epoch=0, rereads_done=(taken,)))
    assert list(await store.due_rereads(AT, 10)) == [again]


def _columns() -> tuple[object, ...]:
    one = tried(1, 5)
    return (
        *(one.delivery, one.event, one.destination, one.subject, one.number, one.at),
        *(one.outcome.value, one.latency_ms, one.response),
    )
