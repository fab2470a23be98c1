"""One ingest batch while it is merged in memory: the directory as this batch sees it, and the plan that grows.

Events of one entity are merged one after the other here, so a batch writes each entity once.
"""

from dataclasses import dataclass, field

import msgspec

from idsync.model.destination import lane_number
from idsync.model.entity import Conflict, Entity
from idsync.model.event import Arrival, Event, Observation, Receipt, Verdict
from idsync.model.plan import (
    EmailKey,
    EntityWrite,
    InboxKey,
    InboxRow,
    Keys,
    LaneRow,
    LinkKey,
    Plan,
    Position,
    Reread,
    Settle,
    Snapshot,
    Wait,
)
from idsync.model.values import EntityId, Instant, PeerName, Subject, Value, instant_text, subject_of
from idsync.pipeline.parts.routes import OPERATIONAL, Routes, target_name
from idsync.policy.dispatch import concerned_peers
from idsync.policy.existence import forget
from idsync.policy.linking import Known, email_key, id_key
from idsync.policy.outcome import Outcome

QUIET = frozenset({Verdict.ECHO, Verdict.STALE})
"""Verdicts on our own reads that leave no inbox row: nobody sent anything, and nothing came of it."""

_encode = msgspec.json.Encoder().encode


def keys_of(arrivals: list[Arrival], routes: Routes) -> Keys:
    """Name everything a batch must know before it can be merged."""
    inbox: set[InboxKey] = set()
    links: set[LinkKey] = set()
    emails: set[EmailKey] = set()
    entities: set[EntityId] = set()
    for arrival in arrivals:
        seen = arrival.observation
        if seen is None or not seen.is_read:
            inbox.add((arrival.peer, arrival.id))
        if seen is None:
            continue
        links.add((seen.peer, seen.kind, seen.external_id))
        first = routes.mapping_of(seen.kind, seen.peer).first_peer
        if seen.link_id is not None and first is not None:
            links.add((first, seen.kind, seen.link_id))
        email = seen.fields.get("email")
        if isinstance(email, str) and email:
            emails.add((seen.kind, email))
        if seen.origin is not None:
            entities.add(EntityId(seen.origin.partition(":")[0]))
    return Keys(frozenset(inbox), frozenset(links), frozenset(emails), frozenset(entities))


