"""The two doors of the line: `POST /v1/events` and `POST /receive/{peer}`. Both are hot, so neither passes the router.

Who sent it is proved before a byte is understood; the answer is given after the commit and before anything slow.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from idsync.api.http import (
    TOO_SLOW,
    Answer,
    Message,
    Outcome,
    Problem,
    ProblemType,
    Receive,
    answer_other_method,
    check_json,
    read_body,
    read_head,
)
from idsync.api.keys import ApiKeys, Scope
from idsync.api.service import Operation, Service
from idsync.config import Settings
from idsync.connectors.webhook import WebhookPeer, fan_out_arrival, observation_arrival
from idsync.deadlines import Deadlines
from idsync.model.event import Arrival, Receipt, Verdict
from idsync.model.values import Instant, PeerName
from idsync.pipeline.parts.routes import OPERATIONAL
from idsync.wire.envelope import Incoming, Limits, Unreadable, kind_and_op, parse_batch
from idsync.wire.signing import PUBLIC_ERROR, Refused, is_event_id

PUBLISH_PATH: Final = "/v1/events"
RECEIVE_PREFIX: Final = "/receive/"
PUBLISHER: Final = PeerName("@api")
"""Under whose name the inbox knows what is published: one for all keys, so that a new key sends nothing twice. It is no
name that a peer could have."""
METHODS: Final = ("POST",)
KNOWN: Final = 200
"""The status of a request of which nothing was new."""
REPLAYED: Final = ((b"idempotent-replay", b"true"),)
WHITE: Final = b" \t\r\n"

_encode: Final = msgspec.json.Encoder().encode
_TRACE: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_PARAMETERS: Final = Problem(ProblemType.BAD_PARAMETER, "There are no parameters here.")
_NO_PEER: Final = Problem(ProblemType.NOT_FOUND, "No peer of this name sends webhooks here.")
_WRONG_SIGNATURE: Final = Problem(ProblemType.BAD_SIGNATURE, PUBLIC_ERROR)
_WRONG_KEY: Final = Problem(
    ProblemType.BAD_HEADER, "An Idempotency-Key is 1 to 256 visible ASCII characters without a full stop."
)
_KEY_FOR_MANY: Final = Problem(
    ProblemType.BAD_HEADER, "An Idempotency-Key names one event: give each of a list its id."
)
LATE: Final = Problem(
    ProblemType.UNAVAILABLE,
    "The commit took too long; it may still come. Send again with the same id.",
    ((b"retry-after", b"1"),),
)


class EventBody(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is published (DESIGN §9); the shapes that other systems send are understood too."""

    type: Annotated[str, Meta(description="`user.updated`, `order.paid`: 1 to 256 visible ASCII characters.")]
    id: Annotated[str | None, Meta(description="Accepted once. Absent: the Idempotency-Key, else a new one.")] = None
    source: Annotated[
        str | None,
        Meta(description="A peer's name: the event is that peer's word, and is merged. Any other: passed on."),
    ] = None
    subject: Annotated[str | None, Meta(description="`<kind>/<the peer's own id>`.")] = None
    timestamp: Annotated[str | int | None, Meta(description="RFC 3339, or seconds or milliseconds since 1970.")] = None
    version: int | None = None
    changed: list[str] | None = None
    ids: dict[str, str] | None = None
    not_before: Annotated[
        str | int | None,
        Meta(
            description="No endpoint is sent it earlier; as `timestamp`. Only of an event that is passed on, and at"
            " most `limits.delay_max_s` from now."
        ),
    ] = None
    data: Any = None


def operations_of_events() -> list[Operation]:
    """Document both doors."""
    publish = Operation(
        method="POST",
        path=PUBLISH_PATH,
        name="publishEvents",
        summary="Publish one event, or a list of which all are taken or none; 200 if all were known already.",
        run=None,
        scope=Scope.PUBLISH,
        headers={"Idempotency-Key": "The id of a single event that has none."},
        body=EventBody | list[EventBody],
        answers=dict.fromkeys((200, 202), Receipt | list[Receipt]),
        problems=(ProblemType.BAD_HEADER, ProblemType.BAD_PARAMETER, ProblemType.BUSY),
    )
    receive = Operation(
        method="POST",
        path=f"{RECEIVE_PREFIX}{{peer}}",
        name="receiveWebhook",
        summary="Take in a peer's webhook, signed by its dialect; what cannot be understood is parked, not refused.",
        run=None,
        answers=dict.fromkeys((200, 202), Receipt | list[Receipt]),
        problems=(
            ProblemType.BAD_PARAMETER,
            ProblemType.BAD_SIGNATURE,
            ProblemType.NOT_FOUND,
            ProblemType.TOO_SLOW,
            ProblemType.TOO_LARGE,
            ProblemType.BUSY,
            ProblemType.UNAVAILABLE,
        ),
    )
    return [publish, receive]


