"""Existence is a field with its own owner: deletes, tombstones, re-creation (DESIGN §4.6). Pure."""

import msgspec

from idsync.model.entity import (
    Action,
    Conflict,
    Entity,
    Field,
    Intent,
    Link,
    LinkState,
    Shadow,
    Stamp,
    Tombstone,
    entity_of_intent,
)
from idsync.model.event import Observation, Op, Verdict, Version
from idsync.model.mapping import Mapping, Others
from idsync.model.values import ExternalId, Instant, Kind, PeerName
from idsync.policy.outcome import Outcome


def version_known(link: Link, external_id: ExternalId) -> Version | None:
    """The newest version merged of this very id: versions of different identities do not compare."""
    if link.external_id is not None:
        return link.version if link.external_id == external_id else None
    return link.version if not link.former or link.former[-1] == external_id else None


def heard_at(link: Link, external_id: ExternalId) -> Instant:
    """The newest event time merged of this very id, for peers without versions."""
    return link.event_at if link.external_id in {None, external_id} else Instant(0)


def admit(entity: Entity, observation: Observation) -> Entity | None:
    """Let a living identity in, or return None where a tombstone or another living id of the peer stands in its way.

    An update never re-opens a tombstone; a create does, with a higher version of the same id. So does a read with one,
    where the delete was seen at that peer: then the identity was created again, whether or not anybody reported it.
    """
    link = entity.link_at(observation.peer)
    if link.is_live:
        if link.external_id != observation.external_id:
            return None
        # A create of what was never seen to go is a REPLACE of the row by itself: an update.
        return entity if entity.deleted is None else None
    if is_dead(link, observation.external_id):
        is_again = observation.op in {Op.CREATED, Op.SEEN} and is_later(link, observation)
        if not is_again or (entity.deleted is not None and is_made_by_us(entity, observation)):
            return None
        return reopen(entity, link, observation) if entity.deleted is not None else relink(entity, link, observation)
    return None if entity.deleted is not None else entity


def is_dead(link: Link, external_id: ExternalId) -> bool:
    """Whether this id was deleted at the peer, as far as we know; a new id there is another matter."""
    is_over = link.state in {LinkState.UNLINKED, LinkState.GONE}
    return external_id in link.former or (is_over and link.external_id == external_id)


def is_made_by_us(entity: Entity, observation: Observation) -> bool:
    """Whether a create of ours for this entity made the identity: its origin says so, or the id that we asked for."""
    if observation.origin is not None:
        return entity_of_intent(observation.origin) == entity.id
    creates = _creates(entity.link_at(observation.peer))
    return not observation.names_writer and any(one.external_id == observation.external_id for one in creates)


def is_late(link: Link, observation: Observation) -> bool:
    """Whether something as new or newer was merged of its id, by a version that cannot go back."""
    known = version_known(link, observation.external_id)
    if observation.version is None or known is None or not observation.version.is_comparable(known):
        return False
    return observation.version.number <= known.number


def is_later(link: Link, observation: Observation) -> bool:
    """Whether the observation is newer than anything merged of its id, by a version that cannot go back."""
    known = version_known(link, observation.external_id)
    if observation.version is None or known is None:
        return False
    return observation.version.is_comparable(known) and observation.version.number > known.number


def forget(entity: Entity, peer: PeerName, external_id: ExternalId) -> Entity:
    """Give up a dead id that the peer gave to somebody else; what comes late for it is the new holder's to judge."""
    link = entity.link_at(peer)
    if not is_dead(link, external_id):
        return entity
    freed = msgspec.structs.replace(
        link,
        external_id=None if link.external_id == external_id else link.external_id,
        version=None if version_known(link, external_id) is not None else link.version,
        former=tuple(one for one in link.former if one != external_id),
        rev=link.rev + 1,
    )
    return msgspec.structs.replace(entity, links={**entity.links, peer: freed}, rev=entity.rev + 1)


