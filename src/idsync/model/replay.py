"""Replays: what is asked for, what a job keeps of itself, and what an endpoint was to get when."""

from enum import StrEnum

import msgspec

from idsync.model.values import Instant, Subject


class ReplayStatus(StrEnum):
    """Which of the events in a replay's window it is about, by what became of them at the endpoint."""

    ALL = "all"
    """Every one that the endpoint's filters name now, also those that it has."""
    FAILED = "failed"
    """Those that were given up."""
    UNDELIVERED = "undelivered"
    """Those that it was to get and that nothing will bring it: given up, skipped or missed."""
    MISSED = "missed"
    """Those that its filters named then, and that were not queued because it was disabled."""


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator asks for. Parts of the window that are not given bound nothing."""

    endpoint: str
    status: ReplayStatus = ReplayStatus.UNDELIVERED
    types: tuple[str, ...] = ("*",)
    """Filters as an endpoint has them; they narrow what the endpoint's own let through."""
    subject: Subject | None = None
    """Only events of this outgoing subject."""
    since: Instant | None = None
    """Only events received at or after this instant."""
    until: Instant | None = None
    """Only events received before this instant; None: before the replay was asked for."""
    after: int = 0
    """Only events whose inbox sequence is higher."""
    through: int | None = None
    """Only events whose inbox sequence is not higher."""
    include_before_creation: bool = False
    """Whether events from before the endpoint was made are meant, too: those that its filters name now."""
    rate_per_s: float = 500.0
    """Events queued per second at most, on average."""


class ReplayState(StrEnum):
    """Where a replay stands."""

    RUNNING = "running"
    """It queues events, as fast as it may."""
    PAUSED = "paused"
    """Its endpoint is disabled: it goes on when that is enabled."""
    DONE = "done"
    """Everything of its window that was wanted is queued."""
    CANCELLED = "cancelled"
    """An operator ended it; what it had queued is delivered."""
    STOPPED = "stopped"
    """Its endpoint was removed."""


class ReplayJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document `replay:<id>`: written by whoever asks, never by the duty that carries it out."""

    id: str
    request: ReplayRequest
    until: Instant
    """The first instant that is not of its window: it does not chase what comes in meanwhile."""
    asked_at: Instant
    cancelled_at: Instant | None = None


class ReplayProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document `replayed:<id>`: written only by the duty, in the transaction that queues what it counts."""

    position: int = 0
    """The inbox sequence up to which everything is decided."""
    looked_at: int = 0
    """Events of the window that were looked at."""
    queued: int = 0
    """Events that were queued."""
    under_way: int = 0
    """Events left alone, because they are queued or about to be tried again anyway."""
    state: ReplayState = ReplayState.RUNNING
    ended_at: Instant | None = None


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint was to get in one span of time."""

    since: Instant
    until: Instant | None = None
    """The first instant that is not of it; None: it lasts."""
    events: tuple[str, ...] = ("*",)
    is_operational: bool = False
    is_enabled: bool = True


class Standing(StrEnum):
    """What became of one event at one endpoint, over all its deliveries there."""

    NONE = "none"
    """No delivery of it is known: there was none, or it was settled so long ago that it is forgotten."""
    DELIVERED = "delivered"
    """One delivery of it succeeded."""
    UNDER_WAY = "under_way"
    """It is queued, or parked until its next try."""
    DEAD = "dead"
    """It was given up."""
    SKIPPED = "skipped"
    """Nothing was sent, for the endpoint was disabled or removed."""
