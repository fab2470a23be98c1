"""Deliveries: where they stand, and those that are tried again: by id, by destination, type, subject, reason, time."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from idsync.api.http import Outcome, Problem, ProblemType, answer_json
from idsync.api.keys import Scope
from idsync.api.operations.pages import (
    SCAN_STEP,
    Destination,
    EventId,
    Id,
    Limit,
    Seq,
    Time,
    TypeFilter,
    find_seq,
    limit_of,
    read_time,
)
from idsync.api.service import Call, Operation, Service
from idsync.api.views import CommandView, DeliveryPage, view_delivery, view_try
from idsync.api.why import SENDING, is_sending
from idsync.model.delivery import Parked, ParkedState
from idsync.model.plan import CommandName
from idsync.model.values import Instant, Subject
from idsync.pipeline.parts.routes import endpoint_name, target_name
from idsync.policy.filter import matches
from idsync.ports import ParkedFilter, Store

REQUEUE_MAX: Final = 1_000
"""Deliveries of one command."""
LOOK_MAX: Final = 10_000
"""Parked rows that one request looks at; where there are more it says so."""

Type = Annotated[TypeFilter | None, Meta(description="only of this type, as `user.created` or `user.*`")]
SubjectText = Annotated[str, Meta(min_length=1, max_length=512)]
OfSubject = Annotated[SubjectText | None, Meta(description="only of this outgoing subject")]
ReasonText = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}$(?!\n)")]
Reason = Annotated[ReasonText | None, Meta(description="only with this reason, as `http_500`, `timeout` or `gone`")]
Since = Annotated[Time | None, Meta(description="only parked then or later, as 2026-01-31T12:00:00Z")]
Until = Annotated[Time | None, Meta(description="only parked before, as 2026-01-31T12:00:00Z")]


class DeliveriesQuery(msgspec.Struct, frozen=True):
    """Which deliveries: all of one event, or the parked and dead ones page by page."""

    event: Annotated[EventId | None, Meta(description="an inbox sequence, or the id of an event that went out")] = None
    state: Annotated[ParkedState | None, Meta(description="`parked` or `dead`")] = None
    destination: Destination = None
    type: Type = None
    subject: OfSubject = None
    reason: Reason = None
    since: Since = None
    until: Until = None
    after: Seq = 0
    limit: Limit = 50


class RequeueDeliveries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead deliveries are tried again: named ones, those that all the other parts name, or all there are."""

    deliveries: Annotated[list[Id], Meta(max_length=REQUEUE_MAX)] = []
    destination: Destination = None
    type: Type = None
    subject: OfSubject = None
    reason: Reason = None
    since: Since = None
    until: Until = None
    is_all: bool = msgspec.field(default=False, name="all")


class _Wanted(msgspec.Struct, frozen=True):
    """What narrows parked rows beyond what the store knows to look for."""

    type: str | None
    reason: str | None
    since: Instant | None
    until: Instant | None

    def names(self, row: Parked) -> bool:
        """Whether a row is meant."""
        return (
            (self.type is None or matches((self.type,), row.event_type))
            and self.reason in {None, row.reason}
            and (self.since is None or row.parked_at >= self.since)
            and (self.until is None or row.parked_at < self.until)
        )

    @property
    def is_all(self) -> bool:
        """Whether it narrows nothing."""
        return self == _Wanted(None, None, None, None)


def operations_of_deliveries() -> list[Operation]:
    """Document and serve deliveries."""
    every = Operation(
        method="GET",
        path="/v1/deliveries",
        name="listDeliveries",
        summary="Where the deliveries of one event stand, or which are parked or dead.",
        run=list_deliveries,
        scope=Scope.READ,
        query=DeliveriesQuery,
        answers={200: DeliveryPage},
        problems=(ProblemType.NOT_FOUND,),
    )
    requeue = msgspec.structs.replace(
        every,
        method="POST",
        path="/v1/deliveries/requeue",
        name="requeueDeliveries",
        summary="Try dead deliveries again.",
        run=requeue_deliveries,
        scope=Scope.ADMIN,
        query=None,
        body=RequeueDeliveries,
        answers={202: CommandView},
    )
    return [every, requeue]


async def list_deliveries(service: Service, call: Call) -> Outcome:
    """Give the deliveries of one event with their tries, or a page of parked and dead ones."""
    query: DeliveriesQuery = call.query
    parts = (query.state, query.destination, query.type, query.subject, query.reason, query.since, query.until)
    if query.event is not None:
        if any(part is not None for part in parts):
            return Problem(
                ProblemType.BAD_PARAMETER, "Ask for one event, or for what parked deliveries have, not for both."
            )
        return await _list_event(service, query.event)
    wanted = _read_wanted(query)
    if isinstance(wanted, Problem):
        return wanted
    limit = limit_of(service, query.limit)
    rows, after = await _look(service.store, _filter_of(query, query.state, query.after), wanted, limit)
    return answer_json(DeliveryPage(items=[view_delivery(one) for one in rows], next=after))


