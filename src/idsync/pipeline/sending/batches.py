"""Which events go together in one request, and what becomes of a batch that failed (DESIGN §6, Batches).

A batch takes a key's events in order, and no key is in two batches. One that an endpoint refuses is halved, and its
halves are sent one after the other, until what fails alone is found: only that is parked. One that nobody took is sent
again as it is, and of neither a try is written: its events are queued still.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from idsync.model.values import Instant, Subject
from idsync.pipeline.sending.endpoint import BatchPolicy
from idsync.pipeline.sending.keys import Item, Key
from idsync.pipeline.sending.rows import due_at

FRAME_BYTES = 1
"""What each event's body is surrounded by in the array: a bracket or a comma."""


@dataclass(frozen=True, slots=True)
class Member:
    """One event in a batch."""

    subject: Subject
    """Its key."""
    item: Item
    body: bytes
    """As the endpoint's dialect renders it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are sent together, and the rest of a batch that was halved, to be sent after them."""

    members: tuple[Member, ...]
    then: tuple[tuple[Member, ...], ...] = ()

    @property
    def lead(self) -> Subject:
        """The key of the first event: no other batch has it."""
        return self.members[0].subject

    @property
    def subjects(self) -> frozenset[Subject]:
        """The keys in it."""
        return frozenset(one.subject for one in self.members)

    @property
    def all_subjects(self) -> frozenset[Subject]:
        """The keys in it, and in what is sent after it."""
        return self.subjects.union(one.subject for part in self.then for one in part)

    def halved(self) -> "Batch":
        """Send its first half first, and then the other."""
        middle = len(self.members) // 2
        return Batch(self.members[:middle], (self.members[middle:], *self.then))

    def without(self, subjects: frozenset[Subject]) -> "Batch | None":
        """Go on with what is sent after it, but for keys that wait now; None: nothing is left."""
        parts = (tuple(one for one in part if one.subject not in subjects) for part in self.then)
        left = tuple(part for part in parts if part)
        return Batch(left[0], left[1:]) if left else None


class Batches:
    """What is being put together, and what is to be sent again."""

    def __init__(self, policy: BatchPolicy, keys: Mapping[Subject, Key], render: Callable[[Item], bytes]) -> None:
        """Begin with nothing.

        Args:
            policy: how many and how large.
            keys: the deliveries in memory.
            render: an event as it stands in the body.
        """
        self.policy = policy
        self._keys = keys
        self._render = render
        self._forming: deque[Subject] = deque()
        self._count = 0
        self._since_s = 0.0
        self._again: deque[Batch] = deque()
        self.under_way: dict[Subject, Batch] = {}
        """By the key of their first event."""

    def add(self, subject: Subject, now_s: float) -> None:
        """Take a key that is ready into the batch that is put together."""
        if not self._forming:
            self._since_s = now_s
        self._forming.append(subject)
        self._count += len(self._keys[subject].items)

    def put_back(self, batch: Batch) -> None:
        """Send this one before anything new."""
        self._again.append(batch)

    def has_under_way(self, delivery: int) -> bool:
        """Whether a batch with a delivery is under way: for an operator, who asks seldom."""
        return any(one.item.id == delivery for batch in self.under_way.values() for one in batch.members)

    def wait_s(self, now_s: float) -> float | None:
        """Say how long the next batch may wait for more; None: there is nothing to send."""
        if self._again:
            return 0.0
        if not self._forming:
            return None
        if self._count >= self.policy.events_max:
            return 0.0
        return max(0.0, self._since_s + self.policy.linger_ms / 1000 - now_s)

    def take(self, now: Instant, now_s: float) -> Batch:
        """Begin the next batch.

        Args:
            now: what is not to be sent before a later time stays behind.
            now_s: from when on what does not fit waits.
        """
        batch = self._again.popleft() if self._again else self._form(now)
        self._since_s = now_s
        self.under_way[batch.lead] = batch
        return batch

    def _form(self, now: Instant) -> Batch:
        """Take as many events as go together. The first of each key is due, or the key would not be ready."""
        members: list[Member] = []
        size_bytes = FRAME_BYTES
        is_full = False
        while self._forming and not is_full:
            key = self._keys[self._forming[0]]
            for item in key.items:
                if key.taken and (due_at(item) or 0) > now:
                    break
                body = self._render(item)
                size_bytes += len(body) + FRAME_BYTES
                if members and (len(members) == self.policy.events_max or size_bytes > self.policy.bytes_max):
                    is_full = True
                    break
                members.append(Member(self._forming[0], item, body))
                key.taken += 1
            if key.taken or not is_full:
                self._forming.popleft()
        self._count = sum(len(self._keys[one].items) for one in self._forming)
        return Batch(tuple(members))


def by_key(members: Sequence[Member]) -> dict[Subject, list[Item]]:
    """Sort the events of a batch by key, each in its order."""
    found: dict[Subject, list[Item]] = {}
    for one in members:
        found.setdefault(one.subject, []).append(one.item)
    return found
