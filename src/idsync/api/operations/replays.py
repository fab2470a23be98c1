"""Replays: count, begin, look, cancel."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from idsync.api.http import Outcome, Problem, ProblemType, answer_json
from idsync.api.keys import Scope
from idsync.api.operations.endpoints import EndpointName
from idsync.api.operations.pages import SEQ_MAX, Time, TypeFilter, read_time
from idsync.api.service import Call, Operation, Service
from idsync.api.views import CountView, ReplayPage, ReplayView, view_count, view_replay
from idsync.app.replays import Count, NoSuchEndpoint, NoSuchReplay, Replay, TooMany, Unusable
from idsync.model.replay import ReplayRequest, ReplayStatus
from idsync.model.values import Instant, Subject

PATH: Final = "/v1/replays"
SubjectText = Annotated[str, Meta(min_length=1, max_length=512)]
Seq1 = Annotated[int, Meta(ge=1, le=SEQ_MAX)]


class NewReplay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which events are queued for an endpoint once more."""

    endpoint: EndpointName
    dry_run: Annotated[bool, Meta(description="Only count; nothing is queued.")] = False
    status: Annotated[
        ReplayStatus,
        Meta(
            description="`all` that its filters name now; `failed`: given up; `missed`: not queued because it was"
            " disabled; `undelivered`: given up, skipped or missed."
        ),
    ] = ReplayStatus.UNDELIVERED
    types: Annotated[
        tuple[TypeFilter, ...], Meta(min_length=1, max_length=100, description="Types, as in an endpoint's `events`.")
    ] = ("*",)
    subject: Annotated[SubjectText | None, Meta(description="Only events of this outgoing subject.")] = None
    since: Annotated[Time | None, Meta(description="Only events received then or later.")] = None
    until: Annotated[Time | None, Meta(description="Only events received before. Absent: before now.")] = None
    after: Annotated[int, Meta(ge=0, le=SEQ_MAX, description="Only events whose `seq` is higher.")] = 0
    through: Annotated[Seq1 | None, Meta(description="Only events whose `seq` is not higher.")] = None
    include_before_creation: Annotated[
        bool, Meta(description="Also what came in before the endpoint was made and its filters name now.")
    ] = False
    rate_per_s: Annotated[float, Meta(gt=0, le=10_000, description="Events queued per second at most.")] = 500.0


def operations_of_replays() -> list[Operation]:
    """Document and serve replays."""
    every = Operation(
        method="GET",
        path=PATH,
        name="listReplays",
        summary="Replays that run, and the newest that have ended.",
        run=list_replays,
        scope=Scope.READ,
        answers={200: ReplayPage},
    )
    replace = msgspec.structs.replace
    one = replace(
        every,
        path=f"{PATH}/{{id}}",
        name="getReplay",
        summary="One replay as it stands.",
        run=get_replay,
        answers={200: ReplayView},
        problems=(ProblemType.NOT_FOUND,),
    )
    start = replace(
        every,
        method="POST",
        name="startReplay",
        summary="Queue events for an endpoint once more, behind its live ones; with `dry_run` only count them.",
        run=start_replay,
        scope=Scope.ADMIN,
        body=NewReplay,
        answers={200: CountView, 201: ReplayView},
        problems=(ProblemType.NOT_FOUND, ProblemType.BUSY),
        is_once=True,
    )
    cancel = replace(
        one,
        method="DELETE",
        name="cancelReplay",
        summary="End a replay; what it has queued is delivered.",
        run=cancel_replay,
        scope=Scope.ADMIN,
    )
    return [every, one, start, cancel]


async def list_replays(service: Service, _: Call) -> Outcome:
    """Give every replay."""
    return answer_json(ReplayPage(items=[view_replay(one) for one in await service.replays.list()]))


async def get_replay(service: Service, call: Call) -> Outcome:
    """Give one replay."""
    return _answer(await service.replays.get(call.path["id"]))


async def start_replay(service: Service, call: Call) -> Outcome:
    """Count, or begin."""
    body: NewReplay = call.body
    since, until = read_time(body.since), read_time(body.until)
    if isinstance(since, Problem) or isinstance(until, Problem):
        return Problem(ProblemType.INVALID_BODY, "since and until are times as 2026-01-31T12:00:00Z.")
    request = _request(body, since, until)
    if body.dry_run:
        return _answer(await service.replays.plan(request))
    return _answer(await service.replays.start(request), 201)


def _request(body: NewReplay, since: Instant | None, until: Instant | None) -> ReplayRequest:
    return ReplayRequest(
        endpoint=body.endpoint,
        status=body.status,
        types=body.types,
        subject=Subject(body.subject) if body.subject is not None else None,
        since=since,
        until=until,
        after=body.after,
        through=body.through,
        include_before_creation=body.include_before_creation,
        rate_per_s=body.rate_per_s,
    )


async def cancel_replay(service: Service, call: Call) -> Outcome:
    """End a replay."""
    return _answer(await service.replays.cancel(call.path["id"]))


def _answer(found: Count | Replay | NoSuchEndpoint | NoSuchReplay | Unusable | TooMany, status: int = 200) -> Outcome:
    match found:
        case Count():
            return answer_json(view_count(found))
        case Replay():
            return answer_json(view_replay(found), status, ((b"location", f"{PATH}/{found.job.id}".encode()),))
        case NoSuchEndpoint():
            return Problem(ProblemType.NOT_FOUND, "There is no endpoint of this name; see /v1/endpoints.")
        case NoSuchReplay():
            return Problem(ProblemType.NOT_FOUND, "There is no replay of this id; see /v1/replays.")
        case Unusable():
            return Problem(ProblemType.INVALID_BODY, " ".join(f"{one}." for one in found.problems))
        case TooMany():
            return Problem(ProblemType.BUSY, f"{found.running} replays run: wait for one, or cancel it.")
