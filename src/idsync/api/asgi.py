"""The API as one ASGI callable: the two hot routes by hand, every other one by the table and Starlette's router.

`serve` of the edge is the only place where an answer leaves; whatever happens before it, the client gets one.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.routing import Route, Router

from idsync.api import operations as tables
from idsync.api.events import (
    LATE,
    PUBLISH_PATH,
    RECEIVE_PREFIX,
    Publisher,
    Receiver,
    answer_receipts,
    has_list,
    trace_arrivals,
)
from idsync.api.http import (
    TOO_SLOW,
    Answer,
    Asgi,
    Message,
    Outcome,
    Problem,
    ProblemType,
    Receive,
    Reply,
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
from idsync.api.keys import ApiKeys
from idsync.api.once import HEADER, Caller, Once
from idsync.api.service import Call, Operation, Run, Service
from idsync.deadlines import Deadlines, Watch
from idsync.errors import DataRefused, StoreBusy, StoreError
from idsync.model.event import Arrival, Receipt
from idsync.pipeline.ingest import POISON

COMMAND_BYTES_MAX: Final = 65_536
FRAMES_SHOWN: Final = 3
RETRY_AFTER_1_S: Final = ((b"retry-after", b"1"),)
FAULTS: Final = (*POISON, AttributeError, RuntimeError)
"""What a fault of ours can raise while a request is understood."""
_NOWHERE: Final = Problem(ProblemType.NOT_FOUND, "See /openapi.json for what there is.")
_STATUS_TEXT: Final = {status.value: str(status.value) for status in HTTPStatus}


def build_probes(service: Service, keys: ApiKeys) -> Asgi:
    """Build the callable of a process that takes no requests: whether it is alive and ready, and what it counts."""
    router = build_router(Edge(service), keys, tables.build_probes())

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await router(scope, receive, send)

    return app


def build_asgi(service: Service, keys: ApiKeys) -> Asgi:
    """Build the callable that serves the whole API over a running line."""
    edge = Edge(service)
    publisher = Publisher(service, keys)
    receiver = Receiver(service)
    router = build_router(edge, keys, tables.build_operations())

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path == PUBLISH_PATH and scope["method"] == "POST":
            await edge.serve(scope, receive, send, publisher.run)
        elif path.startswith(RECEIVE_PREFIX):
            await edge.serve(scope, receive, send, receiver.run)
        else:
            await router(scope, receive, send)

    return app


def build_router(edge: "Edge", keys: ApiKeys, operations: Sequence[Operation]) -> Router:
    """Route every path of a table but the hot ones."""
    once = Once(edge.service.store, edge.service.clock)
    routes = [Route(path, Resource(edge, keys, once, found)) for path, found in _by_path(operations).items()]

    async def nowhere(scope: Message, _: Receive, send: Send) -> None:
        await edge.answer(scope, send, _NOWHERE)

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
        except StoreError as error:
            outcome = self.refuse(error, scope["path"])
        except asyncio.CancelledError:
            raise
        except BaseException as fault:
            await self._confess(scope, send, fault)
            raise
        await self.answer(scope, send, outcome)

    async def answer(self, scope: Message, send: Send, outcome: Outcome) -> None:
        """Write an outcome and count it."""
        await send_answer(send, self.finish(outcome), is_head=scope["method"] == "HEAD")

    def finish(self, outcome: Outcome) -> Answer:
        """Turn an outcome into what is written, and count it."""
        answer = describe_problem(outcome, self.service.clock.new_id()) if isinstance(outcome, Problem) else outcome
        self.service.counters.add("idsync_http_answers_total", _STATUS_TEXT[answer.status])
        return answer

    def refuse(self, error: StoreError, path: str) -> Problem:
        """Say what it means for the sender that the store took nothing."""
        if isinstance(error, StoreBusy):
            return Problem(ProblemType.BUSY, "Send again in a moment.", RETRY_AFTER_1_S)
        if isinstance(error, DataRefused):
            return Problem(ProblemType.INVALID_BODY, "It holds text that cannot be stored.")
        self._log.error("a request met a broken store", path=_known_path(path), why=str(error))
        return Problem(ProblemType.UNAVAILABLE, "Send again; nothing is lost by sending twice.", RETRY_AFTER_1_S)

    async def _confess(self, scope: Message, send: Send, fault: BaseException) -> None:
        """Tell the client that it is our fault, and the log where; neither hears what was sent."""
        instance = self.service.clock.new_id()
        frames = traceback.extract_tb(fault.__traceback__)[-FRAMES_SHOWN:]
        where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
        self._log.error(
            "a request met a fault of ours",
            instance=instance,
            path=_known_path(scope["path"]),
            fault=type(fault).__name__,
            where=where,
        )
        problem = Problem(ProblemType.FAULT, "Report it with the instance; the log has the place under it.")
        await self.answer(scope, send, describe_problem(problem, instance))


def _known_path(path: str) -> str:
    """The part of a path that is ours and not the sender's."""
    return next((known for known in (PUBLISH_PATH, RECEIVE_PREFIX, "/v1/") if path.startswith(known)), "/")


