"""Everything that is counted: as Prometheus reads it, and as one answer (`get_metrics()` of seed 003)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from idsync.api.health import healths_of, with_health
from idsync.api.http import Answer, Outcome, answer_json
from idsync.api.keys import Scope
from idsync.api.service import Call, Operation, Service
from idsync.api.views import EndpointCounts, StatsView, verdict_counts
from idsync.model.delivery import Parked, ParkedState
from idsync.model.values import Instant
from idsync.pipeline.parts.health import EndpointHealth
from idsync.pipeline.parts.routes import endpoint_name
from idsync.ports import ParkedFilter, Stats
from idsync.telemetry import LATENCY_BOUNDS_S, Counters, Histogram

METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
STATS_AGE_MAX_S: Final = 1.0
"""How old counts of the store may be that are shown to anybody: counting reads whole indexes."""
PARKED_AGE_MAX_S: Final = 15.0
"""As above, for what must look at rows."""
PARKED_LOOKED_AT: Final = 2_000
BREAKER_STATES: Final = ("closed", "half_open", "open")
SERIES_MAX: Final = 2_000
"""Series of one scrape: labels are bounded where they are made, and here once more."""


TRIES: Final = "idsync_deliveries_total"
SECONDS: Final = "idsync_delivery_seconds"
SUCCESSFUL: Final = frozenset({"delivered"})


class MetricDoc(NamedTuple):
    """What a metric counts, and what its label says; several parts of a label are parted by colons, from the right."""

    help: str
    labels: tuple[str, ...] = ()


METRICS: Final[Mapping[str, MetricDoc]] = MappingProxyType({
    "idsync_events_total": MetricDoc("Events ingested.", ("verdict",)),
    "idsync_captured_total": MetricDoc("Rows read from a peer's outbox.", ("peer",)),
    "idsync_rewinds_total": MetricDoc("Times a peer's outbox was found rewound.", ("peer",)),
    "idsync_rereads_total": MetricDoc("Identities read again at their peer.", ("outcome",)),
    "idsync_webhooks_refused_total": MetricDoc("Webhooks that proved nothing.", ("peer", "reason")),
    "idsync_deliveries_total": MetricDoc("Tries of deliveries.", ("destination", "outcome")),
    "idsync_delivery_seconds": MetricDoc("How long an endpoint took to answer.", ("destination",)),
    "idsync_delivery_errors_total": MetricDoc("Tries that failed, by their reason.", ("destination", "error")),
    "idsync_delivery_phase_seconds": MetricDoc("Where the time of tries went, of all endpoints.", ("phase",)),
    "idsync_rate_wait_seconds": MetricDoc(
        "How long sending waited for the endpoint's rate, each time that it did.", ("destination",)
    ),
    "idsync_replayed_total": MetricDoc("Events queued once more by replays.", ("destination",)),
    "idsync_flapping_total": MetricDoc("Times an identity began to rest, written again and again.", ("peer",)),
    "idsync_target_pauses_total": MetricDoc("Times a peer could not be written to.", ("destination",)),
    "idsync_poison_total": MetricDoc("Deliveries that failed by a fault of ours.", ("fault",)),
    "idsync_loop_failures_total": MetricDoc("Ticks of a loop that failed.", ("loop",)),
    "idsync_trimmed_total": MetricDoc("Rows deleted past their retention.", ("what",)),
    "idsync_http_answers_total": MetricDoc("Answers of this API.", ("status",)),
    "idsync_store_entities": MetricDoc("Entities."),
    "idsync_store_inbox": MetricDoc("Accepted events that are kept."),
    "idsync_store_waiting": MetricDoc("Arrivals that wait."),
    "idsync_store_rereads": MetricDoc("Identities to be read again."),
    "idsync_store_conflicts": MetricDoc("Conflicts that are kept."),
    "idsync_store_size_bytes": MetricDoc("Size of the store."),
    "idsync_store_queued": MetricDoc("Deliveries that are not settled.", ("destination",)),
    "idsync_store_parked": MetricDoc("Deliveries that wait for another try.", ("destination",)),
    "idsync_store_dead": MetricDoc("Deliveries that were given up.", ("destination",)),
    "idsync_parked_by_reason": MetricDoc(
        f"Deliveries that wait, by their reason; of the first {PARKED_LOOKED_AT}.", ("destination", "reason")
    ),
    "idsync_oldest_undelivered_seconds": MetricDoc(
        "How long the oldest delivery has waited, queued or parked; not dead.", ("destination",)
    ),
    "idsync_endpoint_enabled": MetricDoc("Whether it is delivered to.", ("destination",)),
    "idsync_endpoint_breaker": MetricDoc("1 for the state that its breaker has.", ("destination", "state")),
    "idsync_endpoint_throttled_seconds": MetricDoc("How long it asked to be left alone still.", ("destination",)),
    "idsync_endpoint_failing_seconds": MetricDoc("Since when every try has failed.", ("destination",)),
})  # fmt: skip
"""Every metric. One that is counted but not named here is shown all the same, its label as `label`."""
_UNNAMED: Final = MetricDoc("", ("label",))


class Metrics:
    """Everything that is counted, in the text format of Prometheus (version 0.0.4)."""

    def __init__(self) -> None:
        self._stats: Stats | None = None
        self._read_at = 0.0
        self._parked: Sequence[Parked] | None = None
        self._looked_at = 0.0

    async def show(self, service: Service, _: Call) -> Outcome:
        """Write the counters of this process, the counts of the store, and how every endpoint does."""
        stats, parked = await self._recent_stats(service), await self._recent_parked(service)
        now = service.clock.now()
        lines = [
            *_write_counters(service),
            *_write_stats(stats, now),
            *_write_parked(parked),
            *_write_endpoints(service, await healths_of(service.store), now),
        ]
        return Answer(200, "".join(lines).encode(), METRICS_TYPE)

    async def _recent_parked(self, service: Service) -> Sequence[Parked]:
        now_s = service.clock.monotonic()
        if self._parked is None or now_s - self._looked_at >= PARKED_AGE_MAX_S:
            self._looked_at = now_s
            self._parked = await service.store.parked(ParkedFilter(state=ParkedState.PARKED), PARKED_LOOKED_AT)
        return self._parked

    async def _recent_stats(self, service: Service) -> Stats:
        now = service.clock.monotonic()
        if self._stats is None or now - self._read_at >= STATS_AGE_MAX_S:
            self._read_at = now
            self._stats = await service.store.stats()
        return self._stats


def _write_counters(service: Service) -> Iterator[str]:
    counters = service.counters
    for kind, table in (("counter", counters.counts), ("gauge", counters.gauges)):
        for name in sorted({name for name, _ in table}):
            yield from _write_samples(
                name, kind, [(label, table[found, label]) for found, label in table if found == name]
            )
    for name in sorted({name for name, _ in counters.histograms}):
        yield _write_head(name, "histogram")
        for (found, label), histogram in sorted(counters.histograms.items()):
            if found == name:
                yield from _write_histogram(name, _labels(name, label), histogram)


def _write_stats(stats: Stats, now: Instant) -> Iterator[str]:
    for name in ("entities", "inbox", "waiting", "rereads", "conflicts", "size_bytes"):
        yield f"{_write_head(f'idsync_store_{name}', 'gauge')}idsync_store_{name} {getattr(stats, name)}\n"
    for name in ("queued", "parked", "dead"):
        yield from _write_samples(f"idsync_store_{name}", "gauge", getattr(stats, name).items())
    ages = [(name, max(0.0, (now - since) / 1000)) for name, since in stats.oldest.items()]
    yield from _write_samples("idsync_oldest_undelivered_seconds", "gauge", ages)


def _write_parked(parked: Sequence[Parked]) -> Iterator[str]:
    reasons = Counter(f"{one.destination}:{one.reason}" for one in parked)
    yield from _write_samples("idsync_parked_by_reason", "gauge", reasons.items())


def _write_endpoints(service: Service, healths: Mapping[str, EndpointHealth], now: Instant) -> Iterator[str]:
    """How endpoints do; each is one series of each name, and one for each state of its breaker."""
    endpoints = service.endpoints.destinations()
    known = {endpoint_name(name): health for name, health in healths.items()}
    found = [(one.name, known.get(one.name, EndpointHealth())) for one in endpoints]
    enabled = [(one.name, float(one.is_enabled)) for one in endpoints]
    yield from _write_samples("idsync_endpoint_enabled", "gauge", enabled)
    states = [(f"{name}:{state}", float(health.breaker == state)) for name, health in found for state in BREAKER_STATES]
    yield from _write_samples("idsync_endpoint_breaker", "gauge", states)
    pauses = [(name, max(0.0, ((health.throttled_until or now) - now) / 1000)) for name, health in found]
    yield from _write_samples("idsync_endpoint_throttled_seconds", "gauge", pauses)
    failing = [(name, max(0.0, (now - (health.failing_since or now)) / 1000)) for name, health in found]
    yield from _write_samples("idsync_endpoint_failing_seconds", "gauge", failing)


def _write_head(name: str, kind: str) -> str:
    return f"# HELP {name} {METRICS.get(name, _UNNAMED).help}\n# TYPE {name} {kind}\n"


def _write_samples(name: str, kind: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield _write_head(name, kind)
    for label, value in sorted(samples)[:SERIES_MAX]:
        yield f"{name}{{{_labels(name, label)}}} {value}\n"


def _write_histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip((*LATENCY_BOUNDS_S, "+Inf"), histogram.buckets, strict=True):
        total += count
        yield f'{name}_bucket{{{labels},le="{bound}"}} {total}\n'
    yield f"{name}_sum{{{labels}}} {histogram.sum_s}\n{name}_count{{{labels}}} {histogram.count}\n"


def _labels(name: str, label: str) -> str:
    keys = METRICS.get(name, _UNNAMED).labels
    values = label.rsplit(":", len(keys) - 1)
    return ",".join(f'{key}="{_escape(value)}"' for key, value in zip(keys, values, strict=False))


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def operations_of_stats() -> list[Operation]:
    """Document and serve the counts."""
    return [
        Operation(
            method="GET",
            path="/v1/stats",
            name="showStats",
            summary="How much there is of everything.",
            run=show_stats,
            scope=Scope.READ,
            answers={200: StatsView},
        )
    ]


async def show_stats(service: Service, _: Call) -> Outcome:
    """Give the counts."""
    stats = await service.store.stats()
    counters = service.counters
    endpoints = {
        one.name: _count(counters, endpoint_name(one.name), one.health.breaker)
        for one in await with_health(service.store, await service.endpoints.list())
    }
    tries = _tries(counters.counts)
    return answer_json(
        StatsView(
            entities=stats.entities,
            inbox=stats.inbox,
            waiting=stats.waiting,
            rereads=stats.rereads,
            conflicts=stats.conflicts,
            size_bytes=stats.size_bytes,
            queued=stats.queued,
            parked=stats.parked,
            dead=stats.dead,
            verdicts=verdict_counts(counters.counts),
            total_deliveries=sum(tries.values()),
            successful_deliveries=sum(count for (_, outcome), count in tries.items() if outcome in SUCCESSFUL),
            failed_deliveries=sum(count for (_, outcome), count in tries.items() if outcome not in SUCCESSFUL),
            avg_latency_ms=_average_ms(counters, None),
            endpoints=endpoints,
        )
    )


def _count(counters: Counters, destination: str, breaker: str) -> EndpointCounts:
    own = {outcome: count for (name, outcome), count in _tries(counters.counts).items() if name == destination}
    successful = sum(count for outcome, count in own.items() if outcome in SUCCESSFUL)
    return EndpointCounts(
        deliveries=sum(own.values()),
        successful=successful,
        failed=sum(own.values()) - successful,
        latency_ms=_average_ms(counters, destination),
        breaker=breaker,
    )


def _tries(counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """(endpoint, outcome) → tries."""
    found: dict[tuple[str, str], int] = {}
    for (name, label), count in counts.items():
        destination, _, outcome = label.rpartition(":")
        if name == TRIES and destination.startswith("endpoint:"):
            found[destination, outcome] = count
    return found


def _average_ms(counters: Counters, destination: str | None) -> float | None:
    """How long tries took on average, those of one destination or of all; None: there was none."""
    found = [
        one for (name, label), one in counters.histograms.items() if name == SECONDS and destination in {None, label}
    ]
    count = sum(one.count for one in found)
    return round(sum(one.sum_s for one in found) / count * 1000, 3) if count else None
