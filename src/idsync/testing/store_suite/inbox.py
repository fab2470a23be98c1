"""The inbox and the one write: everything of a plan or nothing, and each event once."""

import asyncio
from typing import Final

import msgspec

from idsync.errors import DataRefused
from idsync.model.event import Receipt, Verdict
from idsync.model.plan import Committed, EntityWrite, InboxKey, Keys, LaneRow, Plan, Redo, Settle, Wait
from idsync.model.values import EntityId, Instant, PeerName, Subject
from idsync.ports import InboxEntry, PassedOn, Store
from idsync.testing.store_suite.samples import APP, AT, AUTH, HOSTILE_TEXTS, Check, begin, person, row

LONE_SURROGATE: Final = "cut\ud83d"
"""Half a character: Python text that no UTF-8 can hold."""
TOO_LARGE: Final = 2**63
"""One more than the largest integer that every database can hold."""


async def accepted_event_is_known_with_its_receipt(store: Store) -> None:
    """Who asks for the key of an accepted event gets the answer that its sender got."""
    line = await begin(store)
    one = msgspec.structs.replace(row("e1"), verdict=Verdict.PARKED, reason="email_unverified")
    await line.accept(one)
    known = (await store.load(Keys(inbox=frozenset({(AUTH, "e1"), (AUTH, "e2")})))).known
    assert known == {(AUTH, "e1"): Receipt("e1", Verdict.PARKED, "email_unverified")}


async def same_id_of_another_peer_is_another_event(store: Store) -> None:
    """An id is unique only together with the peer that the credentials prove."""
    line = await begin(store)
    await line.accept(row("e1"))
    await line.accept(msgspec.structs.replace(row("e1"), peer=APP))
    assert [entry.row.peer for entry in await store.recent(0, 10)] == [AUTH, APP]


async def known_event_makes_its_plan_redo_and_nothing_is_written(store: Store) -> None:
    """The plan names the event that was accepted meanwhile, and leaves no trace."""
    line = await begin(store)
    await line.accept(row("e1"))
    plan = Plan(
        epoch=0, inbox=(row("e0"), row("e1")), deliveries=(LaneRow(line.audit[0].id, Subject("user/e0"), 0, row=0),)
    )
    assert await line.try_commit(plan) == Redo(inbox=frozenset({(AUTH, "e1")}))
    assert not await line.is_known(row("e0"))
    page = await line.read(line.audit[0].id)
    assert [one.event_id for one in page.deliveries] == ["event-e1"]


async def event_that_is_twice_in_one_plan_is_refused(store: Store) -> None:
    """No order of writers could make such a plan right."""
    line = await begin(store)
    await _is_refused(store, line.epoch, Plan(epoch=0, inbox=(row("e1"), row("e1"))))


async def sequences_and_delivery_ids_follow_the_plan(store: Store) -> None:
    """The answer names every row in the plan's order, and both numbers only grow."""
    line = await begin(store)
    first = await line.accept(row("e1"), row("e2"))
    second = await line.accept(row("e3"))
    seqs, ids = first.inbox + second.inbox, first.deliveries + second.deliveries
    assert list(seqs) == sorted(set(seqs))
    assert list(ids) == sorted(set(ids))
    recent = await store.recent(0, 10)
    assert [(entry.seq, entry.row.id) for entry in recent] == list(zip(seqs, ("e1", "e2", "e3"), strict=True))


async def every_column_of_an_event_survives(store: Store) -> None:
    """What was written is read, column for column."""
    line = await begin(store)
    full = msgspec.structs.replace(
        row("e1", body=bytes(range(256))), reason="why", changed=("email", "na\x00me"), version=7, trace="00-trace"
    )
    full = msgspec.structs.replace(full, not_before=Instant(AT + 1))
    bare = msgspec.structs.replace(row("e2"), event_id=None, event_type=None, event_subject=None)
    committed = await line.accept(full, bare)
    expected = [InboxEntry(seq, one) for seq, one in zip(committed.inbox, (full, bare), strict=True)]
    assert list(await store.recent(0, 10)) == expected


