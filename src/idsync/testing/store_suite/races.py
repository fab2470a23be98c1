"""Writers that meet: a plan holds only while what it was made from does, and lanes have one order for every reader."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from idsync.model.delivery import FIRST_PLACE, Delivery, Place
from idsync.model.destination import lane_number
from idsync.model.entity import Entity, Link
from idsync.model.plan import Committed, EntityWrite, InboxRow, Keys, LaneCursor, LaneRow, Plan, Redo, Snapshot, Wait
from idsync.model.values import EntityId, ExternalId, Subject
from idsync.ports import Store
from idsync.testing.store_suite.samples import APP, AUTH, Check, Line, begin, person, row

ROUNDS: Final = 10
EMAIL: Final = ("user", "same@example.com")


async def plan_of_a_link_that_leads_to_somebody_new_is_redone(store: Store) -> None:
    """Also where it writes nothing about them: it would have merged into that entity."""
    line = await begin(store)
    asked = Keys(links=frozenset({(AUTH, "user", ExternalId("a1")), (AUTH, "user", ExternalId("a2"))}))
    read = await store.load(asked)
    await line.write(person(1))
    plan = Plan(epoch=0, read=read, inbox=(row("e1"),))
    assert await line.try_commit(plan) == Redo(links=frozenset({(AUTH, "user", ExternalId("a1"))}))
    assert not await line.is_known(row("e1"))
    assert isinstance(await line.try_commit(msgspec.structs.replace(plan, read=await store.load(asked))), Committed)


async def plan_of_a_link_that_leads_elsewhere_is_redone(store: Store) -> None:
    """Its old holder gave it up to another entity."""
    line = await begin(store)
    key = (AUTH, "user", ExternalId("a1"))
    await line.write(person(1))
    read = await store.load(Keys(links=frozenset({key})))
    bare = msgspec.structs.replace(person(1, rev=2), links={})
    heir = msgspec.structs.replace(person(2), links=person(1).links)
    await line.commit(Plan(epoch=0, entities=(EntityWrite(bare, 1), EntityWrite(heir, None))))
    assert await line.try_commit(Plan(epoch=0, read=read, inbox=(row("e1"),))) == Redo(links=frozenset({key}))


async def plan_of_an_email_that_leads_elsewhere_is_redone(store: Store) -> None:
    """To somebody new, to another holder, or to nobody any more."""
    line = await begin(store)
    asked = Keys(emails=frozenset({EMAIL}))
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: line.write(person(1, email=EMAIL[1])),
        lambda: line.commit(
            Plan(
                epoch=0,
                entities=(
                    EntityWrite(person(1, rev=2, email="other@example.com"), 1),
                    EntityWrite(person(2, email=EMAIL[1]), None),
                ),
            )
        ),
        lambda: line.write(person(2, rev=2, email="gone@example.com"), expected_rev=1),
    ]
    for step in steps:
        read = await store.load(asked)
        await step()
        assert await line.try_commit(Plan(epoch=0, read=read, inbox=(row("e1"),))) == Redo(emails=frozenset({EMAIL}))
    assert not await line.is_known(row("e1"))


async def plan_is_held_only_to_what_it_asked_for(store: Store) -> None:
    """What else has moved, or what was asked and stays, is no reason to load again."""
    line = await begin(store)
    await line.write(person(1))
    read = await store.load(
        Keys(links=frozenset({(AUTH, "user", ExternalId("a1"))}), emails=frozenset({("user", "u1@example.com")}))
    )
    await line.write(person(2))
    await line.write(person(1, rev=2), expected_rev=1)
    assert isinstance(await line.try_commit(Plan(epoch=0, read=read, inbox=(row("e1"),))), Committed)


async def plan_that_lets_something_wait_is_redone_if_what_it_read_has_moved(store: Store) -> None:
    """What it waits for may have come meanwhile, and would not be announced again."""
    line = await begin(store)
    await line.write(person(1))
    read = await store.load(Keys(emails=frozenset({("user", "u1@example.com")})))
    await line.write(person(1, rev=2), expected_rev=1)
    wait = Wait(row=0, reason="email_unverified", key="email:user:u1@example.com")
    plan = Plan(epoch=0, read=read, inbox=(row("e1"),), waits=(wait,))
    assert await line.try_commit(plan) == Redo(entities=frozenset({person(1).id}))


async def one_of_two_who_meet_an_unknown_link_makes_its_entity(store: Store) -> None:
    """The other is redone, and finds the first."""
    line = await begin(store)
    for turn in range(ROUNDS):
        link = Link(external_id=ExternalId(f"new{turn}"))
        key = (APP, "user", ExternalId(f"new{turn}"))
        read = await store.load(Keys(links=frozenset({key})))
        rivals = [
            msgspec.structs.replace(person(10 * turn + number), links={APP: link}, fields={}) for number in range(4)
        ]
        await _only_one(line, [Plan(epoch=0, read=read, entities=(EntityWrite(one, None),)) for one in rivals], key)


async def one_of_two_who_meet_an_unknown_email_makes_its_entity(store: Store) -> None:
    """Though an e-mail may belong to several entities: who read that it was nobody's must look again."""
    line = await begin(store)
    for turn in range(ROUNDS):
        email = f"new{turn}@example.com"
        read = await store.load(Keys(emails=frozenset({("user", email)})))
        rivals = [person(10 * turn + number, email=email) for number in range(4)]
        plans = [Plan(epoch=0, read=read, entities=(EntityWrite(one, None),)) for one in rivals]
        await _only_one(line, plans, ("user", email))


