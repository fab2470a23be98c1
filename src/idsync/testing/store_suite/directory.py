"""The directory: entities are written only as they were read, and found by every id and e-mail that leads to them."""

import asyncio
from typing import Final

import msgspec

from idsync.errors import DataRefused
from idsync.model.entity import (
    Action,
    Conflict,
    Entity,
    Field,
    Hold,
    Intent,
    Link,
    LinkState,
    Shadow,
    Stamp,
    Tombstone,
)
from idsync.model.event import Version
from idsync.model.plan import Committed, EntityWrite, Keys, Plan, Redo, Snapshot
from idsync.model.values import EntityId, ExternalId, Instant, Value
from idsync.ports import Store
from idsync.testing.store_suite.samples import APP, AT, AUTH, HOSTILE_TEXTS, Check, Line, begin, person, row

VALUES: Final[dict[str, Value]] = {
    "null": None,
    "empty": "",
    "no": False,
    "zero": 0,
    "fraction": 0.5,
    "negative": -(2**63),
    "none": [],
    "texts": ["", "\x00", "\N{GRINNING FACE}"],
    **{f"hostile{index}": text for index, text in enumerate(HOSTILE_TEXTS)},
}
"""Every shape of a value; a field of the name `missing` is in none of them."""


async def loading_nothing_gives_nothing(store: Store) -> None:
    """A batch without keys is no error."""
    await begin(store)
    assert await store.load(Keys()) == Snapshot()


async def entity_is_found_by_all_that_leads_to_it(store: Store) -> None:
    """By id at a peer, by e-mail and by its own id, in one look; what leads nowhere is absent."""
    line = await begin(store)
    one, two, three = (person(number) for number in range(3))
    await line.write(one, two, three)
    found = await store.load(
        Keys(
            links=frozenset({(AUTH, "user", ExternalId("a0")), (APP, "user", ExternalId("a0"))}),
            emails=frozenset({("user", "u1@example.com"), ("organization", "u1@example.com"), ("user", "nobody")}),
            entities=frozenset({three.id, EntityId("unknown")}),
        )
    )
    assert found.links == {(AUTH, "user", ExternalId("a0")): one.id}
    assert found.emails == {("user", "u1@example.com"): two.id}
    assert found.entities == {one.id: one, two.id: two, three.id: three}
    assert await store.get(two.id) == two
    assert await store.get(EntityId("unknown")) is None


async def everything_in_an_entity_survives(store: Store) -> None:
    """Fields, shadows, intents, holds and the tombstone; missing, null and empty stay three things."""
    line = await begin(store)
    await check_round_trip(line, _full_entity())
    found = await store.get(_full_entity().id)
    assert found is not None
    assert "missing" not in found.fields
    assert found.fields["null"].value is None
    assert found.fields["empty"].value == ""
    assert found.links[AUTH].shadow["null"] == Shadow(None, "held", AT)
    assert "missing" not in found.links[AUTH].shadow


async def check_round_trip(line: Line, entity: Entity) -> None:
    """Write an entity, and again as its own next state; read both times what was written. Not a check by itself."""
    assert isinstance(await line.write(entity), Committed)
    assert await line.load_entity(entity) == entity
    after = msgspec.structs.replace(entity, rev=entity.rev + 1, version=entity.version + 1)
    assert isinstance(await line.write(after, expected_rev=entity.rev), Committed)
    assert await line.load_entity(after) == after


async def entity_that_moved_since_it_was_read_makes_the_plan_redo(store: Store) -> None:
    """The plan names it, and nothing else of the plan is written either."""
    line = await begin(store)
    await line.write(person(1))
    await line.write(person(1, rev=2), expected_rev=1)
    stale = EntityWrite(person(1, rev=2, email="stale"), 1)
    plan = Plan(epoch=0, inbox=(row("e1"),), entities=(EntityWrite(person(2), None), stale))
    assert await line.try_commit(plan) == Redo(entities=frozenset({person(1).id}))
    assert await line.load_entity(person(1)) == person(1, rev=2)
    assert await line.load_entity(person(2)) is None
    assert not await line.is_known(row("e1"))


