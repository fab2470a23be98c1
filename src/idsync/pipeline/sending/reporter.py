"""What is told of how an endpoint does: its health, what turned in it, and whether it is to be disabled.

Everything is written by the flush that writes the results it follows from: no crash can part them.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from idsync.model.delivery import Parked
from idsync.model.values import Instant, Subject
from idsync.pipeline.parts.health import EndpointHealth, health_setting, new_revision
from idsync.pipeline.parts.settle import Book
from idsync.pipeline.sending.endpoint import Endpoint
from idsync.pipeline.sending.gate import Gate
from idsync.pipeline.sending.rows import death_of, switch_of
from idsync.policy.endpoint.breaker import BreakerPhase
from idsync.ports import Clock, Response

EVERY_S: Final = 1.0
"""What is no turn of events is written so often at most."""
OnDisable = Callable[[str, str], None]


def nobody(endpoint: str, reason: str) -> None:
    """Disable nothing: it is known in the store, and nothing more is sent."""
    del endpoint, reason


class Reporter:
    """Stands between a gate and whoever must know of it."""

    def __init__(self, endpoint: Endpoint, gate: Gate, book: Book, clock: Clock, on_disable: OnDisable) -> None:
        """Wire it; `load` takes in what was known before."""
        self.endpoint = endpoint
        self._gate = gate
        self._book = book
        self._clock = clock
        self._on_disable = on_disable
        self.setting = health_setting(endpoint.name)
        self._mark = gate.phase, gate.opened_at
        """The breaker as it was told last."""
        self._opened_at: Instant | None = None
        """When the breaker left off being closed."""
        self._written_at_s = clock.monotonic() - EVERY_S
        self._stopped_by: int | None = None
        """The flush after which it is durable that the endpoint is to be disabled."""
        self._is_told = False

    def load(self, body: bytes | None) -> None:
        """Go on where the last owner was."""
        health = msgspec.json.decode(body, type=EndpointHealth) if body is not None else EndpointHealth()
        self._gate.load(health)
        self._mark = self._gate.phase, self._gate.opened_at
        self._opened_at = self._gate.opened_at
        self._stopped_by = 0 if self._gate.stopped is not None else None

    def hear(self, health: EndpointHealth) -> None:
        """Learn what others know; who has been disabled and enabled again begins anew."""
        if self._is_told and health.stopped is None:
            self._gate.load(health)
            self._stopped_by, self._is_told = None, False
        else:
            self._gate.hear(health)
        self._mark = self._gate.phase, self._gate.opened_at
        self._opened_at = self._gate.opened_at

    def succeed(self, key: Subject) -> None:
        """Take a good answer."""
        self._gate.succeed(key)
        self._follow()

    def fail(self, keys: frozenset[Subject], sent_at: Instant, response: Response) -> None:
        """Take a failed request."""
        self._gate.fail(keys, sent_at, response)
        self._follow()

    def bury(self, row: Parked) -> None:
        """Tell that a delivery was given up."""
        if not self.endpoint.is_operational:
            self._book.announce(death_of(self.endpoint.name, row, self._clock.now()))

    def tick(self) -> None:
        """Write what has changed, once in a while; tell who is to be disabled, once that is durable."""
        if self._is_due:
            self._write({})
        if self._stopped_by is not None and not self._is_told and self._stopped_by <= self._book.flushed:
            self._is_told = True
            self._on_disable(self.endpoint.name, self._gate.stopped or "")

    @property
    def _is_due(self) -> bool:
        return self._gate.is_changed and self._clock.monotonic() - self._written_at_s >= EVERY_S

    def _follow(self) -> None:
        """Write at once what is a turn of events; other processes look at what concerns them."""
        mark, was = (self._gate.phase, self._gate.opened_at), self._mark[0]
        is_stopped_now = self._gate.stopped is not None and self._stopped_by is None
        is_rest_due = self._gate.is_resting and self._is_due
        if mark == self._mark and not is_stopped_now and not is_rest_due:
            return
        self._mark, phase = mark, mark[0]
        if was is BreakerPhase.CLOSED and phase is BreakerPhase.OPEN:
            self._opened_at = self._gate.opened_at
            self._switch("breaker.opened")
        elif phase is BreakerPhase.CLOSED and was is not BreakerPhase.CLOSED:
            self._switch("breaker.closed")
        self._write(new_revision(self._clock))
        if is_stopped_now:
            self._stopped_by = self._book.next_flush()

    def _switch(self, kind: str) -> None:
        if not self.endpoint.is_operational:
            now = self._clock.now()
            self._book.announce(switch_of(self.endpoint.name, kind, self._opened_at or now, now))

    def _write(self, others: Mapping[str, bytes | None]) -> None:
        self._gate.is_changed = False
        self._written_at_s = self._clock.monotonic()
        self._book.keep({self.setting: msgspec.json.encode(self._gate.health), **others})
