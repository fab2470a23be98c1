"""The API as one ASGI callable: the two hot routes by hand, every other one by the table and Starlette's router.

`serve` of the edge is the only place where an answer leaves; whatever happens before it, the client gets one.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.routing import Route, Router

from idsync.api import ops, resources
from idsync.api.events import PUBLISH_PATH, RECEIVE_PREFIX, Publisher, Receiver, operations_of_events
from idsync.api.explain import Explanation
from idsync.api.http import (
    TOO_SLOW,
    Answer,
    Asgi,
    Message,
    Outcome,
    Problem,
    ProblemType,
    Receive,
    Send,
    answer_other_method,
    check_json,
    decode_body,
    describe_problem,
    read_body,
    read_head,
    read_query,
    send_answer,
)
from idsync.api.keys import ApiKeys, Scope
from idsync.api.openapi import render_document
from idsync.api.service import Call, Operation, Service
from idsync.api.views import (
    CommandView,
    ConflictPage,
    DeliveryPage,
    EndpointPage,
    EntityPage,
    EntityView,
    HealthView,
    InboxPage,
    PeerPage,
    ReadyView,
    StatsView,
    WaitingPage,
)
from idsync.errors import DataRefused, StoreBusy, StoreError

COMMAND_BYTES_MAX: Final = 65_536
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
FRAMES_SHOWN: Final = 3
RETRY_AFTER_1_S: Final = ((b"retry-after", b"1"),)
_STATUS_TEXT: Final = {status.value: str(status.value) for status in HTTPStatus}


def build_probes(service: Service, keys: ApiKeys) -> Asgi:
    """Build the callable of a process that takes no requests: whether it is alive and ready, and what it counts."""
    operations = [one for one in _operations_of_ops() if one.path in PROBES]
    router = build_router(Edge(service), keys, operations)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await router(scope, receive, send)

    return app


def build_asgi(service: Service, keys: ApiKeys) -> Asgi:
    """Build the callable that serves the whole API over a running line."""
    edge = Edge(service)
    publisher = Publisher(service, keys)
    receiver = Receiver(service)
    router = build_router(edge, keys, build_operations())

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path == PUBLISH_PATH:
            await edge.serve(scope, receive, send, publisher.run)
        elif path.startswith(RECEIVE_PREFIX):
            await edge.serve(scope, receive, send, receiver.run)
        else:
            await router(scope, receive, send)

    return app


def build_router(edge: "Edge", keys: ApiKeys, operations: Sequence[Operation]) -> Router:
    """Route every path of a table but the hot ones."""
    routes = [Route(path, Resource(edge, keys, found)) for path, found in _by_path(operations).items()]

    async def nowhere(scope: Message, _: Receive, send: Send) -> None:
        await edge.answer(scope, send, Problem(ProblemType.NOT_FOUND, "See /openapi.json for what there is."))

    return Router(routes, redirect_slashes=False, default=nowhere)


class Edge:
    """Where answers leave."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._log = service.log

    async def serve(
        self, scope: Message, receive: Receive, send: Send, run: Callable[[Message, Receive], Awaitable[Outcome]]
    ) -> None:
        """Run one request and write its outcome; what the store refuses for now is an outcome too.

        Raises:
            BaseException: a bug of ours, after the client was told of a fault and the log of where.
        """
        try:
            outcome = await run(scope, receive)
        except StoreBusy:
            outcome = Problem(ProblemType.BUSY, "Send again in a moment.", RETRY_AFTER_1_S)
        except DataRefused:
            outcome = Problem(ProblemType.INVALID_BODY, "It holds text that cannot be stored.")
        except StoreError as error:
            self._log.error("a request met a broken store", path=_known_path(scope), why=str(error))
            outcome = Problem(ProblemType.UNAVAILABLE, "Send again; nothing is lost by sending twice.", RETRY_AFTER_1_S)
        except asyncio.CancelledError:
            raise
        except BaseException as fault:
            await self._confess(scope, send, fault)
            raise
        await self.answer(scope, send, outcome)

    async def answer(self, scope: Message, send: Send, outcome: Outcome) -> None:
        """Write an outcome and count it."""
        answer = describe_problem(outcome, self.service.clock.new_id()) if isinstance(outcome, Problem) else outcome
        self.service.counters.add("idsync_http_answers_total", _STATUS_TEXT[answer.status])
        await send_answer(send, answer, is_head=scope["method"] == "HEAD")

    async def _confess(self, scope: Message, send: Send, fault: BaseException) -> None:
        """Tell the client that it is our fault, and the log where; neither hears what was sent."""
        instance = self.service.clock.new_id()
        frames = traceback.extract_tb(fault.__traceback__)[-FRAMES_SHOWN:]
        where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
        self._log.error(
            "a request met a fault of ours",
            instance=instance,
            path=_known_path(scope),
            fault=type(fault).__name__,
            where=where,
        )
        problem = Problem(ProblemType.FAULT, "Report it with the instance; the log has the place under it.")
        await self.answer(scope, send, describe_problem(problem, instance))


