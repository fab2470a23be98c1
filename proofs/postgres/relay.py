"""Claim 2: sixteen writers at once, and the relay of a PostgreSQL peer loses, repeats and inverts nothing.

What was committed is judged by the application's own journal, written by its statements in the same transactions. The
ablation reads the same outbox as `number > cursor`.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Final

import asyncpg
import msgspec

from idsync.app import SystemClock
from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.mapping import TableMapping
from idsync.errors import PeerError
from idsync.model.plan import Position
from idsync.model.values import Kind, PeerName
from idsync.ports import Rewound, Source
from idsync.testing.postgres import PostgresServer, Shutdown, open_postgres
from proofs.claims import Row, count

SEED: Final = 20_261_122
WRITERS: Final = 16
PEOPLE: Final = 20
LOAD_S, FULL_LOAD_S = 10.0, 60.0
CATCH_UP_S: Final = 30.0
ROLLBACKS: Final = 0.1
BATCH_ROWS: Final = 200
TRIM_EVERY_ROWS: Final = 1_000
SCHEMA: Final = f"""
    CREATE TABLE users (id integer PRIMARY KEY, email text UNIQUE, name text NOT NULL, version bigint NOT NULL);
    CREATE TABLE journal (person integer NOT NULL, version bigint NOT NULL);
    INSERT INTO users SELECT n, 'u' || n || '@example.com', '0', 0 FROM generate_series(1, {PEOPLE}) AS n;
"""
EDIT: Final = """
    WITH edited AS (
      UPDATE users SET version = version + 1, name = (version + 1)::text WHERE id = $1 RETURNING id, version
    ) INSERT INTO journal SELECT id, version FROM edited RETURNING version
"""
MAPPING: Final = TableMapping(kind=Kind.USER, table="users", fields={"email": "email", "name": "name"})

Edit = tuple[int, int]
"""(person, version)."""


@dataclass(slots=True)
class Seen:
    """What a relay has given, in its order."""

    edits: list[Edit] = field(default_factory=list)
    at: dict[Edit, float] = field(default_factory=dict)

    def add(self, person: int, version: int) -> None:
        """Note one event."""
        self.edits.append((person, version))
        self.at.setdefault((person, version), time.monotonic())

    async def catch_up(self, committed: set[Edit], *, gives_up: bool) -> None:
        """Wait until all that was committed is here, or had its time; who gives up takes a second of silence for it."""
        deadline = time.monotonic() + CATCH_UP_S
        while len(set(self.edits)) < len(committed) and time.monotonic() < deadline:
            before = len(self.edits)
            await asyncio.sleep(1.0)
            if gives_up and len(self.edits) == before:
                return


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a relay did."""

    committed: int
    lost: int
    duplicated: int
    inverted: int
    lag_ms: tuple[float, float]
    """From just after the commit to the relay: half of them, and 99 % of them, were faster."""


Relay = Callable[[PostgresPeer, str, Seen], Awaitable[None]]


async def relay_by_snapshots(peer: PostgresPeer, url: str, seen: Seen) -> None:  # noqa: ARG001  # the other needs it
    """Read the outbox as the line does."""
    await relay_by_position(peer.source, seen)


async def relay_by_position(source: Source, seen: Seen) -> None:
    """Keep only the position, and trim what was read; go on after any fault."""
    position: Position | None = None
    untrimmed = 0
    while True:
        try:
            batch = await source.read(position, BATCH_ROWS)
            if isinstance(batch, Rewound):
                raise RuntimeError(f"the relay was rewound: {batch.found}")  # noqa: TRY004  # the proof is over
            for one in batch.observations:
                seen.add(int(one.external_id), int(str(one.fields["name"])))
            # What the store would keep, as text, is all that the next read knows.
            position = msgspec.json.decode(msgspec.json.encode(batch.position), type=Position)
            untrimmed += len(batch.observations)
            if untrimmed > TRIM_EVERY_ROWS:
                await source.trim(position)
                untrimmed = 0
            if not batch.has_more:
                await source.wait(0.5)
        except PeerError:
            await asyncio.sleep(0.05)


async def relay_by_cursor(peer: PostgresPeer, url: str, seen: Seen) -> None:  # noqa: ARG001  # as the other relay
    """Read the outbox as most do: everything past the greatest number that was seen."""
    connection = await asyncpg.connect(url)
    last = 0
    try:
        while True:
            rows = await connection.fetch(
                "SELECT seq, id, new->>'name' AS name FROM idsync_app.outbox WHERE seq > $1 AND op = 'updated'"
                " ORDER BY seq LIMIT 200",
                last,
            )
            for row in rows:
                last = row["seq"]
                seen.add(int(row["id"]), int(row["name"]))
            if not rows:
                await asyncio.sleep(0.005)
    finally:
        connection.terminate()


