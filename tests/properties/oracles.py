"""What must hold, whatever happened. Each function is one property and raises AssertionError with what it found."""

from idsync.model.entity import Entity, LinkState, entity_of_intent
from idsync.model.event import Op
from idsync.model.mapping import Match, Rule
from idsync.model.values import EntityId, ExternalId, PeerName, Value
from idsync.policy.dispatch import need_of
from idsync.policy.fields import GRANTS, is_filled
from idsync.policy.merge import merge
from tests.properties.line import KIND
from tests.properties.settings import GROUPS
from tests.properties.world import World


def merge_is_deterministic(world: World) -> None:
    """The same entity and observation give the same outcome."""
    for one in world.line.merges:
        assert merge(one.before, one.seen, one.mapping) == one.outcome


def merge_is_idempotent(world: World) -> None:
    """The same observation a second time changes nothing and tells nobody anything."""
    for one in world.line.merges:
        again = merge(one.after, one.seen, one.mapping)
        assert again.entity is None, (again.verdict, one.seen, one.before, one.after, again.entity)
        assert not again.changed
        assert again.event_type is None
        assert not again.conflicts


def groups_come_from_one_writer(world: World) -> None:
    """All fields of a group have one writer and one stamp, at any moment."""
    for one in world.line.merges:
        for _, names in GROUPS:
            entries = [one.after.fields[name] for name in names if name in one.after.fields]
            assert len({(entry.peer, entry.stamp) for entry in entries}) <= 1, (names, entries, one.seen)


def echo_of_a_create_changes_nothing(world: World) -> None:
    """A row that we have made ourselves, blank columns and all, is nobody's word."""
    for one in world.line.merges:
        if one.seen.op is Op.CREATED and one.seen.origin is not None:
            assert not one.outcome.changed, (one.outcome.changed, one.seen, one.before)


def coupled_values_were_once_shown_together(world: World) -> None:
    """Nobody ever reads a pair of coupled values that no user's row had."""
    pairs = {tuple(dict(row).get(name) for name in ("picture", "preferred_username")) for row in world.shown}
    for one in world.line.merges:
        pair = (one.after.value_of("picture"), one.after.value_of("preferred_username"))
        assert pair == (None, None) or any(_is_part(pair, whole) for whole in pairs), (pair, one.seen, one.before)


def _is_part(pair: tuple[Value, Value], whole: tuple[Value, ...]) -> bool:
    return all(mine in {None, theirs} for mine, theirs in zip(pair, whole, strict=True))


def truth_was_said_by_somebody(world: World) -> None:
    """Every value of the truth is one that a user gave, perhaps in a peer's own form; we make nothing up."""
    for one in world.line.merges:
        for name, entry in one.after.fields.items():
            known = [None, GRANTS.get(name), *world.spoken.get(name, [])]
            if name == "email_verified":
                known += [False, *(view.is_email_verified for view in world.line.mapping.peers.values())]
            said = known + [peer.formed(value) for peer in world.peers.values() for value in known]
            assert entry.value in said, (name, entry, world.spoken.get(name))


def _alive(world: World) -> list[Entity]:
    return [one for one in world.line.entities.values() if one.deleted is None]


def _waiting_ids(world: World) -> set[tuple[PeerName, ExternalId]]:
    return {(one.peer, one.external_id) for one in world.line.waits.values()}


def all_sides_are_equal(world: World) -> None:
    """Every linked peer holds the truth, in its own form, of every field it keeps that nobody has to decide."""
    mapping = world.line.mapping
    for entity in _alive(world):
        for name, link in entity.links.items():
            view = mapping.peers[name]
            if not link.is_live or not view.writes or (entity.id, name) in world.stuck:
                continue
            assert link.external_id is not None
            image = world.peers[name].image(KIND, link.external_id)
            assert image is not None or (name, link.external_id) in _waiting_ids(world), (name, link, entity)
            for field in view.writes & entity.fields.keys():
                if image is None or mapping.group_of(field) in entity.holds:
                    continue
                truth, held = entity.value_of(field), image.fields[field]
                formed = world.peers[name].formed(truth)
                same = {_text(held)} & {_text(formed), _text(truth)}
                assert same or (not is_filled(truth) and not held), (
                    name,
                    field,
                    truth,
                    held,
                    link,
                    entity.fields[field],
                )


def _text(value: Value) -> str:
    return repr(value)


def the_dead_stay_dead(world: World) -> None:
    """Nobody whom a tombstone covers is alive anywhere that we may write to."""
    for entity in world.line.entities.values():
        if entity.deleted is None:
            continue
        for name, link in entity.links.items():
            if link.external_id is None or not world.line.mapping.peers[name].writes:
                continue
            row = world.peers[name].rows.get((KIND, link.external_id))
            assert row is None or (name, link.external_id) in _waiting_ids(world), (name, link, entity)


