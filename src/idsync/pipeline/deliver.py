"""Deliver to a webhook endpoint: read the lane, send, settle (DESIGN §1, §6).

One key is sent serially and in order; different keys concurrently. What fails is parked under its key, with everything
of the key that comes after it, and the lane moves on.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from heapq import heappop, heappush

import msgspec

from idsync import crash
from idsync.model.delivery import SETTLED, Attempt, Delivery, Outcome, Parked, ParkedState, Place
from idsync.model.destination import Lane
from idsync.model.values import Instant, Subject
from idsync.pipeline.parts.endpoint import Endpoint, error_of, outcome_of
from idsync.pipeline.parts.feed import PARKED_PAGE, DeliverLimits, Feed
from idsync.pipeline.parts.health import EndpointHealth
from idsync.pipeline.parts.keys import Item, Key, KeyPhase
from idsync.pipeline.parts.routes import endpoint_name
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import wait_for
from idsync.policy.retry import next_delay_s
from idsync.ports import Cancel, Clock, ParkedFilter, Request, Response, Sender, Store
from idsync.telemetry import Counters
from idsync.wire.render import render
from idsync.wire.signing import sign

TENURE_PAUSE_S = 0.05


class EndpointDeliverer:
    """Delivers to one endpoint. `tick` keeps it fed; `run_sender` takes the keys that are ready."""

    def __init__(  # noqa: PLR0913  # the composition root names each part once
        self,
        endpoint: Endpoint,
        lanes: Sequence[tuple[Lane, Place]],
        *,
        tenure: Tenure,
        store: Store,
        sender: Sender,
        settler: Settler,
        clock: Clock,
        counters: Counters,
        limits: DeliverLimits,
    ) -> None:
        """Wire it; `start` loads what was parked."""
        self.endpoint = endpoint
        self.name = endpoint_name(endpoint.name)
        self._store = store
        self._tenure = tenure
        self._sender = sender
        self._clock = clock
        self._counters = counters
        self._limits = limits
        self._feed = Feed(
            store,
            lanes,
            memory_max=limits.memory_max,
            page_max=limits.page_max,
            is_ordered=store.has_one_writer,
        )
        self._keys: dict[Subject, Key] = {}
        self._ready: deque[Subject] = deque()
        self._under_way: dict[Subject, Cancel] = {}
        self._answered: deque[tuple[Subject, Instant, Response]] = deque()
        self._stirred = asyncio.Event()
        """Set when there may be something to begin or to take."""
        self._due: list[tuple[Instant, int, Subject]] = []
        self._refill: dict[Subject, int] = {}
        self._wake = asyncio.Event()
        self._is_draining = False
        self._settler = settler
        self._book = settler.open(self._feed, self._wake.set, tenure.fences)

    async def start(self) -> None:
        """Load the keys that are parked: only the first row of each stays in memory."""
        after = 0
        while rows := await self._store.parked(self._filter(after=after), PARKED_PAGE):
            for row in rows:
                key = self._keys.get(row.subject)
                if key is None:
                    key = self._keys[row.subject] = Key()
                    key.items.append(row)
                    key.phase = KeyPhase.WAITING
                    self._schedule(row)
                else:
                    key.spilled += 1
            after = rows[-1].id
        self._wake.set()

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery that was just committed; one that does not fit is read from the store later."""
        if self._feed.offer(delivery):
            self._enqueue(delivery)
        else:
            self._wake.set()

    def adopt(self, endpoint: Endpoint) -> None:
        """Go on with what the endpoint is now."""
        self.endpoint = endpoint
        self._stirred.set()

    def adopt_health(self, health: EndpointHealth) -> None:
        """Go on with what others know of it."""

    def ring(self) -> None:
        """Another process may have queued something, or put it into its order."""
        self._feed.ring()
        self._wake.set()

    def owns(self, lane: int) -> bool:
        """Whether a lane's parked rows are this one's."""
        return lane in self._feed.lanes

    async def tick(self) -> float:
        """Make due what is due, read what is behind; return the seconds until the next time of that."""
        self._wake.clear()
        self._release_due()
        await self._refill_keys()
        if self._feed.is_behind:
            fetched = await self._feed.fetch()
            crash.point("deliver.read")
            for delivery in fetched:
                self._enqueue(delivery)
            if fetched:
                return 0.0
        return min(1.0, max(0.0, (self._due[0][0] - self._clock.now()) / 1000)) if self._due else 1.0

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something to do, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    @property
    def sending(self) -> int:
        """Requests under way, or answered but not recorded."""
        return len(self._under_way)

    async def run_sender(self) -> None:
        """Keep as many requests under way as the endpoint takes; cancelled, it gives up those that are."""
        try:
            while True:
                self._stirred.clear()
                while self._answered:
                    self._take_answer(*self._answered.popleft())
                if self._begin_ready():
                    await self._stirred.wait()
                else:
                    await wait_for(self._stirred, TENURE_PAUSE_S)
        finally:
            for cancel in self._under_way.values():
                cancel()
            self._under_way.clear()

    def drain(self) -> None:
        """Begin no other request."""
        self._is_draining = True

    def close(self) -> None:
        """Leave the lanes as they were written last: another process goes on from there."""
        self._settler.close(self._book)

    def _begin_ready(self) -> bool:
        """Begin what is ready; False where the tenure does not allow it: it is prolonged in a moment, or over."""
        while self._ready and self.sending < self.endpoint.concurrency and not self._is_draining:
            if not self._tenure.allows(self.endpoint.timeout_s):
                return False
            self._begin(self._ready.popleft())
        return True

    def _begin(self, subject: Subject) -> None:
        """Begin one event's last steps here: sign, send."""
        crash.point("send.before")
        sent_at = self._clock.now()
        request = self._request(self._keys[subject].current, sent_at)
        self._under_way[subject] = self._sender.post(request, partial(self._note_answer, subject, sent_at))

    def _note_answer(self, subject: Subject, sent_at: Instant, response: Response) -> None:
        self._answered.append((subject, sent_at, response))
        self._stirred.set()

    def _take_answer(self, subject: Subject, sent_at: Instant, response: Response) -> None:
        """Judge and settle one event that was sent."""
        del self._under_way[subject]
        key = self._keys[subject]
        item = key.current
        crash.point("send.answered")
        outcome = outcome_of(response)
        attempt = self._attempt(item, outcome, response, sent_at)
        self._counters.add("idsync_deliveries_total", f"{self.name}:{outcome}")
        self._counters.observe("idsync_delivery_seconds", self.name, response.latency_s)
        if outcome in SETTLED:
            self._book.record(attempt, unparked=item.id if isinstance(item, Parked) else None)
            key.advance()
        else:
            self._fail(key, item, attempt, response)
        if isinstance(item, Delivery):
            self._feed.settle(item.lane, item.id)
        self._go_on(subject, key)

    def _fail(self, key: Key, item: Item, attempt: Attempt, response: Response) -> None:
        """Park a failed delivery until its next try, or give it up: a dead one frees its key."""
        first_at = item.first_at if isinstance(item, Parked) and item.attempts else attempt.at
        age_s = (self._clock.now() - first_at) / 1000
        delay_s = next_delay_s(self.endpoint.retry, attempt.number, age_s, self._clock.spread(), response.retry_after_s)
        row = self._parked(item, reason=attempt.error or "failed", attempts=attempt.number, first_at=first_at)
        if delay_s is None:
            dead = msgspec.structs.replace(row, state=ParkedState.DEAD)
            self._book.record(attempt, parked=dead)
            key.advance()
            return
        waiting = msgspec.structs.replace(row, retry_at=Instant(self._clock.now() + round(delay_s * 1000)))
        self._book.record(attempt, parked=waiting)
        self._park_all(key.hold(waiting))

    def _go_on(self, subject: Subject, key: Key) -> None:
        """Do what the key's phase asks for next."""
        match key.phase:
            case KeyPhase.ACTIVE:
                self._push(subject)
            case KeyPhase.WAITING:
                self._schedule(key.current)
            case KeyPhase.REFILLING:
                # Rows spilled just now are read only after the flush that writes them.
                self._refill[subject] = self._book.next_flush()
            case KeyPhase.EMPTY:
                del self._keys[subject]

    def _enqueue(self, delivery: Delivery) -> None:
        key = self._keys.get(delivery.subject)
        if key is None:
            key = self._keys[delivery.subject] = Key()
        is_idle = key.phase is KeyPhase.EMPTY
        if not key.add(delivery, self._limits.window_max):
            self._park_all([delivery])
        elif is_idle:
            self._push(delivery.subject)

    def _park_all(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries off their lane: they wait in `parked`, behind an earlier one of their key."""
        for delivery in deliveries:
            self._book.park(self._parked(delivery, reason="behind", attempts=0, first_at=self._clock.now()))
            self._feed.settle(delivery.lane, delivery.id)

    def _push(self, subject: Subject) -> None:
        self._ready.append(subject)
        self._stirred.set()

    def _schedule(self, row: Item) -> None:
        at = row.retry_at if isinstance(row, Parked) and row.retry_at is not None else self._clock.now()
        heappush(self._due, (at, row.id, row.subject))
        self._wake.set()

    def _release_due(self) -> None:
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            _, row_id, subject = heappop(self._due)
            key = self._keys.get(subject)
            if key is not None and key.phase is KeyPhase.WAITING and key.current.id == row_id:
                key.wake()
                self._push(subject)

    async def _refill_keys(self) -> None:
        """Bring the next parked rows of drained keys back into memory, oldest first."""
        for subject, flush in list(self._refill.items()):
            key = self._keys.get(subject)
            if flush > self._book.flushed:
                continue
            del self._refill[subject]
            if key is None or key.phase is not KeyPhase.REFILLING:
                continue
            key.refill(await self._store.parked(self._filter(subject=subject), self._limits.window_max))
            if key.phase is KeyPhase.REFILLING:
                # Every row of the key was ended by somebody else (an operator): nothing is left to wait for.
                key.spilled, key.phase = 0, KeyPhase.EMPTY
            self._go_on(subject, key)

    def requeue(self, row: Parked) -> None:
        """Carry out an operator's command: a dead row is tried again, before everything of its key that came later."""
        now = self._clock.now()
        revived = msgspec.structs.replace(row, state=ParkedState.PARKED, retry_at=now, attempts=0, first_at=now)
        self._book.park(revived)
        key = self._keys.get(row.subject)
        if key is None:
            key = self._keys[row.subject] = Key()
        self._park_all(key.revive(revived))
        if key.phase is KeyPhase.WAITING and key.current.id == revived.id:
            self._schedule(revived)

    def _filter(self, *, after: int = 0, subject: Subject | None = None) -> ParkedFilter:
        lanes = self._feed.lanes
        return ParkedFilter(destination=self.name, subject=subject, state=ParkedState.PARKED, lanes=lanes, after=after)

    def _request(self, item: Item, sent_at: Instant) -> Request:
        """Sign at each attempt: the signed time is the time of sending, so nothing that waited is too old (S3)."""
        endpoint = self.endpoint
        body, origin = render(endpoint.dialect.name, item.body)
        signed = sign(
            endpoint.dialect,
            endpoint.secrets,
            event_id=item.event_id,
            event_type=item.event_type,
            sent_at=sent_at,
            body=body,
            origin=origin,
            url=endpoint.url,
        )
        headers = (("Content-Type", "application/json"), *signed, *endpoint.headers)
        return Request(url=endpoint.url, headers=headers, body=body, timeout_s=endpoint.timeout_s)

    def _parked(self, item: Item, *, reason: str, attempts: int, first_at: Instant) -> Parked:
        return Parked(
            id=item.id,
            destination=self.name,
            lane=item.lane,
            subject=item.subject,
            event=item.event,
            version=item.version,
            event_id=item.event_id,
            event_type=item.event_type,
            body=item.body,
            reason=reason,
            attempts=attempts,
            retry_at=None,
            state=ParkedState.PARKED,
            parked_at=item.parked_at if isinstance(item, Parked) else self._clock.now(),
            first_at=first_at,
            trace=item.trace,
        )

    def _attempt(self, item: Item, outcome: Outcome, response: Response, sent_at: Instant) -> Attempt:
        return Attempt(
            delivery=item.id,
            event=item.event,
            destination=self.name,
            subject=item.subject,
            number=(item.attempts if isinstance(item, Parked) else 0) + 1,
            at=sent_at,
            outcome=outcome,
            status=response.status,
            error=error_of(response),
            latency_ms=round(response.latency_s * 1000, 3),
            response=response.body[: self._limits.response_bytes_max],
            trace=item.trace,
        )
