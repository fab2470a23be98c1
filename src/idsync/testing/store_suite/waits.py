"""Arrivals that wait, and identities to be read again: both are jobs that must neither be lost nor done twice."""

from typing import Final

import msgspec

from idsync.errors import DataRefused
from idsync.model.event import Receipt, Verdict
from idsync.model.plan import EntityWrite, InboxRow, Keys, Plan, Redo, Reread, Settle, Wait, Waiting
from idsync.model.values import ExternalId, Instant
from idsync.ports import Store
from idsync.testing.store_suite.samples import APP, AT, AUTH, LATER, Check, Line, begin, person, row

KEY: Final = "id:auth:user:a1"


async def waiting_arrival_is_given_back_whole_when_its_time_has_come(store: Store) -> None:
    """Not a millisecond earlier, and with the bytes that came."""
    line = await begin(store)
    seq = await _wait(line, "e1", retry_at=Instant(AT + 5), attempts=2)
    assert not await store.due_waits(Instant(AT + 4), 10)
    assert list(await store.due_waits(Instant(AT + 5), 10)) == [
        Waiting(
            seq=seq,
            peer=AUTH,
            id="e1",
            type="user.updated",
            subject=row("e1").subject,
            reason="missing_parent",
            key=KEY,
            retry_at=Instant(AT + 5),
            attempts=2,
            parked_at=AT,
            body=b"as it came",
        )
    ]


async def waiting_arrivals_come_oldest_first(store: Store) -> None:
    """By the time they are due, then by the order in which they were accepted."""
    line = await begin(store)
    seqs = [await _wait(line, f"e{at}{number}", retry_at=Instant(AT + at)) for number, at in enumerate((2, 1, 2, 1, 3))]
    due = await store.due_waits(Instant(AT + 2), 3)
    assert [one.seq for one in due] == [seqs[1], seqs[3], seqs[0]]


async def arrival_without_a_time_waits_until_it_is_released(store: Store) -> None:
    """A release makes due what waits for its key, and nothing else, and counts it."""
    line = await begin(store)
    first, second = await _wait(line, "e1"), await _wait(line, "e2")
    other = await _wait(line, "e3", key="id:auth:user:a2")
    assert not await store.due_waits(LATER, 10)
    committed = await line.commit(Plan(epoch=0, releases=(KEY, "id:nobody"), at=Instant(AT + 9)))
    assert committed.released == 2
    assert [(one.seq, one.retry_at) for one in await store.due_waits(Instant(AT + 9), 10)] == [
        (first, AT + 9),
        (second, AT + 9),
    ]
    assert other not in {one.seq for one in await store.due_waits(LATER, 10)}


async def arrival_is_released_when_what_it_speaks_of_is_known(store: Store) -> None:
    """Also after it was tried again in between: whatever else it waits for, it has its own key for good."""
    line = await begin(store)
    plan = Plan(
        epoch=0, inbox=(_arrival("e1"),), waits=(Wait(row=0, reason="link_undecided", key="email:x", own_key=KEY),)
    )
    (seq,) = (await line.commit(plan)).inbox
    await line.commit(Plan(epoch=0, waits=(Wait(seq=seq, reason="link_undecided", key="email:x"),)))
    committed = await line.commit(Plan(epoch=0, releases=(KEY,)))
    assert committed.released == 1
    assert [one.seq for one in await store.due_waits(AT, 10)] == [seq]


async def plan_releases_its_own_waits(store: Store) -> None:
    """What a batch fulfils it fulfils for the events of the same batch: no wait is forgotten between two events."""
    line = await begin(store)
    committed = await line.commit(
        Plan(epoch=0, inbox=(_arrival("e1"),), waits=(Wait(row=0, reason="missing_parent", key=KEY),), releases=(KEY,))
    )
    assert committed.released == 1
    assert [one.seq for one in await store.due_waits(AT, 10)] == [committed.inbox[0]]


async def settled_arrival_has_the_verdict_it_earned(store: Store) -> None:
    """Its row changes, its place and key do not, and it waits no more."""
    line = await begin(store)
    seq = await _wait(line, "e1", retry_at=AT)
    entity = person(1)
    settled = msgspec.structs.replace(row("e1", entity=entity, body=b"outgoing"), trace="00-trace", changed=("name",))
    await line.commit(Plan(epoch=0, entities=(EntityWrite(entity, None),), settles=(Settle(seq=seq, row=settled),)))
    assert not await store.due_waits(LATER, 10)
    known = (await store.load(Keys(inbox=frozenset({(AUTH, "e1")})))).known
    assert known == {(AUTH, "e1"): Receipt("e1", Verdict.APPLIED, None, entity.id)}
    (entry,) = await store.timeline(entity.id, 10)
    assert entry.seq == seq
    assert entry.row == msgspec.structs.replace(settled, subject=row("e1").subject)


async def arrival_that_was_settled_meanwhile_is_not_settled_again(store: Store) -> None:
    """Two tries of one arrival: the second must be redone, and nothing of it is written."""
    line = await begin(store)
    seq = await _wait(line, "e1", retry_at=AT)
    settle = Settle(seq=seq, row=row("e1"))
    await line.commit(Plan(epoch=0, settles=(settle,)))
    redo = Redo(inbox=frozenset({(AUTH, "e1")}))
    assert await line.try_commit(Plan(epoch=0, inbox=(row("e2"),), settles=(settle,))) == redo
    assert await line.try_commit(Plan(epoch=0, waits=(Wait(seq=seq, reason="again"),))) == redo
    assert not await line.is_known(row("e2"))


