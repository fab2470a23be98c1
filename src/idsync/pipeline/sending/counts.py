"""What is counted of each request to an endpoint. Labels are bounded: destinations, outcomes, codes, phases."""

from idsync.model.delivery import Outcome
from idsync.pipeline.sending.endpoint import error_of
from idsync.ports import Response
from idsync.telemetry import Counters


def count_answer(counters: Counters, destination: str, outcome: Outcome, response: Response) -> None:
    """Count one try: its outcome, its time, of a failure the reason, and where the time went if that was measured."""
    counters.add("idsync_deliveries_total", f"{destination}:{outcome}")
    counters.observe("idsync_delivery_seconds", destination, response.latency_s)
    if outcome is not Outcome.DELIVERED:
        counters.add("idsync_delivery_errors_total", f"{destination}:{_code(response)}")
    if (phases := response.phases) is not None:
        counters.observe("idsync_delivery_phase_seconds", "dns", phases.dns_ms / 1000)
        counters.observe("idsync_delivery_phase_seconds", "connect", phases.connect_ms / 1000)
        counters.observe("idsync_delivery_phase_seconds", "tls", phases.tls_ms / 1000)
        counters.observe("idsync_delivery_phase_seconds", "wait", phases.wait_ms / 1000)
        counters.observe("idsync_delivery_phase_seconds", "read", phases.read_ms / 1000)


def _code(response: Response) -> str:
    """The reason of a failure; statuses by their hundreds, for an endpoint may send any."""
    code = error_of(response) or "failed"
    return f"{code[:6]}xx" if code.startswith("http_") else code
