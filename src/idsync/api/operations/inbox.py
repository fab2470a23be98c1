"""The inbox: what came in, what waits, and what is let pass."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from idsync.api.http import Outcome, Problem, ProblemType, Receive, answer_json
from idsync.api.keys import Scope
from idsync.api.operations.pages import Id, Limit, PageQuery, Seq, limit_of, newest_seq, next_of
from idsync.api.service import Call, Operation, Service
from idsync.api.views import CommandView, InboxPage, WaitingPage, view_inbox, view_waiting
from idsync.model.plan import CommandName
from idsync.pipeline.operate import find_wait, is_understood
from idsync.ports import InboxEntry

WAIT_S_MAX: Final = 30.0
LOOK_S: Final = 1.0
"""How often whoever waits looks whether the client is gone or we are stopping."""
REQUEUE_MAX: Final = 1_000


class InboxQuery(msgspec.Struct, frozen=True):
    """Which inbox rows: those after a sequence, oldest first; without `after` the newest `limit`."""

    after: Annotated[Seq | None, Meta(description="the `seq` to go on after: the `next` of the page before")] = None
    limit: Limit = 50
    wait_s: Annotated[
        float, Meta(ge=0, le=WAIT_S_MAX, description="how many seconds to wait for a row if there is none, at most 30")
    ] = 0.0


class NamedWaiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which waiting arrivals it is about; a parked delete that is tried again passes its guard this time."""

    waiting: Annotated[list[Id], Meta(min_length=1, max_length=REQUEUE_MAX)]


def operations_of_inbox() -> list[Operation]:
    """Document and serve the inbox."""
    inbox = Operation(
        method="GET",
        path="/v1/inbox",
        name="listInbox",
        summary="What came in and what became of it, oldest first; waits for more if asked to.",
        run=list_inbox,
        scope=Scope.READ,
        query=InboxQuery,
        answers={200: InboxPage},
    )
    waiting = msgspec.structs.replace(
        inbox,
        path="/v1/waiting",
        name="listWaiting",
        summary="Arrivals that wait: unreadable, undecided, or held back by a guard.",
        run=list_waiting,
        query=PageQuery,
        answers={200: WaitingPage},
    )
    requeue = msgspec.structs.replace(
        inbox,
        method="POST",
        path="/v1/waiting/requeue",
        name="requeueWaiting",
        summary="Try waiting arrivals again.",
        run=requeue_waiting,
        scope=Scope.ADMIN,
        query=None,
        body=NamedWaiting,
        answers={202: CommandView},
        problems=(ProblemType.NOT_FOUND,),
    )
    discard = msgspec.structs.replace(
        requeue,
        path="/v1/waiting/discard",
        name="discardWaiting",
        summary="Give up waiting arrivals that cannot be understood: what they held is forgotten, not their ids.",
        run=discard_waiting,
    )
    return [inbox, waiting, requeue, discard]


async def list_inbox(service: Service, call: Call) -> Outcome:
    """Give inbox rows; wait for one if asked to."""
    query: InboxQuery = call.query
    limit = limit_of(service, query.limit)
    after = query.after
    if after is None:
        after = max(0, await newest_seq(service.store) - limit)
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


async def list_waiting(service: Service, call: Call) -> Outcome:
    """Give a page of arrivals that wait."""
    query: PageQuery = call.query
    limit = limit_of(service, query.limit)
    rows = await service.store.waits(query.after, limit)
    items = [view_waiting(one) for one in rows]
    return answer_json(WaitingPage(items=items, next=next_of(rows, limit, lambda one: str(one.seq))))


async def requeue_waiting(service: Service, call: Call) -> Outcome:
    """Ask for waiting arrivals to be tried again."""
    body: NamedWaiting = call.body
    waiting = [one for one in dict.fromkeys(body.waiting) if await find_wait(service.store, one) is not None]
    if not waiting:
        return _NONE_WAITS
    command = await service.ask(CommandName.REQUEUE, waiting=waiting)
    return answer_json(CommandView(command=str(command)), 202)


async def discard_waiting(service: Service, call: Call) -> Outcome:
    """Ask for waiting arrivals to be given up: all that are named or none, and only what cannot be understood."""
    body: NamedWaiting = call.body
    for seq in body.waiting:
        found = await find_wait(service.store, seq)
        if found is None:
            return _NONE_WAITS
        if is_understood(found):
            return _UNDERSTOOD
    command = await service.ask(CommandName.DISCARD, waiting=body.waiting)
    return answer_json(CommandView(command=str(command)), 202)


_NONE_WAITS: Final = Problem(ProblemType.NOT_FOUND, "No arrival with such a seq waits; see /v1/waiting.")
_UNDERSTOOD: Final = Problem(
    ProblemType.INVALID_BODY, "Only what cannot be understood is discarded; requeue what waits for something else."
)