def relink(entity: Entity, link: Link, observation: Observation) -> Entity:
    """The identity came back at this peer alone: what it holds now is unknown until its fields are merged."""
    return msgspec.structs.replace(entity, links={**entity.links, observation.peer: _fresh(link, observation)})


def _fresh(link: Link, observation: Observation) -> Link:
    """A link that knows nothing any more but the dead ids and what of ours may still be under way."""
    former = tuple(one for one in link.former if one != observation.external_id)
    return Link(version=link.version, rev=link.rev + 1, intents=link.intents, former=former)


def adopted(entity: Entity, observation: Observation) -> Entity:
    """Link what a create of ours has made of a dead entity, so that it is removed."""
    link = entity.link_at(observation.peer)
    linked = msgspec.structs.replace(
        link,
        state=LinkState.LIVE,
        external_id=observation.external_id,
        version=observation.version,
        former=tuple(one for one in former_ids(link, observation.external_id) if one != observation.external_id),
        rev=link.rev + 1,
    )
    return msgspec.structs.replace(entity, links={**entity.links, observation.peer: linked})


def reopen(entity: Entity, link: Link, observation: Observation) -> Entity:
    """A new life of the same id: nothing of the old one is carried over but the ids that must never link again.

    Where the old life was not removed yet, the new one takes its place, and whatever it held there is cleared.
    """
    links = {peer: _reborn(old) for peer, old in entity.links.items()}
    # What was written to the old life says nothing of the new one, and must not pass for its values.
    links[observation.peer] = msgspec.structs.replace(_fresh(link, observation), intents=())
    nobody = Stamp(Instant(0), 0, "")
    left_behind = {name for one in links.values() for name in one.shadow}
    return msgspec.structs.replace(
        entity,
        incarnation=entity.incarnation + 1,
        deleted=None,
        fields={name: Field(None, nobody, observation.peer) for name in sorted(left_behind)},
        holds={},
        links=links,
        created_at=observation.received_at,
    )


def _reborn(link: Link) -> Link:
    if link.state in {LinkState.LIVE, LinkState.PENDING}:
        return msgspec.structs.replace(link, rev=link.rev + 1)
    return Link(version=link.version, rev=link.rev + 1, intents=link.intents, former=former_ids(link, None))


def delete(entity: Entity, observation: Observation, mapping: Mapping, intents: tuple[Intent, ...] = ()) -> Outcome:
    """Decide what the end of an identity at one peer means for all.

    Args:
        entity: the entity, with its own echo settled.
        observation: the peer's word that the identity is gone.
        mapping: the kind's rules.
        intents: what was open at this peer before: a removal among them is what is observed here.
    """
    link = entity.link_at(observation.peer)
    if observation.external_id in link.former or link.external_id not in {None, observation.external_id}:
        return Outcome(verdict=Verdict.STALE, reason="former")
    is_known_gone = link.state in {LinkState.UNLINKED, LinkState.GONE}
    if is_known_gone or entity.deleted is not None or entity.version == 0:
        return _bury_link(entity, link, observation, link.state if is_known_gone else LinkState.GONE)
    if link.state is LinkState.PENDING and observation.op is Op.ABSENT:
        return _not_there_yet(entity, link, observation)
    if any(intent.action is Action.REMOVE for intent in intents):
        return _restore(entity, link, observation)
    owner, lost = mapping.lifecycle_owner, _unseen_edits(entity, link, observation)
    if owner is None and lost:
        return Outcome(verdict=Verdict.PARKED, reason="delete_conflict", conflicts=lost)
    if owner is None or owner == observation.peer or mapping.others is Others.PROPAGATE:
        return _bury(entity, link, observation, lost)
    if mapping.others is Others.RESTORE:
        return _restore(entity, link, observation)
    return _bury_link(entity, link, observation, LinkState.UNLINKED)


