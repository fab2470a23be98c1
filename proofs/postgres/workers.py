"""Claim 4: workers sleep, die and are replaced under load; nothing is lost, done twice, or out of order."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

from idsync.app.stores import open_store
from idsync.config import parse_settings
from idsync.ports import Store
from idsync.testing.postgres import open_postgres
from proofs import journal
from proofs.claims import Row
from proofs.endpoint import Subscriber, Told, open_subscriber
from proofs.flow import Flow
from proofs.journal import APP, AUTH
from proofs.judge import (
    Evidence,
    Journals,
    StoreRows,
    differences,
    excess_writes,
    gaps_of_journals,
    lost_edits,
    misled_endpoint,
    uncaptured,
)
from proofs.pair import APP_TABLE, BETTER_AUTH, SECRET, Pair, scratch
from proofs.service import Service, run_command

SEED: Final = 20260102
WORKERS: Final = 4
LEASE_S: Final = 5.0
SLACK_S: Final = 2.5
"""How long after a lease is over its next owner may look at the latest, and the machine be busy."""
PEOPLE_AT_FIRST: Final = 10
EDITS_AT_A_TIME: Final = 40
QUIET_S: Final = 120.0
CALM_S: Final = 1.0
PAGE: Final = 500

SETTINGS: Final = """
[endpoints.audit]
url = "{url}"
secret = "{secret}"
events = ["user.*"]
timeout_s = 1
[delivery]
allow_cidrs = ["127.0.0.0/8"]
lease_s = {lease_s}
[delivery.retry]
first_s = 0.2
cap_s = 2
attempts_max = 1000
[ingest]
max_deletes_per_minute = 100000
"""


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Run four workers and one that serves; make each of them miss some time."""
    rounds = 5 if full else 1
    with open_postgres() as server, scratch("workers") as folder:
        url = await server.new_database()
        async with open_subscriber(SECRET) as subscriber:
            settings = SETTINGS.format(url=subscriber.url, secret=SECRET, lease_s=LEASE_S)
            with Pair(folder, settings, store=url, role="serve") as pair:
                trial = Trial(pair, subscriber, url)
                try:
                    return await trial.run(rounds)
                finally:
                    await trial.end()