async def entity_that_exists_cannot_be_made_again(store: Store) -> None:
    """A plan that believes it new was made before it was there."""
    line = await begin(store)
    await line.write(person(1))
    assert await line.write(person(1, rev=2)) == Redo(entities=frozenset({person(1).id}))


async def entity_that_does_not_exist_cannot_be_changed(store: Store) -> None:
    """A change of what is not there is no creation."""
    line = await begin(store)
    assert await line.write(person(1, rev=2), expected_rev=1) == Redo(entities=frozenset({person(1).id}))
    assert await line.load_entity(person(1)) is None


async def one_of_two_plans_with_one_entity_is_redone(store: Store) -> None:
    """Both read the same state, both are committed at once: one is written, the other loads again."""
    line = await begin(store)
    await line.write(person(1))
    entities = [person(1, rev=2, email=f"{number}@example.com") for number in range(2)]
    results = await asyncio.gather(*(line.write(one, expected_rev=1) for one in entities))
    (winner,) = [one for one, result in zip(entities, results, strict=True) if isinstance(result, Committed)]
    assert Redo(entities=frozenset({person(1).id})) in results
    assert await line.load_entity(person(1)) == winner


async def id_at_a_peer_belongs_to_one_entity(store: Store) -> None:
    """Two plans that both met an unknown id make one entity: the second is redone and finds the first."""
    line = await begin(store)
    first = person(1)
    second = msgspec.structs.replace(person(2), links=first.links)
    results = [await line.write(first), await line.write(second)]
    assert isinstance(results[0], Committed)
    assert results[1] == Redo(entities=frozenset({second.id}))
    assert await line.load_entity(second) is None


async def former_ids_lead_to_their_entity_for_ever(store: Store) -> None:
    """Also once it is deleted, and also ids that it had before."""
    line = await begin(store)
    await line.write(person(1))
    link = Link(state=LinkState.GONE, external_id=ExternalId("new"), former=(ExternalId("a1"), ExternalId("older")))
    grave = Tombstone(AT, AUTH, "e9")
    dead = msgspec.structs.replace(person(1, rev=2), links={AUTH: link}, deleted=grave)
    await line.write(dead, expected_rev=1)
    keys = frozenset((AUTH, "user", ExternalId(id_)) for id_ in ("a1", "older", "new"))
    assert (await store.load(Keys(links=keys))).links == dict.fromkeys(keys, dead.id)


async def first_claim_of_an_email_counts(store: Store) -> None:
    """A second entity with the same e-mail is written all the same, and found by it once the first lets it go."""
    line = await begin(store)
    email = "same@example.com"
    await line.write(person(2, email=email))
    await line.write(person(1, email=email))
    assert await _holder_of(store, email) == person(2).id
    await line.write(person(2, email="other@example.com", rev=2), expected_rev=1)
    assert await _holder_of(store, email) == person(1).id
    assert await _holder_of(store, "other@example.com") == person(2).id


async def email_that_stays_keeps_its_claim(store: Store) -> None:
    """A change of other fields does not put an entity behind a later claim."""
    line = await begin(store)
    email = "same@example.com"
    await line.write(person(1, email=email))
    await line.write(person(2, email=email))
    await line.write(person(1, email=email, rev=2), expected_rev=1)
    assert await _holder_of(store, email) == person(1).id


async def deleted_entity_frees_its_email(store: Store) -> None:
    """Its ids stay, its e-mail may be another's."""
    line = await begin(store)
    await line.write(person(1))
    dead = msgspec.structs.replace(person(1, rev=2), deleted=Tombstone(AT, AUTH, "e9"))
    await line.write(dead, expected_rev=1)
    assert await _holder_of(store, "u1@example.com") is None


