"""What merge promises of any entity and any word, without a world around it (DESIGN §4, Properties)."""

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from idsync.model.entity import Entity
from idsync.model.event import Observation, Op, Verdict, Version
from idsync.model.mapping import Mapping, Rule
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Value
from idsync.policy.dispatch import concerned_peers
from idsync.policy.merge import merge
from tests.properties.line import KIND, START
from tests.properties.settings import GROUPS, PEERS, make_setting
from tests.properties.world import EMAILS, TEXTS

VALUES: dict[str, st.SearchStrategy[Value]] = {
    "email": st.sampled_from((*EMAILS, None)),
    "email_verified": st.booleans(),
    "name": st.sampled_from(TEXTS),
    "picture": st.sampled_from(("p1", "p2", None)),
    "preferred_username": st.sampled_from(("u1", "u2", None)),
    "roles": st.sampled_from((["admin"], [])),
    "banned": st.booleans(),
    "ban_reason": st.sampled_from(("spam", "", None)),
}
PARTS = st.fixed_dictionaries({}, optional=VALUES)
TIMES = st.integers(-5_000, 20_000).map(lambda delay_ms: Instant(START + delay_ms))
MAPPINGS = st.integers(0, 2**32).map(lambda seed: make_setting(Random(seed)).mapping)


@st.composite
def words(draw: st.DrawFn) -> Observation:
    """Draw anything that a peer may say, or a look may show, of one of two identities."""
    peer = draw(st.sampled_from(PEERS))
    op = draw(st.sampled_from(Op))
    number = draw(st.none() | st.integers(1, 9))
    return Observation(
        peer=peer,
        kind=KIND,
        external_id=ExternalId(f"{peer}-{draw(st.integers(1, 2))}"),
        op=op,
        fields={} if op in {Op.DELETED, Op.ABSENT} else draw(PARTS),
        version=Version(peer, draw(st.sampled_from("12")), number) if number is not None else None,
        event_at=draw(TIMES),
        received_at=draw(TIMES),
        event_id=f"{draw(st.integers(1, 9))}",
        rev=draw(st.none() | st.integers(0, 9)),
    )


def heard(entity: Entity, observations: list[Observation], mapping: Mapping) -> Entity:
    """Merge one word after the other."""
    for one in observations:
        outcome = merge(entity, one, mapping)
        entity = outcome.entity if outcome.entity is not None else entity
    return entity


def blank() -> Entity:
    """Make an entity nobody has spoken of."""
    return Entity(id=EntityId("e1"), kind=KIND)


@given(MAPPINGS, st.lists(words(), min_size=1, max_size=12))
def test_any_words_in_any_order_keep_the_entity_sound(mapping: Mapping, observations: list[Observation]) -> None:
    """Deterministic, idempotent, version and rev never back, rev with every change, dispatch never at a loss."""
    entity = blank()
    for one in observations:
        outcome = merge(entity, one, mapping)
        assert merge(entity, one, mapping) == outcome
        after = outcome.entity if outcome.entity is not None else entity
        assert after.version >= entity.version
        assert after.rev == entity.rev + (outcome.entity is not None)
        assert after.version > entity.version or not outcome.changed
        again = merge(after, one, mapping)
        assert (again.entity, again.changed, again.event_type) == (None, (), None)
        assert not again.conflicts or outcome.verdict is Verdict.PARKED
        concerned_peers(after, mapping)
        entity = after


@given(MAPPINGS, st.lists(words(), max_size=8), words())
def test_field_that_nobody_speaks_of_is_never_touched(
    mapping: Mapping, observations: list[Observation], last: Observation
) -> None:
    """Missing is not null: only what is shown, or coupled to it, or belongs to somebody reborn, can change."""
    before = heard(blank(), observations, mapping)
    after = heard(before, [last], mapping)
    spoken = {mapping.group_of(name) for name in last.fields}
    for name, entry in before.fields.items():
        if mapping.group_of(name) not in spoken and before.incarnation == after.incarnation:
            assert after.fields[name] == entry


@given(MAPPINGS, st.lists(words(), max_size=12))
def test_owned_field_is_the_owners_once_he_has_spoken(mapping: Mapping, observations: list[Observation]) -> None:
    """From then on every value comes from the owner, as long as he is linked."""
    entity = blank()
    for one in observations:
        before, entity = entity, heard(entity, [one], mapping)
        for name, entry in entity.fields.items():
            owner = mapping.rule_of(name).owner
            if owner is not None and owner in before.links and before.links[owner].is_live and entry.peer != owner:
                assert before.fields.get(name) == entry or before.incarnation != entity.incarnation


