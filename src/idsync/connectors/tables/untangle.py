"""A batch of writes, in few short transactions of the application's own database.

Those that stand in each other's way, as two that swap a unique value do, are made together at the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from idsync.connectors.tables.plan import Change, refused
from idsync.model.delivery import Effect, WriteResult
from idsync.ports import Write

TRANSACTION_WRITES_MAX: Final = 50
"""Each has a savepoint of its own; more than 64 of them would slow every other transaction of a PostgreSQL server."""
DEADLOCKS_MAX: Final = 3
"""How often writes that met a deadlock are begun anew before they are left for later."""
BATCH_S: Final = 20.0
"""After this the rest of a batch is left for later: no request may be under way when its intent has expired."""
KNOT_WRITES_MAX: Final = 16
"""Writes that are untangled together; each that fails costs another try of the rest."""
LOCKED_RETRY_S: Final = 1.0

Carry = Callable[[Sequence[Write]], Awaitable[list[WriteResult]]]
"""Carries out writes, the first of them at least; the results come in the same order."""


class Contended(Exception):
    """Another transaction was in the way of a write, and the write is undone.

    Attributes:
        is_deadlock: whether the same again will do, and MariaDB has undone all that was written before; else that stays
            as it is, and somebody holds the row for longer.
    """

    def __init__(self, *, is_deadlock: bool) -> None:
        super().__init__()
        self.is_deadlock = is_deadlock


class Undoable(Protocol):
    """An open transaction whose parts can be undone."""

    async def plan(self, write: Write) -> Change | WriteResult:
        """Say what a write has to change, or why nothing."""
        ...

    async def carry_out(self, change: Change) -> WriteResult:
        """Write one change that is planned."""
        ...

    async def vacate(self, change: Change) -> bool:
        """Give up a row's unique texts for a moment; say whether the table let go of them."""
        ...

    async def begin(self, savepoint: str) -> None:
        """Begin a part that can be undone."""
        ...

    async def keep(self, savepoint: str) -> None:
        """Make the part one with the transaction."""
        ...

    async def undo(self, savepoint: str) -> None:
        """Undo the part."""
        ...


async def write_batch(writes: Sequence[Write], some: Carry, together: Carry) -> list[WriteResult]:
    """Carry out writes, each by itself; the results come in the same order.

    Args:
        writes: in the order they are made.
        some: carries out the first of those it is given, as many as fit into one short transaction.
        together: carries out writes in one transaction, each of which gives way to the others; none where it cannot.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + BATCH_S
    results: list[WriteResult] = []
    while len(results) < len(writes) and loop.time() < ends_at:
        results += await some(writes[len(results) :][:TRANSACTION_WRITES_MAX])
    results += [later(write, "busy") for write in writes[len(results) :]]
    for members in knots_of(results):
        untangled = await together([writes[index] for index in members])
        for index, result in zip(members, untangled, strict=False):
            results[index] = result
    return results


def knots_of(results: Sequence[WriteResult]) -> Iterator[list[int]]:
    """Say which writes of a batch may stand in each other's way, a few at a time: those that met a unique value."""
    knotted = [index for index, result in enumerate(results) if result.error == "unique"]
    if len(results) > 1:
        for start in range(0, len(knotted), KNOT_WRITES_MAX):
            yield knotted[start : start + KNOT_WRITES_MAX]


async def untangle(transaction: Undoable, writes: Sequence[Write]) -> list[WriteResult]:
    """Carry out writes that stand in each other's way: all give up their unique values, then each takes its new one.

    Those that fail even so are refused, and the others are tried without them.
    """
    results: dict[int, WriteResult] = {}
    open_changes: dict[int, Change] = {}
    for index, write in enumerate(writes):
        planned = await transaction.plan(write)
        if isinstance(planned, Change):
            open_changes[index] = planned
        else:
            results[index] = planned
    while open_changes:
        done = await _carry_out_together(transaction, open_changes)
        failed = {index: result for index, result in done.items() if result.effect is Effect.REFUSED}
        results |= done
        open_changes = {index: change for index, change in open_changes.items() if failed and index not in failed}
    return [results[index] for index in range(len(writes))]


async def _carry_out_together(transaction: Undoable, changes: Mapping[int, Change]) -> dict[int, WriteResult]:
    """Carry out all or nothing: where one is refused, the savepoint is undone."""
    await transaction.begin("knot")
    results: dict[int, WriteResult] = {}
    for index, change in changes.items():
        if len(changes) > 1 and not await transaction.vacate(change):
            results[index] = refused(change.write, "unique")
    if not results:
        results = {index: await transaction.carry_out(change) for index, change in changes.items()}
    if any(result.effect is Effect.REFUSED for result in results.values()):
        await transaction.undo("knot")
    else:
        await transaction.keep("knot")
    return results


def later(write: Write, why: str) -> WriteResult:
    """Answer that a write is due again soon."""
    return WriteResult(entity=write.entity, effect=Effect.UNAVAILABLE, error=why, retry_after_s=LOCKED_RETRY_S)
