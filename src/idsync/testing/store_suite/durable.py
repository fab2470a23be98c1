"""What outlives the process: all that was answered, and of an entity's bodies only what its key opens."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from idsync.model.delivery import FIRST_PLACE, Outcome, ParkedState
from idsync.model.entity import Conflict
from idsync.model.plan import Committed, EntityWrite, Keys, LaneCursor, Plan, Position, Wait
from idsync.model.values import Subject
from idsync.ports import ParkedFilter, Store
from idsync.testing.store_suite.samples import (
    APP,
    AT,
    AUDIT,
    AUTH,
    LATER,
    begin,
    parked_row,
    person,
    row,
    tried,
)


class StoreRig(Protocol):
    """One store under test, and what can happen to it."""

    @property
    def store(self) -> Store:
        """The store as it is open now."""
        ...

    async def reopen(self) -> Store:
        """Close the store, and open it again."""
        ...

    async def crash(self) -> Store:
        """Open what a new process finds if this one is killed now."""
        ...

    async def read_at_rest(self) -> bytes:
        """Every byte that is kept."""
        ...


DurableCheck = Callable[[StoreRig], Awaitable[None]]


async def reopened_store_has_kept_everything(rig: StoreRig) -> None:
    """What was written before the end is read after it."""
    line = await begin(rig.store)
    entity = person(1)
    one = row("e1", entity=entity, body=b"body")
    committed = await line.commit(
        Plan(
            epoch=0,
            inbox=(one, row("e2")),
            entities=(EntityWrite(entity, None),),
            waits=(Wait(row=1, reason="missing_parent", retry_at=AT),),
            positions={AUTH: Position("g", 1, "n")},
            attempts=(tried(1, 1),),
            parked=(parked_row(1, line.audit[0]),),
            progress={line.audit[0].id: (0, 8)},
        )
    )
    await rig.store.put_setting("secret", b"value")
    await line.commit(Plan(epoch=0, settings={"planned": b"value"}))
    store = await rig.reopen()
    assert [entry.seq for entry in await store.recent(0, 10)] == list(committed.inbox)
    assert [entry.row for entry in await store.timeline(entity.id, 10)] == [one]
    assert await store.get(entity.id) == entity
    assert [one.id for one in await store.due_waits(AT, 10)] == ["e2"]
    assert await store.position(AUTH) == Position("g", 1, "n")
    assert list(await store.attempts(1)) == [tried(1, 1)]
    assert list(await store.parked(ParkedFilter(), 10)) == [parked_row(1, line.audit[0])]
    assert dict(await store.open([AUDIT]))[line.audit[0]] == (0, 8)
    assert await store.settings("") == {"planned": b"value", "secret": b"value"}


async def epochs_go_on_after_reopening(rig: StoreRig) -> None:
    """A process that comes back after its successor is fenced."""
    epoch = await rig.store.start()
    assert await (await rig.reopen()).start() > epoch


async def numbers_are_never_given_twice_after_reopening(rig: StoreRig) -> None:
    """Also when everything was forgotten before the end."""
    line = await begin(rig.store)
    before = await line.accept(row("e1"), row("e2"))
    await line.pass_by(line.audit[0], before.deliveries[1])
    assert await rig.store.trim(LATER, 100)
    assert not await line.is_known(row("e1"))
    after = await (await begin(await rig.reopen())).accept(row("e3"))
    assert after.inbox[0] > before.inbox[1]
    assert after.deliveries[0] > before.deliveries[1]


async def closing_finishes_what_is_queued(rig: StoreRig) -> None:
    """Plans that wait when the store is closed are written and answered."""
    line = await begin(rig.store)
    plans = [Plan(epoch=line.epoch, inbox=(row(f"e{number}"),), at=AT) for number in range(50)]
    tasks = [asyncio.ensure_future(rig.store.commit(plan)) for plan in plans]
    await asyncio.sleep(0)
    store = await rig.reopen()
    assert all(isinstance(result, Committed) for result in await asyncio.gather(*tasks))
    assert len(await store.recent(0, 100)) == 50


async def killed_process_has_kept_all_that_it_answered(rig: StoreRig) -> None:
    """No answer before the data is durable; without any farewell."""
    line = await begin(rig.store)
    plans = [Plan(epoch=line.epoch, inbox=(row(f"e{number}"),), at=AT) for number in range(50)]
    results = await asyncio.gather(*(rig.store.commit(plan) for plan in plans))
    store = await rig.crash()
    found = {entry.seq: entry.row.id for entry in await store.recent(0, 100)}
    for number, result in enumerate(results):
        assert isinstance(result, Committed)
        assert found[result.inbox[0]] == f"e{number}"


async def killed_process_goes_on_where_it_was(rig: StoreRig) -> None:
    """Known events stay known, unsettled deliveries are read again, numbers go on."""
    line = await begin(rig.store)
    before = await line.accept(row("e1", body=b"body"), row("e2"))
    lane = line.audit[0]
    await line.pass_by(lane, before.deliveries[0])
    store = await rig.crash()
    assert len((await store.load(Keys(inbox=frozenset({(AUTH, "e1"), (AUTH, "e2")})))).known) == 2
    line = await begin(store)
    page = await line.read(lane.id, after=dict(await store.open([AUDIT]))[lane])
    assert [one.event_id for one in page.deliveries] == ["event-e2"]
    after = await line.accept(row("e3"))
    assert after.deliveries[0] > before.deliveries[1]


async def body_of_an_entity_is_never_kept_in_the_clear(rig: StoreRig) -> None:
    """Events, parked bodies, answers and conflicts of an entity are erased by destroying its key."""
    line = await begin(rig.store)
    entity = person(1)
    subject = Subject(f"user/{entity.id}")
    conflict = Conflict(
        entity=entity.id,
        field="name",
        rule="newest",
        peer=APP,
        refused="SECRET-REFUSED",
        kept="SECRET-KEPT",
        kept_peer=AUTH,
        at=AT,
        event_id="e1",
    )
    await line.commit(
        Plan(
            epoch=0,
            inbox=(row("e1", entity=entity, body=b"SECRET-BODY"), row("bare", body=b"IN THE CLEAR")),
            entities=(EntityWrite(entity, None),),
            conflicts=(conflict,),
            parked=(parked_row(1, line.audit[0], subject=subject, body=b"SECRET-PARKED"),),
            attempts=(msgspec.structs.replace(tried(1, 1), subject=subject, response=b"SECRET-ANSWER"),),
        )
    )
    kept = await rig.read_at_rest()
    assert b"IN THE CLEAR" in kept
    assert b"SECRET" not in kept


async def next_owner_learns_what_needs_nothing_more(rig: StoreRig) -> None:
    """What was delivered, parked or given up past its lane's place is told apart, where that is asked for."""
    line = await begin(rig.store)
    committed = await line.accept(*(row(f"e{number}") for number in range(4)))
    delivered, parked, dead, _ = committed.deliveries
    tries = (
        tried(delivered, committed.inbox[0]),
        tried(parked, committed.inbox[1], outcome=Outcome.FAILED),
    )
    held = parked_row(parked, line.audit[0])
    given_up = msgspec.structs.replace(parked_row(dead, line.audit[0]), state=ParkedState.DEAD)
    await line.commit(Plan(epoch=0, attempts=tries, parked=(held, given_up)))
    await line.tick()
    store = await rig.crash()
    cursors = [LaneCursor(line.audit[0].id, FIRST_PLACE)]
    assert (await store.read(cursors, 10)).passed == frozenset()
    page = await store.read(cursors, 10, is_resumed=True)
    assert [one.id for one in page.deliveries] == list(committed.deliveries)
    assert page.passed == {delivered, parked, dead}


CHECKS: Final[tuple[DurableCheck, ...]] = (
    next_owner_learns_what_needs_nothing_more,
    reopened_store_has_kept_everything,
    epochs_go_on_after_reopening,
    numbers_are_never_given_twice_after_reopening,
    closing_finishes_what_is_queued,
    killed_process_has_kept_all_that_it_answered,
    killed_process_goes_on_where_it_was,
    body_of_an_entity_is_never_kept_in_the_clear,
)