def everybody_is_known(world: World) -> None:
    """Every identity at a peer belongs to exactly one living entity that knows it, or waits for a decision."""
    for name, peer in world.peers.items():
        for _, external_id in peer.rows:
            if (name, external_id) in _waiting_ids(world):
                continue
            found = world.line.links.get((name, KIND, external_id))
            assert found is not None, (name, external_id)
            link = world.line.entities[found].link_at(name)
            assert link.external_id == external_id, (name, external_id, link)
            assert link.state is LinkState.LIVE or not world.line.mapping.peers[name].writes, (name, external_id, link)


def everybody_is_everywhere(world: World) -> None:
    """A living entity is at every peer that takes it, unless it was unlinked there or somebody stands in its place."""
    for entity in _alive(world):
        for name in world.peers:
            if (entity.id, name) not in world.stuck and not world.is_undecided(entity.id, name):
                need = need_of(entity, name, world.line.mapping)
                assert need is None, (need, name, entity)


def no_second_identity_is_made(world: World) -> None:
    """However often we crash, no entity has two of our own creations alive at one peer (MISSION R20).

    A peer that stored nothing of ours can be searched by e-mail only, and its user may have changed that meanwhile;
    where his edit is heard before our create is answered, the row is taken for a new person's.
    """
    for name, peer in world.peers.items():
        if not peer.habits.has_origins and peer.habits.gives_ids and any(link == name for _, link in world.lost):
            continue
        owners: dict[str, ExternalId] = {}
        births = {entry.external_id: entry for entry in peer.journal if entry.op is Op.CREATED}
        for entry in births.values():
            row = peer.rows.get((KIND, entry.external_id))
            if entry.intent is not None and row is not None:
                if not peer.habits.has_origins and row.link_id is None:
                    continue
                if (name, entry.external_id) in _waiting_ids(world) or _was_given_anew(world, row.link_id):
                    continue
                owner = entry.intent.partition(":")[0]
                holder = world.line.links.get((name, KIND, entry.external_id), owner)
                if holder != owner and not peer.habits.has_origins and peer.habits.gives_ids:
                    continue
                first = owners.setdefault(owner, entry.external_id)
                assert first == entry.external_id, (name, owner, first, entry.external_id)


def _was_given_anew(world: World, link_id: ExternalId | None) -> bool:
    """Whether the first peer gave this id twice: then a row that carries it names nobody for certain."""
    journal = next(iter(world.peers.values())).journal
    return sum(one.op is Op.CREATED and one.external_id == link_id for one in journal) > 1


def owned_fields_are_the_owners(world: World) -> None:
    """No value of a peer that does not own a field survives there once the owner has spoken."""
    mapping = world.line.mapping
    for entity in _alive(world):
        for field, entry in entity.fields.items():
            rule = mapping.rule_of(field)
            if rule.rule is not Rule.OWNER or rule.owner is None or field not in mapping.peers[rule.owner].reads:
                continue
            link = entity.link_at(rule.owner)
            if not link.is_live or link.external_id is None or (entity.id, rule.owner) in world.stuck:
                continue
            image = world.peers[rule.owner].image(KIND, link.external_id)
            if image is not None:
                formed = world.peers[rule.owner].formed(entry.value)
                assert image.fields[field] in (entry.value, formed) or not is_filled(entry.value), (field, entry, image)


def only_a_create_brings_back_the_dead(world: World) -> None:
    """No late word of somebody deleted opens his grave: he must have been created a second time (MISSION R12)."""
    for one in world.line.merges:
        if one.before.deleted is None or one.after.deleted is not None:
            continue
        acts = [e.op for e in world.peers[one.seen.peer].journal if e.external_id == one.seen.external_id]
        assert Op.DELETED in acts, one.seen
        assert Op.CREATED in acts[acts.index(Op.DELETED) :], one.seen


def links_were_proven(world: World) -> None:
    """Nobody whom a user brought is linked to somebody known, unless both sides verified the e-mail (S11)."""
    mapping = world.line.mapping
    if mapping.match is Match.EMAIL_UNVERIFIED:
        return
    for one in world.line.merges:
        name, external_id = one.seen.peer, one.seen.external_id
        was, now = one.before.link_at(name), one.after.link_at(name)
        if now.external_id != external_id or was.external_id == external_id or one.before.version == 0:
            continue
        if external_id in was.former or one.seen.origin is not None or one.seen.link_id is not None:
            continue
        births = [e for e in world.peers[name].journal if e.external_id == external_id and e.op is Op.CREATED]
        if any(entry.intent is not None and entry.intent.startswith(f"{one.before.id}:") for entry in births):
            continue
        is_declared = mapping.peers[name].is_email_verified
        is_proven = one.before.value_of("email_verified") is True
        assert is_proven, (one.seen, one.before)
        assert is_declared or one.seen.fields.get("email_verified") is True, (one.seen, one.before)


def conflicts_are_logged_with_both_values(world: World) -> None:
    """A refused value was really another one."""
    for one in world.line.conflicts:
        assert one.refused != one.kept or one.rule == "lifecycle", one


