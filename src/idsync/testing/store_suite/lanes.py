"""The lanes: read in order from where one left off, with what was parked, tried and asked beside them."""

from typing import Final

import msgspec

from idsync.errors import DataRefused
from idsync.model.delivery import FIRST_PLACE, Delivery, Outcome, ParkedState, Phases
from idsync.model.destination import Lane, Level
from idsync.model.plan import Command, CommandName, Committed, EntityWrite, LaneCursor, LanePage, LaneRow, Plan
from idsync.model.replay import Standing
from idsync.model.values import Instant, Subject
from idsync.ports import DeliveryRecord, DeliveryState, ParkedFilter, Store
from idsync.testing.store_suite.samples import (
    AT,
    AUDIT,
    LATER,
    TARGET,
    Check,
    Line,
    begin,
    parked_row,
    person,
    row,
    tried,
)


async def destination_has_its_lanes_at_every_level(store: Store) -> None:
    """Opened once, they stay; their positions begin before the first delivery."""
    opened = await store.open([AUDIT])
    places = [(lane.level, lane.number) for lane, _ in opened]
    assert sorted(places) == sorted((level, number) for level in Level for number in range(AUDIT.lanes))
    assert {(lane.destination, lane.generation, position) for lane, position in opened} == {
        (AUDIT.name, 1, FIRST_PLACE)
    }
    assert list(await store.open([AUDIT])) == list(opened)


async def only_lanes_of_named_destinations_are_given(store: Store) -> None:
    """One that left the configuration is not served, and has its lanes still when it comes back."""
    both = await store.open([AUDIT, TARGET])
    assert {lane.destination for lane, _ in both} == {AUDIT.name, TARGET.name}
    assert {lane.destination for lane, _ in await store.open([TARGET])} == {TARGET.name}
    assert not await store.open([])
    assert list(await store.open([AUDIT, TARGET])) == list(both)


async def changed_number_of_lanes_opens_a_new_generation(store: Store) -> None:
    """The older lanes come first, as long as anything is in them."""
    line = await begin(store)
    committed = await line.accept(row("e1"))
    wider = msgspec.structs.replace(AUDIT, lanes=3)
    old, *new = [lane for lane, _ in await store.open([wider])]
    assert old == line.audit[0]
    assert {lane.generation for lane in new} == {2}
    assert len(new) == 3 * len(Level)
    place = await line.place(committed.deliveries[0])
    await line.commit(Plan(epoch=0, progress={old.id: place}, parked=(parked_row(1, old),)))
    assert old in {lane for lane, _ in await store.open([wider])}
    await line.commit(Plan(epoch=0, unparked=(1,)))
    assert {lane for lane, _ in await store.open([wider])} == set(new)


async def deliveries_of_a_lane_are_read_in_order(store: Store) -> None:
    """Each lane by itself, past its own cursor, and `more` says where the limit cut."""
    line = await begin(store)
    first, second = (lane.id for lane in line.audit)
    rows = tuple(row(f"e{number}") for number in range(7))
    lanes = [second if index == 3 else first for index in range(len(rows))]
    queued = tuple(LaneRow(lane, rows[index].subject, 0, row=index) for index, lane in enumerate(lanes))
    committed = await line.commit(Plan(epoch=0, inbox=rows, deliveries=queued))
    place = await line.place(committed.deliveries[0])
    page = await store.read([LaneCursor(second, FIRST_PLACE), LaneCursor(first, place)], 3)
    assert _events(page, first) == ["event-e1", "event-e2", "event-e4"]
    assert _events(page, second) == ["event-e3"]
    assert page.more == {first}
    page = await line.read(first, after=await line.place(committed.deliveries[4]), limit=2)
    assert (_events(page, first), page.more) == (["event-e5", "event-e6"], frozenset())