class Publisher:
    """Serves `POST /v1/events`."""

    def __init__(self, service: Service, keys: ApiKeys) -> None:
        self._service = service
        self._keys = keys
        self._limits = read_limits(service.settings)
        self._door = Door(service)

    async def run(self, scope: Message, receive: Receive) -> Outcome:
        """Take one request whose method is POST."""
        head = read_head(scope["headers"])
        if isinstance(head, Problem):
            return head
        now_s = self._service.clock.monotonic()
        refusal = await self._keys.check(head, Scope.PUBLISH, now_s) or check_json(head)
        if refusal is not None:
            return refusal
        if scope["query_string"]:
            return _NO_PARAMETERS
        return await self._door.take(receive, head, self._understand, is_named=b"idempotency-key" in head)

    def take_in(self, _path: str, head: Mapping[bytes, bytes], body: bytes) -> list[Arrival] | Problem | None:
        """Understand a whole request at once; None: the keys must be read again first, which takes time."""
        if self._keys.is_stale(self._service.clock.monotonic()):
            return None
        refusal = self._keys.refuse(head.get(b"authorization"), Scope.PUBLISH) or check_json(head)
        return refusal or self._understand(head, body)

    def _understand(self, head: Mapping[bytes, bytes], body: bytes) -> list[Arrival] | Problem:
        events = parse_batch(body, self._limits)
        if isinstance(events, Unreadable):
            return refuse_event(events, None)
        key = head.get(b"idempotency-key")
        refusal = _name_event(events, key) if key is not None else None
        if refusal is not None:
            return refusal
        arrivals, now = [], self._service.clock.now()
        for number, event in enumerate(events):
            found = event if isinstance(event, Unreadable) else self._arrival(event, now)
            if isinstance(found, Unreadable):
                return refuse_event(found, number if len(events) > 1 else None)
            arrivals.append(found)
        return arrivals

    def _arrival(self, event: Incoming, now: Instant) -> Arrival | Unreadable:
        """Take an event whose source names a peer as that peer's word; any key of this version may speak for all."""
        service = self._service
        peer = PeerName(event.source or "")
        if peer == OPERATIONAL:
            return Unreadable("its source is idsync itself, which nobody else speaks for")
        if peer in service.peers and kind_and_op(event.type) is not None:
            return observation_arrival(
                event, peer, publisher=PUBLISHER, new_id=service.clock.new_id, now=now, limits=self._limits
            )
        return fan_out_arrival(event, PUBLISHER, service.clock.new_id, now, self._limits)


def _name_event(events: list[Incoming | Unreadable], key: bytes) -> Problem | None:
    """Give the one event that has no id the key as its id, in place."""
    if len(events) != 1:
        return _KEY_FOR_MANY
    text = key.decode("latin-1")
    if not is_event_id(text):
        return _WRONG_KEY
    event = events[0]
    if isinstance(event, Incoming) and event.id is None:
        events[0] = msgspec.structs.replace(event, id=text)
    return None


def refuse_event(unreadable: Unreadable, number: int | None) -> Problem:
    """Say what is wrong with an event, and with which of a list (None: it came alone); nothing was taken."""
    which = "The event" if number is None else f"Event {number} of the list (the first is 0), so none was taken"
    kind = ProblemType.INVALID_BODY if unreadable.is_json else ProblemType.MALFORMED_JSON
    return Problem(kind, f"{which}: {unreadable.why}.")


