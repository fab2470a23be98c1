"""How an endpoint does, as the deliver side keeps it in the document `health:<name>` and others show it."""

import msgspec

from idsync.model.values import Instant


class EndpointHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What outlives the process that sends."""

    breaker: str = "closed"
    """`closed`, `open` or `half_open`."""
    opened_at: Instant | None = None
    """When the breaker opened last, while it is not closed."""
    failing_since: Instant | None = None
    """The first failure since the last success; None: the last try succeeded, or there was none."""
    failures: int = 0
    """Failures since the last success."""
    throttled_until: Instant | None = None
    """Until when nothing is sent, as the endpoint asked."""
