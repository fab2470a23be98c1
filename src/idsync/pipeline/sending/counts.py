"""What is counted of each request to an endpoint. Labels are bounded: destinations, outcomes, codes, phases."""

from idsync.model.delivery import Outcome, Phases
from idsync.pipeline.sending.endpoint import error_of
from idsync.ports import Response
from idsync.telemetry import Counters


class AnswerCounts:
    """Counts what one endpoint answers."""

    def __init__(self, counters: Counters, destination: str) -> None:
        """Make the labels once: each event needs one."""
        self._counters = counters
        self._destination = destination
        self._delivered = f"{destination}:{Outcome.DELIVERED}"
        self._failed = f"{destination}:{Outcome.FAILED}"

    def add(self, response: Response, *, is_good: bool) -> None:
        """Count one try: its outcome, its time, of a failure the reason, and where the time went if it was measured."""
        counters = self._counters
        counters.add("idsync_deliveries_total", self._delivered if is_good else self._failed)
        counters.observe("idsync_delivery_seconds", self._destination, response.latency_s)
        if not is_good:
            counters.add("idsync_delivery_errors_total", f"{self._destination}:{_code(response)}")
        if response.phases is not None:
            _observe_phases(counters, response.phases)


def _observe_phases(counters: Counters, phases: Phases) -> None:
    counters.observe("idsync_delivery_phase_seconds", "dns", phases.dns_ms / 1000)
    counters.observe("idsync_delivery_phase_seconds", "connect", phases.connect_ms / 1000)
    counters.observe("idsync_delivery_phase_seconds", "tls", phases.tls_ms / 1000)
    counters.observe("idsync_delivery_phase_seconds", "wait", phases.wait_ms / 1000)
    counters.observe("idsync_delivery_phase_seconds", "read", phases.read_ms / 1000)


def _code(response: Response) -> str:
    """The reason of a failure; statuses by their hundreds, for an endpoint may send any."""
    code = error_of(response) or "failed"
    return f"{code[:6]}xx" if code.startswith("http_") else code
