"""What operators ask for, and what the store needs to stay small: commands and retention."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from idsync import crash
from idsync.model.delivery import Parked, ParkedState
from idsync.model.event import Arrival, Verdict
from idsync.model.plan import Command, CommandName, InboxRow, Plan, Settle, Wait, Waiting
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.wake import wait_for
from idsync.ports import Clock, ParkedFilter, Store
from idsync.telemetry import Counters

DISCARDED: Final = "discarded"
COMMANDS_MAX = 100
ROWS_MAX = 500
COMMAND_AGE_MAX_MS = 60_000
"""After this a command is over, whoever has not done his part: his destination is gone or disabled."""
TRIM_EVERY_S = 5.0
TRIM_ROWS_MAX = 5_000
"""Rows deleted in one transaction: few enough that nobody waits for them."""


class Owner(Protocol):
    """The owner of a destination's parked rows."""

    def requeue(self, row: Parked) -> None:
        """Try a dead row again."""
        ...


class Commander:
    """Carries out the commands that operators inserted, each by the owner of what it names."""

    def __init__(
        self, store: Store, owner_of: Callable[[Parked], Owner | None], settler: Settler, clock: Clock, epoch: int
    ) -> None:
        """Wire it."""
        self._store = store
        self._owner_of = owner_of
        self._settler = settler
        self._clock = clock
        self._epoch = epoch
        self._wake = asyncio.Event()

    def ring(self) -> None:
        """There is a new command."""
        self._wake.set()

    async def tick(self) -> float:
        """Carry out what is asked; return the seconds until the next look."""
        self._wake.clear()
        commands = await self._store.commands(COMMANDS_MAX)
        for command in commands:
            match command.name:
                case CommandName.REQUEUE:
                    await self._requeue(command)
                case CommandName.DISCARD:
                    await self._discard(command)
            crash.point("command.before_commit")
            if await self._is_done(command):
                self._settler.finish(command.id)
        await self._settler.flush()
        return 0.0 if len(commands) == COMMANDS_MAX else 1.0

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be a command, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    async def _is_done(self, command: Command) -> bool:
        """Whether nobody else has a part in it: where several processes own the lanes, each does its own."""
        is_of_no_lane = command.waiting and not command.deliveries and command.destination is None
        if is_of_no_lane or self._store.has_one_writer or self._clock.now() - command.asked_at > COMMAND_AGE_MAX_MS:
            return True
        await self._settler.flush()
        wanted = ParkedFilter(destination=command.destination, state=ParkedState.DEAD)
        left = {row.id for row in await self._dead(wanted, ROWS_MAX)}
        return not (left.intersection(command.deliveries) if command.deliveries else left)

    async def _requeue(self, command: Command) -> None:
        """Safe to repeat: a row that is no longer dead is left alone."""
        for number in command.waiting:
            await self._let_pass(number)
        if command.deliveries:
            for number in command.deliveries:
                for row in await self._dead(ParkedFilter(state=ParkedState.DEAD, after=number - 1), 1):
                    if row.id == number:
                        self._requeue_row(row)
            return
        if command.waiting and command.destination is None:
            return
        after = 0
        while rows := await self._dead(
            ParkedFilter(destination=command.destination, state=ParkedState.DEAD, after=after), ROWS_MAX
        ):
            for row in rows:
                self._requeue_row(row)
            after = rows[-1].id

    async def _dead(self, wanted: ParkedFilter, limit: int) -> list[Parked]:
        return list(await self._store.parked(wanted, limit))

    def _requeue_row(self, row: Parked) -> None:
        owner = self._owner_of(row)
        if owner is not None:
            owner.requeue(row)

    async def _let_pass(self, seq: int) -> None:
        """Make a waiting arrival due now."""
        one = await find_wait(self._store, seq)
        if one is not None:
            again = Wait(seq=seq, reason=one.reason, key=one.key, retry_at=self._clock.now(), attempts=one.attempts)
            await self._store.commit(Plan(epoch=self._epoch, waits=(again,), at=self._clock.now()))

    async def _discard(self, command: Command) -> None:
        """Give up arrivals that nobody understands. Safe to repeat: one that waits no longer is left alone."""
        for number in command.waiting:
            one = await find_wait(self._store, number)
            if one is not None and not is_understood(one):
                ended = Settle(seq=number, row=_discarded(one))
                await self._store.commit(Plan(epoch=self._epoch, settles=(ended,), at=self._clock.now()))


async def find_wait(store: Store, seq: int) -> Waiting | None:
    """Find what waits under an inbox sequence."""
    return next((one for one in await store.waits(seq - 1, 1) if one.seq == seq), None)


def is_understood(one: Waiting) -> bool:
    """Whether it says something of somebody: then it may be tried again, and giving it up could lose a change."""
    try:
        arrival = msgspec.json.decode(one.body, type=Arrival)
    except msgspec.DecodeError:
        return False  # the key that opened it is destroyed
    return arrival.observation is not None or arrival.event is not None


def _discarded(one: Waiting) -> InboxRow:
    """Write the row of what was given up: its id stays known, and what it held is forgotten."""
    return InboxRow(
        peer=one.peer,
        id=one.id,
        type=one.type,
        subject=one.subject,
        received_at=one.parked_at,
        verdict=Verdict.REFUSED,
        reason=DISCARDED,
    )


class Janitor:
    """Deletes what is past its retention, a little at a time."""

    def __init__(self, store: Store, clock: Clock, counters: Counters) -> None:
        """Wire it."""
        self._store = store
        self._clock = clock
        self._counters = counters

    async def tick(self) -> float:
        """Delete one bounded piece; return the seconds until the next."""
        crash.point("retention.before_commit")
        deleted = await self._store.trim(self._clock.now(), TRIM_ROWS_MAX)
        self._counters.add("idsync_trimmed_total", "rows", deleted)
        return 0.05 if deleted >= TRIM_ROWS_MAX else TRIM_EVERY_S

    async def wait(self, timeout_s: float) -> None:
        """Sleep: nothing wakes a janitor."""
        await self._clock.sleep(timeout_s)