async def hostile_texts_are_kept_as_they_are(store: Store) -> None:
    """Quotes, NUL, four-byte characters and statements are texts like any other, as keys too."""
    line = await begin(store)
    rows = [
        msgspec.structs.replace(
            row("e"), peer=PeerName(text), id=text, subject=Subject(text), event_subject=Subject(text), reason=text
        )
        for text in (*HOSTILE_TEXTS, "")
    ]
    await line.accept(*rows)
    assert [entry.row for entry in await store.recent(0, 20)] == rows
    keys: frozenset[InboxKey] = frozenset((one.peer, one.id) for one in rows)
    assert (await store.load(Keys(inbox=keys))).known.keys() == keys


async def text_that_cannot_be_encoded_is_refused(store: Store) -> None:
    """Half a character harms its own plan alone, wherever it stands."""
    line = await begin(store)
    broken = person(1, email=LONE_SURROGATE)
    await _is_refused(store, line.epoch, Plan(epoch=0, inbox=(row("e1"), row(LONE_SURROGATE))))
    await _is_refused(store, line.epoch, Plan(epoch=0, inbox=(row("e1"),), entities=(EntityWrite(broken, None),)))
    assert not await line.is_known(row("e1"))
    assert await line.load_entity(broken) is None


async def key_that_cannot_be_encoded_is_refused_when_it_is_looked_for(store: Store) -> None:
    """A search for half a character is an error of the data, not of the store."""
    await begin(store)
    try:
        await store.load(Keys(inbox=frozenset({(AUTH, LONE_SURROGATE)})))
    except DataRefused:
        return
    raise AssertionError("it was looked for")


async def number_beyond_the_database_is_refused(store: Store) -> None:
    """A number that no column holds harms its own plan alone."""
    line = await begin(store)
    large = msgspec.structs.replace(row("e2"), received_at=Instant(TOO_LARGE))
    await _is_refused(store, line.epoch, Plan(epoch=0, inbox=(row("e1"), large)))
    assert not await line.is_known(row("e1"))


async def body_of_an_entity_that_does_not_exist_is_refused(store: Store) -> None:
    """It has no key yet: a body meant to be encrypted is never kept in the clear."""
    line = await begin(store)
    await _is_refused(store, line.epoch, Plan(epoch=0, inbox=(row("e1", entity=person(1), body=b"secret"),)))


async def plan_that_is_refused_at_its_end_has_written_nothing(store: Store) -> None:
    """One transaction or nothing: what stands before the bad row is undone with it."""
    line = await begin(store)
    plan = Plan(
        epoch=0,
        inbox=(row("e1"),),
        entities=(EntityWrite(person(1), None),),
        deliveries=(LaneRow(line.audit[0].id, Subject("user/e1"), 0, row=0),),
        progress={10**6: (0, 1)},
    )
    await _is_refused(store, line.epoch, plan)
    assert not await line.is_known(row("e1"))
    assert await line.load_entity(person(1)) is None
    assert not (await line.read(line.audit[0].id)).deliveries


async def delivery_in_a_lane_that_was_never_opened_is_refused(store: Store) -> None:
    """Nobody would ever read it."""
    line = await begin(store)
    lost = LaneRow(10**6, Subject("user/e1"), 0, row=0)
    await _is_refused(store, line.epoch, Plan(epoch=0, inbox=(row("e1"),), deliveries=(lost,)))


async def refused_plan_leaves_its_neighbours_alone(store: Store) -> None:
    """Plans that are committed together are refused one by one."""
    line = await begin(store)
    plans = [Plan(epoch=line.epoch, inbox=(row(f"e{number}"),), at=AT) for number in range(20)]
    plans[7] = Plan(epoch=line.epoch, inbox=(row("e7"), row(LONE_SURROGATE)), at=AT)
    results = await asyncio.gather(*(store.commit(plan) for plan in plans), return_exceptions=True)
    assert isinstance(results.pop(7), DataRefused)
    assert all(isinstance(result, Committed) for result in results)
    found = {entry.row.id for entry in await store.recent(0, 100)}
    assert found == {f"e{number}" for number in range(20) if number != 7}