async def empty_email_is_nobody_s(store: Store) -> None:
    """Neither "" nor a value that is no text makes two entities one."""
    line = await begin(store)
    stamp = Stamp(AT, 1, "e")
    await line.write(person(1, email=""))
    await line.write(msgspec.structs.replace(person(2), fields={"email": Field(None, stamp, AUTH)}))
    await line.write(msgspec.structs.replace(person(3), fields={"email": Field(["a"], stamp, AUTH)}))
    assert await _holder_of(store, "") is None


async def entity_that_is_twice_in_one_plan_is_refused(store: Store) -> None:
    """Events of one entity are merged one after the other in memory: a plan holds the last state."""
    line = await begin(store)
    await _is_refused(line, EntityWrite(person(1), None), EntityWrite(person(1, rev=2), None))


async def entity_whose_rev_does_not_move_is_refused(store: Store) -> None:
    """The next writer could not see that it was written."""
    line = await begin(store)
    await line.write(person(1))
    await _is_refused(line, EntityWrite(person(1, email="new"), 1))


async def two_entities_of_one_plan_cannot_claim_one_id(store: Store) -> None:
    """It is no race but a fault of the plan."""
    line = await begin(store)
    twin = msgspec.structs.replace(person(2), links=person(1).links)
    await _is_refused(line, EntityWrite(person(1), None), EntityWrite(twin, None))


async def entities_come_in_pages_by_id(store: Store) -> None:
    """Of all kinds or of one, each page after the last id of the one before."""
    line = await begin(store)
    people = [person(number) for number in range(5)]
    group = Entity(id=EntityId("0190-00000002-a"), kind="organization", rev=1)
    await line.write(*reversed(people), group)
    assert [one.id for one in await store.page(None, None, 4)] == [*(one.id for one in people[:3]), group.id]
    assert list(await store.page(None, people[3].id, 4)) == [people[4]]
    assert list(await store.page("user", people[1].id, 2)) == people[2:4]
    assert list(await store.page("organization", None, 10)) == [group]
    assert not await store.page("session", None, 10)


async def operator_finds_an_entity_by_what_they_know(store: Store) -> None:
    """An e-mail, our id or a peer's, each also behind its kind; another kind's is not meant."""
    line = await begin(store)
    one = person(1)
    group = Entity(id=EntityId("0190-g"), kind="organization", rev=1, links={APP: Link(external_id=ExternalId("a1"))})
    await line.write(one, person(2), group)
    for text in ("u1@example.com", one.id, f"user/{one.id}", "user/a1"):
        assert list(await store.find(text)) == [one], text
    assert list(await store.find("a1")) == [one, group]
    assert list(await store.find("organization/a1")) == [group]
    for text in ("", "nobody", "organization/nobody", "session/a1", "u_@example.com", *HOSTILE_TEXTS):
        assert not await store.find(text), text


async def search_gives_twenty_entities_at_most(store: Store) -> None:
    """However many hold the same e-mail."""
    line = await begin(store)
    await line.write(*(person(number, email="same@example.com") for number in range(25)))
    assert len(await store.find("same@example.com")) == 20


async def conflicts_come_newest_first(store: Store) -> None:
    """Of one entity or of all, with both values."""
    line = await begin(store)
    await line.write(person(1), person(2))
    refused: list[tuple[int, Value]] = [(1, "\x00"), (2, ["a"]), (1, "")]
    conflicts = [
        Conflict(
            entity=person(number).id,
            field="name",
            rule="newest",
            peer=APP,
            refused=value,
            kept=None,
            kept_peer=AUTH,
            at=Instant(AT + index),
            event_id="e1",
        )
        for index, (number, value) in enumerate(refused)
    ]
    await line.commit(Plan(epoch=0, conflicts=tuple(conflicts)))
    assert list(await store.conflicts(None, 10)) == conflicts[::-1]
    assert list(await store.conflicts(None, 1)) == conflicts[2:]
    assert list(await store.conflicts(person(1).id, 10)) == [conflicts[2], conflicts[0]]


