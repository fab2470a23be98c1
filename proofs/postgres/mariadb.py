"""Claim 2 on MariaDB: sixteen writers at once, and its relay loses, repeats and inverts nothing while it deletes.

What was committed is judged by the application's own journal, written by its statements in the same transactions. The
ablation reads the same outbox as `number > cursor`.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import asyncmy

from idsync.app import SystemClock
from idsync.connectors.sql_mysql import MysqlPeer
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.values import Kind, PeerName
from idsync.testing.mariadb import MariadbServer, open_mariadb, run_script, run_sql
from idsync.testing.postgres import Shutdown
from proofs.claims import Row
from proofs.postgres.relay import (
    PEOPLE,
    ROLLBACKS,
    SEED,
    WRITERS,
    Edit,
    Seen,
    Verdict,
    judge,
    relay_by_position,
    rows,
    running,
)

LOAD_S, FULL_LOAD_S = 15.0, 60.0
DEADLOCK: Final = 1213
SCHEMA: Final = f"""
    CREATE TABLE users (
      id int PRIMARY KEY, email varchar(100) UNIQUE, name varchar(100) NOT NULL, version bigint NOT NULL
    );
    CREATE TABLE journal (number bigint AUTO_INCREMENT PRIMARY KEY, person int NOT NULL, version bigint NOT NULL);
    INSERT INTO users SELECT seq, concat('u', seq, '@example.com'), '0', 0 FROM seq_1_to_{PEOPLE};
"""
MAPPING: Final = TableMapping(kind=Kind.USER, table="users", fields={"email": "email", "name": "name"})

Relay = Callable[[MysqlPeer, asyncmy.Connection, Seen], Awaitable[None]]


async def relay_what_is_visible(peer: MysqlPeer, _: asyncmy.Connection, seen: Seen) -> None:
    """Read the outbox as the line does."""
    await relay_by_position(peer.source, seen)


async def relay_by_cursor(_: MysqlPeer, connection: asyncmy.Connection, seen: Seen) -> None:
    """Read the outbox as most do: everything past the greatest number that was seen."""
    last = 0
    while True:
        rows = await run_sql(
            connection,
            "SELECT seq, CAST(id AS char), json_value(CAST(new AS char), '$.name') FROM idsync_app_outbox"
            f" WHERE seq > {last} AND op = 'updated' ORDER BY seq LIMIT 200",
        )
        for seq, person, name in rows:
            last = int(str(seq))
            seen.add(int(str(person)), int(str(name)))
        if not rows:
            await asyncio.sleep(0.005)


@dataclass(slots=True)
class Load:
    """Sixteen connections that edit the same twenty people."""

    server: MariadbServer
    database: str
    committed_at: dict[Edit, float] = field(default_factory=dict)
    is_over: bool = False

    async def run(self, load_s: float) -> None:
        """Write for a while."""
        tasks = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]
        await asyncio.sleep(load_s)
        self.is_over = True
        await asyncio.gather(*tasks)

    async def _write(self, number: int) -> None:
        luck = random.Random(SEED * 1_000 + number)
        while not self.is_over:
            try:
                connection = await self.server.connect(self.database)
            except (OSError, asyncmy.MySQLError):
                await asyncio.sleep(0.05)
                continue
            # Whatever ends a transaction early also ends it here: the journal knows what was committed.
            with suppress(OSError, asyncmy.MySQLError):
                while not self.is_over:
                    await self._one_transaction(connection, luck)
            connection.close()

    async def _one_transaction(self, connection: asyncmy.Connection, luck: random.Random) -> None:
        await run_sql(connection, "START TRANSACTION")
        edits: list[Edit] = []
        try:
            for person in sorted(luck.sample(range(1, PEOPLE + 1), luck.randint(1, 3))):
                edits += await self._one_edit(connection, person, luck)
                await asyncio.sleep(luck.choice((0, 0, 0, 0.001, 0.002, 0.05)) * luck.random())
        except asyncmy.OperationalError as error:
            if error.args[0] != DEADLOCK:
                raise
            return
        if luck.random() < ROLLBACKS:
            await run_sql(connection, "ROLLBACK")
            return
        await run_sql(connection, "COMMIT")
        now = time.monotonic()
        self.committed_at.update(dict.fromkeys(edits, now))

    async def _one_edit(self, connection: asyncmy.Connection, person: int, luck: random.Random) -> list[Edit]:
        """Edit somebody: at once, or in a savepoint that is kept or undone."""
        way = luck.random()
        if way >= 0.5:
            await run_sql(connection, "SAVEPOINT one_edit")
        # MySQL assigns from left to right: the name is the new version.
        await run_sql(connection, f"UPDATE users SET version = version + 1, name = version WHERE id = {person}")
        ((version,),) = await run_sql(connection, f"SELECT version FROM users WHERE id = {person}")
        edit = (person, int(str(version)))
        await run_sql(connection, f"INSERT INTO journal (person, version) VALUES {edit}")
        if way < 0.75:
            return [edit]
        await run_sql(connection, "ROLLBACK TO SAVEPOINT one_edit")
        return []


async def compare(server: MariadbServer, relay: Relay, load_s: float, *, crashes: int = 0) -> Verdict:
    """Write, relay, and judge when everything that was committed had its time to arrive.

    Args:
        server: a running server; the database is made and dropped here.
        relay: what is tested.
        load_s: how long is written, in seconds.
        crashes: how often the server is killed and started again meanwhile.
    """
    url = await server.new_database()
    database = url.rpartition("/")[2]
    connection = await server.connect(database)
    await run_script(connection, SCHEMA)
    seen, load = Seen(), Load(server, database)
    async with _captured(url) as peer, running(relay(peer, connection, seen)):
        writing = asyncio.create_task(load.run(load_s))
        for _ in range(crashes):
            await asyncio.sleep(load_s / (crashes + 1))
            await server.restart(Shutdown.IMMEDIATE)
        await writing
        committed = await _journal(server, database)
        await seen.catch_up(committed, gives_up=relay is relay_by_cursor)
    connection.close()
    await server.drop_database(url)
    return judge(committed, seen, load.committed_at)


@asynccontextmanager
async def _captured(url: str) -> AsyncIterator[MysqlPeer]:
    peer = MysqlPeer(PeerName("app"), url, [MAPPING], SystemClock())
    try:
        await peer.install()
        yield peer
    finally:
        await peer.close()


async def _journal(server: MariadbServer, database: str) -> set[Edit]:
    connection = await server.connect(database)
    rows = await run_sql(connection, "SELECT person, version FROM journal")
    connection.close()
    return {(int(str(person)), int(str(version))) for person, version in rows}


async def run(full: bool) -> list[Row]:
    """Run the same load against our relay, and against a cursor."""
    load_s = FULL_LOAD_S if full else LOAD_S
    with open_mariadb() as server:
        ours = await compare(server, relay_what_is_visible, load_s)
        cursor = await compare(server, relay_by_cursor, load_s)
    return rows(ours, cursor, load_s, "MariaDB: ")
