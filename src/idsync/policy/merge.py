"""Merge: one entity and one observation in, the entity as it is now and what follows out. Pure (DESIGN §4).

The steps, in order: is it our own echo, is it in order, does the identity exist, and then field group by field group:
what differs from what the peer is known to hold, had the peer seen the truth, and who may decide.
"""

import msgspec

from idsync.model.entity import Action, Conflict, Entity, Intent, Link, LinkState, Shadow
from idsync.model.event import Observation, Op, Verdict
from idsync.model.mapping import Mapping
from idsync.model.values import Kind
from idsync.policy import existence
from idsync.policy.fields import FieldDraft, merge_group
from idsync.policy.outcome import Outcome


def merge(entity: Entity, observation: Observation, mapping: Mapping) -> Outcome:
    """Decide what one observation means for one entity.

    Args:
        entity: the entity it was resolved to; a new one has no fields and no links.
        observation: what a peer says, or what was seen there; values are canonical.
        mapping: the kind's rules.

    Returns:
        The verdict, the entity to be written (None: nothing changed), the canonical change, and the conflicts to log.
        The entity is to be written whatever the verdict: a `REREAD` may have confirmed a write of ours.
    """
    settled = settle_intent(entity, observation)
    outcome = _judge(entity, settled, observation, mapping)
    after = outcome.entity if outcome.entity is not None else settled
    if after == entity:
        return msgspec.structs.replace(outcome, entity=None)
    return msgspec.structs.replace(outcome, entity=msgspec.structs.replace(after, rev=entity.rev + 1))


def settle_intent(entity: Entity, observation: Observation) -> Entity:
    """Let our own echo confirm the write it comes from (DESIGN §1.4): the shadow of the written fields moves, no more.

    The peer recorded the intent's id in the write's own transaction, so the echo is the confirmation, whether it comes
    back from the Target, from the outbox, or from both in any order.
    """
    link = entity.link_at(observation.peer)
    intent = _written_by(link, observation)
    if intent is None:
        return entity
    closed = msgspec.structs.replace(
        link, intents=tuple(one for one in link.intents if one is not intent), rev=link.rev + 1
    )
    if not observation.is_gone and _may_confirm(link, observation):
        closed = _confirmed(closed, intent, observation)
    return msgspec.structs.replace(entity, links={**entity.links, observation.peer: closed})


def _written_by(link: Link, observation: Observation) -> Intent | None:
    """The open write of ours that the observation is the echo of."""
    return next((one for one in link.intents if one.id == observation.origin), None)


def _may_confirm(link: Link, observation: Observation) -> bool:
    """Whether the echo speaks of the identity that the link means: not of one deleted since, nor of a second one."""
    if existence.is_dead(link, observation.external_id):
        return False
    return link.external_id in {None, observation.external_id} or not link.is_live


def _confirmed(link: Link, intent: Intent, observation: Observation) -> Link:
    shadow = dict(link.shadow)
    for name, sent in intent.fields.items():
        shadow[name] = Shadow(sent, observation.fields.get(name, sent), intent.seen_at)
    return msgspec.structs.replace(
        link,
        state=LinkState.LIVE,
        external_id=observation.external_id,
        version=existence.version_known(link, observation.external_id),
        former=existence.former_ids(link, observation.external_id),
        shadow=shadow,
        confirmed_at=observation.received_at,
    )


