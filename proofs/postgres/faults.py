"""Claim 5: the database crashes, hangs up, has no room or falls silent under load; idsync goes on by itself.

A fault ends when the server could serve again. Recovered is whoever brings an edit that was made after that to the
other side, both ways, and an event that was published after that to the endpoint.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from math import inf
from typing import Final

import aiohttp
import asyncpg

from idsync.app.stores import open_store
from idsync.config import parse_settings
from idsync.testing.postgres import PostgresServer, Shutdown, open_postgres
from proofs import journal
from proofs.claims import Row
from proofs.endpoint import open_subscriber
from proofs.journal import APP, AUTH, Side
from proofs.pair import SECRET, scratch
from proofs.postgres.stage import QUIET_S, Findings, Stage
from proofs.service import Service

WORKERS: Final = 2
CONNECTIONS_MAX: Final = 60
RECOVERY_S: Final = 30.0
GIVE_UP_S: Final = 60.0
WARM_UP_S: Final = 2.0
HANG_UPS: Final = 5
HANG_UP_PAUSE_S: Final = 0.2
CROWD_S, FULL_CROWD_S = 6.0, 20.0
SILENCE_S, FULL_SILENCE_S = 8.0, 25.0
"""The short one is longer than a lease, the long one than idsync waits for any answer."""
LOOK_S: Final = 0.05
CHUNK_BYTES: Final = 65_536

EDITS_AT_A_TIME: Final = 3
LOAD_PAUSE_S: Final = 0.15
ORDERS: Final = 5
ANSWER_S: Final = 20.0
AGAIN_S: Final = 0.1
NOISE_SHOWN_MAX: Final = 20
COME_AGAIN: Final = frozenset({429, 503})

Fault = Callable[[], Awaitable[None]]


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Run two workers and one that serves, and let their database do its worst."""
    rounds = 3 if full else 1
    options = {"max_connections": str(CONNECTIONS_MAX)}
    with open_postgres(options=options) as server, scratch("faults") as folder:
        url = await server.new_database()
        async with open_subscriber(SECRET) as subscriber, open_hole(server.port) as hole:
            stage = Stage(folder, subscriber, url, WORKERS)
            try:
                return await Trial(stage, server, hole, url).run(rounds, full=full)
            finally:
                await stage.end()


