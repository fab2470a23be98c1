"""One request and what becomes of it."""

from collections.abc import Callable
from typing import Protocol

from idsync.deadlines import Watch
from idsync.model.values import Instant
from idsync.ports import Clock, Response, SendError
from idsync.senders.fast.answer import AnswerReader
from idsync.senders.retry_after import parse_retry_after
from idsync.senders.route import Route


class Place(Protocol):
    """Where an exchange is: in a queue, being connected, or on a connection."""

    def leave(self, exchange: "Exchange") -> None:
        """Give it up; the place is free afterwards."""
        ...


class Exchange:
    """A request under way. It ends once: answered, failed, cut off or given up."""

    __slots__ = ("_clock", "_on_done", "_watch", "began_at", "is_over", "place", "reader", "route", "written")

    def __init__(  # the sender names each part once
        self, route: Route, written: bytes, on_done: Callable[[Response], None], *, clock: Clock, watch: Watch
    ) -> None:
        self.route = route
        self.written = written
        self.is_over = False
        self.place: Place | None = None
        self.reader: AnswerReader | None = None
        """What was read of the answer; None before the request is written."""
        self.began_at = clock.monotonic()
        self._on_done = on_done
        self._clock = clock
        self._watch = watch
        watch.begin(self)

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
        latency_s = self._clock.monotonic() - self.began_at
        reader = self.reader
        if reader is None or reader.status is None:
            return Response(error=error, latency_s=latency_s)
        return Response(
            status=reader.status,
            retry_after_s=None if reader.retry_after is None else _wait_s(reader, self._clock.now()),
            body=bytes(reader.body),
            latency_s=latency_s,
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
