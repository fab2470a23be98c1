"""One request and what becomes of it."""

from collections.abc import Callable
from typing import Final, Protocol

from idsync.deadlines import Watch
from idsync.model.delivery import Phases
from idsync.model.values import Instant
from idsync.ports import Clock, Response, SendError
from idsync.senders.fast.answer import AnswerReader
from idsync.senders.retry_after import parse_retry_after
from idsync.senders.route import Route

KEPT: Final = Phases()
"""What it takes to have a connection that was kept."""


class Place(Protocol):
    """Where an exchange is: in a queue, being connected, or on a connection."""

    def leave(self, exchange: "Exchange") -> None:
        """Give it up; the place is free afterwards."""
        ...


class Exchange:
    """A request under way. It ends once: answered, failed, cut off or given up."""

    __slots__ = (
        "_clock",
        "_heard_at",
        "_on_done",
        "_watch",
        "began_at",
        "is_over",
        "opening",
        "place",
        "reader",
        "route",
        "written",
        "written_at",
    )

    def __init__(  # the sender names each part once
        self, route: Route, written: bytes, on_done: Callable[[Response], None], *, clock: Clock, watch: Watch
    ) -> None:
        self.route = route
        self.written = written
        self.is_over = False
        self.place: Place | None = None
        self.reader: AnswerReader | None = None
        """What was read of the answer; None before any of it came."""
        self.opening = KEPT
        """What it took to have its connection."""
        self.began_at = clock.monotonic()
        self.written_at: float | None = None
        """When a connection took the request; None: it never left."""
        self._heard_at: float | None = None
        self._on_done = on_done
        self._clock = clock
        self._watch = watch
        watch.begin(self)

    def now(self) -> float:
        """Read the clock of its moments."""
        return self._clock.monotonic()

    def note_heard(self) -> None:
        """Remember that the answer begins now; needless for one that comes whole."""
        self._heard_at = self._clock.monotonic()

    def finish(self, error: SendError | None = None) -> None:
        """End with the status if there is one, else with the error."""
        self.end(self.respond(error))

    def end(self, response: Response) -> None:
        """End with a response; later, it does nothing."""
        if not self.is_over:
            self.is_over = True
            self._watch.end(self)
            self._on_done(response)

    def respond(self, error: SendError | None = None) -> Response:
        """Say what is known by now."""
        now = self._clock.monotonic()
        latency_s = now - self.began_at
        phases = self._divide(now)
        reader = self.reader
        if reader is None or reader.status is None:
            return Response(error=error, latency_s=latency_s, phases=phases)
        return Response(
            status=reader.status,
            retry_after_s=None if reader.retry_after is None else _wait_s(reader, self._clock.now()),
            body=bytes(reader.body),
            latency_s=latency_s,
            phases=phases,
        )

    def _divide(self, now: float) -> Phases | None:
        """Say where the time went; an answer that never began was waited for until now."""
        if self.written_at is None:
            return None
        heard_at = now if self._heard_at is None else self._heard_at
        opening = self.opening
        return Phases(
            opening.dns_ms,
            opening.connect_ms,
            opening.tls_ms,
            (heard_at - self.written_at) * 1000,
            (now - heard_at) * 1000,
        )

    def cut_off(self) -> None:
        """End as a time-out, with what came so far."""
        self.fail(SendError.TIMEOUT)

    def fail(self, error: SendError) -> None:
        """End wherever it is, with what came so far."""
        self._leave()
        self.finish(error)

    def give_up(self) -> None:
        """End without a word; later, it does nothing."""
        if not self.is_over:
            self.is_over = True
            self._watch.end(self)
            self._leave()

    def _leave(self) -> None:
        if self.place is not None:
            self.place.leave(self)


def _wait_s(reader: AnswerReader, now: Instant) -> float | None:
    return parse_retry_after(_read(reader.retry_after), _read(reader.date), now)


def _read(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "surrogateescape")
