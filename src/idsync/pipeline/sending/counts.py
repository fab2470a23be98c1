"""What is counted of the requests to an endpoint. Labels are bounded: destinations, outcomes, codes, phases."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from idsync.model.delivery import Outcome
from idsync.pipeline.sending.endpoint import error_of, outcome_of
from idsync.ports import Response
from idsync.telemetry import Counters

PHASES: Final = tuple((name, attrgetter(f"{name}_ms")) for name in ("dns", "connect", "tls", "wait", "read"))


class AnswerCounts:
    """Counts what one endpoint answers."""

    def __init__(self, counters: Counters, destination: str) -> None:
        """Make the labels once."""
        self._counters = counters
        self._destination = destination
        self._delivered = f"{destination}:{Outcome.DELIVERED}"
        self._failed = f"{destination}:{Outcome.FAILED}"

    def add(self, responses: Sequence[Response]) -> None:
        """Count tries together: outcomes, times, reasons of failures, and where the time went if that was measured."""
        counters = self._counters
        failed = [one for one in responses if outcome_of(one) is Outcome.FAILED]
        if len(failed) < len(responses):
            counters.add("idsync_deliveries_total", self._delivered, len(responses) - len(failed))
        for one in failed:
            counters.add("idsync_deliveries_total", self._failed)
            counters.add("idsync_delivery_errors_total", f"{self._destination}:{_code(one)}")
        counters.observe("idsync_delivery_seconds", self._destination, *[one.latency_s for one in responses])
        phases = [one.phases for one in responses if one.phases is not None]
        for name, read_ms in PHASES if phases else ():
            counters.observe("idsync_delivery_phase_seconds", name, *[ms / 1000 for ms in map(read_ms, phases)])

    def add_rate_wait(self, seconds: float) -> None:
        """Count a wait for the rate: there is one for each request that was not let pass at once."""
        self._counters.observe("idsync_rate_wait_seconds", self._destination, seconds)


def _code(response: Response) -> str:
    """The reason of a failure; statuses by their hundreds, for an endpoint may send any."""
    code = error_of(response) or "failed"
    return f"{code[:6]}xx" if code.startswith("http_") else code
