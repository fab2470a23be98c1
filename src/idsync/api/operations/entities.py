"""Entities, conflicts and peers: the operations that read them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from idsync.api.explain import Explanation, explain
from idsync.api.http import Outcome, Problem, ProblemType, answer_json
from idsync.api.keys import Scope
from idsync.api.operations.pages import Limit, limit_of, next_of
from idsync.api.service import Call, Operation, Service
from idsync.api.views import (
    ConflictPage,
    EntityPage,
    EntityView,
    PeerItem,
    PeerKindView,
    PeerPage,
    view_conflict,
    view_entity,
    view_peer_health,
)
from idsync.model.entity import Entity
from idsync.model.values import EntityId, Kind, PeerName
from idsync.pipeline.reach import Half, PeerHealth, unreached
from idsync.policy.canonical import canonical_value
from idsync.ports import Store

CONFLICTS_MAX: Final = 10_000
"""How far back the list of conflicts can be paged; those of one entity are in its explanation."""
TIMELINE_DEFAULT: Final = 50
SearchText = Annotated[str, Meta(min_length=1, max_length=512)]
EntityCursor = Annotated[str, Meta(pattern=r"^[0-9a-f-]{36}$(?!\n)")]


class EntitiesQuery(msgspec.Struct, frozen=True):
    """Which entities: by what an operator knows of them, or all of a kind, page by page."""

    kind: Annotated[Kind | None, Meta(description="a kind, as `user` or `organization`")] = None
    find: Annotated[
        SearchText | None,
        Meta(description="an e-mail, an entity's id, a subject or a peer's id, of at most 512 characters"),
    ] = None
    after: Annotated[EntityCursor | None, Meta(description="the `next` of the page before")] = None
    limit: Limit = 50


class ExplainQuery(msgspec.Struct, frozen=True):
    """How much of the timeline."""

    limit: Limit = TIMELINE_DEFAULT


class ConflictsQuery(msgspec.Struct, frozen=True):
    """Which page, newest first."""

    after: Annotated[int, Meta(ge=0, le=CONFLICTS_MAX, description="the `next` of the page before")] = 0
    limit: Limit = 50


def operations_of_entities() -> list[Operation]:
    """Document and serve entities, conflicts and peers."""
    entities = Operation(
        method="GET",
        path="/v1/entities",
        name="listEntities",
        summary="Entities page by page, or those that a text may mean.",
        run=list_entities,
        scope=Scope.READ,
        query=EntitiesQuery,
        answers={200: EntityPage},
    )
    replace = msgspec.structs.replace
    one = replace(
        entities,
        path="/v1/entities/{id}",
        name="getEntity",
        summary="One entity.",
        run=get_entity,
        query=None,
        answers={200: EntityView},
        problems=(ProblemType.NOT_FOUND,),
    )
    why = replace(
        one,
        path="/v1/entities/{id}/explain",
        name="explainEntity",
        summary="Each field's value, owner, who set it and when; the links, each peer's shadow, the timeline.",
        run=explain_entity,
        query=ExplainQuery,
        answers={200: Explanation},
    )
    conflicts = replace(
        entities,
        path="/v1/conflicts",
        name="listConflicts",
        summary="Conflicts between peers and how they were decided, newest first.",
        run=list_conflicts,
        query=ConflictsQuery,
        answers={200: ConflictPage},
    )
    peers = replace(
        entities,
        path="/v1/peers",
        name="listPeers",
        summary="The peers, what each takes part in, how far each was read, and which cannot be reached since when.",
        run=list_peers,
        query=None,
        answers={200: PeerPage},
    )
    return [entities, one, why, conflicts, peers]


async def list_entities(service: Service, call: Call) -> Outcome:
    """Give a page of entities, or those that a text may mean."""
    query: EntitiesQuery = call.query
    kind = query.kind.value if query.kind is not None else None
    if query.find is not None:
        found = await _find(service.store, query.find)
        return answer_json(EntityPage(items=[view_entity(one) for one in found if kind in {None, one.kind}]))
    limit = limit_of(service, query.limit)
    after = EntityId(query.after) if query.after is not None else None
    rows = await service.store.page(kind, after, limit)
    return answer_json(
        EntityPage(items=[view_entity(one) for one in rows], next=next_of(rows, limit, lambda one: one.id))
    )


async def _find(store: Store, text: str) -> Sequence[Entity]:
    """Find by the text as it is, else as the e-mail that it may be."""
    found = await store.find(text)
    email = canonical_value("user", "email", text) if "@" in text and not found else None
    return await store.find(email) if isinstance(email, str) and email != text else found


async def get_entity(service: Service, call: Call) -> Outcome:
    """Give one entity."""
    entity = await service.store.get(EntityId(call.path["id"]))
    return answer_json(view_entity(entity)) if entity is not None else _NO_ENTITY


async def explain_entity(service: Service, call: Call) -> Outcome:
    """Explain one entity."""
    query: ExplainQuery = call.query
    entity = await service.store.get(EntityId(call.path["id"]))
    if entity is None:
        return _NO_ENTITY
    return answer_json(await explain(service.store, service.mappings, entity, limit_of(service, query.limit)))


_NO_ENTITY: Final = Problem(ProblemType.NOT_FOUND, "No entity has this id; search with /v1/entities?find=.")


async def list_conflicts(service: Service, call: Call) -> Outcome:
    """Give a page of conflicts, newest first. New ones move the pages: one may be seen twice, none is missed."""
    query: ConflictsQuery = call.query
    end = min(CONFLICTS_MAX, query.after + limit_of(service, query.limit))
    rows = await service.store.conflicts(None, end)
    is_last = len(rows) < end or end == CONFLICTS_MAX
    items = [view_conflict(one) for one in rows[query.after :]]
    return answer_json(ConflictPage(items=items, next=None if is_last else str(end)))


async def list_peers(service: Service, _: Call) -> Outcome:
    """Give every peer, what it takes part in, how far it was read, and whether it can be reached."""
    failing = await unreached(service.store)
    return answer_json(PeerPage(items=[await _peer_item(service, name, failing) for name in service.peers]))


async def _peer_item(service: Service, name: PeerName, failing: Mapping[tuple[PeerName, Half], PeerHealth]) -> PeerItem:
    settings = service.settings.peers[name]
    position = await service.store.position(name)
    views = [(kind, mapping.peers[name]) for kind, mapping in service.mappings.items() if name in mapping.peers]
    return PeerItem(
        name=name,
        connector=settings.connector,
        dialect=settings.dialect if service.peers[name].webhook is not None else None,
        kinds=[
            PeerKindView(kind=kind, reads=sorted(view.reads), writes=sorted(view.writes), may_create=view.may_create)
            for kind, view in views
        ],
        position=position.number if position is not None else None,
        unread=view_peer_health(failing.get((name, Half.READ))),
        unwritten=view_peer_health(failing.get((name, Half.WRITE))),
    )
