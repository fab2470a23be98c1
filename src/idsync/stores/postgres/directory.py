"""What is read of events and entities. A function that is one statement sees one moment."""

from collections.abc import Collection

from idsync.model.entity import Conflict, Entity
from idsync.model.event import Receipt, Verdict
from idsync.model.plan import EmailKey, InboxKey, Keys, LinkKey, Reread, Snapshot, Waiting
from idsync.model.values import EntityId, ExternalId, Instant, PeerName
from idsync.ports import InboxEntry, PassedOn
from idsync.stores.common import rows
from idsync.stores.common.passed import STRETCH_ROWS, collect
from idsync.stores.postgres.db import Db

FOUND_MAX = 20
"""Entities that one search gives at most."""


async def load(db: Db, keys: Keys) -> Snapshot:
    """Read what a batch must know."""
    known: dict[InboxKey, Receipt] = {}
    links: dict[LinkKey, EntityId] = {}
    emails: dict[EmailKey, EntityId] = {}
    entities: dict[EntityId, Entity] = {}
    if keys == Keys():
        return Snapshot()
    arguments = (
        *_columns(keys.inbox, 2),
        *_columns(keys.links, 3),
        *_columns(keys.emails, 2),
        list(keys.entities),
    )
    for what, first, second, third, fourth, entity, doc in await db.read("load", *arguments):
        match what:
            case "known":
                known[PeerName(first), second] = Receipt(second, Verdict(third), fourth, entity)
            case "link":
                links[PeerName(first), second, ExternalId(third)] = entity
            case "email":
                emails[first, second] = entity
            case _:
                entities[entity] = rows.decode_entity(doc)
    return Snapshot(keys, known, links, emails, entities)


def _columns(keys: frozenset[InboxKey] | frozenset[LinkKey] | frozenset[EmailKey], width: int) -> list[list[str]]:
    return [list(column) for column in zip(*keys, strict=True)] or [[] for _ in range(width)]


async def due_waits(db: Db, now: Instant, limit: int) -> list[Waiting]:
    """Read waiting arrivals whose time has come, oldest first."""
    return [rows.waiting(row) for row in await db.read("due_waits", now, limit)]


async def waits(db: Db, after: int, limit: int) -> list[Waiting]:
    """Read all waiting arrivals after a sequence, oldest first."""
    return [rows.waiting(row) for row in await db.read("list_waits", after, limit)]


async def due_rereads(db: Db, now: Instant, limit: int) -> list[Reread]:
    """Read reread jobs whose time has come, oldest first."""
    return [rows.reread(row) for row in await db.read("due_rereads", now, limit)]


async def get(db: Db, entity: EntityId) -> Entity | None:
    """Read one entity."""
    found = await db.read_one("find_entities", [entity])
    return None if found is None else rows.decode_entity(found[0])


async def find(db: Db, text: str) -> list[Entity]:
    """Read what an operator may mean by a text."""
    kind, _, identity = text.partition("/")
    return [rows.decode_entity(doc) for (doc,) in await db.read("find_by_text", text, kind, identity, FOUND_MAX)]


async def page(db: Db, kind: str | None, after: EntityId | None, limit: int) -> list[Entity]:
    """Read entities in id order."""
    start = after or ""
    verb = db.read("page_of_all", start, limit) if kind is None else db.read("page_of_kind", kind, start, limit)
    return [rows.decode_entity(doc) for (doc,) in await verb]


async def conflicts(db: Db, entity: EntityId | None, limit: int) -> list[Conflict]:
    """Read the newest conflicts first; those of erased entities are gone."""
    found = await (db.read("conflicts", limit) if entity is None else db.read("conflicts_of", entity, limit))
    return [one for row in found if (one := rows.conflict(row)) is not None]


async def timeline(db: Db, entity: EntityId, limit: int) -> list[InboxEntry]:
    """Read the newest inbox rows of one entity first."""
    return [rows.inbox_entry(row) for row in await db.read("timeline", entity, limit)]


async def accepted(db: Db, keys: Collection[InboxKey]) -> list[InboxEntry]:
    """Read inbox rows by their keys, oldest first."""
    found = await db.read("accepted", [peer for peer, _ in keys], [id_ for _, id_ in keys])
    return [rows.inbox_entry(row) for row in found]


async def recent(db: Db, after: int, limit: int) -> list[InboxEntry]:
    """Read inbox rows after a sequence, oldest first, up to the first that somebody may still add."""
    ((horizon,),) = await db.read("horizon")
    return [rows.inbox_entry(row) for row in await db.read("recent", after, limit, horizon)]


async def passed_on(db: Db, wanted: PassedOn, limit: int) -> list[InboxEntry]:
    """Read inbox rows whose event goes out, oldest first, up to the first that somebody may still add."""
    ((horizon,),) = await db.read("horizon")
    until = horizon if wanted.until is None else min(wanted.until, horizon)

    async def look(rest: PassedOn, room: int) -> tuple[int | None, list[InboxEntry]]:
        ((last,),) = await db.read("scan_passed_on", rest.after, until, STRETCH_ROWS)
        if last is None:
            return None, []
        filters = (rest.received_from, rest.received_before, rest.subject)
        found = await db.read("passed_on", rest.after, last, *filters, room)
        return last, [rows.inbox_entry(row) for row in found]

    return await collect(look, wanted, limit)
