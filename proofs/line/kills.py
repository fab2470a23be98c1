"""Claim 3: killed anywhere, both sides end equal, nothing is lost, nothing happens twice, by the peers' journals.

The service is killed at every named point and at random moments, again and again, while edits flow on both sides.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from idsync import crash
from proofs import journal
from proofs.claims import Row, count
from proofs.endpoint import Subscriber, open_subscriber
from proofs.flow import Flow
from proofs.journal import APP, AUTH
from proofs.judge import (
    Evidence,
    Journals,
    differences,
    excess_writes,
    gaps_of_journals,
    lost_edits,
    misled_endpoint,
    read_store,
    uncaptured,
)
from proofs.pair import APP_TABLE, BETTER_AUTH, SECRET, Pair, last_captured, scratch
from proofs.service import run_command

SEED: Final = 20260101
PEOPLE_AT_FIRST: Final = 20
"""On each side, before capture is installed."""
DIES_WITHIN_S: Final = 30.0
LIVES_MAX: Final = 3
"""Lives in which a point may be passed: when a timer is due, or who is quicker, is chance."""
LIFE_MAX_S: Final = 1.2
STARTING: Final = 0.2
"""The share of random kills that come while the service still starts."""
QUIET_S: Final = 180.0
CALM_S: Final = 1.0
"""How long everything is watched once it is quiet: nothing may be written then."""
SHOWN_MAX: Final = 12
HOT: Final = frozenset({"ingest", "store", "intent", "target", "send"})
"""Points that every edit passes: the process dies at one of the first passes of its life."""
HOT_PASSES: Final = 3

ENDPOINT: Final = """
[endpoints.audit]
url = "{url}"
secret = "{secret}"
events = ["user.*"]
[delivery]
allow_cidrs = ["127.0.0.0/8"]
[delivery.retry]
first_s = 0.2
cap_s = 2
attempts_max = 1000
[ingest]
max_deletes_per_minute = 100000
"""
APART: Final = ("capture.in_transaction", "rewind.in_transaction")
"""Points that need more than a running service and edits."""
ELSEWHERE: Final = ("endpoint.", "replay.", "skip.", "settle.announced")
"""What the points begin with that edits never pass; tests/unit/app kills there, on both stores."""
POINTS: Final = tuple(name for name in crash.POINTS if not name.startswith(ELSEWHERE))


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Kill, restart, wait for quiet, judge."""
    kills, edits = (200, 5_000) if full else (20, 500)
    with scratch("kills") as folder:
        async with open_subscriber(SECRET) as subscriber:
            settings = ENDPOINT.format(url=subscriber.url, secret=SECRET)
            with Pair(folder, settings) as pair:
                trial = Trial(pair, subscriber)
                try:
                    return await trial.run(kills, edits)
                finally:
                    await trial.end()


