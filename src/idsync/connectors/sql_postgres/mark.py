"""Where reading an outbox stands: what is visible in one snapshot and was not in the one before it, by number.

Never `number > cursor`: numbers become visible out of order, and such a cursor passes those that are late. A snapshot
names exactly the transactions that were over when it was taken, so the difference of two of them misses nothing and
repeats nothing, and of one row of the application it always holds a prefix of what is still to come: its trigger draws
the number while the row is locked.
"""

from typing import Final

import msgspec

from idsync.model.plan import Position

NOTHING: Final = "1:1:"
"""The snapshot in which no transaction was over yet."""


class Edge(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot, and what was known just before and just after it was taken."""

    snapshot: str
    last: int
    """The newest number that was drawn before it."""
    end: int
    """The first transaction that had not begun after it. All of those and no others have only numbers past `last`: a
    snapshot itself ends with the newest transaction that was over, and some that began later were under way."""


START: Final = Edge(NOTHING, 0, 0)


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a Position carries for us, as JSON text."""

    cluster: str
    """Which server, and which of its histories: `<system identifier>/<timeline>`."""
    row: int
    """The number of the last row that was read, whose nonce the position has; 0: none was."""
    seen: Edge
    """Whatever is visible in this snapshot is taken in."""
    next: Edge | None = None
    """The snapshot that is being taken in, page by page; None: none is."""
    inside: int = 0
    """How far: the greatest number of the difference that was read."""

    def position(self, generation: str, nonce: str) -> Position:
        """Write it as a position. Its number is that of `seen`.

        Who drew a number up to it while they held a row of the application against change may rely on this: whatever of
        the row was committed before is taken in. It was over when the number was drawn, and that was before the
        snapshot was taken.
        """
        return Position(generation, self.seen.last, nonce, msgspec.json.encode(self).decode())


def mark_of(position: Position) -> Mark | None:
    """Read a position's mark; None: it is none of ours."""
    try:
        return msgspec.json.decode(position.mark, type=Mark)
    except msgspec.DecodeError:
        return None


def end_of(snapshot: str) -> int:
    """Give the transaction that a snapshot ends before: the one after the newest that was over."""
    return int(snapshot.split(":")[1])