async def settling_a_sequence_that_was_never_given_is_refused(store: Store) -> None:
    """It is no race but a fault, and is said so."""
    line = await begin(store)
    try:
        await line.try_commit(Plan(epoch=0, settles=(Settle(seq=10**6, row=row("e1")),)))
    except DataRefused:
        return
    raise AssertionError("it was settled")


async def arrival_that_waits_again_keeps_since_when(store: Store) -> None:
    """Reason, key, time and attempts are replaced; the age counts from the first time."""
    line = await begin(store)
    seq = await _wait(line, "e1", retry_at=AT)
    again = Wait(seq=seq, reason="link_undecided", key="other", retry_at=Instant(AT + 7), attempts=1)
    await line.commit(Plan(epoch=0, waits=(again,), at=Instant(AT + 6)))
    (found,) = await store.due_waits(LATER, 10)
    assert (found.reason, found.key, found.retry_at, found.attempts) == ("link_undecided", "other", AT + 7, 1)
    assert found.parked_at == AT


async def rereads_of_one_identity_are_one_job(store: Store) -> None:
    """However often it is asked, it is read once; other identities are others."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, rereads=(_reread(), _reread("a2"))))
    await line.commit(Plan(epoch=0, rereads=(_reread(),)))
    await line.commit(Plan(epoch=0, rereads=(msgspec.structs.replace(_reread(), peer=APP),)))
    due = await store.due_rereads(AT, 10)
    assert sorted((one.peer, one.external_id) for one in due) == [(APP, "a1"), (AUTH, "a1"), (AUTH, "a2")]


async def reread_is_due_when_its_time_has_come(store: Store) -> None:
    """Oldest first, at most as many as asked for."""
    line = await begin(store)
    asked = tuple(msgspec.structs.replace(_reread(f"a{delay}"), retry_at=Instant(AT + delay)) for delay in (3, 1, 2))
    await line.commit(Plan(epoch=0, rereads=asked))
    assert [one.external_id for one in await store.due_rereads(Instant(AT + 2), 10)] == ["a1", "a2"]
    assert [one.external_id for one in await store.due_rereads(Instant(AT + 3), 1)] == ["a1"]


async def reread_that_was_done_ends(store: Store) -> None:
    """Its job goes in the transaction that ingests what was read."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, rereads=(_reread(), _reread("a2"))))
    taken = {one.external_id: one for one in await store.due_rereads(AT, 10)}
    await line.commit(Plan(epoch=0, rereads_done=(taken[ExternalId("a1")],)))
    assert [one.external_id for one in await store.due_rereads(AT, 10)] == ["a2"]


async def reread_that_was_asked_for_again_meanwhile_stays(store: Store) -> None:
    """The read began before the new reason: also where both were asked within one millisecond."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, rereads=(_reread(),)))
    (taken,) = await store.due_rereads(AT, 10)
    await line.commit(Plan(epoch=0, rereads=(_reread(),)))
    await line.commit(Plan(epoch=0, rereads_done=(taken,)))
    (stays,) = await store.due_rereads(AT, 10)
    await line.commit(Plan(epoch=0, rereads_done=(stays,)))
    assert not await store.due_rereads(LATER, 10)


async def reread_that_is_done_and_asked_for_in_one_plan_stays(store: Store) -> None:
    """What was found may itself be a reason to look again."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, rereads=(_reread(),)))
    (taken,) = await store.due_rereads(AT, 10)
    await line.commit(Plan(epoch=0, rereads=(_reread(),), rereads_done=(taken,)))
    assert [one.external_id for one in await store.due_rereads(AT, 10)] == ["a1"]


async def reread_that_failed_is_put_off(store: Store) -> None:
    """The job as it was taken, with its next time and its attempts."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, rereads=(_reread(),)))
    (taken,) = await store.due_rereads(AT, 10)
    later = msgspec.structs.replace(taken, retry_at=Instant(AT + 1_000), attempts=1)
    await line.commit(Plan(epoch=0, rereads=(later,)))
    assert not await store.due_rereads(Instant(AT + 999), 10)
    (found,) = await store.due_rereads(Instant(AT + 1_000), 10)
    assert found.attempts == 1


def _arrival(id_: str) -> InboxRow:
    return msgspec.structs.replace(row(id_, body=b"as it came"), verdict=Verdict.PARKED, event_id=None, event_type=None)


def _reread(external_id: str = "a1") -> Reread:
    return Reread(peer=AUTH, kind="user", external_id=ExternalId(external_id), asked_at=AT, retry_at=AT)


async def _wait(line: Line, id_: str, *, key: str = KEY, retry_at: Instant | None = None, attempts: int = 0) -> int:
    """Accept an arrival that waits; give its sequence."""
    wait = Wait(row=0, reason="missing_parent", key=key, retry_at=retry_at, attempts=attempts)
    return (await line.commit(Plan(epoch=0, inbox=(_arrival(id_),), waits=(wait,)))).inbox[0]


CHECKS: Final[tuple[Check, ...]] = (
    waiting_arrival_is_given_back_whole_when_its_time_has_come,
    waiting_arrivals_come_oldest_first,
    arrival_without_a_time_waits_until_it_is_released,
    arrival_is_released_when_what_it_speaks_of_is_known,
    plan_releases_its_own_waits,
    settled_arrival_has_the_verdict_it_earned,
    arrival_that_was_settled_meanwhile_is_not_settled_again,
    settling_a_sequence_that_was_never_given_is_refused,
    arrival_that_waits_again_keeps_since_when,
    rereads_of_one_identity_are_one_job,
    reread_is_due_when_its_time_has_come,
    reread_that_was_done_ends,
    reread_that_was_asked_for_again_meanwhile_stays,
    reread_that_is_done_and_asked_for_in_one_plan_stays,
    reread_that_failed_is_put_off,
)
