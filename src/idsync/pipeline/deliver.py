"""Deliver to a webhook endpoint: read the lane, send, settle (DESIGN §1, §6).

One key is sent serially and in order; different keys concurrently. What fails is parked under its key, with everything
of the key that comes after it, and the lane moves on. While the gate is shut nothing is begun, and nothing is read.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Final

import msgspec

from idsync import crash
from idsync.model.delivery import Attempt, Delivery, Outcome, Parked, ParkedState, Place
from idsync.model.destination import Lane
from idsync.model.values import Instant, Subject
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.pipeline.parts.health import EndpointHealth
from idsync.pipeline.parts.routes import endpoint_name
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import wait_for
from idsync.pipeline.sending.batches import Batch, Batches, by_key
from idsync.pipeline.sending.counts import AnswerCounts
from idsync.pipeline.sending.endpoint import HTTP_GONE, Endpoint, is_absent, outcome_of
from idsync.pipeline.sending.gate import Gate
from idsync.pipeline.sending.keys import Item, Key, KeyPhase
from idsync.pipeline.sending.queue import Queue
from idsync.pipeline.sending.reporter import OnDisable, Reporter, health_of, nobody
from idsync.pipeline.sending.requests import batch_request_of, failed_of, rendered, request_of
from idsync.pipeline.sending.rows import attempt_of, due_at, failed_row
from idsync.policy.retry import next_delay_s
from idsync.ports import Cancel, Clock, Request, Response, Sender, Store
from idsync.telemetry import Counters

TENURE_PAUSE_S: Final = 0.05
LOOK_S: Final = 1.0
"""Whatever the gate is shut for, it is looked at so often."""


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
        is_whole: bool = True,
        on_disable: OnDisable = nobody,
    ) -> None:
        """Wire it; `start` loads what was parked.

        Args:
            endpoint: whom it delivers to.
            lanes: those that are ours, with the place reached in each.
            tenure: their leases.
            store: where lanes and parked rows are read.
            sender: what posts.
            settler: what writes the results.
            clock: time.
            counters: what is counted.
            limits: what bounds it in memory.
            is_whole: whether these are all its lanes: to some endpoints only who has them all may send.
            on_disable: told, by name and reason, that the endpoint is to be disabled, once that is durable; it may be
                told again, and must not block.
        """
        self.endpoint = endpoint
        self.name = endpoint_name(endpoint.name)
        self._store = store
        self._tenure = tenure
        self._sender = sender
        self._clock = clock
        self._counts = AnswerCounts(counters, self.name)
        self._response_bytes_max = limits.response_bytes_max
        self._settler = settler
        self._queue = Queue(
            self.name,
            lanes,
            is_ordered=endpoint.is_ordered,
            tenure=tenure,
            store=store,
            settler=settler,
            clock=clock,
            limits=limits,
        )
        self._keys = self._queue.keys
        self._book = self._queue.book
        self._stirred = self._queue.stirred
        self._under_way: dict[Subject, Cancel] = {}
        """Requests, by the key of their first event."""
        self._answered: deque[tuple[Subject, Instant, Response]] = deque()
        self._is_draining = False
        self._gate = Gate(endpoint, clock, is_whole=is_whole, on_rate_wait=self._counts.add_rate_wait)
        self._reporter = Reporter(endpoint, self._gate, self._book, clock, on_disable)
        policy, render = endpoint.batch, partial(rendered, endpoint)
        self._batches = Batches(policy, self._keys, render) if policy is not None else None
        self.is_outdated = False
        """Whether it must be begun anew: what is in memory does not fit what the endpoint is now."""

    async def start(self) -> None:
        """Load how the endpoint does, and the keys that are parked."""
        self._reporter.load(await self._store.setting(self._reporter.setting))
        await self._queue.start()

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery that was just committed; one that does not fit is read from the store later."""
        self._queue.offer(delivery)

    def adopt(self, endpoint: Endpoint) -> None:
        """Go on with what the endpoint is now; `is_outdated` where that cannot be done."""
        is_alike = (endpoint.is_ordered, endpoint.batch) == (self.endpoint.is_ordered, self.endpoint.batch)
        self.is_outdated = self.is_outdated or not is_alike
        if not self.is_outdated:
            self.endpoint = self._reporter.endpoint = endpoint
            self._gate.adopt(endpoint)
        self._stir()

    def adopt_health(self, health: EndpointHealth) -> None:
        """Go on with what others know of it."""
        self._reporter.hear(health)
        self._stir()

    def ring(self) -> None:
        """Another process may have queued something, or put it into its order."""
        self._queue.feed.ring()
        self._queue.wake.set()

    def owns(self, lane: int) -> bool:
        """Whether a lane's parked rows are this one's."""
        return lane in self._queue.feed.lanes

    def requeue(self, row: Parked) -> None:
        """Carry out an operator's command: a dead row is tried again, before everything of its key that came later."""
        self._queue.requeue(row)

    async def tick(self) -> float:
        """Make due what is due, read what is behind; return the seconds until the next time of that."""
        self._queue.wake.clear()
        self._reporter.tick()
        if self._reporter.is_to_look():
            self.adopt_health(health_of(await self._store.setting(self._reporter.setting)))
        delay_s = await self._queue.tick(is_paused=self._gate.is_shut)
        return min(delay_s, self._gate.rest_s or inf)

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something to do, at the latest after `timeout_s` seconds."""
        await wait_for(self._queue.wake, timeout_s)

    @property
    def sending(self) -> int:
        """Requests under way, or answered but not recorded."""
        return len(self._under_way)

    def is_sending(self, delivery: int, subject: Subject) -> bool:
        """Whether a request with a delivery is under way here, or answered but not recorded: what `sending` means."""
        if self._batches is not None:
            return self._batches.has_under_way(delivery)
        name = subject if self.endpoint.is_ordered else Subject(str(delivery))
        return name in self._under_way and self._keys[name].current.id == delivery

    async def run_sender(self) -> None:
        """Keep as many requests under way as the endpoint takes; cancelled, it gives up those that are."""
        try:
            while True:
                self._stirred.clear()
                self._take_answers()
                wait_s = self._begin_ready() if self._batches is None else self._begin_batches(self._batches)
                if wait_s == inf:
                    await self._stirred.wait()
                else:
                    await wait_for(self._stirred, min(wait_s, LOOK_S))
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

    # --- Begin

    def _begin_ready(self) -> float:
        """Begin what is ready; return how long to wait for the tenure or the gate, inf for whatever happens next."""
        queue, sent_at = self._queue, self._clock.now()
        is_free = self._gate.is_free and self._wait_s() <= 0  # nothing in this round can change that
        while (queue.live or queue.low) and len(self._under_way) < self._gate.limit and not self._is_draining:
            if not is_free and (wait_s := self._wait_s()) > 0:
                return wait_s
            subject = queue.take()
            item = self._keys[subject].items[0]
            if due_at(item) is None or not queue.put_off(subject, item):
                self._begin(subject, request_of(self.endpoint, item, sent_at), sent_at)
        return inf

    def _begin_batches(self, batches: Batches) -> float:
        """Put what is ready into batches, and begin those that are full or have waited; as `_begin_ready`."""
        queue = self._queue
        while queue.live or queue.low:
            subject = queue.take()
            if not queue.put_off(subject, self._keys[subject].current):
                batches.add(subject, self._clock.monotonic())
        while len(self._under_way) < self._gate.limit and not self._is_draining:
            monotonic, sent_at = self._clock.monotonic(), self._clock.now()
            linger_s = batches.wait_s(monotonic)
            wait_s = inf if linger_s is None else linger_s or self._wait_s()
            if wait_s > 0:
                return wait_s
            batch = batches.take(sent_at, monotonic)
            self._begin(batch.lead, batch_request_of(self.endpoint, batch.members, sent_at), sent_at)
        return inf

    def _wait_s(self) -> float:
        """Say how long the next request must wait: the tenure is prolonged in a moment, or the gate is shut."""
        if not self._tenure.allows(self.endpoint.timeout_s):
            return TENURE_PAUSE_S
        return 0.0 if self._gate.is_free else self._gate.wait_s()

    def _begin(self, subject: Subject, request: Request, sent_at: Instant) -> None:
        crash.point("send.before")
        if not self._gate.is_free:
            self._gate.begin(subject)
        self._under_way[subject] = self._sender.post(request, partial(self._note_answer, subject, sent_at))

    # --- Settle

    def _note_answer(self, subject: Subject, sent_at: Instant, response: Response) -> None:
        self._answered.append((subject, sent_at, response))
        self._stirred.set()

    def _take_answers(self) -> None:
        """Judge and settle whatever was answered."""
        if self._answered:
            self._counts.add([response for _, _, response in self._answered])
        while self._answered:
            self._take_answer(*self._answered.popleft())

    def _take_answer(self, subject: Subject, sent_at: Instant, response: Response) -> None:
        del self._under_way[subject]
        crash.point("send.answered")
        if self._batches is not None:
            self._take_batch(self._batches, self._batches.under_way.pop(subject), sent_at, response)
            return
        key = self._keys[subject]
        item = key.current
        if outcome_of(response) is Outcome.DELIVERED:
            if not self._gate.is_free:
                self._reporter.succeed(subject)
            self._record(item, response, sent_at)
            key.advance()
        else:
            self._reporter.fail(frozenset({subject}), sent_at, response)
            self._fail(key, item, response, sent_at)
        if isinstance(item, Delivery):
            self._queue.feed.settle(item.lane, item.id)
        self._queue.go_on(subject, key)

    def _take_batch(self, batches: Batches, batch: Batch, sent_at: Instant, response: Response) -> None:
        """Judge and settle the events of one batch, or send them again."""
        is_good = outcome_of(response) is Outcome.DELIVERED
        failed = failed_of(response.body, response.status) if is_good else None
        if failed is not None:
            self._reporter.succeed(batch.lead)
        else:
            is_nobodys = is_absent(response)
            self._reporter.fail(batch.subjects if is_nobodys else frozenset({batch.lead}), sent_at, response)
            if len(batch.members) > 1 and response.status != HTTP_GONE:
                if response.status is None:
                    self._gate.rest(sent_at)
                batches.put_back(batch if is_nobodys else batch.halved())
                return
        held = set[Subject]()
        for subject, items in by_key(batch.members).items():
            key = self._keys[subject]
            self._settle_key(key, items, failed, sent_at, response)
            if key.phase is not KeyPhase.ACTIVE:
                held.add(subject)
        rest = batch.without(frozenset(held))
        for subject in batch.subjects - (rest.all_subjects if rest is not None else frozenset()):
            self._queue.go_on(subject, self._keys[subject])
        if rest is not None:
            batches.put_back(rest)

    def _settle_key(
        self, key: Key, items: Sequence[Item], failed: frozenset[str] | None, sent_at: Instant, response: Response
    ) -> None:
        """Settle the first events of one key, which were sent together: the first that failed holds up the others."""
        left: list[Item] = []
        for item in items:
            if failed is not None and item.event_id not in failed:
                self._record(item, response, sent_at)
            elif not left:
                left.append(item)
            else:
                attempt = self._attempt(item, Outcome.FAILED, response, sent_at)
                row = failed_row(item, attempt, self._clock.now())
                self._book.record(attempt, parked=row)
                left.append(row)
        key.replace(len(items), left)
        if left:
            self._fail(key, left[0], response, sent_at)
        else:
            key.settle()
        for item in items:
            if isinstance(item, Delivery):
                self._queue.feed.settle(item.lane, item.id)

    def _record(self, item: Item, response: Response, sent_at: Instant) -> None:
        """Write down a delivery that is done."""
        attempt = self._attempt(item, Outcome.DELIVERED, response, sent_at)
        self._book.record(attempt, unparked=item.id if isinstance(item, Parked) else None)

    def _fail(self, key: Key, item: Item, response: Response, sent_at: Instant) -> None:
        """Park a failed delivery until its next try, or give it up: a dead one frees its key."""
        now = self._clock.now()
        attempt = self._attempt(item, Outcome.FAILED, response, sent_at)
        row = failed_row(item, attempt, now)
        age_s = (now - row.first_at) / 1000
        delay_s = next_delay_s(self.endpoint.retry, attempt.number, age_s, self._clock.spread(), response.retry_after_s)
        if delay_s is None or response.status == HTTP_GONE:
            dead = msgspec.structs.replace(row, state=ParkedState.DEAD)
            self._book.record(attempt, parked=dead)
            self._reporter.bury(dead)
            key.advance()
            return
        waiting = msgspec.structs.replace(row, retry_at=Instant(now + round(delay_s * 1000)))
        self._book.record(attempt, parked=waiting)
        self._queue.hold(key, waiting)

    def _attempt(self, item: Item, outcome: Outcome, response: Response, sent_at: Instant) -> Attempt:
        return attempt_of(item, self.name, outcome, response, sent_at, self._response_bytes_max)

    def _stir(self) -> None:
        self._queue.wake.set()
        self._stirred.set()