async def _list_event(service: Service, event: str) -> Outcome:
    seq = await find_seq(service, event)
    if seq is None:
        return Problem(ProblemType.NOT_FOUND, "No event that is kept has this id; an old one is found by its seq.")
    deliveries, attempts = await asyncio.gather(service.store.deliveries(seq), service.store.attempts(seq))
    items = []
    for one in deliveries:
        tries = [view_try(try_) for try_ in attempts if try_.delivery == one.id]
        items.append(view_delivery(one, tries, SENDING if is_sending(service, one) else None))
    return answer_json(DeliveryPage(items=items))


async def requeue_deliveries(service: Service, call: Call) -> Outcome:
    """Ask for dead deliveries to be tried again."""
    body: RequeueDeliveries = call.body
    parts = (body.destination, body.type, body.subject, body.reason, body.since, body.until)
    if sum((bool(body.deliveries), any(part is not None for part in parts), body.is_all)) != 1:
        told = (
            "Name deliveries, or what they have (destination, type, subject, reason, since, until), or send all: true."
        )
        return Problem(ProblemType.INVALID_BODY, told)
    if body.destination is not None and body.destination not in await _destinations(service):
        return Problem(ProblemType.INVALID_BODY, "There is no such destination; see /v1/endpoints and /v1/peers.")
    wanted = _read_wanted(body)
    if isinstance(wanted, Problem):
        return Problem(ProblemType.INVALID_BODY, wanted.detail)
    if body.deliveries:
        return await _requeue_named(service, body.deliveries)
    if wanted.is_all and body.subject is None:
        command = await service.ask(CommandName.REQUEUE, destination=body.destination)
        return answer_json(CommandView(command=str(command)), 202)
    return await _requeue_wanted(service, body, wanted)


async def _requeue_named(service: Service, asked: Sequence[int]) -> Outcome:
    """Name deliveries to their owners, those of them that are dead."""
    ids = [one for one in dict.fromkeys(asked) if await _is_dead(service.store, one)]
    if not ids:
        return Problem(ProblemType.NOT_FOUND, "No dead delivery has such an id; see /v1/deliveries?state=dead.")
    command = await service.ask(CommandName.REQUEUE, deliveries=ids)
    return answer_json(CommandView(command=str(command), deliveries=len(ids)), 202)


async def _is_dead(store: Store, delivery: int) -> bool:
    """Whether a delivery is dead: one look by its id, for the state is no part of an index."""
    return any(
        row.id == delivery and row.state is ParkedState.DEAD
        for row in await store.parked(ParkedFilter(after=delivery - 1), 1)
    )


async def _requeue_wanted(service: Service, body: RequeueDeliveries, wanted: _Wanted) -> Outcome:
    """Look the deliveries up, and name them to their owners, some at a time."""
    rows, after = await _look(service.store, _filter_of(body, ParkedState.DEAD, 0), wanted, LOOK_MAX)
    ids = [row.id for row in rows]
    commands = [
        await service.ask(CommandName.REQUEUE, deliveries=ids[start : start + REQUEUE_MAX])
        for start in range(0, len(ids), REQUEUE_MAX)
    ]
    view = CommandView(command=str(commands[-1]) if commands else "0", deliveries=len(ids), is_complete=after is None)
    return answer_json(view, 202)


async def _look(store: Store, asked: ParkedFilter, wanted: _Wanted, limit: int) -> tuple[list[Parked], str | None]:
    """Find parked rows; give with them where to go on, None where there are no others."""
    found: list[Parked] = []
    step = limit if wanted.is_all else SCAN_STEP
    for _ in range(0, LOOK_MAX, step):
        rows = await store.parked(asked, step)
        for row in rows:
            if wanted.names(row):
                found.append(row)
            if len(found) == limit:
                return found, str(row.id)
        if len(rows) < step:
            return found, None
        asked = msgspec.structs.replace(asked, after=rows[-1].id)
    return found, str(asked.after)


def _filter_of(asked: DeliveriesQuery | RequeueDeliveries, state: ParkedState | None, after: int) -> ParkedFilter:
    subject = Subject(asked.subject) if asked.subject is not None else None
    return ParkedFilter(destination=asked.destination, subject=subject, state=state, after=after)


def _read_wanted(asked: DeliveriesQuery | RequeueDeliveries) -> _Wanted | Problem:
    since, until = read_time(asked.since), read_time(asked.until)
    if isinstance(since, Problem) or isinstance(until, Problem):
        return Problem(ProblemType.BAD_PARAMETER, "since and until are times as 2026-01-31T12:00:00Z.")
    return _Wanted(asked.type, asked.reason, since, until)


async def _destinations(service: Service) -> set[str]:
    endpoints = {endpoint_name(one.name) for one in await service.endpoints.list()}
    return endpoints | {target_name(name) for name in service.peers}