async def reading_no_lane_gives_nothing(store: Store) -> None:
    """Nor does a lane past its end, or one that was never opened."""
    line = await begin(store)
    committed = await line.accept(row("e1"))
    lane = line.audit[0].id
    assert await store.read([], 10) == LanePage()
    place = await line.place(committed.deliveries[0])
    assert await store.read([LaneCursor(lane, place), LaneCursor(10**6, FIRST_PLACE)], 10) == LanePage()


async def delivery_to_an_endpoint_carries_what_is_posted(store: Store) -> None:
    """The event's id, type, bytes, trace and earliest time; no bytes to a Target, which writes what is now."""
    line = await begin(store)
    entity = person(1, rev=4)
    one = msgspec.structs.replace(row("e1", entity=entity, body=b'{"n": 1.0}'), trace="00-trace", not_before=LATER)
    queued = tuple(LaneRow(lane.id, one.subject, 4, row=0) for lane in (line.audit[0], line.target[1]))
    plan = Plan(epoch=0, inbox=(one,), entities=(EntityWrite(entity, None),), deliveries=queued)
    committed = await line.commit(plan)
    to_endpoint = Delivery(
        id=committed.deliveries[0],
        lane=line.audit[0].id,
        subject=one.subject,
        event=committed.inbox[0],
        version=4,
        event_id="event-e1",
        event_type="user.updated",
        body=b'{"n": 1.0}',
        trace="00-trace",
        queued_at=AT,
        not_before=LATER,
    )
    to_target = msgspec.structs.replace(to_endpoint, id=committed.deliveries[1], lane=line.target[1].id, body=b"")
    page = await line.read(line.audit[0].id, line.target[1].id)
    assert {msgspec.structs.replace(one, tick=0) for one in page.deliveries} == {to_endpoint, to_target}


async def delivery_may_be_of_an_event_that_is_already_there(store: Store) -> None:
    """By its sequence; or of no event at all, which rings a Target without anybody having sent anything."""
    line = await begin(store)
    seq = (await line.commit(Plan(epoch=0, inbox=(row("e1", body=b"body"),)))).inbox[0]
    endpoint, target = line.audit[0].id, line.target[0].id
    queued = (LaneRow(endpoint, Subject("user/1"), 1, seq=seq), LaneRow(target, Subject("user/1"), 2))
    await line.commit(Plan(epoch=0, deliveries=queued))
    (again,) = (await line.read(endpoint)).deliveries
    assert (again.event, again.event_id, again.body) == (seq, "event-e1", b"body")
    (bell,) = (await line.read(target)).deliveries
    assert (bell.event, bell.event_id, bell.event_type, bell.body) == (0, "", "", b"")


async def position_of_a_lane_never_goes_back(store: Store) -> None:
    """It is what the next owner begins behind."""
    line = await begin(store)
    lane = line.audit[0]
    committed = await line.accept(row("e1"), row("e2"))
    first, second = [await line.place(delivery) for delivery in committed.deliveries]
    assert first < second
    for place in (first, second, first):
        await line.commit(Plan(epoch=0, progress={lane.id: place}))
    assert dict(await store.open([AUDIT]))[lane] == second


async def parked_row_is_inserted_replaced_and_ended(store: Store) -> None:
    """By the delivery's id; everything in it survives."""
    line = await begin(store)
    lane = line.audit[0]
    event = (await line.accept(row("e1"))).inbox[0]
    one, two = parked_row(1, lane, event=event, body=bytes(range(256))), parked_row(2, lane)
    await line.commit(Plan(epoch=0, parked=(two, one)))
    assert list(await store.parked(ParkedFilter(), 10)) == [one, two]
    dead = msgspec.structs.replace(
        two, state=ParkedState.DEAD, reason="gave_up", retry_at=None, attempts=30, body=b"new"
    )
    await line.commit(Plan(epoch=0, parked=(dead,), unparked=(1,)))
    assert list(await store.parked(ParkedFilter(), 10)) == [dead]


