"""How an endpoint does, as the deliver side keeps it in the document `health:<name>` and others show it."""

from typing import Final

import msgspec

from idsync.model.values import Instant
from idsync.ports import Clock

HEALTH_REVISION: Final = "endpoints_health"
"""The setting that is another one after each change of an endpoint's health that other processes must see.

It is not the one of the endpoints: what comes in does not go elsewhere because an endpoint fails.
"""


class EndpointHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What outlives the process that sends."""

    breaker: str = "closed"
    """`closed`, `open` or `half_open`."""
    opened_at: Instant | None = None
    """When the breaker opened last, while it is not closed."""
    retry_at: Instant | None = None
    """When the breaker lets the first probe through, while it is open."""
    failing_since: Instant | None = None
    """The first failure since the last success; None: the last try succeeded, or there was none."""
    failures: int = 0
    """Failures since the last success."""
    throttled_until: Instant | None = None
    """Until when nothing is sent, as the endpoint asked."""
    stopped: str | None = None
    """Why the endpoint is to be disabled, `gone` or `failing`: known here before it is, so that no crash forgets it."""


AILING_MS: Final = 3_600_000
"""After an hour without a success one process alone sends, so that it can tell that the endpoint only fails."""


def is_ailing(health: EndpointHealth, now: Instant) -> bool:
    """Whether an endpoint does so badly that one process alone must send to it, in which its failures add up."""
    is_long = health.failing_since is not None and now - health.failing_since >= AILING_MS
    return health.breaker != "closed" or is_long


def read_health(body: bytes) -> EndpointHealth:
    """Read the document; what cannot be read begins anew, for it is seen again soon enough."""
    try:
        return msgspec.json.decode(body, type=EndpointHealth)
    except msgspec.MsgspecError:
        return EndpointHealth()


def health_setting(endpoint: str) -> str:
    """Name the document of an endpoint's health."""
    return f"health:{endpoint}"


def new_revision(clock: Clock) -> dict[str, bytes | None]:
    """Write what makes other processes look: an id that no other process draws at the same time."""
    return {HEALTH_REVISION: clock.new_id().encode()}
