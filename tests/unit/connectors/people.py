"""A short way to capture a table of people and to write to it, for the tests of the SQLite Target."""

from collections.abc import Callable

from idsync.connectors.sql_table import SqlitePeer, TableMapping
from idsync.model.delivery import Image, WriteResult
from idsync.model.event import Observation
from idsync.model.values import ExternalId, Kind
from idsync.ports import SourceBatch, Write
from idsync.testing.sqlite_app import SqliteApp

MakePeer = Callable[..., SqlitePeer]
PEOPLE = TableMapping(kind=Kind.USER, table="people", fields={"email": "email", "name": "name"})
USERS = TableMapping(
    kind=Kind.USER,
    table="users",
    fields={"email": "email", "name": "name", "picture": "avatar", "email_verified": "verified"},
)
PLAIN = "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT);"


async def made_peer(app: SqliteApp, make_peer: MakePeer, schema: str, mapping: TableMapping) -> SqlitePeer:
    """Capture a table of people of this schema."""
    app.run_script(schema)
    peer = make_peer(mapping)
    await peer.install()
    return peer


async def write(peer: SqlitePeer, *writes: Write) -> list[WriteResult]:
    """Write one batch."""
    return list(await peer.target.write(writes))


async def look(peer: SqlitePeer, external_id: str) -> Image:
    """Look at one user."""
    image = await peer.reader.read(Kind.USER, ExternalId(external_id))
    assert image is not None
    return image


async def observed(peer: SqlitePeer) -> list[Observation]:
    """Read the whole outbox."""
    batch = await peer.source.read(None, 10_000)
    assert isinstance(batch, SourceBatch)
    return list(batch.observations)
