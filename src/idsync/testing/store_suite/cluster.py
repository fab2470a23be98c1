"""What several processes need of one store: who does what, who no longer does, and when there is news."""

import asyncio
from typing import Final

import msgspec

from idsync.model.plan import Committed, Fenced, LaneRow, Plan
from idsync.ports import Store
from idsync.testing.store_suite.samples import HOLDER, TICK, Check, begin, parked_row, row
from idsync.testing.wait import until

LONG_S: Final = 60.0
SHORT_S: Final = 0.05


async def lease_is_given_to_one_holder(store: Store) -> None:
    """Who asks for several gets what is free of them; what another one has stays the other's."""
    await store.start()
    first = await store.lease("a", ["lane:1", "lane:2"], LONG_S)
    assert first.keys() == {"lane:1", "lane:2"}
    assert (await store.lease("b", ["lane:2", "lane:3"], LONG_S)).keys() == {"lane:3"}
    assert await store.lease("b", [], LONG_S) == {}


async def lease_that_is_kept_keeps_its_epoch(store: Store) -> None:
    """Also while another one asks for it."""
    await store.start()
    first = await store.lease("a", ["lane:1"], LONG_S)
    assert await store.lease("b", ["lane:1"], LONG_S) == {}
    assert await store.lease("a", ["lane:1"], LONG_S) == first


async def lease_that_is_over_is_taken_over(store: Store) -> None:
    """With a higher epoch; the one who had it does not get it back, and its time does not count on for others."""
    await store.start()
    first = await store.lease("a", ["lane:1"], SHORT_S)
    await until(lambda: _has_taken(store, "b", "lane:1"))
    second = await store.lease("b", ["lane:1"], LONG_S)
    assert second["lane:1"] > first["lane:1"]
    assert await store.lease("a", ["lane:1"], LONG_S) == {}


async def own_lease_that_is_over_is_taken_like_any_other(store: Store) -> None:
    """Somebody may have been in between: what was made under the old epoch does not count any more."""
    await store.start()
    first = await store.lease("a", ["lane:1"], SHORT_S)
    await until(lambda: _is_free(store, "lane:1"))
    second = await store.lease("a", ["lane:1"], LONG_S)
    assert second["lane:1"] > first["lane:1"]


async def lease_that_is_given_back_is_free_at_once(store: Store) -> None:
    """Only by who has it; it comes with a new epoch."""
    await store.start()
    first = await store.lease("a", ["lane:1", "lane:2"], LONG_S)
    await store.release("b", ["lane:1"])
    assert await store.lease("b", ["lane:1"], LONG_S) == {}
    await store.release("a", ["lane:1", "unknown"])
    second = await store.lease("b", ["lane:1", "lane:2"], LONG_S)
    assert second.keys() == {"lane:1"}
    assert second["lane:1"] > first["lane:1"]


async def holders_names_who_has_what(store: Store) -> None:
    """Of one prefix, taken literally; what is over or given back is left out."""
    await store.start()
    await store.lease("a", ["lane:1", "lane_1", "source:x"], LONG_S)
    await store.lease("b", ["lane:2"], LONG_S)
    await store.lease("b", ["lane:3"], SHORT_S)
    await until(lambda: _is_free(store, "lane:3"))
    assert await store.holders("lane:") == {"lane:1": "a", "lane:2": "b"}
    assert await store.holders("lane_") == {"lane_1": "a"}
    assert (await store.holders("")).keys() == {"lane:1", "lane:2", "lane_1", "source:x"}
    await store.release("a", ["lane:1"])
    assert await store.holders("lane:") == {"lane:2": "b"}


async def one_of_many_who_race_for_a_lease_has_it(store: Store) -> None:
    """Whatever the order in which they name what they want; nobody waits for ever."""
    await store.start()
    names = [f"lane:{number}" for number in range(6)]
    wanted = [names[turn:] + names[:turn] for turn in range(6)]
    got = await asyncio.gather(*(store.lease(f"w{turn}", some, LONG_S) for turn, some in enumerate(wanted)))
    assert sorted(name for one in got for name in one) == names
    owners = {name: f"w{turn}" for turn, one in enumerate(got) for name in one}
    assert await store.holders("lane:") == owners