class Trial:
    """Two peers, several workers between them, and what they go through."""

    def __init__(self, pair: Pair, subscriber: Subscriber, store_url: str) -> None:
        """Nothing runs yet."""
        self._pair = pair
        self._subscriber = subscriber
        self._settings = parse_settings(f'[store]\nurl = "{store_url}"\n')
        self._workers = [Service(pair.folder, "worker", f"worker-{number}.log") for number in range(WORKERS)]
        self._flow = Flow(pair, random.Random(SEED))  # the same edits in every run

    async def run(self, rounds: int) -> list[Row]:
        """Go through all of it; give the rows."""
        await self._install()
        await self._pair.service.start()
        await self._pair.service.is_ready()
        store = await open_store(self._settings)
        try:
            for worker in self._workers:
                await worker.start()
                await worker.is_ready()
            async with self._flow:
                slept, died = 0.0, 0.0
                for number in range(rounds):
                    slept = max(slept, await self._sleep(store, self._workers[number % WORKERS]))
                    died = max(died, await self._die(store, self._workers[(number + 1) % WORKERS]))
                    await self._replace_all()
                self._flow.grant(EDITS_AT_A_TIME)
                await self._flow.drain()
            settled_s = await self._pair.until_quiet(QUIET_S)
            return await self._judge(store, slept, died, rounds, settled_s)
        finally:
            await store.close()

    async def end(self) -> None:
        """Leave no process behind."""
        for service in (*self._workers, self._pair.service):
            if service.is_started:
                await service.kill()

    async def _install(self) -> None:
        pair, flow = self._pair, self._flow
        pair.auth.run("PRAGMA journal_mode = WAL")
        pair.auth.run_script((BETTER_AUTH / "schema.sql").read_text())
        pair.app.run_script(APP_TABLE)
        for _ in range(PEOPLE_AT_FIRST):
            flow.auth.insert()
            flow.app.insert()
        status = await run_command(pair.folder, "capture", "install")
        assert status == 0, f"capture install ended with {status}: see service.log"
        pair.begin_journals()

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

    async def _replace_all(self) -> None:
        """Replace one after the other in good order, under load."""
        for worker in self._workers:
            self._flow.grant(EDITS_AT_A_TIME // WORKERS)
            await worker.stop()
            await worker.start()
            await worker.is_ready()
        await self._flow.drain()

    async def _judge(self, store: Store, slept: float, died: float, rounds: int, settled_s: float) -> list[Row]:
        """Look once more after a calm, and read everything."""
        pair = self._pair
        entries = self._entries()
        await asyncio.sleep(CALM_S)
        assert entries == self._entries(), "something was written after everything was quiet"
        evidence = Evidence(
            entries=entries,
            tables={AUTH.peer: journal.read_table(pair.auth, AUTH), APP.peer: journal.read_table(pair.app, APP)},
            captured={AUTH.peer: journal.captured(pair.auth), APP.peer: journal.captured(pair.app)},
            store=await read_rows(store),
            told=list(self._subscriber.accepted),
        )
        rings = {
            side.peer: int(str(app.run("SELECT rings_until FROM idsync_capture")[0][0]))
            for side, app in ((AUTH, pair.auth), (APP, pair.app))
        }
        journals = Journals(evidence)
        unequal = [*gaps_of_journals(evidence, journals), *differences(evidence)]
        lost = [*uncaptured(evidence, rings), *lost_edits(journals)]
        excess, misled = list(excess_writes(journals)), list(misled_endpoint(evidence))
        for complaint in (*unequal, *lost, *excess, *misled):
            print(complaint)
        if unequal or lost or excess or misled:
            (pair.folder / "keep").touch()
        writes = sum(len(journals.writes(peer)) for peer in evidence.tables)
        repeats = len(evidence.told) - len({one.event_id for one in evidence.told})
        within = f"<= {LEASE_S + SLACK_S:.0f} s: the lease and a look"
        return [
            Row(
                "a worker stopped beyond its lease",
                f"others had its work after {slept:.1f} s",
                within,
                slept <= LEASE_S + SLACK_S,
            ),
            Row(
                "a worker killed with -9", f"others had its work after {died:.1f} s", within, died <= LEASE_S + SLACK_S
            ),
            Row(
                "both sides equal, no edit lost",
                f"{len(unequal) + len(lost)} complaints after {self._flow.edits:,} edits, {rounds} sleeps and kills, "
                f"{rounds * WORKERS} replacements; quiet after {settled_s:.1f} s",
                "0",
                not unequal and not lost,
            ),
            Row("no effect twice, no echo", f"{len(excess)} of {writes:,} writes without a cause", "0", not excess),
            Row(
                "endpoint: every event, in order per identity",
                f"{len(misled)} of {len(evidence.store.events):,} missing or misplaced, {repeats} repeated",
                "0; repeats only oldest first",
                not misled,
            ),
        ]

    def _entries(self) -> dict[str, list[journal.Entry]]:
        pair = self._pair
        return {AUTH.peer: journal.read(pair.auth, AUTH), APP.peer: journal.read(pair.app, APP)}


async def read_rows(store: Store) -> StoreRows:
    """Read what a judge must know, through the store's own verbs."""
    owners: dict[tuple[str, str], str] = {}
    after = None
    while entities := await store.page("user", after, PAGE):
        for entity in entities:
            for peer, link in entity.links.items():
                ids = [one for one in (link.external_id, *link.former) if one is not None]
                owners |= dict.fromkeys(((peer, one) for one in ids), entity.id)
        after = entities[-1].id
    taken: dict[str, set[int]] = {}
    events: list[Told] = []
    seq = 0
    while rows := await store.recent(seq, PAGE):
        for entry in rows:
            number = entry.row.id.removesuffix(":refused").rpartition(":")[2]
            if number.isdigit():
                taken.setdefault(entry.row.peer, set()).add(int(number))
            if entry.row.event_id is not None and entry.row.event_subject is not None:
                events.append(Told(entry.row.event_id, str(entry.row.event_subject), entry.row.version))
        seq = rows[-1].seq
    return StoreRows(owners=owners, taken=taken, events=events)