@dataclass(slots=True)
class Draft:
    """The working set of one batch. Lives only inside one pass of ingest; a redo begins with a fresh one."""

    routes: Routes
    epoch: int
    now: Instant
    known: dict[InboxKey, Receipt]
    directory: Known
    revs: dict[EntityId, int]
    """The `rev` each loaded entity had: what the commit compares."""
    inbox: list[InboxRow] = field(default_factory=list)
    touched: dict[EntityId, Entity] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    deliveries: list[LaneRow] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    settles: list[Settle] = field(default_factory=list)
    releases: dict[str, None] = field(default_factory=dict)
    rereads: dict[LinkKey, Reread] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot, routes: Routes, epoch: int, now: Instant) -> "Draft":
        """Begin with what was loaded."""
        return cls(
            routes=routes,
            epoch=epoch,
            now=now,
            known=dict(snapshot.known),
            directory=Known(dict(snapshot.links), dict(snapshot.emails), dict(snapshot.entities)),
            revs={one.id: one.rev for one in snapshot.entities.values()},
        )

    def record(self, arrival: Arrival, row: InboxRow, receipt: Receipt) -> tuple[int | None, int | None]:
        """Write the arrival's row, or settle the row it already has; return where deliveries find it: (row, seq)."""
        if arrival.redo is not None:
            self.settles.append(Settle(seq=arrival.redo, row=row))
            return None, arrival.redo
        self.inbox.append(row)
        self.known[arrival.peer, arrival.id] = receipt
        return len(self.inbox) - 1, None

    def park(self, arrival: Arrival, reason: str, key: str | None = None, entity: Entity | None = None) -> Receipt:
        """Keep an arrival that cannot go on, whole, where operators see it; `entity` if its key can seal the body."""
        entity = entity if entity is not None and entity.id in self.revs else None
        if arrival.redo is not None:
            self.waits.append(Wait(seq=arrival.redo, reason=reason, key=key))
        else:
            body = msgspec.json.encode(arrival)
            self.inbox.append(_row(arrival, Verdict.PARKED, reason=reason, entity=entity, body=body))
            own_key = _own_key(arrival) if key is not None else None
            self.waits.append(Wait(row=len(self.inbox) - 1, reason=reason, key=key, own_key=own_key))
            self.known[arrival.peer, arrival.id] = Receipt(arrival.id, Verdict.PARKED, reason)
        return Receipt(arrival.id, Verdict.PARKED, reason, entity.id if entity is not None else None)

    def ask_again(self, arrival: Arrival, seen: Observation, before: Entity, outcome: Outcome) -> Receipt:
        """Leave it to a read: one coalesced job for this identity. What it confirmed of our own writes is kept."""
        if outcome.entity is not None:
            self._put(before, outcome.entity)
        key = (seen.peer, seen.kind, seen.external_id)
        self.rereads[key] = Reread(
            peer=seen.peer, kind=seen.kind, external_id=seen.external_id, asked_at=self.now, retry_at=self.now
        )
        receipt = Receipt(arrival.id, Verdict.REREAD)
        if arrival.redo is not None or not seen.is_read:
            self.record(arrival, _row(arrival, Verdict.REREAD), receipt)
        return receipt

    def apply(self, arrival: Arrival, seen: Observation, before: Entity, outcome: Outcome, event_id: str) -> Receipt:
        """Write what merge decided: the entity, the canonical event, the deliveries it causes, the waits it ends."""
        after = outcome.entity if outcome.entity is not None else before
        if outcome.entity is not None:
            self._put(before, after)
        self.conflicts.extend(outcome.conflicts)
        receipt = Receipt(arrival.id, outcome.verdict, outcome.reason, after.id)
        if arrival.redo is None and seen.is_read and outcome.verdict in QUIET and outcome.event_type is None:
            self._dispatch_targets(after, row=None, seq=None)
            return receipt
        event = None
        if outcome.event_type is not None:
            first = self.routes.mapping_of(seen.kind, seen.peer).peers
            event = canonical_event(event_id, outcome, after, seen, tuple(first))
        row, seq = self.record(
            arrival, _row(arrival, outcome.verdict, reason=outcome.reason, entity=after, event=event), receipt
        )
        self._release(seen, before, after)
        self._dispatch_targets(after, row, seq)
        if outcome.event_type is not None:
            for name in self.routes.endpoints_for(outcome.event_type):
                self._queue(name, subject_of(after.kind, after.id), after.version, row, seq)
        return receipt

    def fan_out(self, arrival: Arrival, event: Event) -> Receipt:
        """Pass on an event that no entity stands behind."""
        subject, version, receipt = event.subject, event.version or 0, Receipt(arrival.id, Verdict.APPLIED)
        row, seq = self.record(arrival, _passed_row(arrival, event), receipt)
        for lanes in self.routes.lanes_for(event.type, is_operational=arrival.peer == OPERATIONAL):
            self.deliveries.append(LaneRow(lanes[lane_number(subject, len(lanes))], subject, version, row, seq))
        return receipt

    def plan(
        self,
        positions: dict[PeerName, Position],
        rereads: list[Reread],
        rereads_done: list[Reread],
        fences: dict[str, int],
        read: Snapshot,
    ) -> Plan:
        """Finish: everything this batch writes, and what it was made from."""
        asked = {(one.peer, one.kind, one.external_id): one for one in rereads} | self.rereads
        return Plan(
            epoch=self.epoch,
            fences=fences,
            read=read,
            routes=self.routes.revision if self.inbox or self.settles else None,
            inbox=tuple(self.inbox),
            entities=tuple(EntityWrite(one, self.revs.get(one.id)) for one in self.touched.values()),
            conflicts=tuple(self.conflicts),
            deliveries=tuple(self.deliveries),
            waits=tuple(self.waits),
            settles=tuple(self.settles),
            releases=tuple(self.releases),
            rereads=tuple(asked.values()),
            rereads_done=tuple(rereads_done),
            positions=positions,
            at=self.now,
        )

    def _put(self, before: Entity, after: Entity) -> None:
        known = self.directory
        known.entities[after.id] = after
        self.touched[after.id] = after
        for peer, link in after.links.items():
            if link.external_id is not None:
                self._claim(after.id, (peer, after.kind, link.external_id))
        old, new = before.value_of("email"), after.value_of("email") if after.deleted is None else None
        if isinstance(old, str) and old != new and known.emails.get((after.kind, old)) == after.id:
            del known.emails[after.kind, old]
        if isinstance(new, str) and new:
            known.emails.setdefault((after.kind, new), after.id)

    def _claim(self, claimant: EntityId, key: LinkKey) -> None:
        """Note whose an id is now; a dead holder gives it up in the same transaction."""
        holder = self.directory.entities.get(self.directory.links.get(key, claimant))
        self.directory.links[key] = claimant
        if holder is None or holder.id == claimant:
            return
        freed = forget(holder, key[0], key[2])
        self.directory.entities[holder.id] = freed
        if freed is not holder:
            self.touched[holder.id] = freed

    def _release(self, seen: Observation, before: Entity, after: Entity) -> None:
        """Name the wait keys that this change may fulfil."""
        if before.link_at(seen.peer).state is not after.link_at(seen.peer).state:
            self.releases[id_key(seen.peer, seen.kind, seen.external_id)] = None
        for entity in (before, after):
            email = entity.value_of("email")
            if isinstance(email, str) and email and _mail_state(before) != _mail_state(after):
                self.releases[email_key(entity.kind, email)] = None

    def _dispatch_targets(self, entity: Entity, row: int | None, seq: int | None) -> None:
        mapping = self.routes.mappings.get(entity.kind)
        if mapping is None:
            return
        subject = subject_of(entity.kind, entity.id)
        for peer in concerned_peers(entity, mapping):
            self._queue(target_name(peer), subject, entity.version, row, seq)

    def _queue(self, destination: str, subject: Subject, version: int, row: int | None, seq: int | None) -> None:
        lane = self.routes.lane_for(destination, subject)
        self.deliveries.append(LaneRow(lane, subject, version, row, seq))


