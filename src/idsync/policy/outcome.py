"""What merge answers."""

import msgspec

from idsync.model.entity import Conflict, Entity
from idsync.model.event import Verdict


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of merging one observation (DESIGN §4.8)."""

    verdict: Verdict
    entity: Entity | None = None
    """The entity to be written, its `rev` moved by one; None: nothing of it changed."""
    changed: tuple[str, ...] = ()
    """Canonical fields whose truth changed, sorted."""
    event_type: str | None = None
    """The canonical event that leaves us; None: nobody needs to hear of it."""
    conflicts: tuple[Conflict, ...] = ()
    reason: str | None = None