def _judge(before: Entity, entity: Entity, observation: Observation, mapping: Mapping) -> Outcome:
    """Decide, with our own echo settled: `before` is the entity as it was stored."""
    link = entity.link_at(observation.peer)
    verdict = _order(link, observation, mapping, is_ours=entity != before)
    if verdict is Verdict.STALE and entity != before and _is_readable(mapping, observation):
        # The echo of an older write has just moved the shadow back behind what was merged since.
        verdict = Verdict.REREAD
    if verdict is not None:
        return Outcome(verdict=verdict, reason="order" if verdict is Verdict.STALE else None)
    if observation.is_gone:
        return existence.delete(entity, observation, mapping, before.link_at(observation.peer).intents)
    opened = existence.admit(entity, observation)
    if opened is None:
        return _shut_out(before, entity, observation, mapping)
    view = mapping.peers.get(observation.peer)
    if opened.incarnation != entity.incarnation and view is not None and not view.may_create:
        return Outcome(verdict=Verdict.PARKED, reason="create_denied")
    late = _written_by(before.link_at(observation.peer), observation)
    if late is not None and not opened.link_at(observation.peer).is_live:
        # Our create of an id that was deleted meanwhile: it says what we said then, and nothing new.
        confirmed = _confirmed(opened.link_at(observation.peer), late, observation)
        opened = msgspec.structs.replace(opened, links={**opened.links, observation.peer: confirmed})
    return _merge_fields(before, opened, observation, mapping)


def _order(link: Link, observation: Observation, mapping: Mapping, *, is_ours: bool) -> Verdict | None:
    """Refuse what is old, and what cannot be told from old (DESIGN §4.3); None: it is in order."""
    version, known = observation.version, existence.version_known(link, observation.external_id)
    if version is not None and known is not None and version.is_comparable(known):
        if version.number < known.number:
            return Verdict.STALE
        if observation.is_read:
            return Verdict.REREAD if not is_ours and _may_be_ours(link, observation) else None
        if version.number > known.number or not _differs(link, observation):
            return None
    elif observation.is_read:
        is_known = observation.external_id in {link.external_id, *link.former}
        is_torn = is_known and link.rev != (observation.rev or 0)
        return Verdict.REREAD if not is_ours and (is_torn or _may_be_ours(link, observation)) else None
    elif version is not None and known is None:
        return None
    if _is_readable(mapping, observation):
        return Verdict.REREAD
    is_late = observation.event_at < existence.heard_at(link, observation.external_id)
    return Verdict.STALE if is_late else None


def _may_be_ours(link: Link, observation: Observation) -> bool:
    """Whether a write of ours may be under way: what a look shows then may be its effect, in the peer's own form.

    A look that was kept until every event before it was taken in shows none: that event would have named the write.
    """
    return not observation.names_writer and any(intent.expires_at > observation.received_at for intent in link.intents)


def _is_readable(mapping: Mapping, observation: Observation) -> bool:
    view = mapping.peers.get(observation.peer)
    return view is not None and view.is_readable


def _differs(link: Link, observation: Observation) -> bool:
    if observation.is_gone:
        return link.is_live
    return any(name not in link.shadow or link.shadow[name].held != value for name, value in observation.fields.items())


def _shut_out(before: Entity, entity: Entity, observation: Observation, mapping: Mapping) -> Outcome:
    """Say why an identity may not in, and see to it that what a dead entity still has somewhere is removed."""
    link = entity.link_at(observation.peer)
    is_dead = existence.is_dead(link, observation.external_id)
    if entity.deleted is not None and not link.is_live and _is_ours(entity, observation, is_dead=is_dead):
        return _removed_next(before, existence.adopted(entity, observation))
    if link.is_live and link.external_id == observation.external_id:
        return _removed_next(before, entity)
    is_other = observation.external_id in link.former or link.is_live
    if is_other and (observation.is_read or entity != before):
        return Outcome(verdict=Verdict.PARKED, reason="link_duplicate")
    is_back = is_dead and existence.is_later(link, observation)
    if (is_other or is_back) and _is_readable(mapping, observation):
        # An event cannot prove that this id lives again, or beside the one we know. A look can.
        return Outcome(verdict=Verdict.REREAD)
    return Outcome(verdict=Verdict.STALE, reason="tombstone")


def _is_ours(entity: Entity, observation: Observation, *, is_dead: bool) -> bool:
    """Whether a create of ours for the dead entity has come to be after all."""
    link = entity.link_at(observation.peer)
    is_expected = not is_dead and any(one.action is Action.CREATE for one in link.intents)
    return is_expected or existence.is_made_by_us(entity, observation)


