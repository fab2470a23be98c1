"""One key of an endpoint in memory: at most one delivery is under way, and nothing of the key overtakes it.

A key is *active* (its first item is ready or being sent), *waiting* (its first item is parked until a time), or
*refilling* (what comes next stands in `parked` and has to be read). A key with nothing left is forgotten.
"""

from collections.abc import Iterable
from enum import Enum, auto

from idsync.model.delivery import Delivery, Parked

Item = Delivery | Parked


class KeyPhase(Enum):
    """What a key is doing."""

    ACTIVE = auto()
    WAITING = auto()
    REFILLING = auto()
    EMPTY = auto()


class Key:
    """The deliveries of one subject at one endpoint, oldest first."""

    __slots__ = ("items", "phase", "spilled", "taken")

    def __init__(self) -> None:
        self.items: list[Item] = []
        """In memory, few: no deque, which takes 600 bytes even for one. The first is the one under way or waiting."""
        self.spilled = 0
        """Rows of this key in `parked` that are not in memory; all of them come after `items`."""
        self.phase = KeyPhase.EMPTY
        self.taken = 0
        """How many of the first items are in a batch together: they stay in memory until it is answered."""

    @property
    def current(self) -> Item:
        """The item that is ready, under way, or waiting."""
        return self.items[0]

    def add(self, delivery: Delivery, window_max: int) -> bool:
        """Take the newest delivery of the key; False: it must be parked behind the others instead, and is counted."""
        phase = self.phase  # compared, not looked up: an enum's hash is Python's, 0.3 µs
        is_held = phase is KeyPhase.WAITING or phase is KeyPhase.REFILLING
        if is_held or self.spilled or len(self.items) >= window_max:
            self.spilled += 1
            return False
        self.items.append(delivery)
        self.phase = KeyPhase.ACTIVE
        return True

    def replace(self, count: int, items: Iterable[Item]) -> None:
        """Put what is left of the first items, which were sent together, in their place."""
        self.items = [*items, *self.items[count:]]
        self.taken -= count

    def settle(self) -> None:
        """Find out what is next, once the first items are gone."""
        if self.items:
            self.phase = KeyPhase.ACTIVE
        else:
            self.phase = KeyPhase.REFILLING if self.spilled else KeyPhase.EMPTY

    def wake(self) -> None:
        """The time of the waiting item has come."""
        self.phase = KeyPhase.ACTIVE

    def advance(self) -> None:
        """The first item needs nothing more: go on to the next."""
        del self.items[0]
        self.settle()

    def hold(self, row: Parked) -> list[Delivery]:
        """The first item failed and waits as `row`; return the deliveries that have to be parked behind it."""
        self.taken = 0
        rest = self._spill()
        self.items[0] = row
        self.phase = KeyPhase.WAITING
        return rest

    def refill(self, rows: Iterable[Parked]) -> None:
        """Take rows that were read, oldest first; without any the key keeps waiting for them."""
        self.items.extend(rows)
        self.spilled = max(0, self.spilled - len(self.items))
        if self.items:
            self.phase = KeyPhase.ACTIVE

    def revive(self, row: Parked) -> list[Delivery]:
        """A dead row comes back (an operator's command); return the deliveries that have to be parked behind it.

        It goes before everything of the key that came later; only what is under way right now is not called back.
        """
        if self.phase is KeyPhase.EMPTY:
            self.items.append(row)
            self.phase = KeyPhase.WAITING
            return []
        if self.phase is KeyPhase.WAITING and row.id < self.current.id:
            self.spilled += len(self.items)
            self.items = [row]
            return []
        self.spilled += 1
        return self._spill() if self.items else []

    def _spill(self) -> list[Delivery]:
        """Put all but what is under way out of memory; parked rows are in the store, deliveries are returned."""
        kept = max(1, self.taken)
        spilled = self.items[kept:]
        del self.items[kept:]
        self.spilled += len(spilled)
        return [item for item in spilled if isinstance(item, Delivery)]