@given(MAPPINGS, st.data())
def test_order_in_which_peers_are_heard_does_not_matter(mapping: Mapping, data: st.DataObject) -> None:
    """Versioned words of several peers, each in its own order, lead to one truth however they interleave.

    Under `owner` and `newest`: under `fill` the first to arrive wins, and under `manual` it stands until it is decided.
    And for values that do not come back: a peer that still holds what the truth is again counts as having seen it.
    """
    rules = {name: one for name, one in mapping.rules.items() if one.rule in {Rule.OWNER, Rule.NEWEST}}
    mapping = msgspec.structs.replace(mapping, rules=rules)
    start, edits = _in_step(mapping), _edits(data, list(mapping.peers))
    one, other = (_interleave(Random(data.draw(st.integers(0, 2**32))), edits) for _ in range(2))
    first, second = heard(start, one, mapping), heard(start, other, mapping)
    assert {name: entry.value for name, entry in first.fields.items()} == {
        name: entry.value for name, entry in second.fields.items()
    }


@given(MAPPINGS, st.data())
def test_versioned_words_of_one_peer_may_come_in_any_order(mapping: Mapping, data: st.DataObject) -> None:
    """The newest row is what counts, also where it overtakes the others or they come twice."""
    peer = next(iter(mapping.peers))
    start, edits = _in_step(mapping), _edits(data, [peer])[peer]
    shuffled = data.draw(st.permutations([*edits, *edits]))
    after = heard(start, shuffled, mapping)
    assert after.links[peer].version == Version(peer, "1", len(edits) + 1)
    newest = edits[-1].fields if edits else {}
    assert all(after.links[peer].shadow[name].held == value for name, value in newest.items())


def _image(tag: str) -> dict[str, Value]:
    """Make a row in which every group has a value of its own."""
    return {
        "email": f"{tag}@x.io",
        "email_verified": len(tag) % 2 == 0,
        "name": tag,
        "picture": tag,
        "preferred_username": tag,
        "roles": [tag],
        "banned": len(tag) % 2 == 1,
        "ban_reason": tag,
    }


def _in_step(mapping: Mapping) -> Entity:
    """Make an entity that every peer holds alike."""
    born = [_row(peer, 1, _image("old"), 0) for peer in mapping.peers]
    entity = heard(blank(), born, mapping)
    links = {
        peer: msgspec.structs.replace(
            link,
            shadow={
                name: msgspec.structs.replace(shadow, sent=entity.value_of(name), held=entity.value_of(name))
                for name, shadow in link.shadow.items()
            },
        )
        for peer, link in entity.links.items()
    }
    return msgspec.structs.replace(entity, links=links, holds={})


def _edits(data: st.DataObject, peers: list[PeerName]) -> dict[PeerName, list[Observation]]:
    """Draw some versions of each peer's row, each with new values in some groups; a peer's clock goes forward."""
    edits: dict[PeerName, list[Observation]] = {peer: [] for peer in peers}
    for peer in peers:
        row = _image("old")
        for number, at in enumerate(sorted(data.draw(st.sets(st.integers(1, 50), max_size=3))), start=2):
            moved = data.draw(st.sets(st.sampled_from(GROUPS), min_size=1))
            fresh = _image(f"{peer}{number}")
            row = row | {name: fresh[name] for _, names in moved for name in names}
            edits[peer].append(_row(peer, number, row, at))
    return edits


def _row(peer: PeerName, number: int, image: dict[str, Value], at_ms: int) -> Observation:
    return Observation(
        peer=peer,
        kind=KIND,
        external_id=ExternalId(f"{peer}-1"),
        op=Op.CREATED if number == 1 else Op.UPDATED,
        fields=image,
        version=Version(peer, "1", number),
        event_at=Instant(START + at_ms),
        received_at=Instant(START + 1_000),
        event_id=f"{peer}-{number}",
    )


def _interleave(random: Random, edits: dict[PeerName, list[Observation]]) -> list[Observation]:
    rest = {peer: list(rows) for peer, rows in edits.items()}
    order: list[Observation] = []
    while waiting := [peer for peer, rows in rest.items() if rows]:
        order.append(rest[random.choice(waiting)].pop(0))
    return order