async def parked_rows_are_found_by_what_they_are(store: Store) -> None:
    """By destination, subject, state and lanes, in pages by id."""
    line = await begin(store)
    rows = [
        parked_row(1, line.audit[0]),
        parked_row(2, line.audit[1], subject="user/2"),
        msgspec.structs.replace(parked_row(3, line.audit[0]), state=ParkedState.DEAD),
        parked_row(4, line.target[0]),
    ]
    await line.commit(Plan(epoch=0, parked=tuple(rows)))

    async def find(wanted: ParkedFilter, limit: int = 10) -> list[int]:
        return [one.id for one in await store.parked(wanted, limit)]

    assert await find(ParkedFilter(destination=AUDIT.name)) == [1, 2, 3]
    assert await find(ParkedFilter(destination=AUDIT.name, subject=Subject("user/1"))) == [1, 3]
    assert await find(ParkedFilter(state=ParkedState.DEAD)) == [3]
    assert await find(ParkedFilter(subject=Subject("user/1"), state=ParkedState.PARKED)) == [1, 4]
    assert await find(ParkedFilter(after=1), 2) == [2, 3]
    lanes = frozenset({line.audit[0].id, line.target[0].id})
    assert await find(ParkedFilter(lanes=lanes)) == [1, 3, 4]
    key = ParkedFilter(destination=AUDIT.name, subject=Subject("user/1"), lanes=frozenset({line.audit[1].id}))
    assert await find(key) == await find(ParkedFilter(lanes=frozenset())) == []


async def body_and_answer_of_an_entity_are_given_back(store: Store) -> None:
    """Parked bodies and answers are encrypted where the subject names an entity, and read as they were."""
    line = await begin(store)
    entity = person(1)
    await line.write(entity)
    subject = Subject(f"user/{entity.id}")
    one = parked_row(1, line.audit[0], subject=subject, body=b"\x00\xff")
    attempt = msgspec.structs.replace(tried(1, 5), subject=subject, response=b"\xff\x00")
    await line.commit(Plan(epoch=0, parked=(one,), attempts=(attempt,)))
    assert list(await store.parked(ParkedFilter(), 10)) == [one]
    assert list(await store.attempts(5)) == [attempt]


async def attempts_of_an_event_come_oldest_first(store: Store) -> None:
    """Every try of every delivery of it, and of no other event."""
    line = await begin(store)
    failed = msgspec.structs.replace(tried(1, 5, outcome=Outcome.FAILED), status=None, error="timeout", response=b"")
    timed = msgspec.structs.replace(tried(2, 5), phases=Phases(0.5, 1.25, 2.0, 1 / 3, 0.0))
    tries = [failed, timed, tried(1, 5, number=2)]
    await line.commit(Plan(epoch=0, attempts=(*tries[:2], tried(3, 6))))
    await line.commit(Plan(epoch=0, attempts=(tries[2],)))
    assert list(await store.attempts(5)) == tries
    assert not await store.attempts(7)


async def plan_that_is_repeated_writes_each_try_once(store: Store) -> None:
    """Its answer was lost: what of it is there stays as it is, and what is not there comes to it."""
    line = await begin(store)
    committed = await line.accept(row("e1"))
    place = await line.place(committed.deliveries[0])
    parked = parked_row(1, line.audit[0], event=committed.inbox[0])
    plan = Plan(epoch=0, attempts=(tried(1, 5), tried(2, 6)), progress={line.audit[0].id: place}, parked=(parked,))
    await line.commit(plan)
    later = msgspec.structs.replace(tried(1, 5, number=2), at=Instant(AT + 1))
    again = msgspec.structs.replace(plan, attempts=(*plan.attempts, later), is_repeated=True)
    for _ in range(2):
        await line.commit(again)
    assert list(await store.attempts(5)) == [tried(1, 5), later]
    assert list(await store.attempts(6)) == [tried(2, 6)]
    assert list(await store.parked(ParkedFilter(), 10)) == [parked]
    assert dict(await store.open([AUDIT]))[line.audit[0]] == place