@dataclass(slots=True)
class Load:
    """Sixteen connections that edit the same twenty people."""

    url: str
    seed: int
    committed_at: dict[Edit, float] = field(default_factory=dict)
    is_over: bool = False

    async def run(self, load_s: float) -> None:
        """Write for a while."""
        tasks = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]
        await asyncio.sleep(load_s)
        self.is_over = True
        await asyncio.gather(*tasks)

    async def _write(self, number: int) -> None:
        luck = random.Random(self.seed * 1_000 + number)
        while not self.is_over:
            try:
                connection = await asyncpg.connect(self.url)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
                continue
            # Whatever ends a transaction early also ends it here: the journal knows what was committed.
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                while not self.is_over:
                    await self._one_transaction(connection, luck)
            connection.terminate()

    async def _one_transaction(self, connection: "asyncpg.Connection[asyncpg.Record]", luck: random.Random) -> None:
        transaction = connection.transaction()
        await transaction.start()
        edits: list[Edit] = []
        try:
            for person in sorted(luck.sample(range(1, PEOPLE + 1), luck.randint(1, 3))):
                edits += await self._one_edit(connection, person, luck)
                await asyncio.sleep(luck.choice((0, 0, 0, 0.001, 0.002, 0.05)) * luck.random())
        except asyncpg.DeadlockDetectedError:
            await transaction.rollback()
            return
        if luck.random() < ROLLBACKS:
            await transaction.rollback()
            return
        await transaction.commit()
        now = time.monotonic()
        self.committed_at.update(dict.fromkeys(edits, now))

    async def _one_edit(
        self, connection: "asyncpg.Connection[asyncpg.Record]", person: int, luck: random.Random
    ) -> list[Edit]:
        """Edit somebody: at once, or in a savepoint that is kept or undone."""
        way = luck.random()
        if way < 0.5:
            return [(person, await connection.fetchval(EDIT, person))]
        savepoint = connection.transaction()
        await savepoint.start()
        version = await connection.fetchval(EDIT, person)
        if way < 0.75:
            await savepoint.commit()
            return [(person, version)]
        await savepoint.rollback()
        return []


async def compare(
    server: PostgresServer, relay: Relay, load_s: float, *, seed: int = SEED, crashes: int = 0
) -> Verdict:
    """Write, relay, and judge when everything that was committed had its time to arrive.

    Args:
        server: a running server; the database is made and dropped here.
        relay: what is tested.
        load_s: how long is written, in seconds.
        seed: of the writers' choices.
        crashes: how often the server is stopped at once and started again meanwhile.
    """
    url = await server.new_database()
    connection = await asyncpg.connect(url)
    await connection.execute(SCHEMA)
    await connection.close()
    seen, load = Seen(), Load(url, seed)
    async with _captured(url) as peer, running(relay(peer, url, seen)):
        writing = asyncio.create_task(load.run(load_s))
        for _ in range(crashes):
            await asyncio.sleep(load_s / (crashes + 1))
            await server.restart(Shutdown.IMMEDIATE)
        await writing
        committed = await _journal(url)
        await seen.catch_up(committed, gives_up=relay is relay_by_cursor)
    await server.drop_database(url)
    return judge(committed, seen, load.committed_at)


@asynccontextmanager
async def _captured(url: str) -> AsyncIterator[PostgresPeer]:
    peer = PostgresPeer(PeerName("app"), url, [MAPPING], SystemClock())
    try:
        await peer.install()
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    """Do some work beside the block, and let its error out."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        if task.done():
            await task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _journal(url: str) -> set[Edit]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT person, version FROM journal")
    await connection.close()
    return {(row["person"], row["version"]) for row in rows}


def judge(committed: set[Edit], seen: Seen, committed_at: dict[Edit, float]) -> Verdict:
    """Compare what a relay has given with what was committed."""
    newest: dict[int, int] = {}
    inverted = 0
    for person, version in seen.edits:
        inverted += version < newest.get(person, 0)
        newest[person] = max(version, newest.get(person, 0))
    lags = [max(0.0, seen.at[edit] - at) * 1_000 for edit, at in committed_at.items() if edit in seen.at]
    cuts = quantiles(lags, n=100) if len(lags) > 1 else [0.0] * 99
    return Verdict(
        committed=len(committed),
        lost=len(committed - set(seen.edits)),
        duplicated=len(seen.edits) - len(set(seen.edits)) + len(set(seen.edits) - committed),
        inverted=inverted,
        lag_ms=(cuts[49], cuts[98]),
    )


async def run(full: bool) -> list[Row]:
    """Run the same load against our relay, and against a cursor."""
    load_s = FULL_LOAD_S if full else LOAD_S
    with open_postgres() as server:
        ours = await compare(server, relay_by_snapshots, load_s)
        cursor = await compare(server, relay_by_cursor, load_s)
    return rows(ours, cursor, load_s)


def rows(ours: Verdict, cursor: Verdict, load_s: float, database: str = "") -> list[Row]:
    """Say how our relay did, and a cursor under the same load; `database` begins each line."""
    lag = f"; half within {ours.lag_ms[0]:.0f} ms of the commit, 99 % within {ours.lag_ms[1]:.0f} ms"
    load = f"{WRITERS} writers with savepoints and {ROLLBACKS:.0%} rollbacks for {load_s:.0f} s"
    return [
        Row(
            f"{database}{load} against the relay",
            f"{_figure(ours)}{lag}",
            "0 lost, 0 duplicated, 0 inverted",
            holds=ours.committed > 0 and ours.lost == ours.duplicated == ours.inverted == 0,
        ),
        Row(
            f"{database}the same with a cursor on the number loses (ablation)",
            _figure(cursor),
            "> 0 lost",
            holds=cursor.lost > 0,
        ),
    ]


def _figure(verdict: Verdict) -> str:
    """Say how a relay did."""
    committed = count(verdict.committed, "committed edits")
    return f"{committed}: {verdict.lost:,} lost, {verdict.duplicated} duplicated, {verdict.inverted} inverted"