async def timeline_of_an_entity_comes_newest_first(store: Store) -> None:
    """Its own events only, with the bodies as they went out."""
    line = await begin(store)
    await line.write(person(1), person(2))
    rows = [row(f"e{number}", entity=person(1 + number % 2), body=b"body %d" % number) for number in range(6)]
    await line.accept(*rows, row("bare"))
    assert [entry.row for entry in await store.timeline(person(1).id, 2)] == [rows[4], rows[2]]
    assert [entry.row for entry in await store.timeline(person(2).id, 10)] == [rows[5], rows[3], rows[1]]


async def bodies_of_every_state_of_an_entity_are_read(store: Store) -> None:
    """Whether its first state, a later one or none at all was written with them."""
    line = await begin(store)
    states = (EntityWrite(person(1), None), EntityWrite(person(1, rev=2), 1))
    for number, writes in enumerate((states[:1], states[1:], ())):
        event = row(f"e{number}", entity=person(1), body=b"body %d" % number)
        await line.commit(Plan(epoch=0, inbox=(event,), entities=writes))
    assert [entry.row.body for entry in await store.timeline(person(1).id, 10)] == [b"body 2", b"body 1", b"body 0"]


def _full_entity() -> Entity:
    stamp = Stamp(AT, 3, "e1")
    fields = {name: Field(value, stamp, APP) for name, value in VALUES.items()}
    shadow = {name: Shadow(value, value, AT) for name, value in VALUES.items()} | {"null": Shadow(None, "held", AT)}
    intent = Intent(
        id="i1",
        action=Action.CREATE,
        epoch=3,
        version=2,
        fields=dict(VALUES),
        external_id=ExternalId("x"),
        expires_at=AT,
        seen_at=AT,
    )
    link = Link(
        state=LinkState.UNLINKED,
        external_id=ExternalId("a\x001"),
        version=Version("capture", "generation", 2**53),
        event_at=AT,
        rev=4,
        shadow=shadow,
        intents=(intent, msgspec.structs.replace(intent, external_id=None, action=Action.REMOVE)),
        confirmed_at=AT,
        former=(ExternalId("older"),),
    )
    return Entity(
        id=EntityId("0190-full"),
        kind="user",
        version=9,
        rev=11,
        incarnation=2,
        fields=fields,
        links={AUTH: link, APP: Link()},
        holds={"name": Hold(AT, {AUTH: fields, APP: {}})},
        deleted=Tombstone(AT, AUTH, "e1"),
        created_at=AT,
        updated_at=Instant(AT + 1),
    )


async def _holder_of(store: Store, email: str) -> EntityId | None:
    return (await store.load(Keys(emails=frozenset({("user", email)})))).emails.get(("user", email))


async def _is_refused(line: Line, *writes: EntityWrite) -> None:
    try:
        result = await line.try_commit(Plan(epoch=0, entities=writes))
    except DataRefused:
        return
    raise AssertionError(result)


CHECKS: Final[tuple[Check, ...]] = (
    loading_nothing_gives_nothing,
    entity_is_found_by_all_that_leads_to_it,
    everything_in_an_entity_survives,
    entity_that_moved_since_it_was_read_makes_the_plan_redo,
    entity_that_exists_cannot_be_made_again,
    entity_that_does_not_exist_cannot_be_changed,
    one_of_two_plans_with_one_entity_is_redone,
    id_at_a_peer_belongs_to_one_entity,
    former_ids_lead_to_their_entity_for_ever,
    first_claim_of_an_email_counts,
    email_that_stays_keeps_its_claim,
    deleted_entity_frees_its_email,
    empty_email_is_nobody_s,
    entity_that_is_twice_in_one_plan_is_refused,
    entity_whose_rev_does_not_move_is_refused,
    two_entities_of_one_plan_cannot_claim_one_id,
    entities_come_in_pages_by_id,
    operator_finds_an_entity_by_what_they_know,
    search_gives_twenty_entities_at_most,
    conflicts_come_newest_first,
    timeline_of_an_entity_comes_newest_first,
    bodies_of_every_state_of_an_entity_are_read,
)