async def plan_under_its_leases_is_written(store: Store) -> None:
    """Also while their holder keeps them, and under several."""
    line = await begin(store)
    fences = await store.lease("a", ["lane:1", "lane:2"], LONG_S)
    await store.lease("a", ["lane:1"], LONG_S)
    await line.commit(Plan(epoch=0, fences=fences, inbox=(row("e1"),)))
    assert await line.is_known(row("e1"))


async def plan_under_a_lease_that_was_taken_is_fenced(store: Store) -> None:
    """It writes nothing, and names the leases that are not ours any more; the new holder's plan is written."""
    line = await begin(store)
    old = await store.lease("a", ["lane:1"], SHORT_S) | await store.lease("a", ["lane:2"], LONG_S)
    await until(lambda: _has_taken(store, "b", "lane:1"))
    lane = line.audit[0]
    plan = Plan(
        epoch=0,
        fences=old,
        inbox=(row("e1"),),
        deliveries=(LaneRow(lane.id, row("e1").subject, 0, row=0),),
        parked=(parked_row(9, lane),),
        progress={lane.id: (0, 9)},
    )
    assert await line.try_commit(plan) == Fenced(frozenset({"lane:1"}))
    assert not await line.is_known(row("e1"))
    assert not (await line.read(lane.id)).deliveries
    assert (await store.stats()).parked == {}
    new = await store.lease("b", ["lane:1"], LONG_S)
    assert isinstance(await line.try_commit(msgspec.structs.replace(plan, fences=new)), Committed)


async def plan_under_a_lease_that_was_given_back_is_fenced(store: Store) -> None:
    """Whoever takes it next may read where we were at any moment; nor does a lease count that never was."""
    line = await begin(store)
    fences = await store.lease("a", ["lane:1"], LONG_S)
    await store.release("a", ["lane:1"])
    assert await line.try_commit(Plan(epoch=0, fences=fences, inbox=(row("e1"),))) == Fenced(frozenset({"lane:1"}))
    assert await line.try_commit(Plan(epoch=0, fences={"never": 1})) == Fenced(frozenset({"never"}))


async def tick_of_who_lost_the_lease_does_nothing(store: Store) -> None:
    """Nothing is lost by it: the next tick of the new holder places what it would have placed."""
    line = await begin(store)
    old = await store.lease("gone", [TICK], SHORT_S)
    await until(lambda: _has_taken(store, HOLDER, TICK))
    await line.accept(row("e1"))
    assert await store.tick(old[TICK]) is False
    assert [one.event_id for one in (await line.read(line.audit[0].id)).deliveries] == ["event-e1"]


async def waiting_for_news_ends_in_time(store: Store) -> None:
    """At the latest when its time is over, however often it is asked."""
    await store.start()
    async with asyncio.timeout(10):
        for _ in range(3):
            await store.wait(0.01)


async def _has_taken(store: Store, holder: str, name: str) -> bool:
    return name in await store.lease(holder, [name], LONG_S)


async def _is_free(store: Store, name: str) -> bool:
    return name not in await store.holders(name)


CHECKS: Final[tuple[Check, ...]] = (
    lease_is_given_to_one_holder,
    lease_that_is_kept_keeps_its_epoch,
    lease_that_is_over_is_taken_over,
    own_lease_that_is_over_is_taken_like_any_other,
    lease_that_is_given_back_is_free_at_once,
    holders_names_who_has_what,
    one_of_many_who_race_for_a_lease_has_it,
    plan_under_its_leases_is_written,
    plan_under_a_lease_that_was_taken_is_fenced,
    plan_under_a_lease_that_was_given_back_is_fenced,
    tick_of_who_lost_the_lease_does_nothing,
    waiting_for_news_ends_in_time,
)