async def one_of_two_who_accept_an_event_accepts_it(store: Store) -> None:
    """And with it all that belongs to it: no delivery of the others is ever read."""
    line = await begin(store)
    lane = line.audit[0].id
    for turn in range(ROUNDS):
        rows = [row(f"e{turn}"), row(f"f{turn}")]
        plans = [
            Plan(epoch=0, inbox=tuple(some), deliveries=(LaneRow(lane, Subject("user/1"), 0, row=0),))
            for some in (rows, rows[::-1], rows[:1], rows[1:])
        ]
        results = await asyncio.gather(*(line.try_commit(plan) for plan in plans))
        keys = {(AUTH, f"e{turn}"), (AUTH, f"f{turn}")}
        for result in results:
            assert isinstance(result, Committed) or (isinstance(result, Redo) and result.inbox <= keys and result.inbox)
        accepted = [len(one.inbox) for one in results if isinstance(one, Committed)]
        assert accepted in ([2], [1, 1], [1]), accepted
    entries = [entry.row.id for entry in await store.recent(0, 1_000)]
    assert len(entries) == len(set(entries))


async def no_wake_up_is_lost_between_a_wait_and_its_release(store: Store) -> None:
    """Who waits for an e-mail and who brings it: the one who comes second sees the first."""
    line = await begin(store)
    for turn in range(ROUNDS):
        email = ("user", f"new{turn}@example.com")
        key = ":".join(("email", *email))
        read = await store.load(Keys(emails=frozenset({email})))
        waiter = Plan(epoch=0, read=read, inbox=(row(f"e{turn}"),), waits=(Wait(row=0, reason="email_taken", key=key),))
        bringer = Plan(epoch=0, read=read, entities=(EntityWrite(person(turn, email=email[1]), None),), releases=(key,))
        plans = [waiter, bringer] if turn % 2 else [bringer, waiter]
        results = await asyncio.gather(*(line.try_commit(plan) for plan in plans))
        waited, brought = results if turn % 2 else results[::-1]
        assert isinstance(brought, Committed)
        if isinstance(waited, Committed):
            assert brought.released == 1
        else:
            assert waited == Redo(emails=frozenset({email}))