def _known_path(scope: Message) -> str:
    """The part of a path that is ours and not the sender's."""
    path: str = scope["path"]
    return next((known for known in (PUBLISH_PATH, RECEIVE_PREFIX, "/v1/") if path.startswith(known)), "/")


class Resource:
    """One path of the table with its methods, as an ASGI callable."""

    def __init__(self, edge: Edge, keys: ApiKeys, operations: Sequence[Operation]) -> None:
        self._edge = edge
        self._keys = keys
        self._operations = {one.method: one for one in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._edge.serve(scope, receive, send, self._run)

    async def _run(self, scope: Message, receive: Receive) -> Outcome:
        operation = self._operations.get(scope["method"])
        if operation is None or operation.run is None:
            return answer_other_method(scope["method"], self._operations)
        head = read_head(scope["headers"])
        if isinstance(head, Problem):
            return head
        if operation.scope is not None and (refusal := self._keys.refuse(head.get(b"authorization"), operation.scope)):
            return refusal
        query = read_query(scope["query_string"], operation.query or NoQuery)
        if isinstance(query, Problem):
            return query
        body = await self._read(operation, head, receive) if operation.body is not None else None
        if isinstance(body, Problem):
            return body
        return await operation.run(self._edge.service, Call(scope["path_params"], query, body, receive))

    async def _read(
        self, operation: Operation, head: Mapping[bytes, bytes], receive: Receive
    ) -> msgspec.Struct | Problem:
        if refusal := check_json(head):
            return refusal
        try:
            async with asyncio.timeout(self._edge.service.settings.server.request_timeout_s):
                body = await read_body(receive, head, COMMAND_BYTES_MAX)
        except TimeoutError:
            return TOO_SLOW
        return body if isinstance(body, Problem) else decode_body(body, operation.body)


class NoQuery(msgspec.Struct, frozen=True):
    """The query of an operation that has none."""


def _by_path(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    paths: dict[str, list[Operation]] = {}
    for one in operations:
        if one.run is not None:
            paths.setdefault(one.path, []).append(one)
    return paths


_LISTS: Final = (
    ("/v1/entities", "listEntities", "Entities page by page, or those that a text may mean.",
     resources.list_entities, EntityPage, resources.EntitiesQuery),
    ("/v1/inbox", "listInbox", "What came in and what became of it, oldest first; waits for more if asked to.",
     resources.list_inbox, InboxPage, resources.InboxQuery),
    ("/v1/waiting", "listWaiting", "Arrivals that wait: unreadable, undecided, or held back by a guard.",
     resources.list_waiting, WaitingPage, resources.PageQuery),
    ("/v1/deliveries", "listDeliveries", "Where the deliveries of one event stand, or which are parked or dead.",
     resources.list_deliveries, DeliveryPage, resources.DeliveriesQuery),
    ("/v1/conflicts", "listConflicts", "Conflicts between peers and how they were decided, newest first.",
     resources.list_conflicts, ConflictPage, resources.ConflictsQuery),
    ("/v1/peers", "listPeers", "The peers, what each takes part in, and how far each was read.",
     resources.list_peers, PeerPage, None),
    ("/v1/endpoints", "listEndpoints", "The webhook endpoints, and how much waits for each.",
     resources.list_endpoints, EndpointPage, None),
    ("/v1/stats", "showStats", "How much there is of everything.",
     resources.show_stats, StatsView, None),
)  # fmt: skip
"""Path, name, summary, what serves it, what it answers, its query."""


def build_operations() -> tuple[Operation, ...]:
    """Make the table: every route there is, documented by the very row that serves it."""
    table = (*operations_of_events(), *_operations_of_reads(), *_operations_of_commands(), *_operations_of_ops())
    document = ops.always(Answer(200, render_document(table)))
    return tuple(msgspec.structs.replace(one, run=document) if one.name == "showDocument" else one for one in table)


def _operations_of_reads() -> list[Operation]:
    lists = [
        Operation(
            method="GET",
            path=path,
            name=name,
            summary=summary,
            run=run,
            scope=Scope.READ,
            query=query,
            answers={200: page},
            problems=(ProblemType.NOT_FOUND,) if query is resources.DeliveriesQuery else (),
        )
        for path, name, summary, run, page, query in _LISTS
    ]
    one = Operation(
        method="GET",
        path="/v1/entities/{id}",
        name="getEntity",
        summary="One entity.",
        run=resources.get_entity,
        scope=Scope.READ,
        answers={200: EntityView},
        problems=(ProblemType.NOT_FOUND,),
    )
    why = msgspec.structs.replace(
        one,
        path="/v1/entities/{id}/explain",
        name="explainEntity",
        summary="Each field's value, owner, who set it and when; the links, each peer's shadow, the timeline.",
        run=resources.explain_entity,
        query=resources.ExplainQuery,
        answers={200: Explanation},
    )
    return [*lists, one, why]


def _operations_of_commands() -> list[Operation]:
    deliveries = Operation(
        method="POST",
        path="/v1/deliveries/requeue",
        name="requeueDeliveries",
        summary="Try dead deliveries again.",
        run=resources.requeue_deliveries,
        scope=Scope.ADMIN,
        body=resources.RequeueDeliveries,
        answers={202: CommandView},
    )
    waiting = msgspec.structs.replace(
        deliveries,
        path="/v1/waiting/requeue",
        name="requeueWaiting",
        summary="Try waiting arrivals again.",
        run=resources.requeue_waiting,
        body=resources.RequeueWaiting,
    )
    return [deliveries, waiting]


def _operations_of_ops() -> list[Operation]:
    health = Operation(
        method="GET",
        path="/healthz",
        name="showHealth",
        summary="Whether every loop runs; 503 if one is dead.",
        run=ops.show_health,
        answers={200: HealthView, 503: HealthView},
    )
    replace = msgspec.structs.replace
    return [
        health,
        replace(
            health,
            path="/readyz",
            name="showReady",
            summary="Whether requests are welcome; 503 while starting and stopping.",
            run=ops.show_ready,
            answers={200: ReadyView, 503: ReadyView},
        ),
        replace(
            health,
            path="/metrics",
            name="showMetrics",
            summary="Everything that is counted, in the text format of Prometheus.",
            run=ops.Metrics().show,
            answers={200: None},
            media="text/plain",
            problems=(ProblemType.UNAVAILABLE,),
        ),
        replace(health, path="/openapi.json", name="showDocument", summary="This document.", answers={200: Any}),
        replace(
            health,
            path="/",
            name="showPage",
            summary="A plain page for people.",
            run=ops.read_page(),
            answers={200: None},
            media="text/html",
        ),
    ]
