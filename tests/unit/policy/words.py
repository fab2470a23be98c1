"""Short words for the tests of policy: a mapping of three peers, and what one of them says."""

from collections.abc import Callable

import msgspec

from idsync.model.entity import Action, Entity, Intent, LinkState
from idsync.model.event import Observation, Op, Version
from idsync.model.mapping import FieldRule, Mapping, PeerView, Rule
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Value
from idsync.policy.dispatch import Need, announce, need_of, newest_stamp
from idsync.policy.merge import merge
from idsync.policy.outcome import Outcome

AUTH, APP, CMS = PeerName("auth"), PeerName("app"), PeerName("cms")
FIELDS = frozenset({"email", "email_verified", "name", "picture", "roles", "banned", "ban_reason"})
NOW = Instant(1_700_000_000_000)
LIFE_MS = 60_000

NEWEST = FieldRule()
FILL = FieldRule(Rule.FILL)
MANUAL = FieldRule(Rule.MANUAL)


def owned_by(peer: PeerName, group: str | None = None) -> FieldRule:
    """Make the rule of a field that one peer owns."""
    return FieldRule(Rule.OWNER, peer, group)


MAPPING = Mapping(
    kind="user",
    peers=dict.fromkeys((AUTH, APP, CMS), PeerView(reads=FIELDS, writes=FIELDS)),
    rules={"email": owned_by(AUTH, "mail"), "email_verified": owned_by(AUTH, "mail"), "roles": owned_by(AUTH)},
    lifecycle_owner=AUTH,
)


def ruled(**rules: FieldRule) -> Mapping:
    """Make the usual mapping with other rules for some fields."""
    return msgspec.structs.replace(MAPPING, rules={**MAPPING.rules, **rules})


def viewed(mapping: Mapping, peer: PeerName, change: Callable[[PeerView], PeerView]) -> Mapping:
    """Make a mapping in which one peer is seen otherwise."""
    return msgspec.structs.replace(mapping, peers={**mapping.peers, peer: change(mapping.peers[peer])})


def unreadable(view: PeerView) -> PeerView:
    """Make a view of a peer that has no Reader."""
    return msgspec.structs.replace(view, is_readable=False)


def said(  # noqa: PLR0913  # an observation has so many sides; each test names the few that matter
    peer: PeerName,
    op: Op = Op.UPDATED,
    *,
    version: int | None = None,
    at: int = 0,
    received: int | None = None,
    id: str | None = None,  # noqa: A002  # it reads best where it is used
    rev: int | None = None,
    origin: str | None = None,
    link: str | None = None,
    capture: str = "trigger",
    generation: str = "1",
    event_id: str | None = None,
    **fields: Value,
) -> Observation:
    """Make one peer's word. `at` and `received` are milliseconds after `NOW`; they are equal unless both are given."""
    number = Version(capture, generation, version) if version is not None else None
    return Observation(
        peer=peer,
        kind="user",
        external_id=ExternalId(id if id is not None else f"{peer}-1"),
        op=op,
        fields=dict(fields),
        link_id=ExternalId(link) if link is not None else None,
        version=number,
        event_at=Instant(NOW + at),
        received_at=Instant(NOW + (at if received is None else received)),
        event_id=event_id if event_id is not None else f"{peer}:{version}:{at}",
        rev=rev,
        origin=origin,
    )


def new(name: str = "e1") -> Entity:
    """Make an entity nobody has spoken of."""
    return Entity(id=EntityId(name), kind="user")


def after(entity: Entity, *heard: Observation, mapping: Mapping = MAPPING) -> Entity:
    """Merge one word after the other; return the entity at the end."""
    for one in heard:
        outcome = merge(entity, one, mapping)
        entity = outcome.entity if outcome.entity is not None else entity
    return entity


def announced(entity: Entity, peer: PeerName, mapping: Mapping = MAPPING, *, at: int = 0, epoch: int = 1) -> Entity:
    """Announce whatever the peer is due; the newest open intent of its link is the one."""
    need = need_of(entity, peer, mapping)
    assert isinstance(need, Need)
    intent = Intent(
        id=f"{entity.id}:{entity.version}:{epoch}-{len(entity.link_at(peer).intents)}",
        action=need.action,
        epoch=epoch,
        version=entity.version,
        fields=need.fields,
        external_id=entity.link_at(peer).external_id,
        seen_at=newest_stamp(entity, need.fields),
        expires_at=Instant(NOW + at + LIFE_MS),
    )
    return announce(entity, peer, intent)


def written(entity: Entity, peer: PeerName, mapping: Mapping = MAPPING, *, at: int = 0, **held: Value) -> Entity:
    """Write whatever the peer is due, and let it confirm; `held` is what it made of some values."""
    entity = announced(entity, peer, mapping, at=at)
    link = entity.link_at(peer)
    intent = link.intents[-1]
    number = (link.version.number if link.version is not None else 0) + 1
    fields = truth(entity) | {name: one.held for name, one in link.shadow.items()} | intent.fields | held
    op = Op.ABSENT if intent.action is Action.REMOVE else Op.SEEN
    known = link.external_id if link.external_id is not None else f"{peer}-1"
    answer = said(peer, op, version=number, at=at, id=known, origin=intent.id)
    return after(entity, msgspec.structs.replace(answer, fields=fields), mapping=mapping)


def in_step(mapping: Mapping = MAPPING, **fields: Value) -> Entity:
    """Make an entity that came from auth and that every peer holds alike: verified, without picture and roles."""
    values: dict[str, Value] = {"email": "a@x.io", "email_verified": True, "name": "Ada"}
    values |= {"picture": None, "roles": [], **fields}
    born = msgspec.structs.replace(said(AUTH, Op.CREATED, version=1), fields=values)
    entity = after(new(), born, mapping=mapping)
    for peer in (APP, CMS):
        entity = written(entity, peer, mapping)
    assert all(link.state is LinkState.LIVE for link in entity.links.values())
    return entity


def truth(entity: Entity) -> dict[str, Value]:
    """Every field's value."""
    return {name: entry.value for name, entry in entity.fields.items()}


def told(outcome: Outcome) -> Entity:
    """The entity that an outcome writes."""
    assert outcome.entity is not None
    return outcome.entity
