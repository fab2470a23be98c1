"""A deliverer on a real store, with a clock that stands still and a sender whose answers are given by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from idsync.model.delivery import Attempt, Parked
from idsync.model.destination import Level
from idsync.model.event import Arrival
from idsync.model.plan import Committed, LaneRow, Plan
from idsync.model.values import Instant
from idsync.pipeline.deliver import EndpointDeliverer
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.pipeline.parts.health import EndpointHealth
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.sending.endpoint import Endpoint
from idsync.policy.endpoint.breaker import BreakerPolicy
from idsync.policy.retry import RetryPolicy
from idsync.ports import DeliveryRecord, ParkedFilter, Request, Response
from idsync.telemetry import Counters
from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Secret
from tests.unit.pipeline.conftest import Door

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GOOD, BAD, BUSY, GONE = (Response(status=status) for status in (200, 500, 503, 410))
PATIENT = RetryPolicy(jitter=0.0, attempts_max=10_000, age_max_s=1e9)
NEVER_OPENS = BreakerPolicy(failure_threshold=10_000)
ENDPOINT = "endpoint:audit"


def endpoint(**others: object) -> Endpoint:
    """The endpoint that every test delivers to."""
    secret = DIALECTS["standard"].parse_secret(SECRET)
    assert isinstance(secret, Secret)
    plain = Endpoint(name="audit", url="https://audit.example/", secrets=(secret,))
    return msgspec.structs.replace(plain, **others)


@dataclass(eq=False)
class Post:
    """One request under way."""

    request: Request
    on_done: Callable[[Response], None]
    is_over: bool = False

    @property
    def ids(self) -> list[str]:
        """The events in it."""
        body = msgspec.json.decode(self.request.body)
        return [one["id"] for one in (body if isinstance(body, list) else [body])]

    def header(self, name: str) -> str:
        """One of its headers."""
        return dict(self.request.headers)[name]

    def answer(self, response: Response = GOOD) -> None:
        """End it."""
        self.is_over = True
        self.on_done(response)


class Sender:
    """Answers nothing by itself."""

    def __init__(self) -> None:
        self.posts: list[Post] = []

    def post(self, request: Request, on_done: Callable[[Response], None]) -> Callable[[], None]:
        """Keep it for the test."""
        post = Post(request, on_done)
        self.posts.append(post)

        def cancel() -> None:
            post.is_over = True

        return cancel

    async def send(self, request: Request) -> Response:
        """Nobody calls this."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Rig:
    """One deliverer, driven by hand."""

    door: Door
    deliverer: EndpointDeliverer
    sender: Sender
    settler: Settler
    told: list[Arrival]
    disabled: list[tuple[str, str]]
    counters: Counters
    offered: int = 0
    seqs: dict[str, int] = field(default_factory=dict)

    @property
    def open(self) -> list[Post]:
        """Requests that were not answered yet, oldest first."""
        return [one for one in self.sender.posts if not one.is_over]

    def post_of(self, event: str) -> Post:
        """The request under way that has an event."""
        return next(one for one in self.open if event in one.ids)

    @property
    def sent(self) -> list[str]:
        """Every event that was sent, as often as it was."""
        return [one for post in self.sender.posts for one in post.ids]

    async def take(self, *events: tuple[str, str], not_before: Instant | None = None) -> None:
        """Let events come in: (id, subject)."""
        arrivals = [
            msgspec.structs.replace(self.door.event(id_, subject), not_before=not_before) for id_, subject in events
        ]
        await self.door.take(*arrivals)
        await self.turn()

    async def take_bulk(self, *events: str) -> None:
        """Queue events once more, in the `bulk` lanes."""
        known = {one.event_id: one for one in self.door.queued}
        rows = tuple(
            LaneRow(
                self.door.ingest.routes.lane_for(ENDPOINT, known[one].subject, Level.BULK),
                known[one].subject,
                0,
                seq=known[one].event,
            )
            for one in events
        )
        committed = await self.door.store.commit(Plan(epoch=self.door.epoch, deliveries=rows))
        assert isinstance(committed, Committed)
        self.deliverer.ring()
        await self.turn()

    async def turn(self) -> None:
        """Let the deliverer and its sender do all they can, and write what became of it."""
        for delivery in self.door.queued[self.offered :]:
            if delivery.lane in self.deliverer._queue.feed.lanes:
                self.deliverer.offer(delivery)
        self.offered = len(self.door.queued)
        for _ in range(3):
            while await self.deliverer.tick() == 0:
                await self.door.clock.settle()
            self.deliverer.adopt(self.deliverer.endpoint)  # what the clock alone would do a little later
            await self.door.clock.settle()
            await self.settler.flush()

    async def answer(self, response: Response = GOOD, count: int | None = None) -> None:
        """Answer the oldest requests, all of them if no count is given."""
        for post in self.open[:count]:
            post.answer(response)
        await self.turn()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what is due begin."""
        await self.door.clock.advance(seconds)
        await self.turn()

    async def parked(self) -> Sequence[Parked]:
        """Every row that waits by itself, or is dead."""
        return await self.door.store.parked(ParkedFilter(destination=ENDPOINT), 1_000)

    async def attempts(self, event: str) -> Sequence[Attempt]:
        """Every try of an event."""
        (number,) = {one.event for one in self.door.queued if one.event_id == event}
        return await self.door.store.attempts(number)

    async def standing(self, event: str) -> Sequence[DeliveryRecord]:
        """Where its deliveries are."""
        (number,) = {one.event for one in self.door.queued if one.event_id == event}
        return [one for one in await self.door.store.deliveries(number) if one.destination == ENDPOINT]

    async def health(self) -> EndpointHealth:
        """What the store knows of how the endpoint does."""
        kept = await self.door.store.setting("health:audit")
        return msgspec.json.decode(kept, type=EndpointHealth) if kept is not None else EndpointHealth()


@asynccontextmanager
async def delivering(
    door: Door, to: Endpoint | None = None, *, limits: DeliverLimits | None = None, is_whole: bool = True
) -> AsyncIterator[Rig]:
    """Deliver until the block ends; a second time goes on where the store says."""
    sender, told, disabled, counters = Sender(), list[Arrival](), list[tuple[str, str]](), Counters()

    async def tell(arrivals: Sequence[Arrival]) -> None:
        told.extend(arrivals)

    settler = Settler(door.store, door.clock, door.epoch, linger_s=0, announce=tell)
    lanes = [one for one in await door.store.open([door.destination]) if one[0].destination == ENDPOINT]
    deliverer = EndpointDeliverer(
        to or endpoint(),
        lanes,
        tenure=Tenure(door.clock),
        store=door.store,
        sender=sender,
        settler=settler,
        clock=door.clock,
        counters=counters,
        limits=limits or DeliverLimits(),
        is_whole=is_whole,
        on_disable=lambda name, reason: disabled.append((name, reason)),
    )
    await deliverer.start()
    task = asyncio.create_task(deliverer.run_sender())
    rig = Rig(door, deliverer, sender, settler, told, disabled, counters, offered=len(door.queued))
    await rig.turn()
    try:
        yield rig
        assert not task.done(), "the sender broke"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        deliverer.close()
