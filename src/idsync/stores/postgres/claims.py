"""What a plan must lock and compare before it may be written, worked out from what it was made from."""

from collections.abc import Mapping
from typing import TypeVar

from idsync.model.entity import Entity
from idsync.model.plan import EmailKey, LinkKey, Plan
from idsync.model.values import EntityId
from idsync.stores.common.sense import Claims, asked_of, check_claims, email_of, links_of

K = TypeVar("K")


class Changes:
    """What changes of who leads where.

    An entity that was read in the very state that the plan replaces shows what it claimed before: what stays as it was
    needs neither a lock nor a look, for it is held by the entity's own row.
    """

    def __init__(self, plan: Plan) -> None:
        """Work it out.

        Raises:
            DataRefused: the plan gives one id to two entities.
        """
        before = _read_before(plan)
        self.links: Claims = []
        """Ids that are claimed anew, or may be."""
        self.new_links: Claims = []
        """Those of them that nobody has yet, or whose owner gives them up: known once they were looked up."""
        self.existing = frozenset(one.entity.id for one in plan.entities if one.expected_rev is not None)
        self.emails: dict[EntityId, Entity] = {}
        """Entities whose claim of an e-mail changes, or may."""
        self.unknown: list[EntityId] = []
        """Those of them whose claim until now was not read."""
        gone: set[LinkKey] = set()
        touched: set[EmailKey] = set()
        self.every: Claims = []
        for write in plan.entities:
            entity, old = write.entity, before.get(write.entity.id)
            links = set(links_of(entity))
            self.every += [(key, entity.id) for key in links]
            had = set() if old is None else set(links_of(old))
            self.links += [(key, entity.id) for key in links - had]
            gone |= had - links
            if old is not None and email_of(old) == email_of(entity):
                continue
            self.emails[entity.id] = entity
            if old is None and write.expected_rev is not None:
                self.unknown.append(entity.id)
            touched |= {(one.kind, email) for one in (entity, old) if one is not None and (email := email_of(one))}
        check_claims(self.every)
        asked = asked_of(plan)
        read_links = {} if plan.read is None else plan.read.links
        read_emails = {} if plan.read is None else plan.read.emails
        self.link_locks = {key for key, _ in self.links} | gone | (asked.links - read_links.keys())
        self.email_locks = touched | (asked.emails - read_emails.keys())
        self.link_looks = {key for key, _ in self.links} | _not_held(asked.links, read_links, before)
        self.email_looks = _not_held(asked.emails, read_emails, before)

    def moved_links(self, plan: Plan, found: Mapping[LinkKey, EntityId]) -> frozenset[LinkKey]:
        """Ids that were asked for and lead elsewhere by now, or to somebody new."""
        if plan.read is None:
            return frozenset()
        return _moved(plan.read.links, found, self.link_looks & plan.read.asked.links)

    def moved_emails(self, plan: Plan, found: Mapping[EmailKey, EntityId]) -> frozenset[EmailKey]:
        """E-mails that were asked for and lead elsewhere by now, or to somebody new."""
        return frozenset() if plan.read is None else _moved(plan.read.emails, found, self.email_looks)

    def names(self, plan: Plan) -> list[str]:
        """Name every claim of the plan: new entities, ids, e-mails; subjects that no entity's row orders."""
        written = {f"{one.entity.kind}/{one.entity.id}" for one in plan.entities}
        return [
            *(f"entity\x01{one.entity.id}" for one in plan.entities if one.expected_rev is None),
            *("\x01".join(("link", *key)) for key in self.link_locks),
            *("\x01".join(("email", *key)) for key in self.email_locks),
            *{f"subject\x01{one.subject}": None for one in plan.deliveries if one.subject not in written},
        ]


def _read_before(plan: Plan) -> Mapping[EntityId, Entity]:
    """Give the states that the plan replaces, as far as it says what they were."""
    if plan.read is None:
        return {}
    revs = {one.entity.id: one.expected_rev for one in plan.entities}
    return {id_: one for id_, one in plan.read.entities.items() if revs.get(id_) == one.rev}


def _not_held(asked: frozenset[K], read: Mapping[K, EntityId], before: Mapping[EntityId, Entity]) -> set[K]:
    """Keys whose answer may change although every row that the plan writes is locked."""
    return {key for key in asked if read.get(key) not in before}


def _moved(read: Mapping[K, EntityId], found: Mapping[K, EntityId], looks: set[K]) -> frozenset[K]:
    return frozenset(key for key in looks if found.get(key) != read.get(key))
