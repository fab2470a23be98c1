"""One write before it is made: find the row and lock it, and say what is to be done about it (DESIGN §5)."""

from collections.abc import Mapping
from typing import Protocol

from idsync.connectors.tables.captured import Capture, image_of
from idsync.connectors.tables.plan import (
    Change,
    Refusal,
    effect_of,
    plan_insert,
    plan_remove,
    plan_update,
    refused,
    removed_since,
)
from idsync.connectors.tables.rows import Found, is_gone
from idsync.connectors.tables.shape import Table
from idsync.model.delivery import Effect, WriteResult
from idsync.model.entity import Action
from idsync.model.values import ExternalId, Instant
from idsync.ports import Write


class Ground(Protocol):
    """An open transaction in the application's database, as the Planner needs it."""

    async def find(self, table: Table, column: str, value: ExternalId) -> list[Found]:
        """Find the rows whose column holds an id, byte for byte, and lock them; at most two."""
        ...

    async def draw_number(self) -> int:
        """Take the next number of the outbox, for a look at rows that are locked."""
        ...

    async def read_receipt(self, effect: str) -> str | None:
        """Say which identity a create made; None: it has made none."""
        ...

    async def drop_receipt(self, effect: str) -> None:
        """Give up what a create made."""
        ...


class Planner:
    """Looks at the peer inside an open transaction and plans writes. What it has found stays locked until the end."""

    def __init__(self, ground: Ground, capture: Capture, tables: Mapping[str, Table], now: Instant) -> None:
        """The transaction is the caller's."""
        self._ground = ground
        self._capture = capture
        self._tables = tables
        self._now = now

    async def plan(self, write: Write) -> Change | WriteResult:
        """Say what has to be done, or why nothing has. Writes nothing, but for a receipt that is spent."""
        table = self._tables.get(write.kind)
        if table is None:
            return refused(write, "unmapped")
        try:
            match write.action:
                case Action.CREATE:
                    return await self._plan_create(write, table)
                case Action.UPDATE:
                    return await self._plan_update(write, table)
                case Action.REMOVE:
                    found = await self._find_own(write, table)
                    return await self._decided(write, table, found, plan_remove(write, table, found, self._now))
        except Refusal as refusal:
            return refused(write, refusal.code)

    async def find(self, table: Table, column: str, value: ExternalId) -> Found | None:
        """Find the one row whose column holds an id, and lock it.

        Raises:
            Refusal: there are two.
        """
        rows = await self._ground.find(table, column, value)
        if len(rows) > 1:
            raise Refusal("ambiguous")
        return rows[0] if rows else None

    async def result(
        self, write: Write, table: Table, effect: Effect, found: Found | None, number: int | None = None
    ) -> WriteResult:
        """Answer with the image of the row as it is now: as of an event's number, else of a new one."""
        if found is None:
            return WriteResult(entity=write.entity, effect=effect)
        if number is None:
            number = await self._ground.draw_number()
        image = image_of(self._capture, table, found, number, self._now)
        return WriteResult(entity=write.entity, effect=effect, image=image)

    async def forget(self, write: Write) -> None:
        """Give up an entity's receipt: its next create makes a new identity."""
        await self._ground.drop_receipt(effect_of(write))

    async def _plan_create(self, write: Write, table: Table) -> Change | WriteResult:
        """Make an identity, unless it was made before: then what is there is compared like any other row."""
        receipt = await self._ground.read_receipt(effect_of(write))
        if receipt is not None:
            made = await self.find(table, table.key, ExternalId(receipt))
            if made is not None and not is_gone(table, made.row):
                return await self._compare(write, table, made)
            await self.forget(write)
            return removed_since(write)
        found = await self._find_own(write, table)
        return plan_insert(write, table, self._now) if found is None else await self._compare(write, table, found)

    async def _plan_update(self, write: Write, table: Table) -> Change | WriteResult:
        found = await self.find(table, table.key, write.external_id) if write.external_id is not None else None
        if found is None or is_gone(table, found.row):
            return WriteResult(entity=write.entity, effect=Effect.ABSENT)
        return await self._compare(write, table, found)

    async def _compare(self, write: Write, table: Table, found: Found) -> Change | WriteResult:
        return await self._decided(write, table, found, plan_update(write, table, found, self._now))

    async def _decided(
        self, write: Write, table: Table, found: Found | None, planned: Change | Effect
    ) -> Change | WriteResult:
        return planned if isinstance(planned, Change) else await self.result(write, table, planned, found)

    async def _find_own(self, write: Write, table: Table) -> Found | None:
        """Find an identity by its own id, else by the link that says whose it is."""
        found = await self.find(table, table.key, write.external_id) if write.external_id is not None else None
        if found is None and table.link is not None and write.link_id is not None:
            found = await self.find(table, table.link, write.link_id)
        return found