class Trial:
    """What the database does, and how long each of it is felt."""

    def __init__(self, stage: Stage, server: PostgresServer, hole: "Hole", store_url: str) -> None:
        """Nothing runs yet."""
        self._stage = stage
        self._server = server
        self._hole = hole
        self._store_url = store_url
        self._publisher = Publisher(stage.pair.service)
        self._felt: dict[str, float] = {}
        """Fault → the longest recovery, in seconds."""

    async def run(self, rounds: int, *, full: bool) -> list[Row]:
        """Go through all of it; give the rows."""
        crowd_s, silence_s = (FULL_CROWD_S, FULL_SILENCE_S) if full else (CROWD_S, SILENCE_S)
        await self._stage.start()
        async with self._stage.flow as flow, self._load():
            for _ in range(rounds):
                await self._suffer("pg_ctl restart -m immediate", lambda: self._server.restart(Shutdown.IMMEDIATE))
                await self._suffer("pg_terminate_backend on every connection", self._hang_up)
                await self._suffer(f"no connection left for {crowd_s:.0f} s", lambda: self._crowd(crowd_s))
            await self._lead_through_hole()
            for _ in range(rounds):
                await self._suffer(f"a network silent for {silence_s:.0f} s", lambda: self._hole.be_silent(silence_s))
            await flow.drain()
        settled_s = await self._stage.pair.until_quiet(QUIET_S)
        findings = await self._judge()
        strange = self._stage.strange_lines()
        print(*strange[:NOISE_SHOWN_MAX], sep="\n", end="")
        story = (
            f"{flow.edits:,} edits, {len(self._publisher.answered):,} events published and "
            f"{self._publisher.refused} times sent again; quiet after {settled_s:.1f} s"
        )
        bound = f"<= {RECOVERY_S:.0f} s to the first new edit on each side and event at the endpoint"
        return [
            *(Row(what, f"recovered in {s:.1f} s", bound, s <= RECOVERY_S) for what, s in self._felt.items()),
            *findings.rows(story),
            Row("workers write nothing but their log", f"{len(strange)} other lines", "0", not strange),
        ]

    async def _judge(self) -> Findings:
        store = await open_store(parse_settings(f'[store]\nurl = "{self._store_url}"\n'))
        try:
            findings = await self._stage.judge(store)
        finally:
            await store.close()
        told = {one.event_id for one in self._stage.subscriber.accepted}
        findings.misled.extend(f"{one} was accepted and never came" for one in self._publisher.answered - told)
        return findings

    @asynccontextmanager
    async def _load(self) -> AsyncIterator[None]:
        """Edits on both sides and events at the door, whatever happens."""
        tasks = [asyncio.create_task(self._edit()), asyncio.create_task(self._publisher.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if not isinstance(end, asyncio.CancelledError) and isinstance(end, BaseException):
                raise end

    async def _edit(self) -> None:
        while True:
            self._stage.flow.grant(EDITS_AT_A_TIME)
            await asyncio.sleep(LOAD_PAUSE_S)

    async def _suffer(self, what: str, fault: Fault) -> None:
        """Let one fault happen under load, and measure from its end."""
        await asyncio.sleep(WARM_UP_S)
        await fault()
        self._felt[what] = max(self._felt.get(what, 0.0), await self._recover())
        for service in self._stage.services:
            assert await service.died(LOOK_S) is None, f"a process ended after: {what}"

    async def _recover(self) -> float:
        """Give the seconds until an edit made from now on has come to each side, and an event to the endpoint."""
        began = time.monotonic()
        pair, told = self._stage.pair, self._stage.subscriber.accepted
        mark = _number_of(self._stage.flow.names.new("mark"))
        published, heard = self._publisher.number, len(told)
        sides = [(AUTH, pair.auth), (APP, pair.app)]
        last = {side.peer: _last_of(journal.read(app, side)) for side, app in sides}

        def has_come(side: Side) -> bool:
            app = pair.auth if side is AUTH else pair.app
            names = [one.new["name"] for one in journal.read(app, side, last[side.peer]) if one.writer and one.new]
            return any(isinstance(name, str) and _number_of(name) > mark for name in names)

        def has_heard() -> bool:
            return any(one.subject.startswith("order/") and one.version > published for one in told[heard:])

        while not (has_come(AUTH) and has_come(APP) and has_heard()):
            if time.monotonic() - began > GIVE_UP_S:
                return inf
            await asyncio.sleep(LOOK_S)
        return time.monotonic() - began

    async def _hang_up(self) -> None:
        """End every connection, and the new ones as well."""
        for _ in range(HANG_UPS):
            assert await self._server.terminate_connections(), "nobody was connected"
            await asyncio.sleep(HANG_UP_PAUSE_S)

    async def _crowd(self, lasts_s: float) -> None:
        """Take every connection there is, those of idsync too, and keep them."""
        taken = [await asyncpg.connect(self._store_url)]
        try:
            ends_at = time.monotonic() + lasts_s
            while time.monotonic() < ends_at:
                await taken[0].execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'idsync'"
                )
                await self._fill(taken)
                await asyncio.sleep(LOOK_S)
            assert len(taken) >= CONNECTIONS_MAX - 1, f"only {len(taken)} connections were taken"
        finally:
            for one in taken:
                await one.close()

    async def _fill(self, taken: "list[asyncpg.Connection[asyncpg.Record]]") -> None:
        while True:
            try:
                taken.append(await asyncpg.connect(self._store_url))
            except asyncpg.TooManyConnectionsError:
                return

    async def _lead_through_hole(self) -> None:
        """Replace every process by one that reaches the database through the hole."""
        for service in self._stage.services:
            await service.stop()
        self._configure(self._store_url.replace(f":{self._server.port}/", f":{self._hole.port}/"))
        await self._stage.start_services()

    def _configure(self, store_url: str) -> None:
        file = self._stage.pair.folder / "idsync.toml"
        file.write_text(file.read_text().replace(self._store_url, store_url))


class Publisher:
    """Publishes one event after the other; each is sent until it is answered for."""

    def __init__(self, service: Service) -> None:
        """Send nothing yet."""
        self._service = service
        self.number = 0
        """The last event that was begun; also its version."""
        self.answered: set[str] = set()
        self.refused = 0
        """How often the sender was told to come again, or told nothing."""

    async def run(self) -> None:
        """Go on for ever."""
        for self.number in count(1):
            await self._publish(f"paid-{self.number}", f"order/{self.number % ORDERS}")
            await asyncio.sleep(LOAD_PAUSE_S)

    async def _publish(self, event_id: str, subject: str) -> None:
        event = {"id": event_id, "type": "order.paid", "subject": subject, "version": self.number, "data": {}}
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._service.post("/v1/events", event)
            except (aiohttp.ClientError, TimeoutError) as error:
                if isinstance(error, aiohttp.ClientResponseError) and error.status not in COME_AGAIN:
                    raise
                self.refused += 1
                await asyncio.sleep(AGAIN_S)
            else:
                self.answered.add(event_id)
                return


class Hole:
    """A way to the server that can fall silent: nothing passes, nothing is closed.

    Whatever was connected, or tried to, while it was silent stays silent for ever, as behind a router that forgot it.
    """

    def __init__(self, server_port: int) -> None:
        """`open_hole` makes it."""
        self._server_port = server_port
        self._era = 0
        """Odd while silent; what was connected in another era passes no more."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def be_silent(self, lasts_s: float) -> None:
        """Swallow everything for some seconds."""
        self._era += 1
        await asyncio.sleep(lasts_s)
        self._era += 1

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lead one connection through."""
        era = self._era
        there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        for source, target in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._carry(source, target, era)))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, era: int) -> None:
        try:
            while found := await source.read(CHUNK_BYTES):
                if self._passes(era):
                    target.write(found)
        except OSError:
            pass  # an end like any other
        if self._passes(era):
            target.close()

    def _passes(self, era: int) -> bool:
        return era == self._era and era % 2 == 0

    async def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def open_hole(server_port: int) -> AsyncIterator[Hole]:
    """Listen on a free port until the block ends."""
    hole = Hole(server_port)
    async with await asyncio.start_server(hole.take, "127.0.0.1", 0) as server:
        hole.port = server.sockets[0].getsockname()[1]
        try:
            yield hole
        finally:
            await hole.close()


def _number_of(name: str) -> int:
    return int(name.rpartition(" ")[2])


def _last_of(entries: list[journal.Entry]) -> int:
    return entries[-1].seq if entries else 0
