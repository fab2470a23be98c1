"""Explain: everything that is known of one identity, and why it is so (MISSION R35). Reads only."""

from collections.abc import Mapping

import msgspec

from idsync.api.views import (
    ConflictView,
    DeliveryView,
    EntityView,
    InboxView,
    time_text,
    view_conflict,
    view_delivery,
    view_entity,
    view_inbox,
    view_try,
)
from idsync.model.entity import Entity, Intent, Link
from idsync.model.event import Version
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.mapping import Rule
from idsync.model.values import PeerName, Value, instant_text
from idsync.policy.dispatch import Need, Unknown, need_of
from idsync.ports import DeliveryState, Store

CONFLICTS_MAX = 50


class FieldStory(msgspec.Struct, frozen=True, kw_only=True):
    """One field: its value, who decides it, who set it, when, by which event."""

    field: str
    value: Value
    owner: str | None
    rule: str
    group: str | None
    """The fields it moves with; null where it moves alone."""
    held: bool
    """Whether it waits for an operator (rule `manual`)."""
    set_by: str
    set_at: str
    event: str


class ClaimStory(msgspec.Struct, frozen=True, kw_only=True):
    """What one peer says of a field that waits for an operator."""

    group: str
    field: str
    peer: str
    value: Value
    at: str


class ShadowStory(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is known to hold of one field: the truth it was sent, and what it made of it."""

    field: str
    sent: Value
    held: Value


class IntentStory(msgspec.Struct, frozen=True, kw_only=True):
    """One write that was announced and is not confirmed yet."""

    id: str
    action: str
    version: int
    fields: dict[str, Value]
    expires_at: str


class NeedStory(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer still lacks: `create`, `update`, `remove`, or `read` where it must be looked at first."""

    action: str
    fields: dict[str, Value]
    """The values to be written; null for those to be read."""


class VersionStory(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the peer's own row; only those of one capture and generation compare."""

    capture: str
    generation: str
    number: int


class LinkStory(msgspec.Struct, frozen=True, kw_only=True):
    """How the entity stands at one peer."""

    peer: str
    id: str | None
    former: list[str]
    """Ids it once had there."""
    state: str
    version: VersionStory | None
    confirmed_at: str | None
    fields: list[ShadowStory]
    open_intents: list[IntentStory]
    needs: NeedStory | None
    """Null: the peer holds the truth, or nothing may be written there."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one entity."""

    entity: EntityView
    fields: list[FieldStory]
    claims: list[ClaimStory]
    links: list[LinkStory]
    conflicts: list[ConflictView]
    timeline: list[InboxView]


async def explain(store: Store, mappings: Mapping[str, KindMapping], entity: Entity, limit: int) -> Explanation:
    """Explain an entity, with the newest `limit` events of its timeline first.

    The parts are read one after the other: an event that arrives meanwhile may stand in one part and not in another.
    """
    mapping = mappings.get(entity.kind, KindMapping(entity.kind, {}))
    return Explanation(
        entity=view_entity(entity),
        fields=[_tell_field(entity, name, mapping) for name in sorted(entity.fields)],
        claims=_tell_claims(entity),
        links=[_tell_link(entity, peer, mapping) for peer in dict.fromkeys([*mapping.peers, *entity.links])],
        conflicts=[view_conflict(one) for one in await store.conflicts(entity.id, CONFLICTS_MAX)],
        timeline=await _tell_timeline(store, entity, limit),
    )


def _tell_field(entity: Entity, name: str, mapping: KindMapping) -> FieldStory:
    field = entity.fields[name]
    rule = mapping.rule_of(name)
    group = mapping.group_of(name)
    return FieldStory(
        field=name,
        value=field.value,
        owner=rule.owner if rule.rule is Rule.OWNER else None,
        rule=rule.rule.value,
        group=group if group != name else None,
        held=group in entity.holds,
        set_by=field.peer,
        set_at=instant_text(field.stamp.at),
        event=field.stamp.event_id,
    )


def _tell_claims(entity: Entity) -> list[ClaimStory]:
    return [
        ClaimStory(group=group, field=name, peer=peer, value=claim.value, at=instant_text(claim.stamp.at))
        for group, hold in sorted(entity.holds.items())
        for peer, claims in sorted(hold.claims.items())
        for name, claim in sorted(claims.items())
    ]


def _tell_link(entity: Entity, peer: PeerName, mapping: KindMapping) -> LinkStory:
    link = entity.link_at(peer)
    return LinkStory(
        peer=peer,
        id=link.external_id,
        former=list(link.former),
        state=link.state.value,
        version=_tell_version(link.version),
        confirmed_at=time_text(link.confirmed_at),
        fields=_tell_shadow(link),
        open_intents=[_tell_intent(one) for one in link.intents],
        needs=_tell_need(need_of(entity, peer, mapping)),
    )


def _tell_shadow(link: Link) -> list[ShadowStory]:
    return [ShadowStory(field=name, sent=one.sent, held=one.held) for name, one in sorted(link.shadow.items())]


def _tell_version(version: Version | None) -> VersionStory | None:
    if version is None:
        return None
    return VersionStory(capture=version.capture, generation=version.generation, number=version.number)


def _tell_intent(intent: Intent) -> IntentStory:
    return IntentStory(
        id=intent.id,
        action=intent.action.value,
        version=intent.version,
        fields=intent.fields,
        expires_at=instant_text(intent.expires_at),
    )


def _tell_need(need: Need | Unknown | None) -> NeedStory | None:
    match need:
        case Need():
            return NeedStory(action=need.action.value, fields=need.fields)
        case Unknown():
            return NeedStory(action="read", fields=dict.fromkeys(need.fields))
        case None:
            return None


async def _tell_timeline(store: Store, entity: Entity, limit: int) -> list[InboxView]:
    entries = await store.timeline(entity.id, limit)
    return [view_inbox(entry, await _tell_deliveries(store, entry.seq)) for entry in entries]


async def _tell_deliveries(store: Store, event: int) -> list[DeliveryView]:
    """Show where an event's deliveries stand; those that failed with their newest try."""
    found = await store.deliveries(event)
    if all(one.attempts == 0 or one.state is DeliveryState.DELIVERED for one in found):
        return [view_delivery(one) for one in found]
    newest = {one.delivery: view_try(one) for one in await store.attempts(event)}
    return [view_delivery(one, [newest[one.id]] if one.id in newest else None) for one in found]
