"""What the API shows of the service itself."""

from collections.abc import Mapping

import msgspec


class EndpointCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Tries of one endpoint's deliveries, of this process since its start."""

    deliveries: int
    successful: int
    failed: int
    latency_ms: float | None
    """On average; null: none was sent."""
    breaker: str
    """`closed`, `open` or `half_open`."""


class StatsView(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the store now, and of events since the start."""

    entities: int
    inbox: int
    waiting: int
    rereads: int
    conflicts: int
    size_bytes: int
    queued: dict[str, int]
    parked: dict[str, int]
    dead: dict[str, int]
    verdicts: dict[str, int]
    """Events ingested since this process started, by verdict."""
    total_deliveries: int
    """Tries of deliveries to endpoints since this process started; `/metrics` of every process adds up to all."""
    successful_deliveries: int
    failed_deliveries: int
    avg_latency_ms: float | None
    """Of those tries; null: there was none."""
    endpoints: dict[str, EndpointCounts]


class CommandView(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the owner of what it names carries out."""

    command: str
    """The last of them; `0` where nothing had to be asked for."""
    deliveries: int | None = None
    """How many deliveries it names; null: all that there are."""
    is_complete: bool = True
    """False: there are more than one request looks at; send it again."""


class LoopView(msgspec.Struct, frozen=True, kw_only=True):
    """One loop of the worker."""

    name: str
    is_alive: bool
    detail: str


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether every loop runs."""

    status: str
    version: str
    loops: list[LoopView]


class ReadyView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests are welcome."""

    status: str


def verdict_counts(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Pick the verdicts from everything that is counted."""
    return {label: count for (name, label), count in sorted(counts.items()) if name == "idsync_events_total"}