def _not_there_yet(entity: Entity, link: Link, observation: Observation) -> Outcome:
    """A create that expired and has left nothing at the id it asked for was never carried out; nobody was deleted."""
    intents = tuple(one for one in link.intents if one.expires_at > observation.received_at)
    moved = msgspec.structs.replace(link, intents=intents, rev=link.rev + (intents != link.intents))
    after = msgspec.structs.replace(entity, links={**entity.links, observation.peer: moved})
    return Outcome(verdict=Verdict.ECHO, entity=after, reason="not_there_yet")


def _bury(entity: Entity, link: Link, observation: Observation, lost: tuple[Conflict, ...]) -> Outcome:
    after = msgspec.structs.replace(
        entity,
        version=entity.version + 1,
        deleted=_grave(observation),
        holds={},
        links={**entity.links, observation.peer: _ended(link, observation, LinkState.GONE)},
        updated_at=observation.received_at,
    )
    verb = "revoked" if entity.kind == Kind.SESSION else "deleted"
    return Outcome(verdict=Verdict.APPLIED, entity=after, event_type=f"{entity.kind}.{verb}", conflicts=lost)


def _bury_link(entity: Entity, link: Link, observation: Observation, state: LinkState) -> Outcome:
    """End only this link. A delete of the unknown buries the new entity too, so that a late create stays out (S10)."""
    is_unheard_of = entity.version == 0 and entity.deleted is None
    after = msgspec.structs.replace(
        entity,
        deleted=_grave(observation) if is_unheard_of else entity.deleted,
        links={**entity.links, observation.peer: _ended(link, observation, state)},
    )
    is_unlinked = state is LinkState.UNLINKED
    is_news = is_unheard_of or (is_unlinked and link.state is not state)
    reason = "unlinked" if is_unlinked else "tombstone"
    return Outcome(verdict=Verdict.APPLIED if is_news else Verdict.ECHO, entity=after, reason=reason)


def _restore(entity: Entity, link: Link, observation: Observation) -> Outcome:
    """Forget the link but for its dead id; the peer is then due a create like any peer that has not got it yet."""
    pending = Link(
        version=observation.version or link.version,
        rev=link.rev + 1,
        intents=_creates(link),
        former=(*link.former, observation.external_id),
    )
    after = msgspec.structs.replace(
        entity, version=entity.version + 1, links={**entity.links, observation.peer: pending}
    )
    return Outcome(verdict=Verdict.APPLIED, entity=after, reason="restored")


def _grave(observation: Observation) -> Tombstone:
    return Tombstone(at=observation.received_at, peer=observation.peer, event_id=observation.event_id)


def _ended(link: Link, observation: Observation, state: LinkState) -> Link:
    ended = msgspec.structs.replace(
        link,
        state=state,
        external_id=observation.external_id,
        version=observation.version or link.version,
        event_at=max(link.event_at, observation.event_at),
        shadow={},
        intents=_creates(link),
    )
    return link if ended == link else msgspec.structs.replace(ended, rev=link.rev + 1)


def _creates(link: Link) -> tuple[Intent, ...]:
    """The open intents that outlive a link: what they make must be known for ours, whenever it shows."""
    return tuple(one for one in link.intents if one.action is Action.CREATE)


def former_ids(link: Link, present: ExternalId | None) -> tuple[ExternalId, ...]:
    """The link's dead ids once `present` is the living one; None: none is."""
    return link.former if link.external_id in {None, present} else (*link.former, link.external_id)


def _unseen_edits(entity: Entity, link: Link, observation: Observation) -> tuple[Conflict, ...]:
    """Edits made elsewhere that the deleting peer had not seen: they are lost with it, and logged."""
    return tuple(
        Conflict(
            entity=entity.id,
            field=name,
            rule="lifecycle",
            peer=field.peer,
            refused=field.value,
            kept=None,
            kept_peer=observation.peer,
            at=observation.received_at,
            event_id=observation.event_id,
        )
        for name, field in sorted(entity.fields.items())
        if name in link.shadow and _is_unseen(field, link.shadow[name], observation.peer)
    )


def _is_unseen(field: Field, shadow: Shadow, peer: PeerName) -> bool:
    return field.peer != peer and field.value != shadow.sent and field.stamp.at > shadow.seen_at
