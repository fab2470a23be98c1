"""What was written to the links of one peer of late, and which of them must rest: the oscillation breaker (DESIGN §4).

In memory only: a restart forgets it, and whatever flaps is written a few times more before it rests again.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from idsync.model.entity import Intent
from idsync.model.values import EntityId, Instant
from idsync.policy import oscillation
from idsync.policy.oscillation import Beat, OscillationPolicy

FLAPPING: Final = "flapping"
"""Why a subject is parked that has been written too often."""
WRITES_MAX: Final = 50_000
"""Writes remembered for one peer, at most 400 bytes each; beyond it the links quiet for longest are forgotten."""


class Beats:
    """Remembers what the peer carried out within the window. Owned by its deliverer."""

    def __init__(self, policy: OscillationPolicy, writes_max: int = WRITES_MAX) -> None:
        """Begin with no memory."""
        self._policy = policy
        self._writes_max = writes_max
        self._links: OrderedDict[EntityId, tuple[Beat, ...]] = OrderedDict()
        self.size = 0
        """Writes that are remembered."""

    def rests_until(self, entity: EntityId, intent: Intent, now: Instant) -> Instant | None:
        """Say until when an entity's link must rest before this write may go out; None: it may go now."""
        beats = self._links.get(entity)
        return oscillation.rests_until(beats, intent, now, self._policy) if beats is not None else None

    def remember(self, written: Iterable[tuple[EntityId, Intent]], now: Instant) -> None:
        """Remember the writes of one batch that were carried out, and forget the links that are long quiet."""
        for entity, intent in written:
            older = self._links.pop(entity, ())
            beats = self._links[entity] = oscillation.beat(older, intent, now, self._policy)
            self.size += len(beats) - len(older)
        while self._links and (self.size > self._writes_max or self._is_over(now)):
            self.size -= len(self._links.popitem(last=False)[1])

    def _is_over(self, now: Instant) -> bool:
        """Whether even the newest write of the link that is quiet for longest is older than the window."""
        beats = next(iter(self._links.values()))
        return beats[-1].at <= now - self._policy.window_ms