def unfit(arrival: Arrival, reason: str) -> Arrival:
    """The same arrival, to be parked for what it holds: only its raw bytes are kept, and texts that can be stored."""
    return msgspec.structs.replace(
        arrival,
        id=_storable(arrival.id),
        type=_storable(arrival.type),
        subject=Subject(_storable(arrival.subject)),
        event=None,
        observation=None,
        refusal=reason,
    )


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _own_key(arrival: Arrival) -> str | None:
    seen = arrival.observation
    return id_key(seen.peer, seen.kind, seen.external_id) if seen is not None else None


def _mail_state(entity: Entity) -> tuple[Value, Value, bool]:
    return entity.value_of("email"), entity.value_of("email_verified"), entity.deleted is not None


def _passed_row(arrival: Arrival, event: Event) -> InboxRow:
    """Write the row of an event that no entity stands behind: the most frequent one, so nothing of it is asked."""
    return InboxRow(
        peer=arrival.peer,
        id=arrival.id,
        type=arrival.type,
        subject=arrival.subject,
        received_at=arrival.received_at,
        verdict=Verdict.APPLIED,
        event_id=event.id,
        event_type=event.type,
        event_subject=event.subject,
        version=event.version or 0,
        changed=event.changed or (),
        body=_encode(event),
        trace=arrival.trace,
        not_before=arrival.not_before,
    )


def _row(  # the optional columns of one row, each named at its call
    arrival: Arrival,
    verdict: Verdict,
    *,
    reason: str | None = None,
    entity: Entity | None = None,
    event: Event | None = None,
    body: bytes = b"",
) -> InboxRow:
    return InboxRow(
        peer=arrival.peer,
        id=arrival.id,
        type=arrival.type,
        subject=arrival.subject,
        received_at=arrival.received_at,
        verdict=verdict,
        reason=reason,
        entity=entity.id if entity is not None else None,
        event_id=event.id if event is not None else None,
        event_type=event.type if event is not None else None,
        event_subject=event.subject if event is not None else None,
        version=entity.version if entity is not None else 0,
        changed=(event.changed or ()) if event is not None else (),
        body=_encode(event) if event is not None else body,
        trace=arrival.trace,
        not_before=arrival.not_before,
    )


def canonical_event(
    event_id: str, outcome: Outcome, entity: Entity, seen: Observation, peers: tuple[PeerName, ...]
) -> Event:
    """The event that leaves us: the whole truth of the entity, what changed, and its ids everywhere (DESIGN §9)."""
    ids: dict[str, str] = {peer: one.external_id for peer, one in entity.links.items() if one.external_id is not None}
    identity = next((ids[peer] for peer in (*peers, *ids) if peer in ids), entity.id)
    values = {"id": identity} | {name: one.value for name, one in sorted(entity.fields.items()) if name != "id"}
    return Event(
        id=event_id,
        type=outcome.event_type or f"{entity.kind}.updated",
        source=seen.peer,
        subject=subject_of(entity.kind, entity.id),
        timestamp=instant_text(seen.event_at),
        version=entity.version,
        changed=outcome.changed,
        ids=ids,
        data=msgspec.Raw(msgspec.json.encode(values)),
    )
