"""A table of an application on a database server, and a short way to read what our capture says of it."""

from collections.abc import Callable
from typing import TypeAlias

from idsync.connectors.sql_mysql import MysqlPeer
from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.delivery import Image, WriteResult
from idsync.model.event import Observation
from idsync.model.plan import Position
from idsync.model.values import ExternalId, Kind
from idsync.ports import SourceBatch, Write

PEOPLE = TableMapping(kind=Kind.USER, table="people", fields={"email": "email", "name": "name"})
PLAIN = "CREATE TABLE people (id int PRIMARY KEY, email varchar(100), name varchar(100));\n"
TWO = "INSERT INTO people (id, email) VALUES (1, 'a@example.com'), (2, 'b@example.com');\n"


Peer: TypeAlias = PostgresPeer | MysqlPeer
MakePeer = Callable[..., Peer]


async def read(peer: Peer, after: Position | None = None, limit: int = 1_000) -> SourceBatch:
    """Read the outbox past a position."""
    batch = await peer.source.read(after, limit)
    assert isinstance(batch, SourceBatch), batch
    return batch


async def drain(peer: Peer, after: Position | None, limit: int) -> tuple[list[str], Position]:
    """Read to the end, page by page; say who was observed, and where reading stands."""
    seen: list[str] = []
    while True:
        batch = await read(peer, after, limit)
        seen += ids(batch)
        after = batch.position
        if not batch.has_more:
            return seen, after


def ids(batch: SourceBatch) -> list[str]:
    """Who was observed, in order."""
    return [one.external_id for one in batch.observations]


async def observed(peer: Peer) -> list[Observation]:
    """Read the whole outbox."""
    return list((await read(peer, None, 10_000)).observations)


async def look(peer: Peer, external_id: str) -> Image:
    """Look at one user."""
    image = await peer.reader.read(Kind.USER, ExternalId(external_id))
    assert image is not None
    return image


async def write(peer: Peer, *writes: Write) -> list[WriteResult]:
    """Write one batch."""
    return list(await peer.target.write(writes))
