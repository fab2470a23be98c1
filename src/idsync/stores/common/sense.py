"""What a plan asks of any store, read off the plan alone."""

from collections.abc import Iterator, Mapping

from idsync.errors import DataRefused
from idsync.model.entity import Entity
from idsync.model.plan import EmailKey, Keys, LinkKey, Plan, Snapshot
from idsync.model.values import EntityId
from idsync.stores.common import rows

Claims = list[tuple[LinkKey, EntityId]]
"""Ids at peers, each with the entity that claims it."""


def check_sense(plan: Plan) -> None:
    """Refuse what no order of writers could make right.

    Raises:
        DataRefused: the plan contradicts itself.
    """
    written = [one.entity.id for one in plan.entities]
    if len(set(written)) != len(written):
        raise DataRefused("the plan writes an entity twice; merge its events one after the other in memory")
    for one in plan.entities:
        if one.entity.rev == one.expected_rev:
            raise DataRefused(f"the plan writes the entity {one.entity.id} without moving its rev")
    accepted = {(row.peer, row.id) for row in plan.inbox}
    if len(accepted) != len(plan.inbox):
        raise DataRefused("the plan accepts an event twice; merge repeats in memory")


def check_claims(claims: Claims) -> None:
    """Refuse two claimants of one id.

    Raises:
        DataRefused: the plan contradicts itself.
    """
    if len({key for key, _ in claims}) != len(set(claims)):
        raise DataRefused("the plan gives one id at a peer to two entities")


def expected_revs(plan: Plan) -> dict[EntityId, int | None]:
    """Every entity that must still be as it was read, with its rev; None for one that must not exist.

    Those that are written; and where the plan lets something wait, all that it read: what it waits for may be there
    by now, and was released when nothing waited for it yet.
    """
    revs: dict[EntityId, int | None] = {}
    if plan.waits and plan.read is not None:
        revs.update((one.id, one.rev) for one in plan.read.entities.values())
    revs.update((one.entity.id, one.expected_rev) for one in plan.entities)
    return revs


def entities_named(plan: Plan) -> set[EntityId]:
    """Every entity that the plan names and may not write: their keys seal what is said of them."""
    ids = {row.entity for row in plan.inbox if row.entity is not None}
    ids.update(one.row.entity for one in plan.settles if one.row.entity is not None)
    ids.update(one.entity for one in plan.conflicts)
    ids.update(EntityId(rows.candidate_of(one.subject)) for one in plan.attempts)
    ids.update(EntityId(rows.candidate_of(one.subject)) for one in plan.parked)
    return ids


def links_of(entity: Entity) -> Iterator[LinkKey]:
    """Every id that the entity has or had, at every peer; each once."""
    for peer, link in entity.links.items():
        for external_id in dict.fromkeys((link.external_id, *link.former)):
            if external_id is not None:
                yield peer, entity.kind, external_id


def email_of(entity: Entity) -> str | None:
    """The e-mail that an entity claims: a tombstone claims none."""
    email = entity.value_of("email")
    return email if isinstance(email, str) and email and entity.deleted is None else None


def given_up(plan: Plan, claims: Claims, owners: Mapping[LinkKey, EntityId]) -> set[LinkKey]:
    """Ids whose owner is written without them by this very plan: they pass to who claims them now."""
    written, kept = {one.entity.id for one in plan.entities}, set(claims)
    return {key for key, owner in owners.items() if owner in written and (key, owner) not in kept}


def moved_links(read: Snapshot, found: Mapping[LinkKey, EntityId]) -> frozenset[LinkKey]:
    """Ids that were asked for and lead elsewhere by now, or to somebody new."""
    return frozenset(key for key in read.asked.links if found.get(key) != read.links.get(key))


def moved_emails(read: Snapshot, found: Mapping[EmailKey, EntityId]) -> frozenset[EmailKey]:
    """E-mails that were asked for and lead elsewhere by now, or to somebody new."""
    return frozenset(key for key in read.asked.emails if found.get(key) != read.emails.get(key))


def asked_of(plan: Plan) -> Keys:
    """What the plan was made from; nothing where it does not say."""
    return Keys() if plan.read is None else plan.read.asked
