"""Where the time of one request through aiohttp goes, as those note it that it passes on its way.

aiohttp does not tell: the resolver, the socket factory and the socket that it is given do. They run in the request's
own context, or in one that was copied from it.
"""

from contextvars import ContextVar
from typing import Final

from idsync.model.delivery import Phases
from idsync.ports import Clock


class Timing:
    """The moments of one request, on the monotonic clock; None: not reached, or needless on a kept connection."""

    __slots__ = (
        "_clock",
        "_connected_at",
        "_heard_at",
        "_looked_up_at",
        "_looking_up_at",
        "_opened_at",
        "_ready_at",
        "_written_at",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looking_up_at: float | None = None
        self._looked_up_at: float | None = None
        self._opened_at: float | None = None
        self._connected_at: float | None = None
        self._ready_at: float | None = None
        self._written_at: float | None = None
        self._heard_at: float | None = None

    def note_looking_up(self) -> None:
        """A look-up of its own begins: one that is shared counts for whoever began it."""
        self._looking_up_at = self._clock.monotonic()

    def note_looked_up(self) -> None:
        """The look-up ended."""
        self._looked_up_at = self._clock.monotonic()

    def note_opened(self) -> None:
        """The first address is about to be tried, or another one."""
        if self._opened_at is None:
            self._opened_at = self._clock.monotonic()

    def note_connected(self) -> None:
        """A socket is about to connect, or has connected: the last time counts."""
        self._connected_at = self._clock.monotonic()

    def note_ready(self) -> None:
        """The request has its connection."""
        self._ready_at = self._clock.monotonic()

    def note_written(self) -> None:
        """The request was written."""
        self._written_at = self._clock.monotonic()

    def note_heard(self) -> None:
        """The answer began: the first head that aiohttp gives."""
        if self._heard_at is None:
            self._heard_at = self._clock.monotonic()

    def divide(self, now: float, *, is_tls: bool) -> Phases | None:
        """Say where the time went until now; None: the request was never written."""
        if self._written_at is None:
            return None
        heard_at = now if self._heard_at is None else self._heard_at
        return Phases(
            _ms(self._looking_up_at, self._looked_up_at),
            _ms(self._opened_at, self._connected_at),
            _ms(self._connected_at, self._ready_at) if is_tls else 0.0,
            _ms(self._written_at, heard_at),
            _ms(heard_at, now),
        )


TIMING: Final = ContextVar[Timing]("timing")
"""Of the request that is under way here."""


def _ms(start: float | None, end: float | None) -> float:
    return 0.0 if start is None or end is None else (end - start) * 1000
