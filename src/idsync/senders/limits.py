"""What one sender takes at most, whichever implementation it is."""

from typing import Final

import msgspec

HEAD_BYTES_MAX: Final = 32_768
"""Bytes of an answer up to the end of its final head, interim ones among them."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a sender, beside the time-out that every request brings."""

    body_bytes: int = 4096
    """How much of an answer's body is read; a longer one costs the connection."""
    connections: int = 1024
    """Connections in use at once, and as many again kept; who must wait for one does so within its own time-out."""
    connections_per_host: int = 64
    """The same for one scheme, host and port."""
    idle_s: float = 30.0
    """How long a connection without use is kept."""
    dns_s: int = 10
    """How long a look-up is believed."""
