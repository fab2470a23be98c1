"""What the API needs from the rest of idsync, and what one operation of it is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from idsync.api.http import Message, Outcome, ProblemType, Receive
from idsync.api.keys import ApiKeys, Scope
from idsync.app import LoopHealth
from idsync.app.endpoints import Endpoints
from idsync.app.replays import Replays
from idsync.config import Settings
from idsync.connectors.webhook import WebhookPeer
from idsync.model.event import Arrival, Receipt
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.plan import CommandName
from idsync.model.values import PeerName
from idsync.pipeline.apply import TargetDeliverer
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.ingest import Asker
from idsync.ports import Clock, Sender, Store
from idsync.telemetry import Counters, Log


class Peer(Protocol):
    """A peer, as far as the API must know it."""

    @property
    def webhook(self) -> WebhookPeer | None:
        """How its webhooks are verified and understood; None: it sends none."""
        ...


class Service(Protocol):
    """The running line: `app.App` is one."""

    settings: Settings
    store: Store
    sender: Sender
    endpoints: Endpoints
    replays: Replays
    clock: Clock
    counters: Counters
    log: Log
    is_ready: bool

    @property
    def peers(self) -> Mapping[PeerName, Peer]:
        """Every peer by name."""
        ...

    @property
    def deliverers(self) -> Mapping[str, EndpointDeliverer | TargetDeliverer]:
        """Those that deliver in this process now, by destination."""
        ...

    @property
    def mappings(self) -> Mapping[str, KindMapping]:
        """The rules of every synced kind."""
        ...

    async def submit(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Ingest arrivals; return their receipts, in order, once they are durable.

        Raises:
            StoreBusy: too many wait; nothing was taken.
            StoreError: the store failed; the sender must send again.
        """
        ...

    def submit_for(self, asker: Asker, arrivals: Sequence[Arrival]) -> None:
        """Ingest as `submit` does, but tell somebody who has no task to wait in.

        Raises:
            StoreBusy: too many wait; nothing was taken, and nobody is told.
        """
        ...

    async def ask(
        self,
        name: CommandName,
        *,
        deliveries: Sequence[int] = (),
        waiting: Sequence[int] = (),
        destination: str | None = None,
    ) -> int:
        """Ask the owners to try dead deliveries or waiting arrivals again, or to give up what nobody understands.

        Returns:
            The command's id.
        """
        ...

    async def follow(self, timeout_s: float) -> None:
        """Return at the next commit of events, at the latest after `timeout_s` seconds."""
        ...

    def health(self) -> Sequence[LoopHealth]:
        """Every loop's state."""
        ...


async def _stay() -> Message:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()
    return {"type": "http.disconnect"}


class Call(msgspec.Struct, frozen=True):
    """One request, checked: its parts have the shapes that the operation declares."""

    path: Mapping[str, str] = {}
    query: Any = None
    body: Any = None
    receive: Receive = _stay
    """What comes after the body: that the client went away. The default is a caller that stays."""
    head: Mapping[bytes, bytes] = {}
    """Its headers, by lower-cased name."""
    keys: ApiKeys = msgspec.field(default_factory=lambda: ApiKeys(()))
    """The keys of this server, for the operations that are about them."""


Run = Callable[[Service, Call], Awaitable[Outcome]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path: enough to serve it and to document it."""

    method: str
    path: str
    name: str
    """Unique over all operations; never changes."""
    summary: str
    run: Run | None
    """None: served on the hot path, past the router."""
    scope: Scope | None = None
    """What the key must be allowed; None: no key is asked for."""
    query: type[msgspec.Struct] | None = None
    headers: dict[str, str] = {}
    """Request headers with a meaning here, and which."""
    body: Any = None
    """The type of the JSON body; None: there is none."""
    decoded: Any = None
    """What the body is decoded into, where the operation reads more out of it than its type can say."""
    is_body_optional: bool = False
    """Whether an empty body stands for an object without a member."""
    is_once: bool = False
    """Whether it makes something: under one `Idempotency-Key` it does so once (see `once`)."""
    gives_etag: bool = False
    """Whether its answer carries an `ETag`, for a later `If-Match`."""
    answers: dict[int, Any]
    """Status → the type of the body, None for one that is no JSON."""
    media: str = "application/json"
    problems: tuple[ProblemType, ...] = ()
    """Refusals beside those that every operation of its sort has."""