class HotDoors:
    """The hot routes, for a listener that holds a whole request: no task, no coroutine, no scope (decision 0017)."""

    def __init__(self, service: Service, keys: ApiKeys) -> None:
        self._service = service
        self._edge = Edge(service)
        self._publisher = Publisher(service, keys)
        self._receiver = Receiver(service)
        self._body_bytes_max = service.settings.limits.body_bytes_max
        self._watch = Deadlines().watch(service.settings.server.request_timeout_s)

    def take(self, path: str, lines: list[tuple[bytes, bytes]], body: bytes, reply: Reply) -> bool:
        """Serve a POST to a hot route; False: nothing was done, and it is to be served as ASGI.

        Args:
            path: where it was sent.
            lines: its headers with lower-cased names, as they came.
            body: all of it.
            reply: told the answer once, perhaps before this returns.
        """
        head = read_head(lines)
        if isinstance(head, Problem) or len(body) > self._body_bytes_max:
            return False
        is_publish = path == PUBLISH_PATH
        found: list[Arrival] | Problem | None
        try:
            found = (self._publisher if is_publish else self._receiver).take_in(path, head, body)
        except FAULTS:
            return False  # nothing was done so far: served again, it is confessed
        if found is None:
            return False
        if isinstance(found, Problem):
            reply(self._edge.finish(found))
            return True
        is_named = is_publish and b"idempotency-key" in head
        ticket = Ticket(self._edge, self._watch, reply, path, is_list=has_list(body), is_named=is_named)
        try:
            self._service.submit_for(ticket, trace_arrivals(found, head))
        except StoreError as error:
            ticket.set_exception(error)
        else:
            self._watch.begin(ticket)
        return True


class Ticket:
    """A request that waits for its commit: ingest tells it the receipts, or its deadline that they are late."""

    __slots__ = ("_edge", "_is_list", "_is_named", "_path", "_reply", "_watch")

    def __init__(self, edge: Edge, watch: Watch, reply: Reply, path: str, *, is_list: bool, is_named: bool) -> None:
        self._edge = edge
        self._watch = watch
        self._reply: Reply | None = reply
        self._path = path
        self._is_list = is_list
        self._is_named = is_named

    def done(self) -> bool:
        """Whether it was answered."""
        return self._reply is None

    def set_result(self, receipts: Sequence[Receipt], /) -> None:
        """Answer with the receipts."""
        self._end(answer_receipts(receipts, is_list=self._is_list, is_named=self._is_named))

    def set_exception(self, error: StoreError, /) -> None:
        """Answer that nothing was taken."""
        self._end(self._edge.refuse(error, self._path))

    def cut_off(self) -> None:
        """Answer that the commit takes too long."""
        self._end(LATE)

    def _end(self, outcome: Outcome) -> None:
        self._watch.end(self)
        reply, self._reply = self._reply, None
        if reply is not None:
            reply(self._edge.finish(outcome))


class Resource:
    """One path of the table with its methods, as an ASGI callable."""

    def __init__(self, edge: Edge, keys: ApiKeys, once: Once, operations: Sequence[Operation]) -> None:
        self._edge = edge
        self._keys = keys
        self._once = once
        self._operations = {one.method: one for one in operations if one.run is not None}
        self._methods = {one.method for one in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]
            self._methods.add("HEAD")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._edge.serve(scope, receive, send, self._run)

    async def _run(self, scope: Message, receive: Receive) -> Outcome:
        if scope["path"].endswith("\n"):  # the router's patterns end at a line break, too
            return _NOWHERE
        operation = self._operations.get(scope["method"])
        if operation is None or operation.run is None:
            return answer_other_method(scope["method"], self._methods)
        head = read_head(scope["headers"])
        if isinstance(head, Problem):
            return head
        if operation.scope is not None and (refusal := await self._keys.check(head, operation.scope, self._now_s())):
            return refusal
        return await self._serve(operation, operation.run, head, scope, receive)

    async def _serve(
        self, operation: Operation, serve: Run, head: Mapping[bytes, bytes], scope: Message, receive: Receive
    ) -> Outcome:
        """Read what an operation needs, and run it; under an `Idempotency-Key` at most once."""
        query = read_query(scope["query_string"], operation.query or NoQuery)
        if isinstance(query, Problem):
            return query
        text = await self._read(head, receive) if operation.body is not None else b""
        if isinstance(text, Problem):
            return text
        body = _decode(operation, text)
        if isinstance(body, Problem):
            return body
        call = Call(scope["path_params"], query, body, receive, head, self._keys)
        run = partial(serve, self._edge.service, call)
        if not (operation.is_once and HEADER in head):
            return await run()
        request = scope["path"].encode() + b"\0" + text
        authorization = head.get(b"authorization", b"")
        caller = Caller(operation=operation.name, authorization=authorization, key=head[HEADER], request=request)
        return await self._once.run(caller, run)

    def _now_s(self) -> float:
        return self._edge.service.clock.monotonic()

    async def _read(self, head: Mapping[bytes, bytes], receive: Receive) -> bytes | Problem:
        if refusal := check_json(head):
            return refusal
        try:
            async with asyncio.timeout(self._edge.service.settings.server.request_timeout_s):
                return await read_body(receive, head, COMMAND_BYTES_MAX)
        except TimeoutError:
            return TOO_SLOW


def _decode(operation: Operation, text: bytes) -> Any:  # noqa: ANN401  # what the operation declares, or a Problem
    if operation.body is None:
        return None
    if operation.is_body_optional and not text:
        text = b"{}"
    return decode_body(text, operation.decoded or operation.body, operation.body)


class NoQuery(msgspec.Struct, frozen=True):
    """The query of an operation that has none."""


def _by_path(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    """Path → its methods, those of the doors too: whoever asks for another one is told of them."""
    served = {one.path for one in operations if one.run is not None}
    paths: dict[str, list[Operation]] = {}
    for one in operations:
        if one.path in served:
            paths.setdefault(one.path, []).append(one)
    return paths