async def two_hundred_plans_at_once_are_all_written(store: Store) -> None:
    """However many wait, each is answered with its own rows."""
    line = await begin(store)
    plans = [Plan(epoch=line.epoch, inbox=(row(f"e{number}"),), at=AT) for number in range(200)]
    results = await asyncio.gather(*(store.commit(plan) for plan in plans))
    written = {entry.seq: entry.row.id for entry in await store.recent(0, 1_000)}
    assert len(written) == 200
    for number, result in enumerate(results):
        assert isinstance(result, Committed)
        assert written[result.inbox[0]] == f"e{number}"


async def thousand_events_fit_into_one_plan(store: Store) -> None:
    """A batch of the largest size that ingest takes."""
    line = await begin(store)
    entities = [person(number) for number in range(1_000)]
    rows = tuple(row(f"e{number}", entity=one, body=b"body") for number, one in enumerate(entities))
    committed = await line.commit(
        Plan(
            epoch=0,
            inbox=rows,
            entities=tuple(EntityWrite(one, None) for one in entities),
            deliveries=tuple(
                LaneRow(line.audit[index % 2].id, one.subject, 1, row=index) for index, one in enumerate(rows)
            ),
        )
    )
    assert len(committed.inbox) == len(committed.deliveries) == 1_000
    page = await line.read(*(lane.id for lane in line.audit), limit=1_000)
    assert [one.event_id for one in sorted(page.deliveries, key=lambda one: one.id)] == [one.event_id for one in rows]
    ids: frozenset[EntityId] = frozenset(one.id for one in entities)
    assert len((await store.load(Keys(entities=ids))).entities) == 1_000


async def caller_that_gives_up_does_not_undo_its_plan(store: Store) -> None:
    """A commit that is under way is finished, and the next one is not disturbed."""
    line = await begin(store)
    gone = asyncio.ensure_future(store.commit(Plan(epoch=line.epoch, inbox=(row("e1"),), at=AT)))
    await asyncio.sleep(0)
    gone.cancel()
    await line.accept(row("e2"))
    assert [entry.row.id for entry in await store.recent(0, 10)] == ["e1", "e2"]


async def events_that_went_out_follow_a_sequence(store: Store) -> None:
    """Oldest first, whole, past what was seen, at most as many as asked for; what nobody was sent is left out."""
    line = await begin(store)
    entity = person(1)
    quiet = msgspec.structs.replace(row("quiet"), event_id=None, event_type=None, event_subject=None)
    out = [row("e0"), row("e1", entity=entity, body=b"body"), row("e2"), row("e3")]
    rows = (out[0], quiet, *out[1:])
    seqs = (await line.commit(Plan(epoch=0, inbox=rows, entities=(EntityWrite(entity, None),)))).inbox
    sent = [InboxEntry(seq, one) for seq, one in zip(seqs, rows, strict=True) if one is not quiet]
    assert list(await store.passed_on(PassedOn(), 10)) == sent
    assert list(await store.passed_on(PassedOn(), 2)) == sent[:2]
    assert list(await store.passed_on(PassedOn(after=seqs[0]), 2)) == sent[1:3]
    assert list(await store.passed_on(PassedOn(after=seqs[0], until=seqs[3]), 10)) == sent[1:3]
    assert not await store.passed_on(PassedOn(after=seqs[-1]), 10)
    assert not await store.passed_on(PassedOn(), 0)


async def events_that_went_out_are_found_by_when_and_of_whom(store: Store) -> None:
    """From an instant, before another one, of one outgoing subject: whoever published it, and all of these at once."""
    line = await begin(store)
    entity = person(1)
    merged = row("merged", entity=entity, received_at=Instant(AT + 2))
    published = msgspec.structs.replace(row("published"), event_subject=merged.event_subject)
    late = msgspec.structs.replace(published, id="late", received_at=Instant(AT + 3))
    rows = (row("e1"), published, merged, row("e2", received_at=Instant(AT + 1)), late)
    await line.commit(Plan(epoch=0, inbox=rows, entities=(EntityWrite(entity, None),)))
    subject = merged.event_subject
    for wanted, ids in (
        (PassedOn(received_from=Instant(AT + 1)), ["merged", "e2", "late"]),
        (PassedOn(received_before=Instant(AT + 2)), ["e1", "published", "e2"]),
        (PassedOn(received_from=Instant(AT + 1), received_before=Instant(AT + 3)), ["merged", "e2"]),
        (PassedOn(subject=subject), ["published", "merged", "late"]),
        (PassedOn(subject=Subject("user/e1")), ["e1"]),
        (PassedOn(subject=Subject("user/e_")), []),
        (PassedOn(subject=subject, received_from=Instant(AT + 1), received_before=Instant(AT + 3)), ["merged"]),
    ):
        assert [one.row.id for one in await store.passed_on(wanted, 10)] == ids, wanted


