"""Dispatch: which peers the truth concerns now, and what has to be written there (DESIGN §5). Pure."""

import msgspec

from idsync.model.entity import Action, Entity, Intent, Link, LinkState, Shadow
from idsync.model.mapping import Mapping, PeerView
from idsync.model.values import ExternalId, Instant, PeerName, Value
from idsync.policy.fields import came_back, is_filled

INTENTS_MAX = 8
"""Open intents kept for one link: more can only come from as many lost epochs, and the oldest say nothing new."""


class Need(msgspec.Struct, frozen=True):
    """What one peer lacks of the truth."""

    action: Action
    fields: dict[str, Value] = {}
    expected: dict[str, Value] = {}
    """All that the peer is known to hold: where it holds anything else, somebody was there whom we have not heard."""


class Unknown(msgspec.Struct, frozen=True):
    """The peer holds the identity, but what it holds of these fields was never seen, or not of late: read it."""

    fields: tuple[str, ...]


def concerned_peers(entity: Entity, mapping: Mapping) -> tuple[PeerName, ...]:
    """Every peer that lacks something, the source of the change included."""
    return tuple(peer for peer in mapping.peers if need_of(entity, peer, mapping) is not None)


def need_of(entity: Entity, peer: PeerName, mapping: Mapping) -> Need | Unknown | None:
    """What has to be done at one peer; None: it holds the truth, or nothing may be written there."""
    view = mapping.peers.get(peer)
    if view is None or not view.writes:
        return None
    link = entity.link_at(peer)
    if entity.deleted is not None:
        return Need(Action.REMOVE) if link.is_live else None
    if link.state is LinkState.PENDING:
        return _recreate(link) or _create(entity, view, mapping)
    if not link.is_live:
        return None
    wanted = {name: entity.value_of(name) for name in _writable(entity, view, mapping)}
    unknown = tuple(name for name in wanted if name not in link.shadow and name in view.reads)
    if unknown:
        return Unknown(unknown)
    lacking = {name: value for name, value in wanted.items() if _lacks(link.shadow.get(name), value)}
    held = {name: one.held for name, one in link.shadow.items() if name in view.reads}
    if lacking or _lacks_link(entity, peer, mapping):
        return Unknown(tuple(wanted)) if _may_have_happened(link, view) else Need(Action.UPDATE, lacking, held)
    unseen = tuple(name for name in wanted if _came_back(entity, link, name, mapping)) if view.is_readable else ()
    return Unknown(unseen) if unseen else None


def _came_back(entity: Entity, link: Link, name: str, mapping: Mapping) -> bool:
    """Whether the peer has not seen that the truth was another one meanwhile: its next edit could be an older one."""
    group = mapping.group_of(name)
    return came_back(entity.fields, link.shadow, [one for one in entity.fields if mapping.group_of(one) == group])


def _may_have_happened(link: Link, view: PeerView) -> bool:
    """Whether an answer was lost, and events that we have not read yet may tell: the row may have moved on since.

    To write again at once would undo an edit that took our write back: the row looks as it did before.
    """
    return view.is_readable and view.names_writers and any(not one.is_missed for one in link.intents)


def _lacks_link(entity: Entity, peer: PeerName, mapping: Mapping) -> bool:
    """Whether the peer has an empty column for the first peer's id, and that id is known by now."""
    first = mapping.first_peer
    if first is None or first == peer or not mapping.peers[peer].has_link:
        return False
    return entity.link_at(first).is_live and entity.link_at(peer).link_id is None


def _lacks(known: Shadow | None, value: Value) -> bool:
    return known is None or known.sent != value


def _writable(entity: Entity, view: PeerView, mapping: Mapping) -> list[str]:
    """The fields that somebody spoke of and that may be written there now."""
    return sorted(name for name in view.writes if name in entity.fields and mapping.group_of(name) not in entity.holds)


def _recreate(link: Link) -> Need | None:
    """The create that is open already, where only its own fields can tell whether it was carried out (MISSION R20)."""
    creates = (one for one in link.intents if one.action is Action.CREATE and one.external_id is None)
    lost = next(creates, None)
    return Need(Action.CREATE, lost.fields) if lost is not None else None


def _create(entity: Entity, view: PeerView, mapping: Mapping) -> Need | None:
    values = {name: entity.value_of(name) for name in _writable(entity, view, mapping)}
    fields = {name: value for name, value in values.items() if is_filled(value)}
    return Need(Action.CREATE, fields) if fields else None


def announce(entity: Entity, peer: PeerName, intent: Intent) -> Entity:
    """Open an intent: the write is durable knowledge before its request leaves.

    A create that asks for an id claims it now, so that whatever the peer says of that id is known to be of this entity.
    """
    link = entity.link_at(peer)
    if intent.action is Action.CREATE and intent.external_id not in {None, link.external_id}:
        link = msgspec.structs.replace(link, external_id=intent.external_id, version=None)
    moved = msgspec.structs.replace(link, intents=(*link.intents, intent)[-INTENTS_MAX:], rev=link.rev + 1)
    return msgspec.structs.replace(entity, links={**entity.links, peer: moved}, rev=entity.rev + 1)


def withdraw(entity: Entity, peer: PeerName, intent: str) -> Entity:
    """Close an intent whose write certainly never happened: the peer holds something else, or refused it.

    A look that was made for the write may be merged afterwards, as a read with the link's `rev` as this leaves it.
    """
    link = entity.link_at(peer)
    intents = tuple(one for one in link.intents if one.id != intent)
    if intents == link.intents:
        return entity
    moved = msgspec.structs.replace(link, intents=intents, rev=link.rev + 1)
    return msgspec.structs.replace(entity, links={**entity.links, peer: moved}, rev=entity.rev + 1)


def unanswered_until(entity: Entity, peer: PeerName) -> Instant | None:
    """Until when a write that was announced and never answered may still be under way; None: there is none.

    Whoever finds one in a lane that he alone works on has lost its answer. A look at the identity after that instant
    settles it; nothing else does, and until then an edit to the very value that was sent passes for its echo.
    """
    return max((one.expires_at for one in entity.link_at(peer).intents), default=None)


def newest_stamp(entity: Entity, names: dict[str, Value]) -> Instant:
    """The newest stamp among some fields: what a peer will have seen once they are written there."""
    return Instant(max((entity.fields[name].stamp.at for name in names if name in entity.fields), default=-1))


def chosen_id(entity: Entity, peer: PeerName) -> ExternalId | None:
    """The id that an open create already asked for: a second try asks for the same one (MISSION R20)."""
    link = entity.link_at(peer)
    return link.external_id if link.state is LinkState.PENDING else None
