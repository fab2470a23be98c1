"""Endpoints as living things: defined by the file or the API, kept in the store, changed while the service runs."""

from idsync.app.endpoints.service import Endpoints
from idsync.app.endpoints.states import (
    Changed,
    Created,
    DisabledReason,
    EndpointState,
    FilterSpan,
    Invalid,
    NotFound,
    Origin,
    ReadOnly,
    Removed,
    Rotated,
    Taken,
)

__all__ = [
    "Changed",
    "Created",
    "DisabledReason",
    "EndpointState",
    "Endpoints",
    "FilterSpan",
    "Invalid",
    "NotFound",
    "Origin",
    "ReadOnly",
    "Removed",
    "Rotated",
    "Taken",
]
