"""Two peers, an endpoint, and several processes between them on one PostgreSQL: what is judged is the peers' word."""

import asyncio
import random
from pathlib import Path
from typing import Final

import msgspec

from idsync.ports import Store
from proofs import journal
from proofs.claims import Row
from proofs.endpoint import Subscriber, Told
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
from proofs.pair import APP_TABLE, BETTER_AUTH, SECRET, Pair
from proofs.service import Service, run_command

SEED: Final = 20260102
LEASE_S: Final = 5.0
PEOPLE_AT_FIRST: Final = 10
QUIET_S: Final = 120.0
CALM_S: Final = 1.0
PAGE: Final = 500

SETTINGS: Final = """
[endpoints.audit]
url = "{url}"
secret = "{secret}"
events = ["user.*", "order.*"]
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


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the judges complain of, and of how much."""

    unequal: list[str]
    lost: list[str]
    excess: list[str]
    misled: list[str]
    writes: int
    events: int
    repeats: int

    def rows(self, story: str) -> list[Row]:
        """Say it in three rows; `story` is what the peers went through."""
        return [
            Row(
                "both sides equal, no edit lost",
                f"{len(self.unequal) + len(self.lost)} complaints after {story}",
                "0",
                not self.unequal and not self.lost,
            ),
            Row(
                "no effect twice, no echo",
                f"{len(self.excess)} of {self.writes:,} writes without a cause",
                "0",
                not self.excess,
            ),
            Row(
                "endpoint: every event, in order per identity",
                f"{len(self.misled)} of {self.events:,} missing or misplaced, {self.repeats} repeated",
                "0; repeats only oldest first",
                not self.misled,
            ),
        ]


class Stage:
    """Nothing runs before `start`, and nothing after `end`."""

    def __init__(self, folder: Path, subscriber: Subscriber, store_url: str, workers: int) -> None:
        """Write the configuration.

        Args:
            folder: of both peers and every process.
            subscriber: the endpoint.
            store_url: the database that idsync uses.
            workers: how many processes, beside the one that serves.
        """
        settings = SETTINGS.format(url=subscriber.url, secret=SECRET, lease_s=LEASE_S)
        self.subscriber = subscriber
        self.pair = Pair(folder, settings, store=store_url, role="serve")
        self.workers = [Service(folder, "worker", f"worker-{number}.log") for number in range(workers)]
        self.flow = Flow(self.pair, random.Random(SEED))  # the same edits in every run

    @property
    def services(self) -> list[Service]:
        """Every process."""
        return [self.pair.service, *self.workers]

    async def start(self) -> None:
        """Put people into both databases, install capture, and start every process."""
        pair, flow = self.pair, self.flow
        pair.auth.run("PRAGMA journal_mode = WAL")
        pair.auth.run_script((BETTER_AUTH / "schema.sql").read_text())
        pair.app.run_script(APP_TABLE)
        for _ in range(PEOPLE_AT_FIRST):
            flow.auth.insert()
            flow.app.insert()
        status = await run_command(pair.folder, "capture", "install")
        assert status == 0, f"capture install ended with {status}: see service.log"
        pair.begin_journals()
        await self.start_services()

    async def start_services(self) -> None:
        """Start every process, one after the other."""
        for service in self.services:
            await service.start()
            assert await service.is_ready(), "a process did not start: see its log"

    async def end(self) -> None:
        """Leave no process behind."""
        for service in self.services:
            if service.is_started:
                await service.kill()
        self.pair.auth.close()
        self.pair.app.close()

    def strange_lines(self) -> list[str]:
        """Whatever the workers have written to standard error that is no line of their log: a library's, or a trace."""
        logs = [file.read_text() for file in sorted(self.pair.folder.glob("worker-*.log"))]
        return [line for log in logs for line in log.splitlines() if not line.startswith('{"at":')]

    async def judge(self, store: Store) -> Findings:
        """Look once more after a calm, read everything, and print every complaint."""
        entries = self._entries()
        await asyncio.sleep(CALM_S)
        assert entries == self._entries(), "something was written after everything was quiet"
        pair = self.pair
        evidence = Evidence(
            entries=entries,
            tables={AUTH.peer: journal.read_table(pair.auth, AUTH), APP.peer: journal.read_table(pair.app, APP)},
            captured={AUTH.peer: journal.captured(pair.auth), APP.peer: journal.captured(pair.app)},
            store=await read_rows(store),
            told=list(self.subscriber.accepted),
        )
        rings = {
            side.peer: int(str(app.run("SELECT rings_until FROM idsync_capture")[0][0]))
            for side, app in ((AUTH, pair.auth), (APP, pair.app))
        }
        journals = Journals(evidence)
        findings = Findings(
            unequal=[*gaps_of_journals(evidence, journals), *differences(evidence)],
            lost=[*uncaptured(evidence, rings), *lost_edits(journals)],
            excess=list(excess_writes(journals)),
            misled=list(misled_endpoint(evidence)),
            writes=sum(len(journals.writes(peer)) for peer in evidence.tables),
            events=len(evidence.store.events),
            repeats=len(evidence.told) - len({one.event_id for one in evidence.told}),
        )
        if complaints := [*findings.unequal, *findings.lost, *findings.excess, *findings.misled]:
            print(*complaints, f"see {pair.folder}", sep="\n")
            (pair.folder / "keep").touch()
        return findings

    def _entries(self) -> dict[str, list[journal.Entry]]:
        pair = self.pair
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