class Receiver:
    """Serves `POST /receive/{peer}`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._door = Door(service)

    async def run(self, scope: Message, receive: Receive) -> Outcome:
        """Take one request."""
        path: str = scope["path"]
        name = PeerName(path[len(RECEIVE_PREFIX) :])
        peer = self._service.peers.get(name)
        if peer is None or peer.webhook is None:
            return _NO_PEER
        if scope["method"] != "POST":
            return answer_other_method(scope["method"], METHODS)
        head = read_head(scope["headers"])
        if isinstance(head, Problem):
            return head
        if scope["query_string"]:
            return _NO_PARAMETERS
        webhook = peer.webhook
        return await self._door.take(receive, head, lambda head, body: self._understand(webhook, head, body))

    def take_in(self, path: str, head: Mapping[bytes, bytes], body: bytes) -> list[Arrival] | Problem:
        """Understand a whole request at once."""
        peer = self._service.peers.get(PeerName(path[len(RECEIVE_PREFIX) :]))
        if peer is None or peer.webhook is None:
            return _NO_PEER
        return self._understand(peer.webhook, head, body)

    def _understand(self, webhook: WebhookPeer, head: Mapping[bytes, bytes], body: bytes) -> list[Arrival] | Problem:
        service = self._service
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.items()}
        now = service.clock.now()
        verified = webhook.verify(headers, body, now)
        if isinstance(verified, Refused):
            service.counters.add("idsync_webhooks_refused_total", f"{webhook.name}:{verified.reason}")
            return _WRONG_SIGNATURE
        return webhook.arrivals(headers, body, verified, now, service.clock.new_id)


class Door:
    """Reads a body and has its arrivals ingested, both within the time of one request."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._body_bytes_max = service.settings.limits.body_bytes_max
        self._time_s = service.settings.server.request_timeout_s
        self._deadlines = Deadlines()

    async def take(
        self,
        receive: Receive,
        head: Mapping[bytes, bytes],
        understand: Callable[[Mapping[bytes, bytes], bytes], list[Arrival] | Problem],
        *,
        is_named: bool = False,
    ) -> Outcome:
        """Answer once what the body holds is durable, or say why it is not.

        Args:
            receive: gives the body.
            head: by lower-cased name.
            understand: turns head and body into arrivals.
            is_named: whether the request bears an Idempotency-Key.
        """
        body = None
        try:
            with self._deadlines.within(self._time_s):
                body = await read_body(receive, head, self._body_bytes_max)
                if isinstance(body, Problem):
                    return body
                arrivals = understand(head, body)
                if isinstance(arrivals, Problem):
                    return arrivals
                receipts = await self._service.submit(trace_arrivals(arrivals, head))
        except TimeoutError:
            return TOO_SLOW if body is None else LATE
        return answer_receipts(receipts, is_list=has_list(body), is_named=is_named)


def has_list(body: bytes) -> bool:
    """Whether a body that was understood is a list of events."""
    return body.lstrip(WHITE)[:1] == b"["


def trace_arrivals(arrivals: list[Arrival], head: Mapping[bytes, bytes]) -> list[Arrival]:
    """Give arrivals the trace of their request, where it has a good one (W3C Trace Context)."""
    trace = head.get(b"traceparent")
    if trace is None or not _TRACE.fullmatch(trace):
        return arrivals
    return [msgspec.structs.replace(one, trace=trace.decode()) for one in arrivals]


def answer_receipts(receipts: Sequence[Receipt], *, is_list: bool, is_named: bool) -> Answer:
    """Answer with one receipt, or a list with a list; 200 says that nothing of it was new.

    Args:
        receipts: in the order of the events.
        is_list: whether the body was a list.
        is_named: whether the request bears an Idempotency-Key: its answer says whether that was known.
    """
    is_known = all(one.verdict is Verdict.DUPLICATE for one in receipts)
    body = _encode(receipts if is_list else receipts[0])
    return Answer(KNOWN if is_known else 202, body, headers=REPLAYED if is_known and is_named else ())


def read_limits(settings: Settings) -> Limits:
    """Translate what an event may hold."""
    limits = settings.limits
    return Limits(
        size_bytes_max=limits.event_bytes_max,
        depth_max=limits.event_depth_max,
        fields_max=limits.event_fields_max,
        field_bytes_max=limits.field_bytes_max,
        batch_max=limits.request_events_max,
        delay_ms_max=round(limits.delay_max_s * 1000),
    )