async def event_that_waited_went_out_once_it_was_settled(store: Store) -> None:
    """At its old place, with what is in its row by then."""
    line = await begin(store)
    waiting = msgspec.structs.replace(row("e1"), event_id=None, event_type=None, event_subject=None)
    plan = Plan(epoch=0, inbox=(waiting, row("e2")), waits=(Wait(row=0, reason="missing_parent"),))
    seqs = (await line.commit(plan)).inbox
    assert [one.seq for one in await store.passed_on(PassedOn(), 10)] == [seqs[1]]
    settled = msgspec.structs.replace(row("e1"), not_before=Instant(AT + 7))
    await line.commit(Plan(epoch=0, settles=(Settle(seq=seqs[0], row=settled),)))
    assert [one.seq for one in await store.passed_on(PassedOn(), 10)] == list(seqs)
    assert (await store.passed_on(PassedOn(), 1))[0].row == settled


async def few_events_are_found_among_many(store: Store) -> None:
    """However many rows lie between them: page by page none is missed and none is given twice."""
    line = await begin(store)
    rare = Subject("user/rare")
    for part in range(12):
        rows = [row(f"e{part}-{number}") for number in range(1_000)]
        rows[part] = msgspec.structs.replace(rows[part], event_subject=rare)
        await line.commit(Plan(epoch=0, inbox=tuple(rows)))
    found: list[str] = []
    after = 0
    while page := await store.passed_on(PassedOn(after=after, subject=rare), 5):
        found += [one.row.id for one in page]
        after = page[-1].seq
    assert found == [f"e{part}-{part}" for part in range(12)]


async def _is_refused(store: Store, epoch: int, plan: Plan) -> None:
    try:
        result = await store.commit(msgspec.structs.replace(plan, epoch=epoch, at=AT))
    except DataRefused:
        return
    raise AssertionError(result)


async def accepted_events_are_found_by_their_keys(store: Store) -> None:
    """Whatever became of them; who sent it is a part of the key."""
    line = await begin(store)
    entity = person(1)
    sealed = row("e1", entity=entity, body=b'{"n":1}')
    plan = Plan(epoch=0, inbox=(sealed, row("e2")), entities=(EntityWrite(entity, None),))
    first, second = (await line.commit(plan)).inbox
    keys = [(sealed.peer, "e2"), (sealed.peer, "e1"), (sealed.peer, "never"), (PeerName("another"), "e1")]
    assert list(await store.accepted(keys)) == [InboxEntry(first, sealed), InboxEntry(second, row("e2"))]
    assert not await store.accepted([])


CHECKS: Final[tuple[Check, ...]] = (
    accepted_events_are_found_by_their_keys,
    accepted_event_is_known_with_its_receipt,
    same_id_of_another_peer_is_another_event,
    known_event_makes_its_plan_redo_and_nothing_is_written,
    event_that_is_twice_in_one_plan_is_refused,
    sequences_and_delivery_ids_follow_the_plan,
    every_column_of_an_event_survives,
    hostile_texts_are_kept_as_they_are,
    text_that_cannot_be_encoded_is_refused,
    key_that_cannot_be_encoded_is_refused_when_it_is_looked_for,
    number_beyond_the_database_is_refused,
    body_of_an_entity_that_does_not_exist_is_refused,
    plan_that_is_refused_at_its_end_has_written_nothing,
    delivery_in_a_lane_that_was_never_opened_is_refused,
    refused_plan_leaves_its_neighbours_alone,
    two_hundred_plans_at_once_are_all_written,
    thousand_events_fit_into_one_plan,
    caller_that_gives_up_does_not_undo_its_plan,
    events_that_went_out_follow_a_sequence,
    events_that_went_out_are_found_by_when_and_of_whom,
    event_that_waited_went_out_once_it_was_settled,
    few_events_are_found_among_many,
)
