"""The operations under `/v1` that read, and the two that ask for something to be tried again.

Each is `(service, call) -> Answer | Problem`; the call's query and body already have the shapes declared here.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from idsync.api.explain import explain
from idsync.api.http import Outcome, Problem, ProblemType, Receive, answer_json
from idsync.api.service import Call, Service
from idsync.api.views import (
    CommandView,
    ConflictPage,
    DeliveryPage,
    EndpointPage,
    EndpointView,
    EntityPage,
    InboxPage,
    PeerItem,
    PeerKindView,
    PeerPage,
    StatsView,
    WaitingPage,
    verdict_counts,
    view_conflict,
    view_delivery,
    view_entity,
    view_inbox,
    view_try,
    view_waiting,
)
from idsync.model.delivery import ParkedState
from idsync.model.entity import Entity
from idsync.model.values import EntityId, Kind, PeerName
from idsync.pipeline.parts.routes import endpoint_name, target_name
from idsync.policy.canonical import canonical_value
from idsync.ports import InboxEntry, ParkedFilter, Store

Row = TypeVar("Row")
SEQ_MAX: Final = 2**63 - 1
CONFLICTS_MAX: Final = 10_000
"""How far back the list of conflicts can be paged; those of one entity are in its explanation."""
SCAN_MAX: Final = 5_000
SCAN_STEP: Final = 500
WAIT_S_MAX: Final = 30.0
LOOK_S: Final = 1.0
"""How often whoever waits looks whether the client is gone or we are stopping."""
TIMELINE_DEFAULT: Final = 50
REQUEUE_MAX: Final = 1_000

Limit = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1; `limits.page_items_max` caps it")]
Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX, description="the `next` of the page before")]
Id = Annotated[int, Meta(ge=1, le=SEQ_MAX, description="a delivery's id or an arrival's seq, as text or number")]
SearchText = Annotated[str, Meta(min_length=1, max_length=512)]
EntityCursor = Annotated[str, Meta(pattern=r"^[0-9a-f-]{36}$(?!\n)")]
EventId = Annotated[str, Meta(pattern=r"^[!-~]{1,256}$(?!\n)")]
DestinationName = Annotated[str, Meta(pattern=r"^(endpoint|peer):[a-z][a-z0-9_-]{0,62}$(?!\n)")]
Destination = Annotated[DestinationName | None, Meta(description="`endpoint:<name>` or `peer:<name>`")]


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


class InboxQuery(msgspec.Struct, frozen=True):
    """Which inbox rows: those after a sequence, oldest first; without `after` the newest `limit`."""

    after: Annotated[Seq | None, Meta(description="the `seq` to go on after: the `next` of the page before")] = None
    limit: Limit = 50
    wait_s: Annotated[
        float, Meta(ge=0, le=WAIT_S_MAX, description="how many seconds to wait for a row if there is none, at most 30")
    ] = 0.0


class PageQuery(msgspec.Struct, frozen=True):
    """Which page."""

    after: Seq = 0
    limit: Limit = 50


class ConflictsQuery(msgspec.Struct, frozen=True):
    """Which page, newest first."""

    after: Annotated[int, Meta(ge=0, le=CONFLICTS_MAX, description="the `next` of the page before")] = 0
    limit: Limit = 50


class DeliveriesQuery(msgspec.Struct, frozen=True):
    """Which deliveries: all of one event, or the parked and dead ones page by page."""

    event: Annotated[
        EventId | None, Meta(description="an inbox sequence, or the id of an event that went out lately")
    ] = None
    state: Annotated[ParkedState | None, Meta(description="`parked` or `dead`")] = None
    destination: Destination = None
    after: Seq = 0
    limit: Limit = 50


class RequeueDeliveries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead deliveries are tried again: named ones, all of a destination, or all there are."""

    deliveries: Annotated[list[Id], Meta(max_length=REQUEUE_MAX)] = []
    destination: Destination = None
    is_all: bool = msgspec.field(default=False, name="all")


class RequeueWaiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which waiting arrivals are tried again; a parked delete passes its guard this time."""

    waiting: Annotated[list[Id], Meta(min_length=1, max_length=REQUEUE_MAX)]


async def list_entities(service: Service, call: Call) -> Outcome:
    """Give a page of entities, or those that a text may mean."""
    query: EntitiesQuery = call.query
    kind = query.kind.value if query.kind is not None else None
    if query.find is not None:
        found = await _find(service.store, query.find)
        return answer_json(EntityPage(items=[view_entity(one) for one in found if kind in {None, one.kind}]))
    limit = _limit(service, query.limit)
    after = EntityId(query.after) if query.after is not None else None
    rows = await service.store.page(kind, after, limit)
    return answer_json(
        EntityPage(items=[view_entity(one) for one in rows], next=_next(rows, limit, lambda one: one.id))
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
    return answer_json(await explain(service.store, service.mappings, entity, _limit(service, query.limit)))


_NO_ENTITY: Final = Problem(ProblemType.NOT_FOUND, "No entity has this id; search with /v1/entities?find=.")


async def list_inbox(service: Service, call: Call) -> Outcome:
    """Give inbox rows; wait for one if asked to."""
    query: InboxQuery = call.query
    limit = _limit(service, query.limit)
    after = query.after
    if after is None:
        after = max(0, await _newest_seq(service.store) - limit)
    rows = await (_follow(service, call, after, limit) if query.wait_s else service.store.recent(after, limit))
    return answer_json(InboxPage(items=[view_inbox(one) for one in rows], next=str(rows[-1].seq if rows else after)))


async def _follow(service: Service, call: Call, after: int, limit: int) -> Sequence[InboxEntry]:
    """Read rows; if there are none, wait: for one, for the end of the time or of the client, or for our own."""
    query: InboxQuery = call.query
    deadline = service.clock.monotonic() + query.wait_s
    gone = asyncio.create_task(_until_gone(call.receive))
    try:
        while True:
            rows = await service.store.recent(after, limit)
            left_s = deadline - service.clock.monotonic()
            if rows or left_s <= 0 or gone.done() or not service.is_ready:
                return rows
            await service.follow(min(left_s, LOOK_S))
    finally:
        gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _newest_seq(store: Store) -> int:
    """Find the newest sequence by halving: the store reads forwards only, and an index look-up is cheap."""
    high = 1
    while high < SEQ_MAX and await store.recent(high, 1):
        high = min(2 * high, SEQ_MAX)
    low = high // 2
    while low < high:
        middle = (low + high) // 2
        if await store.recent(middle, 1):
            low = middle + 1
        else:
            high = middle
    return high


async def list_waiting(service: Service, call: Call) -> Outcome:
    """Give a page of arrivals that wait."""
    query: PageQuery = call.query
    limit = _limit(service, query.limit)
    rows = await service.store.waits(query.after, limit)
    items = [view_waiting(one) for one in rows]
    return answer_json(WaitingPage(items=items, next=_next(rows, limit, lambda one: str(one.seq))))


async def list_deliveries(service: Service, call: Call) -> Outcome:
    """Give the deliveries of one event with their tries, or a page of parked and dead ones."""
    query: DeliveriesQuery = call.query
    if query.event is not None:
        if query.state is not None or query.destination is not None:
            return Problem(
                ProblemType.BAD_PARAMETER, "Ask for one event, or for a state and a destination, not for both."
            )
        return await _list_event(service, query.event)
    limit = _limit(service, query.limit)
    wanted = ParkedFilter(destination=query.destination, state=query.state, after=query.after)
    rows = await service.store.parked(wanted, limit)
    items = [view_delivery(one) for one in rows]
    return answer_json(DeliveryPage(items=items, next=_next(rows, limit, lambda one: str(one.id))))


async def _list_event(service: Service, event: str) -> Outcome:
    seq = int(event) if event.isdigit() and int(event) <= SEQ_MAX else await _find_seq(service.store, event)
    if seq is None:
        return Problem(ProblemType.NOT_FOUND, f"None of the newest {SCAN_MAX} events has this id; use its seq.")
    deliveries, attempts = await asyncio.gather(service.store.deliveries(seq), service.store.attempts(seq))
    items = [view_delivery(one, [view_try(try_) for try_ in attempts if try_.delivery == one.id]) for one in deliveries]
    return answer_json(DeliveryPage(items=items))


async def _find_seq(store: Store, event_id: str) -> int | None:
    """Find the event that went out under an id among the newest ones: no index leads from that id to its row."""
    after = max(0, await _newest_seq(store) - SCAN_MAX)
    while rows := await store.recent(after, SCAN_STEP):
        for one in rows:
            if one.row.event_id == event_id:
                return one.seq
        after = rows[-1].seq
    return None


async def requeue_deliveries(service: Service, call: Call) -> Outcome:
    """Ask for dead deliveries to be tried again."""
    body: RequeueDeliveries = call.body
    if sum((bool(body.deliveries), body.destination is not None, body.is_all)) != 1:
        return Problem(
            ProblemType.INVALID_BODY, "Name deliveries, or a destination, or send all: true; one of the three."
        )
    known = {endpoint_name(name) for name in service.settings.endpoints} | {target_name(name) for name in service.peers}
    if body.destination is not None and body.destination not in known:
        return Problem(ProblemType.INVALID_BODY, "There is no such destination; see /v1/endpoints and /v1/peers.")
    command = await service.requeue(deliveries=body.deliveries, destination=body.destination)
    return answer_json(CommandView(command=str(command)), 202)


async def requeue_waiting(service: Service, call: Call) -> Outcome:
    """Ask for waiting arrivals to be tried again."""
    body: RequeueWaiting = call.body
    command = await service.requeue(waiting=body.waiting)
    return answer_json(CommandView(command=str(command)), 202)


async def list_conflicts(service: Service, call: Call) -> Outcome:
    """Give a page of conflicts, newest first. New ones move the pages: one may be seen twice, none is missed."""
    query: ConflictsQuery = call.query
    end = min(CONFLICTS_MAX, query.after + _limit(service, query.limit))
    rows = await service.store.conflicts(None, end)
    is_last = len(rows) < end or end == CONFLICTS_MAX
    items = [view_conflict(one) for one in rows[query.after :]]
    return answer_json(ConflictPage(items=items, next=None if is_last else str(end)))


async def list_peers(service: Service, _: Call) -> Outcome:
    """Give every peer, what it takes part in, and how far it was read."""
    return answer_json(PeerPage(items=[await _peer_item(service, name) for name in service.peers]))


async def _peer_item(service: Service, name: PeerName) -> PeerItem:
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
    )


async def list_endpoints(service: Service, _: Call) -> Outcome:
    """Give every endpoint, and how much waits for it."""
    stats = await service.store.stats()
    items = [
        EndpointView(
            name=name,
            destination=endpoint_name(name),
            url=str(one.url),
            dialect=one.dialect,
            events=list(one.events),
            enabled=one.enabled,
            queued=stats.queued.get(endpoint_name(name), 0),
            parked=stats.parked.get(endpoint_name(name), 0),
            dead=stats.dead.get(endpoint_name(name), 0),
        )
        for name, one in service.settings.endpoints.items()
    ]
    return answer_json(EndpointPage(items=items))


async def show_stats(service: Service, _: Call) -> Outcome:
    """Give the counts."""
    stats = await service.store.stats()
    return answer_json(
        StatsView(
            entities=stats.entities,
            inbox=stats.inbox,
            waiting=stats.waiting,
            rereads=stats.rereads,
            conflicts=stats.conflicts,
            size_bytes=stats.size_bytes,
            queued=stats.queued,
            parked=stats.parked,
            dead=stats.dead,
            verdicts=verdict_counts(service.counters.counts),
        )
    )


def _limit(service: Service, asked: int) -> int:
    return min(asked, service.settings.limits.page_items_max)


def _next(rows: Sequence[Row], limit: int, cursor: Callable[[Row], str]) -> str | None:
    """Where the next page begins; None: this was the last."""
    return cursor(rows[-1]) if len(rows) == limit else None