async def deliveries_of_an_event_show_where_each_stands(store: Store) -> None:
    """Queued, delivered, parked, dead or skipped, with reason and number of tries; also once the lanes forgot them."""
    line = await begin(store)
    committed = await _fan_out(line, 7)
    event = committed.inbox[0]
    queued, delivered, unchanged, parked, dead, superseded, dropped = committed.deliveries
    lane = line.audit[0]
    progress = {lane.id: await line.place(dropped)}
    await line.commit(
        Plan(
            epoch=0,
            attempts=(
                tried(delivered, event, outcome=Outcome.FAILED),
                tried(delivered, event, number=2),
                tried(unchanged, event, outcome=Outcome.UNCHANGED),
                tried(superseded, event, outcome=Outcome.SUPERSEDED),
                tried(dropped, event, outcome=Outcome.FAILED),
            ),
            parked=(
                parked_row(parked, lane, event=event),
                msgspec.structs.replace(parked_row(dead, lane, event=event), state=ParkedState.DEAD, retry_at=None),
            ),
            progress=progress,
        )
    )

    def record(id_: int, state: DeliveryState, reason: str | None = None, attempts: int = 0) -> DeliveryRecord:
        at = Instant(AT + 1_000) if state is DeliveryState.PARKED else None
        return DeliveryRecord(
            id=id_,
            destination=line.target[0].destination if id_ == queued else AUDIT.name,
            subject="user/1",
            event=event,
            event_id="event-e1",
            event_type="user.updated",
            state=state,
            reason=reason,
            attempts=attempts,
            retry_at=at,
        )

    expected = [
        record(queued, DeliveryState.QUEUED),
        record(delivered, DeliveryState.DELIVERED, attempts=2),
        record(unchanged, DeliveryState.DELIVERED, attempts=1),
        record(parked, DeliveryState.PARKED, "http_500", 2),
        record(dead, DeliveryState.DEAD, "http_500", 2),
        record(superseded, DeliveryState.SKIPPED, "superseded", 1),
        record(dropped, DeliveryState.SKIPPED, "discarded", 1),
    ]
    assert list(await store.deliveries(event)) == expected
    await store.trim(AT, 100)
    assert list(await store.deliveries(event)) == expected
    assert not await store.deliveries(event + 1)


async def standings_say_what_became_of_many_events(store: Store) -> None:
    """At one destination, over all its deliveries of each: one success is a success, then what comes anyway counts."""
    line = await begin(store)
    names = ("open", "delivered", "parked", "dead", "skipped", "dropped", "again", "elsewhere")
    committed = await line.commit(Plan(epoch=0, inbox=tuple(row(name) for name in names)))
    seqs = dict(zip(names, committed.inbox, strict=True))
    lane, other = line.audit[0], line.target[0]
    order = ["delivered", "parked", "dead", "skipped", "dropped", "again", "again", "open"]
    rows = [LaneRow(lane.id, Subject(f"user/{name}"), 1, seq=seqs[name]) for name in order]
    rows.append(LaneRow(other.id, Subject("user/elsewhere"), 1, seq=seqs["elsewhere"]))
    ids = (await line.commit(Plan(epoch=0, deliveries=tuple(rows)))).deliveries
    delivered, parked, dead, skipped, dropped, failed, again, _, _ = ids
    await line.commit(
        Plan(
            epoch=0,
            attempts=(
                tried(delivered, seqs["delivered"]),
                tried(skipped, seqs["skipped"], outcome=Outcome.SKIPPED),
                tried(dropped, seqs["dropped"], outcome=Outcome.FAILED),
                tried(failed, seqs["again"], outcome=Outcome.FAILED),
                tried(again, seqs["again"]),
            ),
            parked=(
                parked_row(parked, lane, event=seqs["parked"]),
                msgspec.structs.replace(parked_row(dead, lane, event=seqs["dead"]), state=ParkedState.DEAD),
                msgspec.structs.replace(parked_row(failed, lane, event=seqs["again"]), state=ParkedState.DEAD),
            ),
            progress={lane.id: await line.place(again)},
        )
    )
    await line.tick()
    found = await store.standings(AUDIT.name, [*seqs.values(), 999])
    assert {name: found[seq] for name, seq in seqs.items()} == {
        "open": Standing.UNDER_WAY,
        "delivered": Standing.DELIVERED,
        "parked": Standing.UNDER_WAY,
        "dead": Standing.DEAD,
        "skipped": Standing.SKIPPED,
        "dropped": Standing.SKIPPED,
        "again": Standing.DELIVERED,
        "elsewhere": Standing.NONE,
    }
    assert found[999] is Standing.NONE
    assert (await store.standings(TARGET.name, [seqs["elsewhere"]])) == {seqs["elsewhere"]: Standing.UNDER_WAY}
    assert await store.standings(AUDIT.name, []) == {}


