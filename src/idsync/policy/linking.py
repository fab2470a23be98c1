"""Linking: which entity an observation speaks of (DESIGN §4.7, MISSION R16, S11). Pure."""

from typing import Final

import msgspec

from idsync.model.entity import Action, Entity, Intent, entity_of_intent
from idsync.model.event import Observation, Op
from idsync.model.mapping import Mapping, Match
from idsync.model.plan import EmailKey, LinkKey
from idsync.model.values import EntityId, PeerName
from idsync.policy import existence

CREATE_AGE_MS: Final = 120_000
"""How long before its end an intent can have been opened: what the peer made earlier is not ours, however alike."""


class Known(msgspec.Struct, frozen=True):
    """The part of the directory that linking may look at."""

    links: dict[LinkKey, EntityId]
    emails: dict[EmailKey, EntityId]
    entities: dict[EntityId, Entity]
    creates: dict[tuple[PeerName, str, str], EntityId] = {}
    """(peer, kind, e-mail) of every open create: whose it is. Needed for peers that do not record our intent's id."""


class Linked(msgspec.Struct, frozen=True):
    """The observation speaks of this entity."""

    entity: EntityId


class New(msgspec.Struct, frozen=True):
    """Nobody knows this identity: it becomes a new entity."""


class Undecided(msgspec.Struct, frozen=True):
    """It cannot be told safely; the observation is parked."""

    reason: str
    waits_for: str
    """The wait key that may decide it."""


Resolution = Linked | New | Undecided


def id_key(peer: str, kind: str, external_id: str) -> str:
    """The wait key that an identity's arrival at a peer releases."""
    return f"id:{peer}:{kind}:{external_id}"


def email_key(kind: str, email: str) -> str:
    """The wait key that any change around an e-mail releases, and any link of its holder."""
    return f"email:{kind}:{email}"


def resolve(observation: Observation, known: Known, mapping: Mapping) -> Resolution:
    """Find the entity: by id, by our own intent, by the `link` column, and only then by a verified e-mail."""
    key = (observation.peer, observation.kind, observation.external_id)
    holder = known.entities[known.links[key]] if key in known.links else None
    maker = known.entities.get(entity_of_intent(observation.origin or ""))
    if holder is not None and not _is_given_anew(holder, observation):
        return Undecided("link_duplicate", id_key(*key)) if _is_torn(holder, maker, observation) else Linked(holder.id)
    if maker is not None and _is_expected(maker, observation):
        return Linked(maker.id)
    if observation.is_gone:
        return New()
    if maker is not None:
        # We made it, for somebody who has another identity there by now. It is nobody new.
        return Undecided("link_duplicate", id_key(*key))
    if observation.link_id is not None and mapping.first_peer is not None and mapping.first_peer != observation.peer:
        return _by_link_column(observation, known, mapping)
    return _by_email(observation, known, mapping)


def _is_expected(maker: Entity, observation: Observation) -> bool:
    """Whether the intent that the observation names is still open."""
    return any(one.id == observation.origin for one in maker.link_at(observation.peer).intents)


def _is_torn(holder: Entity, maker: Entity | None, observation: Observation) -> bool:
    """Whether what we wrote for one entity lives as another's: then one person has become two."""
    if maker is None or maker.id == holder.id or not _is_expected(maker, observation):
        return False
    return not existence.is_dead(holder.link_at(observation.peer), observation.external_id)


def _is_given_anew(holder: Entity, observation: Observation) -> bool:
    """Whether the peer gave the id of somebody who is dead there to somebody else, as tables without AUTOINCREMENT do.

    We made it for another entity; or it was created later than anything we know of it, with another e-mail. The same
    person coming back keeps his id (DESIGN §4.6). A look that finds it alive says that it was created.
    """
    link = holder.link_at(observation.peer)
    if not existence.is_dead(link, observation.external_id):
        return False
    if holder.version and existence.is_late(link, observation):
        return False
    if observation.origin is not None and entity_of_intent(observation.origin) != holder.id:
        return True
    is_created = observation.op in {Op.CREATED, Op.SEEN} and existence.is_later(link, observation)
    return is_created and observation.fields.get("email") != holder.value_of("email")


def _by_link_column(observation: Observation, known: Known, mapping: Mapping) -> Resolution:
    """The peer names the identity's id at the first peer. Who is not known there yet is waited for, not made up."""
    assert mapping.first_peer is not None and observation.link_id is not None  # noqa: S101, PT018  # the caller looked
    found = known.links.get((mapping.first_peer, observation.kind, observation.link_id))
    if found is None:
        return Undecided("link_unknown", id_key(mapping.first_peer, observation.kind, observation.link_id))
    entity = known.entities[found]
    link = entity.link_at(observation.peer)
    if link.is_live:
        return Undecided("link_duplicate", id_key(observation.peer, observation.kind, link.external_id or ""))
    if entity.deleted is not None and not any(one.action is Action.CREATE for one in link.intents):
        return Undecided("link_dead", id_key(observation.peer, observation.kind, observation.external_id))
    return Linked(found)


def _by_email(observation: Observation, known: Known, mapping: Mapping) -> Resolution:
    email = observation.fields.get("email")
    if not isinstance(email, str) or not email:
        return _stranger(observation, mapping)
    creator = known.creates.get((observation.peer, observation.kind, email))
    found = creator or known.emails.get((observation.kind, email))
    if found is None:
        return _stranger(observation, mapping)
    entity = known.entities[found]
    link = entity.link_at(observation.peer)
    creates = [one for one in link.intents if one.action is Action.CREATE]
    if any(_is_made_by(one, observation, mapping) for one in creates):
        return Linked(found)
    may_link = entity.deleted is None and mapping.match is not Match.NEVER
    if not may_link and not creates:
        return _stranger(observation, mapping)
    is_under_way = any(one.expires_at > observation.received_at for one in creates)
    if may_link and not is_under_way and not link.is_live and _is_proven(entity, observation, mapping):
        return Linked(found)
    return Undecided("link_undecided", email_key(observation.kind, email))


def _stranger(observation: Observation, mapping: Mapping) -> Resolution:
    view = mapping.peers.get(observation.peer)
    if view is not None and not view.may_create:
        return Undecided("create_denied", id_key(observation.peer, observation.kind, observation.external_id))
    return New()


def _is_made_by(create: Intent, observation: Observation, mapping: Mapping) -> bool:
    """Whether an open create of ours made this identity: by the id it asked for, else by time and equal fields.

    DESIGN §5. Somebody may have prepared an identity that is alike in all but its age, so the age must fit.
    """
    if create.external_id is not None:
        return create.external_id == observation.external_id
    if observation.op not in {Op.CREATED, Op.SEEN}:
        return False
    first, last = create.expires_at - CREATE_AGE_MS, create.expires_at + mapping.skew_ms
    return first <= observation.event_at <= last and all(
        observation.fields.get(name) == value for name, value in create.fields.items()
    )


def _is_proven(entity: Entity, observation: Observation, mapping: Mapping) -> bool:
    """Whether both sides verified the e-mail, or the operator chose to link without (`match = "email-unverified"`)."""
    if mapping.match is Match.EMAIL_UNVERIFIED:
        return True
    view = mapping.peers.get(observation.peer)
    is_declared = view is not None and view.is_email_verified
    is_verified_there = is_declared or observation.fields.get("email_verified") is True
    return is_verified_there and entity.value_of("email_verified") is True
