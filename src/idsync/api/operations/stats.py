"""Counts: of the store now, and of deliveries since the start (`get_metrics()` of seed 003)."""

from collections.abc import Mapping
from typing import Final

from idsync.api.http import Outcome, answer_json
from idsync.api.keys import Scope
from idsync.api.service import Call, Operation, Service
from idsync.api.views import EndpointCounts, StatsView, verdict_counts
from idsync.pipeline.parts.routes import endpoint_name
from idsync.telemetry import Counters

TRIES: Final = "idsync_deliveries_total"
SECONDS: Final = "idsync_delivery_seconds"
SUCCESSFUL: Final = frozenset({"delivered"})


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
        for one in await service.endpoints.list()
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
