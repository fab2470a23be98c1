"""Events that went out: which, what each holds, and what became of it at every endpoint."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from idsync.api.health import with_health
from idsync.api.http import Outcome, Problem, ProblemType, answer_json
from idsync.api.keys import Scope
from idsync.api.operations.endpoints import EndpointName
from idsync.api.operations.pages import (
    SCAN_STEP,
    Limit,
    Seq,
    Time,
    find_event,
    limit_of,
    newest_seq,
    read_time,
)
from idsync.api.service import Call, Operation, Service
from idsync.api.views import AttemptPage, EventPage, EventView, WhyPage, view_event
from idsync.api.views.endpoints import view_attempt
from idsync.api.why import explain_everywhere
from idsync.app.endpoints import NotFound
from idsync.model.delivery import Attempt
from idsync.model.values import Subject
from idsync.pipeline.parts.routes import endpoint_name
from idsync.policy.filter import matches
from idsync.ports import InboxEntry, Store
from idsync.ports.store import PassedOn

ATTEMPTS_SCAN: Final = 200
"""Events whose tries are looked at for one page."""
LOOKS_MAX: Final = 10
TypesText = Annotated[
    str,
    Meta(
        pattern=r"^!?(\*|[A-Za-z][A-Za-z0-9_.*-]{0,199})(,!?(\*|[A-Za-z][A-Za-z0-9_.*-]{0,199})){0,19}$(?!\n)",
        description="types as an endpoint's `events` has them, parted by commas",
    ),
]
SubjectText = Annotated[str, Meta(min_length=1, max_length=512)]
NO_EVENT: Final = Problem(
    ProblemType.NOT_FOUND,
    "No event that went out and is kept has this id; where its sender signs no ids, ask by seq.",
)


class EventsQuery(msgspec.Struct, frozen=True):
    """Which events: in the order in which they came in, page by page."""

    types: Annotated[TypesText | None, Meta(description="types, as `user.*,!user.deleted`")] = None
    subject: Annotated[SubjectText | None, Meta(description="only of this outgoing subject")] = None
    since: Annotated[Time | None, Meta(description="only received then or later, as 2026-01-31T12:00:00Z")] = None
    until: Annotated[Time | None, Meta(description="only received before, as 2026-01-31T12:00:00Z")] = None
    after: Seq = 0
    limit: Limit = 50


class WhyQuery(msgspec.Struct, frozen=True):
    """At which endpoints."""

    endpoint: Annotated[EndpointName | None, Meta(description="only this endpoint")] = None


class AttemptsQuery(msgspec.Struct, frozen=True):
    """Which tries: those of the newest events first."""

    after: Annotated[Seq | None, Meta(description="the `next` of the page before")] = None
    limit: Limit = 50


def operations_of_sent() -> list[Operation]:
    """Document and serve events that went out, and every try of them."""
    every = Operation(
        method="GET",
        path="/v1/events",
        name="listEvents",
        summary="Events that went out, oldest first.",
        run=list_events,
        scope=Scope.READ,
        query=EventsQuery,
        answers={200: EventPage},
    )
    replace = msgspec.structs.replace
    one = replace(
        every,
        path="/v1/events/{id}",
        name="getEvent",
        summary="One event that went out, by its id or its seq.",
        run=get_event,
        query=None,
        answers={200: EventView},
        problems=(ProblemType.NOT_FOUND,),
    )
    return [
        every,
        one,
        replace(
            one,
            path="/v1/events/{id}/deliveries",
            name="explainEvent",
            summary="What became of one event at every endpoint, and why.",
            run=explain_event,
            query=WhyQuery,
            answers={200: WhyPage},
        ),
        replace(
            one,
            path="/v1/events/{id}/attempts",
            name="listAttempts",
            summary="Every try of one event, oldest first.",
            run=list_attempts,
            answers={200: AttemptPage},
        ),
        replace(
            one,
            path="/v1/endpoints/{name}/attempts",
            name="listEndpointAttempts",
            summary="The tries of an endpoint's deliveries, those of the newest events first.",
            run=list_endpoint_attempts,
            query=AttemptsQuery,
            answers={200: AttemptPage},
        ),
    ]


async def list_events(service: Service, call: Call) -> Outcome:
    """Give a page of events; with types asked for it may be shorter than the limit and yet not the last."""
    query: EventsQuery = call.query
    since, until = read_time(query.since), read_time(query.until)
    if isinstance(since, Problem) or isinstance(until, Problem):
        return Problem(ProblemType.BAD_PARAMETER, "since and until are times as 2026-01-31T12:00:00Z.")
    wanted = PassedOn(
        after=query.after,
        received_from=since,
        received_before=until,
        subject=Subject(query.subject) if query.subject is not None else None,
    )
    types = tuple(query.types.split(",")) if query.types is not None else ("*",)
    rows, after = await _look(service.store, wanted, types, limit_of(service, query.limit))
    return answer_json(EventPage(items=[view_event(one) for one in rows], next=after))


async def _look(
    store: Store, wanted: PassedOn, types: tuple[str, ...], limit: int
) -> tuple[list[InboxEntry], str | None]:
    """Find events of some types; give with them where to go on, None where there are no others."""
    found: list[InboxEntry] = []
    for _ in range(LOOKS_MAX):
        rows = await store.passed_on(wanted, SCAN_STEP)
        for row in rows:
            if matches(types, row.row.event_type or ""):
                found.append(row)
            if len(found) == limit:
                return found, str(row.seq)
        if len(rows) < SCAN_STEP:
            return found, None
        wanted = msgspec.structs.replace(wanted, after=rows[-1].seq)
    return found, str(wanted.after)


async def get_event(service: Service, call: Call) -> Outcome:
    """Give one event with its body."""
    found = await find_event(service, call.path["id"])
    return answer_json(view_event(found, with_body=True)) if found is not None else NO_EVENT


async def explain_event(service: Service, call: Call) -> Outcome:
    """Say for every endpoint what became of one event."""
    query: WhyQuery = call.query
    found = await find_event(service, call.path["id"])
    if found is None:
        return NO_EVENT
    endpoints = await with_health(service.store, await service.endpoints.list())
    chosen = [one for one in endpoints if query.endpoint in {None, one.name}]
    if query.endpoint is not None and not chosen:
        return Problem(ProblemType.NOT_FOUND, "There is no endpoint of this name; see /v1/endpoints.")
    return answer_json(WhyPage(items=await explain_everywhere(service, found, chosen)))


async def list_attempts(service: Service, call: Call) -> Outcome:
    """Give every try of one event."""
    found = await find_event(service, call.path["id"])
    if found is None:
        return NO_EVENT
    return answer_json(AttemptPage(items=[view_attempt(one) for one in await service.store.attempts(found.seq)]))


async def list_endpoint_attempts(service: Service, call: Call) -> Outcome:
    """Give the tries of one endpoint's deliveries: the tries of some events are looked through for each page."""
    query: AttemptsQuery = call.query
    if isinstance(await service.endpoints.get(call.path["name"]), NotFound):
        return Problem(ProblemType.NOT_FOUND, "There is no endpoint of this name; see /v1/endpoints.")
    end = query.after if query.after is not None else await newest_seq(service.store)
    limit, destination = limit_of(service, query.limit), endpoint_name(call.path["name"])
    found: list[Attempt] = []
    for seq in range(end, max(0, end - ATTEMPTS_SCAN), -1):
        its = [one for one in await service.store.attempts(seq) if one.destination == destination]
        found += reversed(its)
        end = seq - 1
        if len(found) >= limit:
            break
    return answer_json(AttemptPage(items=[view_attempt(one) for one in found], next=str(end) if end else None))