async def lanes_have_one_order_whatever_the_order_of_commits(store: Store) -> None:
    """A reader that follows the ticks sees every delivery once, and those of each subject by their versions."""
    line = await begin(store)
    people = [person(number) for number in range(3)]
    await line.write(*people)
    follower = _Follower(line)
    async with asyncio.timeout(60):
        reading = asyncio.ensure_future(follower.follow(until_count=6 * 15))
        await asyncio.gather(*(_edit_often(line, people, writer, 15) for writer in range(6)))
        await reading
    assert len({one.id for one in follower.seen}) == len(follower.seen) == 6 * 15
    for one in people:
        versions = [seen.version for seen in follower.seen if seen.subject == f"user/{one.id}"]
        assert versions == list(range(2, len(versions) + 2))


class _Follower:
    """Reads lanes past what it has read, again and again, as their owner does."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._after: dict[int, Place] = {lane.id: FIRST_PLACE for lane in line.audit}
        self.seen: list[Delivery] = []

    async def follow(self, until_count: int) -> None:
        while len(self.seen) < until_count:
            await self._line.tick()
            page = await self._line.store.read([LaneCursor(*one) for one in self._after.items()], 7)
            for one in page.deliveries:
                assert one.place > self._after[one.lane]
                self._after[one.lane] = one.place
                self.seen.append(one)
            await asyncio.sleep(0)


async def _edit_often(line: Line, people: list[Entity], writer: int, count: int) -> None:
    """Write new versions of anybody, each with its delivery; load again where somebody else was quicker."""
    rng = random.Random(writer)  # noqa: S311  # a schedule, not a secret
    for number in range(count):
        await _edit(line, rng.choice(people).id, row(f"e{writer}-{number}"))


async def _edit(line: Line, entity: EntityId, event: InboxRow) -> None:
    while True:
        read = await line.store.load(Keys(entities=frozenset({entity}), inbox=frozenset({(event.peer, event.id)})))
        before = read.entities[entity]
        after = msgspec.structs.replace(before, rev=before.rev + 1, version=before.version + 1)
        subject = Subject(f"user/{entity}")
        lane = line.audit[lane_number(subject, len(line.audit))].id
        plan = Plan(
            epoch=0,
            read=read,
            inbox=(event,),
            entities=(EntityWrite(after, before.rev),),
            deliveries=(LaneRow(lane, subject, after.version, row=0),),
        )
        result = await line.try_commit(plan)
        if isinstance(result, Committed):
            return
        assert result == Redo(entities=frozenset({entity})), result


async def _only_one(line: Line, plans: list[Plan], key: tuple[str, ...]) -> None:
    """Commit all at once: one is written, the others are told what they must look at again."""
    results = await asyncio.gather(*(line.try_commit(plan) for plan in plans))
    assert sum(isinstance(one, Committed) for one in results) == 1, results
    for one in results:
        assert isinstance(one, Committed) or (isinstance(one, Redo) and key in one.links | one.emails), one
    read: Snapshot | None = plans[0].read
    assert read is not None
    found = await line.store.load(read.asked)
    assert len({*found.links.values(), *found.emails.values()}) == 1
    assert len(found.entities) == 1


CHECKS: Final[tuple[Check, ...]] = (
    plan_of_a_link_that_leads_to_somebody_new_is_redone,
    plan_of_a_link_that_leads_elsewhere_is_redone,
    plan_of_an_email_that_leads_elsewhere_is_redone,
    plan_is_held_only_to_what_it_asked_for,
    plan_that_lets_something_wait_is_redone_if_what_it_read_has_moved,
    one_of_two_who_meet_an_unknown_link_makes_its_entity,
    one_of_two_who_meet_an_unknown_email_makes_its_entity,
    one_of_two_who_accept_an_event_accepts_it,
    no_wake_up_is_lost_between_a_wait_and_its_release,
    lanes_have_one_order_whatever_the_order_of_commits,
)
