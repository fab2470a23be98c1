"""An application with a PostgreSQL database, and a short way to read what our capture says of it."""

from collections.abc import Callable
from typing import Any

import asyncpg

from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.delivery import Image, WriteResult
from idsync.model.event import Observation
from idsync.model.plan import Position
from idsync.model.values import ExternalId, Kind
from idsync.ports import SourceBatch, Write

MakePeer = Callable[..., PostgresPeer]

PEOPLE = TableMapping(kind=Kind.USER, table="people", fields={"email": "email", "name": "name"})
PLAIN = "CREATE TABLE people (id integer PRIMARY KEY, email text, name text);"


class PostgresApp:
    """One connection of an application."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", url: str) -> None:
        self.connection = connection
        self.url = url

    async def run(self, sql: str, *values: object) -> list[list[Any]]:
        """Run one statement and give its rows."""
        return [list(row.values()) for row in await self.connection.fetch(sql, *values)]

    async def script(self, sql: str) -> None:
        """Run many statements."""
        await self.connection.execute(sql)


async def read(peer: PostgresPeer, after: Position | None = None, limit: int = 1_000) -> SourceBatch:
    """Read the outbox past a position."""
    batch = await peer.source.read(after, limit)
    assert isinstance(batch, SourceBatch), batch
    return batch


async def observed(peer: PostgresPeer) -> list[Observation]:
    """Read the whole outbox."""
    return list((await read(peer, None, 10_000)).observations)


async def look(peer: PostgresPeer, external_id: str) -> Image:
    """Look at one user."""
    image = await peer.reader.read(Kind.USER, ExternalId(external_id))
    assert image is not None
    return image


async def write(peer: PostgresPeer, *writes: Write) -> list[WriteResult]:
    """Write one batch."""
    return list(await peer.target.write(writes))
