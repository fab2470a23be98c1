"""Every error idsync raises, drawn as a tree. Expected outcomes are returned values, not errors.

IdsyncError
├── ConfigError          the configuration cannot be used; `problems` lists every reason
├── StoreError           the store cannot be used
│   ├── StoreLocked      another process owns the file
│   ├── StoreVersion     the file was written by a newer idsync
│   ├── StoreFenced      another process took over; this one must stop
│   ├── LeaseLost        another process took what one part works on; that part must stop
│   ├── StoreBusy        a bounded queue is full; the caller should answer 429 or wait
│   └── DataRefused      the database refuses these rows for what they hold; the batch is halved to find which
├── PeerError            a peer cannot be used now; the work is tried again later
│   ├── CaptureMissing   the peer's capture triggers are not installed, or are of another version
│   └── SchemaMismatch   a configured table or column does not exist at the peer
└── WebhookError         what `idsync.webhooks` tells its user
    ├── DeliveryFailed       a webhook was given up at an endpoint
    ├── RateLimitExceeded    a webhook is still waiting: its endpoint is to be sent less
    ├── CircuitBreakerOpen   a webhook is still waiting: its endpoint rests because it fails
    ├── InvalidSignature     nobody who knows the secret sent this request
    ├── EndpointNotFound     there is no endpoint of this id
    ├── StorageError         the storage failed; what was asked for may not have happened
    └── SerializationError   what was given is no JSON, or no webhook
"""

from collections.abc import Iterable


class IdsyncError(Exception):
    """The root: `except IdsyncError` catches whatever idsync raises on purpose."""


class ConfigError(IdsyncError):
    """The configuration cannot be used.

    Attributes:
        problems: every reason found, each naming its key; never empty, never with a secret's text.
    """

    def __init__(self, *problems: str) -> None:
        """Join the problems into the message, one a line."""
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreError(IdsyncError):
    """The store cannot be used."""


class StoreLocked(StoreError):
    """Another process owns the store's file."""


class StoreVersion(StoreError):
    """The store was written by a newer version of idsync than this one."""


class StoreFenced(StoreError):
    """Another process took over the store or its lanes: nothing was written, and this process must stop."""

    def __init__(self) -> None:
        super().__init__("another process took over this store; this one must stop")


class LeaseLost(StoreError):
    """Another process took what one part of this one works on: nothing was written, and that part must stop."""

    def __init__(self, leases: Iterable[str]) -> None:
        super().__init__(f"another process took over {', '.join(sorted(leases))}")
        self.leases = frozenset(leases)


class StoreBusy(StoreError):
    """A bounded queue in front of the store is full."""


class DataRefused(StoreError):
    """The database refuses rows for what they hold (not for where it runs); halving the batch finds which."""


class PeerError(IdsyncError):
    """A peer cannot be used now: its database or server does not answer as it must."""


class CaptureMissing(PeerError):
    """The peer's capture triggers are not installed, or were made by another version."""


class SchemaMismatch(PeerError):
    """A table or column named in the configuration does not exist at the peer."""


class WebhookError(IdsyncError):
    """What the library tells its user; names of seed 003."""


class DeliveryFailed(WebhookError):
    """A webhook was given up at an endpoint: after all its tries, or because the endpoint said that it is gone."""


class RateLimitExceeded(WebhookError):
    """A webhook still waits when time is over, because its endpoint is to be sent less. It is delivered later."""


class CircuitBreakerOpen(WebhookError):
    """A webhook still waits when time is over, because its endpoint rests. It is delivered later."""


class InvalidSignature(WebhookError):
    """A request was not signed by anybody who knows the secret, or not of late."""


class EndpointNotFound(WebhookError):
    """There is no endpoint of this id."""


class StorageError(WebhookError):
    """The storage failed: what was asked for may not have happened, and may be asked for again."""


class SerializationError(WebhookError):
    """What was given cannot be written as JSON, or cannot be read as a webhook."""
