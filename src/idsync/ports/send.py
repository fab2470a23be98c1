"""HTTP out, as a port."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from idsync.model.delivery import Phases


class SendError(StrEnum):
    """Why no usable answer came."""

    DNS = "dns"
    """The name could not be looked up."""
    CONNECT = "connect"
    """No connection was made."""
    TLS = "tls"
    """The certificate or the handshake is not good."""
    TIMEOUT = "timeout"
    """It took longer than the time-out, whatever part of it."""
    READ = "read"
    """The connection ended before the answer did."""
    TOO_LARGE = "too_large"
    """The head of the answer is too large."""
    BLOCKED = "blocked"
    """The address is private, and not among `delivery.allow_cidrs`."""
    PROTOCOL = "protocol"
    """The answer is no HTTP."""
    INVALID_URL = "invalid_url"
    """The address cannot be requested."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One POST."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout_s: float
    is_exempt: bool = False
    """Whether the SSRF guard lets private addresses pass: only for the operator's own peers."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: a status, or the reason there is none."""

    status: int | None = None
    error: SendError | None = None
    retry_after_s: float | None = None
    body: bytes = b""
    """The answer's body, capped."""
    latency_s: float = 0.0
    phases: Phases | None = None
    """Where the time went; None: no request left."""


Cancel = Callable[[], None]
"""Gives a request up; after its end it does nothing."""


class Sender(Protocol):
    """HTTP out. Never fails for anything that the network or the other side can do."""

    def post(self, request: Request, on_done: Callable[[Response], None]) -> Cancel:
        """Do as `send`, and tell `on_done` once, after this has returned; not if it is given up before.

        For whoever has many requests under way: none costs a task. `on_done` must not raise.
        """
        ...

    async def send(self, request: Request) -> Response:
        """Post, follow no redirect, read at most the cap, end within the time-out."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