def writes_per_link(world: World) -> None:
    """At most two writes for each outside change of the entity, for each link (and one more for each answer lost).

    What we made ourselves for another entity, at a peer that could not tell, counts as a change from outside.
    """
    outside: dict[str, int] = {}
    for owner, name, external_id in {(one.before.id, one.seen.peer, one.seen.external_id) for one in world.line.merges}:
        strange = [one for one in world.peers[name].journal if not (one.intent or "").startswith(f"{owner}:")]
        outside[owner] = outside.get(owner, 0) + sum(one.external_id == external_id for one in strange)
    for name, peer in world.peers.items():
        written: dict[EntityId, int] = {}
        for entry in peer.journal:
            if entry.intent is not None:
                maker = entity_of_intent(entry.intent)
                written[maker] = written.get(maker, 0) + 1
        for maker, count in written.items():
            lost, changes = world.lost.get((maker, name), 0), outside.get(maker, 0)
            assert count <= 2 * changes + lost, (name, maker, count, changes, lost)


def silence_writes_nothing(world: World) -> None:
    """With nobody changing anything, no doorbell and no repeated event makes us write.

    But a create whose answer met another entity is due again: see `no_second_identity_is_made`.
    """
    before = {name: len(peer.journal) for name, peer in world.peers.items()}
    for peer in world.peers.values():
        for _, event in peer.log:
            if event.version is not None or world.line.mapping.peers[peer.name].is_readable:
                world.line.ingest(event)
    world.write_everything_again()
    world.calm()
    news = [(name, entry) for name, peer in world.peers.items() for entry in peer.journal[before[name] :]]
    news = [(name, one) for name, one in news if one.op is not Op.CREATED or world.peers[name].habits.has_origins]
    assert not news, news


def the_last_word_counts(world: World) -> None:
    """Once all is quiet, one more edit anywhere is taken or put back as its rule says, even to a value of long ago.

    Whatever a history left behind (an open intent, a wrong shadow, a stamp from the future) would swallow it here.
    """
    asked = [probe for index, entity in enumerate(_alive(world)) if (probe := _ask(world, entity, index)) is not None]
    world.calm()
    for entity_id, name, field, value, was in asked:
        entity = world.line.entities[entity_id]
        rule = world.line.mapping.rule_of(field)
        is_ruled = rule.owner is not None and entity.link_at(rule.owner).is_live
        is_refused = rule.rule is Rule.OWNER and rule.owner != name and (is_ruled or is_filled(was))
        is_refused = is_refused or (rule.rule is Rule.FILL and is_filled(was))
        wanted = was if is_refused else value
        if world.line.mapping.group_of(field) not in entity.holds and (entity_id, name) not in world.stuck:
            assert entity.value_of(field) == wanted, (name, field, value, was, rule, entity)
    all_sides_are_equal(world)


def _ask(world: World, entity: Entity, index: int) -> tuple[EntityId, PeerName, str, Value, Value] | None:
    """Let a user of one linked peer set his name back to what somebody had once."""
    views = world.line.mapping.peers
    live = [name for name, link in sorted(entity.links.items()) if link.is_live and "name" in views[name].writes]
    if not live or "name" not in entity.fields or world.is_undecided(entity.id, live[index % len(live)]):
        return None
    name = live[index % len(live)]
    peer, external_id = world.peers[name], entity.links[name].external_id
    assert external_id is not None
    row = peer.image(KIND, external_id)
    past = [peer.formed(value) for value in world.spoken.get("name", []) if value is not None]
    other = next((value for value in past if row is not None and value != row.fields["name"]), None)
    if other is None:
        return None
    was = entity.value_of("name")
    peer.edit(KIND, external_id, {"name": other})
    world.note(peer, external_id)
    return entity.id, name, "name", other, was


STEP_ORACLES = (
    merge_is_deterministic,
    merge_is_idempotent,
    groups_come_from_one_writer,
    echo_of_a_create_changes_nothing,
    coupled_values_were_once_shown_together,
    truth_was_said_by_somebody,
    only_a_create_brings_back_the_dead,
    links_were_proven,
    conflicts_are_logged_with_both_values,
)
REST_ORACLES = (
    all_sides_are_equal,
    the_dead_stay_dead,
    everybody_is_known,
    everybody_is_everywhere,
    no_second_identity_is_made,
    owned_fields_are_the_owners,
    writes_per_link,
    silence_writes_nothing,
    the_last_word_counts,
)


def check(world: World) -> None:
    """Hold every property against a world at rest."""
    for oracle in (*STEP_ORACLES, *REST_ORACLES):
        oracle(world)


def converges_within_two_rounds(world: World) -> None:
    """Once the peers fall silent, all is right after two rounds, unless somebody else's e-mail was in the way."""
    assert world.rounds <= 2 or world.stuck, world.rounds