async def commands_wait_in_order_until_they_are_carried_out(store: Store) -> None:
    """Each with an id of its own, that no later one gets again."""
    line = await begin(store)
    asked = Command(id=0, name=CommandName.REQUEUE, deliveries=(1, 2), waiting=(3,), destination="d", asked_at=AT)
    first, second = await store.ask(asked), await store.ask(msgspec.structs.replace(asked, name=CommandName.DISCARD))
    assert [one.id for one in await store.commands(1)] == [first]
    assert list(await store.commands(10)) == [
        msgspec.structs.replace(asked, id=first),
        msgspec.structs.replace(asked, id=second, name=CommandName.DISCARD),
    ]
    await line.commit(Plan(epoch=0, commands_done=(first, second)))
    assert not await store.commands(10)
    assert await store.ask(asked) > second


async def position_of_a_lane_that_was_never_opened_is_refused(store: Store) -> None:
    """It would be lost without a word."""
    line = await begin(store)
    try:
        await line.try_commit(Plan(epoch=0, progress={line.audit[0].id: (0, 1), 10**6: (0, 1)}))
    except DataRefused:
        assert dict(await store.open([AUDIT]))[line.audit[0]] == FIRST_PLACE
        return
    raise AssertionError("it was written")


def _events(page: LanePage, lane: int) -> list[str]:
    return [one.event_id for one in page.deliveries if one.lane == lane]


async def _fan_out(line: Line, count: int) -> Committed:
    """Queue one event several times: once for the Target, then for the endpoint."""
    lanes: list[Lane] = [line.target[0], *[line.audit[0]] * (count - 1)]
    queued = tuple(LaneRow(lane.id, Subject("user/1"), 0, row=0) for lane in lanes)
    return await line.commit(Plan(epoch=0, inbox=(row("e1"),), deliveries=queued))


CHECKS: Final[tuple[Check, ...]] = (
    destination_has_its_lanes_at_every_level,
    only_lanes_of_named_destinations_are_given,
    changed_number_of_lanes_opens_a_new_generation,
    deliveries_of_a_lane_are_read_in_order,
    reading_no_lane_gives_nothing,
    delivery_to_an_endpoint_carries_what_is_posted,
    delivery_may_be_of_an_event_that_is_already_there,
    position_of_a_lane_never_goes_back,
    parked_row_is_inserted_replaced_and_ended,
    parked_rows_are_found_by_what_they_are,
    body_and_answer_of_an_entity_are_given_back,
    attempts_of_an_event_come_oldest_first,
    plan_that_is_repeated_writes_each_try_once,
    deliveries_of_an_event_show_where_each_stands,
    standings_say_what_became_of_many_events,
    commands_wait_in_order_until_they_are_carried_out,
    position_of_a_lane_that_was_never_opened_is_refused,
)
