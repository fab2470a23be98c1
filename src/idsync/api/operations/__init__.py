"""The table of operations: every route there is, each documented by the very row that serves it."""

import msgspec

from idsync.api.events import operations_of_events
from idsync.api.http import Answer
from idsync.api.openapi import render_document
from idsync.api.operations.deliveries import operations_of_deliveries
from idsync.api.operations.endpoints import operations_of_endpoints
from idsync.api.operations.entities import operations_of_entities
from idsync.api.operations.events import operations_of_sent
from idsync.api.operations.inbox import operations_of_inbox
from idsync.api.operations.keys import operations_of_keys
from idsync.api.operations.metrics import operations_of_stats
from idsync.api.operations.ops import PROBES, always, operations_of_ops
from idsync.api.operations.replays import operations_of_replays
from idsync.api.service import Operation

__all__ = ["build_operations", "build_probes"]


def build_operations() -> tuple[Operation, ...]:
    """Make the table."""
    table = (
        *operations_of_events(),
        *operations_of_sent(),
        *operations_of_deliveries(),
        *operations_of_endpoints(),
        *operations_of_replays(),
        *operations_of_keys(),
        *operations_of_entities(),
        *operations_of_inbox(),
        *operations_of_stats(),
        *operations_of_ops(),
    )
    document = always(Answer(200, render_document(table)))
    return tuple(msgspec.structs.replace(one, run=document) if one.name == "showDocument" else one for one in table)


def build_probes() -> tuple[Operation, ...]:
    """Make the table of a process that takes no requests: whether it is alive and ready, and what it counts."""
    return tuple(one for one in operations_of_ops() if one.path in PROBES)
