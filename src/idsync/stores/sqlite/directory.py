"""What is read of events and entities. Each function runs on a reading connection and sees one moment."""

from collections.abc import Collection

from idsync.model.entity import Conflict, Entity
from idsync.model.event import Receipt
from idsync.model.plan import EmailKey, InboxKey, Keys, LinkKey, Reread, Snapshot, Waiting
from idsync.model.values import EntityId, Instant
from idsync.ports import InboxEntry, PassedOn
from idsync.stores.common import rows
from idsync.stores.common.passed import STRETCH_ROWS
from idsync.stores.sqlite.db import Db, to_json

FOUND_MAX = 20
"""Entities that one search gives at most."""
SEQ_MAX = 2**63 - 1


def load(db: Db, keys: Keys) -> Snapshot:
    """Read what a batch must know."""
    with db.moment():
        known = _find_known(db, keys.inbox)
        links = find_links(db, keys.links)
        emails = find_emails(db, keys.emails)
        entities = _find_entities(db, {*keys.entities, *links.values(), *emails.values()})
    return Snapshot(keys, known, links, emails, {one.id: one for one in entities})


def _find_known(db: Db, keys: frozenset[InboxKey]) -> dict[InboxKey, Receipt]:
    if not keys:
        return {}
    found = rows.decode_known(db.read_packed("find_known", keys))
    return {(peer, id_): Receipt(id_, verdict, reason, entity) for peer, id_, verdict, reason, entity in found}


def find_links(db: Db, keys: Collection[LinkKey]) -> dict[LinkKey, EntityId]:
    """Give the entity behind each id at a peer."""
    if not keys:
        return {}
    found = rows.decode_links(db.read_packed("find_links", keys))
    return {(peer, kind, external_id): entity for peer, kind, external_id, entity in found}


def find_emails(db: Db, keys: Collection[EmailKey]) -> dict[EmailKey, EntityId]:
    """Give the holder of each e-mail: where several entities claim one, the first claim counts."""
    found = rows.decode_emails(db.read_packed("find_emails", keys)) if keys else []
    return {(kind, email): entity for kind, email, entity in reversed(found)}


def _find_entities(db: Db, ids: Collection[EntityId]) -> list[Entity]:
    return rows.decode_entities(db.read_packed("find_entities", ids)) if ids else []


def due_waits(db: Db, now: Instant, limit: int) -> list[Waiting]:
    """Read waiting arrivals whose time has come, oldest first."""
    return [rows.waiting(row) for row in db.read("due_waits", now, limit)]


def waits(db: Db, after: int, limit: int) -> list[Waiting]:
    """Read all waiting arrivals after a sequence, oldest first."""
    return [rows.waiting(row) for row in db.read("list_waits", after, limit)]


def due_rereads(db: Db, now: Instant, limit: int) -> list[Reread]:
    """Read reread jobs whose time has come, oldest first."""
    return [rows.reread(row) for row in db.read("due_rereads", now, limit)]


def get(db: Db, entity: EntityId) -> Entity | None:
    """Read one entity."""
    return next(iter(_find_entities(db, [entity])), None)


def find(db: Db, text: str) -> list[Entity]:
    """Read what an operator may mean by a text."""
    kind, _, identity = text.partition("/")
    return [rows.decode_entity(doc) for (doc,) in db.read("find_by_text", text, kind, identity, FOUND_MAX)]


def page(db: Db, kind: str | None, after: EntityId | None, limit: int) -> list[Entity]:
    """Read entities in id order."""
    start = after or ""
    found = db.read("page_of_all", start, limit) if kind is None else db.read("page_of_kind", kind, start, limit)
    return [rows.decode_entity(doc) for (doc,) in found]


def conflicts(db: Db, entity: EntityId | None, limit: int) -> list[Conflict]:
    """Read the newest conflicts first; those of erased entities are gone."""
    found = db.read("conflicts", limit) if entity is None else db.read("conflicts_of", entity, limit)
    return [one for row in found if (one := rows.conflict(row)) is not None]


def timeline(db: Db, entity: EntityId, limit: int) -> list[InboxEntry]:
    """Read the newest inbox rows of one entity first."""
    return [rows.inbox_entry(row) for row in db.read("timeline", entity, limit)]


def accepted(db: Db, keys: Collection[InboxKey]) -> list[InboxEntry]:
    """Read inbox rows by their keys, oldest first."""
    return [rows.inbox_entry(row) for row in db.read("accepted", to_json(list(keys)))]


def recent(db: Db, after: int, limit: int) -> list[InboxEntry]:
    """Read inbox rows after a sequence, oldest first."""
    return [rows.inbox_entry(row) for row in db.read("recent", after, limit)]


def passed_on(db: Db, wanted: PassedOn, limit: int) -> tuple[int | None, list[InboxEntry]]:
    """Look at the next stretch of the inbox: the last row of it, None if there is none; those that go out."""
    until = SEQ_MAX if wanted.until is None else wanted.until
    with db.moment():
        ((last,),) = db.read("scan_passed_on", wanted.after, until, STRETCH_ROWS)
        if last is None:
            return None, []
        filters = (wanted.received_from, wanted.received_before, wanted.subject)
        found = db.read("passed_on", wanted.after, last, *filters, limit)
    return last, [rows.inbox_entry(row) for row in found]
