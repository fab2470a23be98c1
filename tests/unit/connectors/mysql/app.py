"""An application with a MariaDB database, and a short way to read what our capture says of it."""

from collections.abc import Callable

import asyncmy

from idsync.connectors.sql_mysql import MysqlPeer
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.delivery import Image, WriteResult
from idsync.model.event import Observation
from idsync.model.plan import Position
from idsync.model.values import ExternalId, Kind
from idsync.ports import SourceBatch, Write
from idsync.testing.mariadb import run_script, run_sql

MakePeer = Callable[..., MysqlPeer]

PEOPLE = TableMapping(kind=Kind.USER, table="people", fields={"email": "email", "name": "name"})
PLAIN = "CREATE TABLE people (id int PRIMARY KEY, email varchar(100), name varchar(100));\n"


class MariadbApp:
    """One connection of an application."""

    def __init__(self, connection: asyncmy.Connection, url: str) -> None:
        self.connection = connection
        self.url = url

    async def run(self, sql: str, *values: object) -> list[list[object]]:
        """Run one statement and give its rows."""
        return [list(row) for row in await run_sql(self.connection, sql, *values)]

    async def script(self, sql: str) -> None:
        """Run many statements, each on lines of its own."""
        await run_script(self.connection, sql)


async def read(peer: MysqlPeer, after: Position | None = None, limit: int = 1_000) -> SourceBatch:
    """Read the outbox past a position."""
    batch = await peer.source.read(after, limit)
    assert isinstance(batch, SourceBatch), batch
    return batch


async def observed(peer: MysqlPeer) -> list[Observation]:
    """Read the whole outbox."""
    return list((await read(peer, None, 10_000)).observations)


async def look(peer: MysqlPeer, external_id: str) -> Image:
    """Look at one user."""
    image = await peer.reader.read(Kind.USER, ExternalId(external_id))
    assert image is not None
    return image


async def write(peer: MysqlPeer, *writes: Write) -> list[WriteResult]:
    """Write one batch."""
    return list(await peer.target.write(writes))
