"""What the line needs from outside, as Protocols (DESIGN §3)."""

from idsync.ports.clock import Clock
from idsync.ports.peers import Reader, Rewound, Source, SourceBatch, Target, Write
from idsync.ports.send import Cancel, Request, Response, Sender, SendError
from idsync.ports.store import (
    Cluster,
    DeliveryRecord,
    DeliveryState,
    Directory,
    Inbox,
    InboxEntry,
    Lanes,
    ParkedFilter,
    PassedOn,
    Registry,
    Stats,
    Store,
)

__all__ = [
    "Cancel",
    "Clock",
    "Cluster",
    "DeliveryRecord",
    "DeliveryState",
    "Directory",
    "Inbox",
    "InboxEntry",
    "Lanes",
    "ParkedFilter",
    "PassedOn",
    "Reader",
    "Registry",
    "Request",
    "Response",
    "Rewound",
    "SendError",
    "Sender",
    "Source",
    "SourceBatch",
    "Stats",
    "Store",
    "Target",
    "Write",
]