def _removed_next(before: Entity, entity: Entity) -> Outcome:
    """Leave a dead entity as it is; its version moves where it turns out to be alive at a peer, for that is to end."""
    is_due = any(link.is_live and not before.link_at(peer).is_live for peer, link in entity.links.items())
    entity = msgspec.structs.replace(entity, version=entity.version + is_due)
    return Outcome(verdict=Verdict.STALE, entity=entity, reason="tombstone")


def _merge_fields(before: Entity, entity: Entity, observation: Observation, mapping: Mapping) -> Outcome:
    link = entity.link_at(observation.peer)
    draft = FieldDraft.of(entity, link, observation, mapping)
    was = before.link_at(observation.peer)
    draft.is_made_by_us = not was.is_live and any(one.action is Action.CREATE for one in was.intents)
    groups: dict[str, list[str]] = {}
    for name, value in observation.fields.items():
        if not draft.absorb_echo(name, value):
            groups.setdefault(mapping.group_of(name), []).append(name)
    for group in sorted(groups):
        merge_group(draft, group)
    if observation.op is Op.SEEN and observation.origin is None:
        draft.note_blanks()
        if observation.truth == (entity.id, entity.version):
            draft.note_seen()
    moved = _moved(link, draft, observation)
    is_born = entity.version == 0 or entity.incarnation != before.incarnation
    changed = tuple(sorted(draft.changed))
    verdict = _verdict(changed, draft.conflicts, is_born=is_born or not link.is_live)
    after = msgspec.structs.replace(
        entity,
        version=entity.version + bool(changed or is_born or draft.is_owed),
        fields=draft.fields,
        holds=draft.holds,
        links={**entity.links, observation.peer: moved},
        updated_at=observation.received_at if changed or is_born else entity.updated_at,
    )
    return Outcome(
        verdict=verdict,
        entity=after,
        changed=changed,
        event_type=_event_type(before, after, changed, is_born=is_born) if changed or is_born else None,
        conflicts=tuple(draft.conflicts),
        reason=", ".join(sorted({one.field for one in draft.conflicts})) if verdict is Verdict.CONFLICT else None,
    )


def _moved(link: Link, draft: FieldDraft, observation: Observation) -> Link:
    """The link as the observation leaves it."""
    intents = link.intents
    if observation.is_read:
        # No request of an expired intent is under way any more, so this look has shown whatever came of it.
        intents = tuple(one for one in intents if one.expires_at > observation.received_at)
    if observation.is_read and observation.names_writer:
        intents = tuple(msgspec.structs.replace(one, is_missed=True) for one in intents)
    has_moved = draft.shadow != link.shadow or intents != link.intents
    return msgspec.structs.replace(
        link,
        state=LinkState.LIVE,
        external_id=observation.external_id,
        version=observation.version or existence.version_known(link, observation.external_id),
        link_id=observation.link_id or link.link_id,
        event_at=max(existence.heard_at(link, observation.external_id), observation.event_at),
        former=existence.former_ids(link, observation.external_id),
        shadow=draft.shadow,
        intents=intents,
        confirmed_at=observation.received_at if draft.shadow != link.shadow else link.confirmed_at,
        rev=link.rev + has_moved,
    )


def _verdict(changed: tuple[str, ...], conflicts: list[Conflict], *, is_born: bool) -> Verdict:
    if changed or is_born:
        return Verdict.APPLIED
    return Verdict.CONFLICT if conflicts else Verdict.ECHO


def _event_type(before: Entity, after: Entity, changed: tuple[str, ...], *, is_born: bool) -> str:
    """Name the change: one event for one observation, and the ban is what its name says first (MISSION R10)."""
    if is_born:
        return f"{after.kind}.created"
    is_banned = bool(after.value_of("banned"))
    if after.kind == Kind.USER and "banned" in changed and is_banned is not bool(before.value_of("banned")):
        return f"{after.kind}.banned" if is_banned else f"{after.kind}.unbanned"
    return f"{after.kind}.updated"