class Trial:
    """One pair of peers, and what it goes through."""

    def __init__(self, pair: Pair, subscriber: Subscriber) -> None:
        """Nothing runs yet."""
        self._pair = pair
        self._service = pair.service
        self._subscriber = subscriber
        self._chance = random.Random(SEED)
        self._flow = Flow(pair, self._chance)
        self._passed: set[str] = set()

    async def run(self, kills: int, edits: int) -> list[Row]:
        """Go through all of it; give the rows."""
        points = [name for name in POINTS if name not in APART]
        share = -(-edits // (len(points) + 1 + kills))
        await self._install()
        async with self._flow:
            for name in points:
                await self._die_at(name, share)
            await self._rewind(share)
            for _ in range(kills):
                self._flow.grant(share)
                await self._die_at_random()
            await self._service.start()
            await self._service.is_ready()
            await self._flow.drain()
        settled_s = await self._pair.until_quiet(QUIET_S)
        evidence, rings_until = await self._gather()
        return self._judge(evidence, rings_until, kills, settled_s)

    async def end(self) -> None:
        """Leave no service behind."""
        if self._service.is_started:
            await self._service.kill()

    async def _install(self) -> None:
        """Make both databases, with people in them, and kill the installation of capture at either."""
        pair, flow = self._pair, self._flow
        pair.auth.run("PRAGMA journal_mode = WAL")
        pair.auth.run_script((BETTER_AUTH / "schema.sql").read_text())
        pair.app.run_script(APP_TABLE)
        for _ in range(PEOPLE_AT_FIRST):
            flow.auth.insert()
            flow.app.insert()
        for number in (1, 2):
            status = await run_command(pair.folder, "capture", "install", crash=f"capture.in_transaction:{number}")
            if status == -9:
                self._passed.add("capture.in_transaction")
        status = await run_command(pair.folder, "capture", "install")
        assert status == 0, f"capture install ended with {status}: see service.log"
        pair.begin_journals()

    async def _die_at(self, name: str, share: int) -> None:
        """One life that ends at a point; where it was not passed in time, another one, with further edits."""
        for _ in range(LIVES_MAX):
            self._flow.grant(share)
            passes = self._chance.randint(1, HOT_PASSES) if name.partition(".")[0] in HOT else 1
            await self._service.start(f"{name}:{passes}")
            if await self._service.is_ready() and (provoke := self._provocations.get(name)) is not None:
                # The answer to what kills it may be lost with it.
                await asyncio.gather(provoke(self), return_exceptions=True)
            status = await self._service.died(DIES_WITHIN_S)
            await self._service.kill()
            if status == -9:
                self._passed.add(name)
                return
            print(f"{name} was not passed; the process ended with {status}", file=sys.stderr)

    async def _die_at_random(self) -> None:
        """One life that ends at some moment."""
        await self._service.start()
        if self._chance.random() >= STARTING:
            await self._service.is_ready()
        await asyncio.sleep(self._chance.uniform(0, LIFE_MAX_S))
        await self._service.kill()

    async def _rewind(self, share: int) -> None:
        """Let the last row that was read disappear, as after a restore, and die while beginning anew."""
        await self._service.start()
        await self._service.is_ready()
        await self._flow.drain()
        await self._pair.until_quiet(QUIET_S)
        await self._service.stop()
        self._pair.auth.run("DELETE FROM idsync_outbox WHERE seq = ?", last_captured(self._pair.auth))
        await self._die_at("rewind.in_transaction", share)

    async def _fail_requests(self) -> None:
        self._subscriber.failures_due += 3

    async def _ring(self) -> None:
        for _ in range(3):
            await self._flow.make(self._flow.app.replace_other, self._flow.app)

    async def _release(self) -> None:
        """A row that names an identity which nobody knows yet waits, and goes on once that identity is there."""
        flow, user_id, email = self._flow, f"early{self._flow.edits}", self._flow.names.email()

        def arrive_early() -> None:
            flow.app.insert_linked(user_id, email)

        await flow.make(arrive_early, flow.app)
        try:
            while (await self._service.get("/v1/stats"))["waiting"] == 0:
                await asyncio.sleep(0.02)
        finally:
            await flow.make(lambda: flow.auth.sign_up(user_id, email), flow.auth)

    async def _command(self) -> None:
        await self._service.post("/v1/deliveries/requeue", {"all": True})

    _provocations: Final[dict[str, Callable[["Trial"], Awaitable[None]]]] = {
        "park.before_commit": _fail_requests,
        "health.before_commit": _fail_requests,
        "reread.before_commit": _ring,
        "release.before_commit": _release,
        "command.before_commit": _command,
        "rewind.in_transaction": _ring,
    }

    async def _gather(self) -> tuple[Evidence, dict[str, int]]:
        """Look once more after a calm, stop the service, and read everything."""
        pair = self._pair
        entries = {AUTH.peer: journal.read(pair.auth, AUTH), APP.peer: journal.read(pair.app, APP)}
        await asyncio.sleep(CALM_S)
        later = {AUTH.peer: journal.read(pair.auth, AUTH), APP.peer: journal.read(pair.app, APP)}
        assert entries == later, "something was written after everything was quiet"
        await self._service.stop()
        evidence = Evidence(
            entries=entries,
            tables={AUTH.peer: journal.read_table(pair.auth, AUTH), APP.peer: journal.read_table(pair.app, APP)},
            captured={AUTH.peer: journal.captured(pair.auth), APP.peer: journal.captured(pair.app)},
            store=read_store(str(pair.folder / "idsync.db")),
            told=list(self._subscriber.accepted),
        )
        rings = {
            side.peer: int(str(app.run("SELECT rings_until FROM idsync_capture")[0][0]))
            for side, app in ((AUTH, pair.auth), (APP, pair.app))
        }
        return evidence, rings

    def _judge(self, evidence: Evidence, rings_until: dict[str, int], kills: int, settled_s: float) -> list[Row]:
        journals = Journals(evidence)
        missed = sorted(set(POINTS) - self._passed)
        people = len(evidence.tables[AUTH.peer])
        outside = sum(len(journals.outside(peer)) for peer in evidence.tables)
        writes = sum(len(journals.writes(peer)) for peer in evidence.tables)
        captured = sum(len(rows) for rows in evidence.captured.values())
        unequal = [*gaps_of_journals(evidence, journals), *differences(evidence)]
        lost = [*uncaptured(evidence, rings_until), *lost_edits(journals)]
        excess = list(excess_writes(journals))
        misled = list(misled_endpoint(evidence))
        misled += ["an event was not signed as it came"] * self._subscriber.unsigned
        for complaint in [f"never passed: {name}" for name in missed] + unequal + lost + excess + misled:
            self._tell(complaint)
        if missed or unequal or lost or excess or misled:
            self._keep()
        points = len(POINTS)
        repeats = len(evidence.told) - len({one.event_id for one in evidence.told})
        return [
            Row("kill -9 at named points", f"{points - len(missed)} of {points}", "every one", not missed),
            Row(
                "kill -9 at random moments",
                f"{kills} kills while {self._flow.edits:,} edits flowed",
                "20 and 500; FULL 200 and 5,000",
                holds=True,
            ),
            Row(
                "both sides equal, field by field",
                f"{count(len(unequal), 'differences')} in {count(people, 'people')}, quiet after {settled_s:.1f} s",
                "0",
                not unequal,
            ),
            Row(
                "no edit lost",
                f"{len(lost)} of {outside:,} changes in {captured:,} captured rows",
                "0",
                not lost,
            ),
            Row(
                "no effect twice, no echo",
                f"{len(excess)} of {writes:,} writes without a change of the other side behind them",
                "0",
                not excess,
            ),
            Row(
                "endpoint: every event, in order",
                f"{len(misled)} of {len(evidence.store.events):,} missing or misplaced, {repeats} repeated",
                "0; repeats only oldest first",
                not misled,
            ),
        ]

    def _tell(self, complaint: str) -> None:
        with (self._pair.folder / "complaints").open("a") as file:
            print(complaint, file=file)

    def _keep(self) -> None:
        """Keep the folder, for whoever looks for the reason."""
        (self._pair.folder / "keep").touch()
        shown = (self._pair.folder / "complaints").read_text().splitlines()
        print(*shown[:SHOWN_MAX], f"seed {SEED}; see {self._pair.folder}", sep="\n", file=sys.stderr)
