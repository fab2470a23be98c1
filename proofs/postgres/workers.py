"""Claim 4: workers sleep, die and are replaced under load; nothing is lost, done twice, or out of order."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from idsync.app.stores import open_store
from idsync.config import parse_settings
from idsync.ports import Store
from idsync.testing.postgres import open_postgres
from proofs.claims import Row
from proofs.endpoint import open_subscriber
from proofs.pair import SECRET, scratch
from proofs.postgres.stage import LEASE_S, QUIET_S, Stage
from proofs.service import Service

WORKERS: Final = 4
SLACK_S: Final = 2.5
"""How long after a lease is over its next owner may look at the latest, and the machine be busy."""
EDITS_AT_A_TIME: Final = 40


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Run four workers and one that serves; make each of them miss some time."""
    rounds = 5 if full else 1
    with open_postgres() as server, scratch("workers") as folder:
        url = await server.new_database()
        async with open_subscriber(SECRET) as subscriber:
            stage = Stage(folder, subscriber, url, WORKERS)
            try:
                return await Trial(stage, url).run(rounds)
            finally:
                await stage.end()


class Trial:
    """What the workers go through."""

    def __init__(self, stage: Stage, store_url: str) -> None:
        """Nothing runs yet."""
        self._stage = stage
        self._workers = stage.workers
        self._flow = stage.flow
        self._settings = parse_settings(f'[store]\nurl = "{store_url}"\n')

    async def run(self, rounds: int) -> list[Row]:
        """Go through all of it; give the rows."""
        await self._stage.start()
        store = await open_store(self._settings)
        try:
            async with self._flow:
                slept, died, left = 0.0, 0.0, 0.0
                for number in range(rounds):
                    slept = max(slept, await self._sleep(store, self._workers[number % WORKERS]))
                    died = max(died, await self._die(store, self._workers[(number + 1) % WORKERS]))
                    left = max(left, await self._replace_all(store))
                self._flow.grant(EDITS_AT_A_TIME)
                await self._flow.drain()
            settled_s = await self._stage.pair.until_quiet(QUIET_S)
            findings = await self._stage.judge(store)
        finally:
            await store.close()
        story = (
            f"{self._flow.edits:,} edits, {rounds} sleeps and kills, {rounds * WORKERS} replacements; "
            f"quiet after {settled_s:.1f} s"
        )
        lost = f"<= {LEASE_S + SLACK_S:.1f} s: the lease and a look"
        kept = f"<= {LEASE_S / 2:.1f} s: half the lease"
        moved = [
            ("a worker stopped beyond its lease", slept, LEASE_S + SLACK_S, lost),
            ("a worker killed with -9", died, LEASE_S + SLACK_S, lost),
            ("a worker told to end (SIGTERM)", left, LEASE_S / 2, kept),
        ]
        return [
            *(
                Row(what, f"others had its work after {moved_s:.1f} s", bound, moved_s <= bound_s)
                for what, moved_s, bound_s, bound in moved
            ),
            *findings.rows(story),
        ]

    async def _sleep(self, store: Store, worker: Service) -> float:
        """Stop one beyond its lease, wake it; give the seconds until others had all that was his."""
        self._flow.grant(EDITS_AT_A_TIME)
        moved_s = await self._lose(store, worker, lambda: worker.signal(signal.SIGSTOP))
        self._flow.grant(EDITS_AT_A_TIME)
        await self._flow.drain()
        worker.signal(signal.SIGCONT)
        await asyncio.sleep(LEASE_S)
        return moved_s

    async def _die(self, store: Store, worker: Service) -> float:
        """Kill one and start another; give the seconds until others had all that was his."""
        self._flow.grant(EDITS_AT_A_TIME)

        async def kill() -> None:
            await worker.kill()

        moved_s = await self._lose(store, worker, kill)
        await worker.start()
        await worker.is_ready()
        return moved_s

    async def _lose(self, store: Store, worker: Service, lose: Callable[[], Awaitable[None] | None]) -> float:
        """Let a worker go, and wait until nothing is his any more."""
        before = await store.holders("")
        his = worker.holder
        assert any(holder == his for holder in before.values()), "the worker has no lease"
        began = time.monotonic()
        if (losing := lose()) is not None:
            await losing
        names = {name for name, holder in before.items() if holder == his and not name.startswith("worker:")}
        while True:
            now = await store.holders("")
            if all(now.get(name) not in {None, his} for name in names):
                return time.monotonic() - began
            if time.monotonic() - began > 5 * LEASE_S:
                raise TimeoutError(f"nobody has taken over {sorted(name for name in names if name not in now)}")
            await asyncio.sleep(0.05)

    async def _replace_all(self, store: Store) -> float:
        """Replace one after the other in good order, under load; give the most seconds until others had its work."""
        moved_s = 0.0
        for worker in self._workers:
            self._flow.grant(EDITS_AT_A_TIME // WORKERS)
            moved_s = max(moved_s, await self._lose(store, worker, partial(worker.signal, signal.SIGTERM)))
            assert await worker.died(QUIET_S) == 0, "a worker did not end in order: see its log"
            await worker.start()
            await worker.is_ready()
        await self._flow.drain()
        return moved_s
