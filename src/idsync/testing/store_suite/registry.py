"""What the store knows of the service: epochs, outbox positions, settings, counts, and its own end."""

from typing import Final

import msgspec

from idsync.errors import StoreError
from idsync.model.delivery import ParkedState
from idsync.model.destination import Lane
from idsync.model.entity import Conflict
from idsync.model.plan import EntityWrite, Keys, LaneRow, Plan, Position, Redo, Reread, Wait
from idsync.model.values import ExternalId, Instant, Subject
from idsync.ports import Stats, Store
from idsync.testing.store_suite.samples import APP, AT, AUDIT, AUTH, TARGET, Check, begin, parked_row, person, row


async def each_start_begins_a_new_epoch(store: Store) -> None:
    """Epochs only grow."""
    epochs = [await store.start() for _ in range(3)]
    assert epochs == sorted(set(epochs))


async def position_of_an_outbox_commits_with_its_rows(store: Store) -> None:
    """None before the first; moved by the plan that ingests the rows before it, and only if that is written."""
    line = await begin(store)
    assert await store.position(AUTH) is None
    first, second = Position("g1", 7, "n1"), Position("g2", 3, "n\x002", "m3")
    await line.commit(Plan(epoch=0, inbox=(row("e1"),), positions={AUTH: first}))
    assert isinstance(await line.try_commit(Plan(epoch=0, inbox=(row("e1"),), positions={AUTH: second})), Redo)
    assert await store.position(AUTH) == first
    await line.commit(Plan(epoch=0, positions={AUTH: second, APP: first}))
    assert (await store.position(AUTH), await store.position(APP)) == (second, first)


async def setting_is_kept_and_replaced(store: Store) -> None:
    """Bytes by name; an empty value is a value."""
    assert await store.setting("secret") is None
    for value in (b"one", bytes(range(256)), b""):
        await store.put_setting("secret", value)
        assert await store.setting("secret") == value
    assert await store.setting("Secret") is None


async def stats_count_what_the_store_holds(store: Store) -> None:
    """Queued, parked and dead by destination; a destination without any is left out."""
    line = await begin(store)
    entity = person(1)
    conflict = Conflict(
        entity=entity.id,
        field="name",
        rule="newest",
        peer=APP,
        refused="a",
        kept="b",
        kept_peer=AUTH,
        at=AT,
        event_id="e1",
    )
    lane = line.audit[0]
    reread = Reread(peer=AUTH, kind="user", external_id=ExternalId("a1"), asked_at=AT, retry_at=AT)
    committed = await line.commit(
        Plan(
            epoch=0,
            inbox=(row("e1"), row("e2")),
            entities=(EntityWrite(entity, None),),
            conflicts=(conflict,),
            waits=(Wait(row=1, reason="missing_parent"),),
            rereads=(reread,),
            deliveries=tuple(LaneRow(lane.id, row("e1").subject, 0, row=0) for _ in range(3)),
            parked=(
                parked_row(90, lane),
                parked_row(91, line.target[0]),
                msgspec.structs.replace(parked_row(92, lane), state=ParkedState.DEAD),
            ),
        )
    )
    await line.pass_by(lane, committed.deliveries[0])
    stats = await store.stats()
    assert stats.size_bytes > 0
    assert msgspec.structs.replace(stats, size_bytes=0) == Stats(
        entities=1,
        inbox=2,
        queued={AUDIT.name: 2},
        parked={AUDIT.name: 1, TARGET.name: 1},
        dead={AUDIT.name: 1},
        oldest={AUDIT.name: Instant(AT - 1_000), TARGET.name: Instant(AT - 1_000)},
        waiting=1,
        rereads=1,
        conflicts=1,
        size_bytes=0,
    )


async def oldest_open_delivery_is_found_wherever_it_waits(store: Store) -> None:
    """Without a place, with one, behind settled ones of its lane, parked; what is settled or dead does not wait."""
    line = await begin(store)
    first, second = line.audit[:2]

    async def queue(lane: Lane, at_s: int) -> int:
        row = LaneRow(lane.id, Subject("user/1"), 0)
        return (await line.commit(Plan(epoch=0, at=Instant(AT + at_s * 1000), deliveries=(row,)))).deliveries[0]

    async def since_s() -> dict[str, float]:
        return {name: (at - AT) / 1000 for name, at in (await store.stats()).oldest.items()}

    assert await since_s() == {}
    one, two, three = await queue(first, 10), await queue(first, 30), await queue(second, 20)
    assert await since_s() == {AUDIT.name: 10}
    await line.tick()
    assert await since_s() == {AUDIT.name: 10}
    await line.pass_by(first, one)
    assert await since_s() == {AUDIT.name: 20}
    await line.pass_by(second, three)
    four = await queue(first, 40)
    assert await since_s() == {AUDIT.name: 30}
    await line.pass_by(first, two)
    assert await since_s() == {AUDIT.name: 40}
    waiting = parked_row(90, first)
    dead = msgspec.structs.replace(parked_row(91, first), state=ParkedState.DEAD, first_at=Instant(AT - 5_000))
    newer = msgspec.structs.replace(parked_row(80, first), first_at=Instant(AT + 5_000))
    await line.commit(Plan(epoch=0, parked=(newer, waiting, dead, parked_row(92, line.target[0]))))
    assert await since_s() == {AUDIT.name: -1, TARGET.name: -1}
    await line.commit(Plan(epoch=0, unparked=(80, 90, 92)))
    assert await since_s() == {AUDIT.name: 40}
    await line.pass_by(first, four)
    assert await since_s() == {}


async def recent_events_follow_a_sequence(store: Store) -> None:
    """Oldest first, past what was seen, at most as many as asked for."""
    line = await begin(store)
    committed = await line.accept(*(row(f"e{number}") for number in range(5)))
    recent = await store.recent(committed.inbox[1], 2)
    assert [(entry.seq, entry.row.id) for entry in recent] == [(committed.inbox[2], "e2"), (committed.inbox[3], "e3")]
    assert not await store.recent(committed.inbox[4], 10)


async def closed_store_says_so(store: Store) -> None:
    """Every verb after `close` is an error, and closing again is none."""
    line = await begin(store)
    await store.close()
    await store.close()
    for verb in (
        store.start(),
        store.load(Keys()),
        store.stats(),
        store.put_setting("a", b""),
        line.try_commit(Plan(epoch=0)),
    ):
        try:
            await verb
        except StoreError:
            continue
        raise AssertionError(verb)


CHECKS: Final[tuple[Check, ...]] = (
    each_start_begins_a_new_epoch,
    position_of_an_outbox_commits_with_its_rows,
    setting_is_kept_and_replaced,
    stats_count_what_the_store_holds,
    oldest_open_delivery_is_found_wherever_it_waits,
    recent_events_follow_a_sequence,
    closed_store_says_so,
)
