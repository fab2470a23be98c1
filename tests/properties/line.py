"""The line without store, network and tasks: what ingest, deliver and reread do, step by step as a test says.

Every step that the real line takes in one transaction is one method here; between two of them anything else may happen.
"""

from dataclasses import dataclass, field

import msgspec

from idsync.model.delivery import Effect, Image, WriteResult
from idsync.model.entity import Action, Conflict, Entity, Intent, intent_id
from idsync.model.event import Observation, Op, Verdict, Version
from idsync.model.mapping import Mapping
from idsync.model.plan import EmailKey, LinkKey
from idsync.model.values import EntityId, ExternalId, Instant, PeerName
from idsync.policy import dispatch, linking, merge
from idsync.policy.dispatch import Need, Unknown, announce, chosen_id, newest_stamp, unanswered_until, withdraw
from idsync.policy.existence import forget
from idsync.policy.linking import Known, Linked, Undecided
from idsync.policy.outcome import Outcome
from idsync.ports import Write
from idsync.testing.peer import FakePeer

KIND = "user"
INTENT_LIFE_MS = 60_000
START = Instant(1_700_000_000_000)


class Time:
    """The true time of one simulation."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> Instant:
        """The instant it is."""
        return self.at

    def advance(self, delay_ms: int) -> None:
        """Let time pass."""
        self.at = Instant(self.at + delay_ms)


@dataclass
class Flight:
    """One announced write on its way to a peer and back."""

    entity: EntityId
    peer: PeerName
    write: Write
    expires_at: Instant
    result: WriteResult | None = None


@dataclass
class Look:
    """One reread under way: what was found, and the shadow's revision from before."""

    peer: PeerName
    external_id: ExternalId
    rev: int | None
    truth: tuple[EntityId, int] | None
    began_at: Instant
    image: Image | None
    place: Version | None
    """Where the peer's journal ended."""


@dataclass
class Merged:
    """One merge, for the oracles."""

    before: Entity
    seen: Observation
    mapping: Mapping
    outcome: Outcome

    @property
    def after(self) -> Entity:
        """The entity as it is now."""
        return self.outcome.entity if self.outcome.entity is not None else self.before


@dataclass
class Line:
    """One idsync with its directory; `entities` is all that it believes."""

    mapping: Mapping
    peers: dict[PeerName, FakePeer]
    time: Time
    entities: dict[EntityId, Entity] = field(default_factory=dict)
    links: dict[LinkKey, EntityId] = field(default_factory=dict)
    inbox: set[tuple[PeerName, str]] = field(default_factory=set)
    waits: dict[tuple[PeerName, str], Observation] = field(default_factory=dict)
    """Parked arrivals, by peer and event id."""
    rereads: dict[tuple[PeerName, ExternalId], None] = field(default_factory=dict)
    bells: dict[tuple[EntityId, PeerName], None] = field(default_factory=dict)
    flights: list[Flight] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    merges: list[Merged] = field(default_factory=list)
    epoch: int = 1
    count: int = 0

    # --- ingest -------------------------------------------------------------------------------------------

    def accept(self, event: Observation) -> None:
        """Take in an event that somebody sent; one whose id is known has its effect already."""
        if (event.peer, event.event_id) in self.inbox:
            return
        self.inbox.add((event.peer, event.event_id))
        self.ingest(msgspec.structs.replace(event, received_at=self.time.now()))

    def ingest(self, seen: Observation, mapping: Mapping | None = None) -> Outcome | None:
        """Resolve, merge and dispatch; None: it is parked."""
        mapping = mapping if mapping is not None else self.mapping
        key = (seen.peer, seen.event_id)
        self.waits.pop(key, None)
        resolution = linking.resolve(seen, self._known(seen), mapping)
        match resolution:
            case Undecided():
                self.waits[key] = seen
                return None
            case Linked(found):
                before = self.entities[found]
            case _:
                before = Entity(id=EntityId(f"e{len(self.entities) + 1}"), kind=KIND, created_at=seen.received_at)
        outcome = merge.merge(before, seen, mapping)
        if outcome.verdict is Verdict.PARKED:
            self.waits[key] = seen
            return None
        merged = Merged(before, seen, mapping, outcome)
        self.merges.append(merged)
        self._put(merged.after)
        self.conflicts.extend(outcome.conflicts)
        if outcome.verdict is Verdict.REREAD:
            self.rereads[seen.peer, seen.external_id] = None
            return outcome
        for peer in dispatch.concerned_peers(merged.after, self.mapping):
            self.bells[merged.after.id, peer] = None
        return outcome

    def release(self) -> None:
        """Try every parked arrival again; an operator lets a delete that waits for him pass."""
        for seen in list(self.waits.values()):
            owner = seen.peer if seen.is_gone else self.mapping.lifecycle_owner
            self.ingest(seen, msgspec.structs.replace(self.mapping, lifecycle_owner=owner))

    def holder_of(self, email: str) -> EntityId | None:
        """The first of the living who has an e-mail."""
        alive = (one for one in self.entities.values() if one.deleted is None)
        return next((one.id for one in alive if one.value_of("email") == email), None)

    def creator_of(self, peer: PeerName, email: str) -> EntityId | None:
        """Whose create with an e-mail may be under way at a peer."""
        for entity in self.entities.values():
            creates = [one for one in entity.link_at(peer).intents if one.action is Action.CREATE]
            if any(one.fields.get("email") == email for one in creates):
                return entity.id
        return None

    def _known(self, seen: Observation) -> Known:
        emails: dict[EmailKey, EntityId] = {}
        email = seen.fields.get("email")
        if isinstance(email, str) and (holder := self.holder_of(email)) is not None:
            emails[KIND, email] = holder
        creates: dict[tuple[PeerName, str, str], EntityId] = {}
        if isinstance(email, str) and (creator := self.creator_of(seen.peer, email)) is not None:
            creates[seen.peer, KIND, email] = creator
        return Known(self.links, emails, self.entities, creates)

    def _put(self, entity: Entity) -> None:
        if entity.version == 0 and not entity.links:
            return
        self.entities[entity.id] = entity
        for peer, link in entity.links.items():
            if link.external_id is not None:
                self._claim(entity.id, (peer, KIND, link.external_id))

    def _claim(self, claimant: EntityId, key: LinkKey) -> None:
        """Note whose an id is now; a dead holder gives it up."""
        holder = self.entities[self.links.get(key, claimant)]
        self.links[key] = claimant
        if holder.id != claimant:
            freed = forget(holder, key[0], key[2])
            assert freed is not holder, f"{claimant} and {holder.id} both live as {key}"
            self.entities[holder.id] = freed
            # Somebody was buried under this id: whether the newcomer lives is to be seen.
            self.rereads[key[0], key[2]] = None

    # --- deliver ------------------------------------------------------------------------------------------

    def depart(self, entity_id: EntityId, peer: PeerName) -> Flight | None:
        """Answer one doorbell: plan the write and announce it; None: there is nothing to write now."""
        del self.bells[entity_id, peer]
        entity = self.entities[entity_id]
        need = dispatch.need_of(entity, peer, self.mapping)
        link = entity.link_at(peer)
        if isinstance(need, Unknown) and link.external_id is not None:
            self.rereads[peer, link.external_id] = None
        if not isinstance(need, Need):
            return None
        intent = self._intent(entity, peer, need)
        self._put(announce(entity, peer, intent))
        first = self.mapping.first_peer
        write = Write(
            entity=entity_id,
            kind=KIND,
            action=need.action,
            intent=intent.id,
            external_id=intent.external_id,
            link_id=entity.link_at(first).external_id if first is not None and first != peer else None,
            fields=need.fields,
            expected=need.expected,
        )
        flight = Flight(entity_id, peer, write, intent.expires_at)
        self.flights.append(flight)
        return flight

    def _intent(self, entity: Entity, peer: PeerName, need: Need) -> Intent:
        chosen = entity.link_at(peer).external_id
        if need.action is Action.CREATE:
            fake = self.peers[peer]
            chosen = chosen_id(entity, peer) or (None if fake.habits.gives_ids else fake.new_id())
        self.count += 1
        return Intent(
            id=intent_id(entity.id, entity.version, str(self.count)),
            action=need.action,
            epoch=self.epoch,
            version=entity.version,
            fields=need.fields,
            external_id=chosen,
            seen_at=newest_stamp(entity, need.fields),
            expires_at=Instant(self.time.now() + INTENT_LIFE_MS),
        )

    def land(self, flight: Flight) -> None:
        """Let the request arrive at the peer."""
        if flight.result is None and self.time.now() < flight.expires_at:
            flight.result = self.peers[flight.peer].apply(flight.write)

    def crash(self, flight: Flight) -> None:
        """Lose the answer: another epoch finds the delivery unsettled, and the intent open."""
        self.flights.remove(flight)
        self.epoch += 1
        self.bells[flight.entity, flight.peer] = None

    def confirm(self, flight: Flight) -> None:
        """Ingest what the peer answered."""
        self.flights.remove(flight)
        result, write = flight.result, flight.write
        is_removal = write.action is Action.REMOVE
        if result is None:
            self.bells[flight.entity, flight.peer] = None
        elif result.effect in {Effect.WRITTEN, Effect.UNCHANGED} or (result.effect is Effect.ABSENT and is_removal):
            self._ingest_answer(flight, result, is_removal=is_removal)
        else:
            self._ingest_refusal(flight, result)

    def _ingest_answer(self, flight: Flight, result: WriteResult, *, is_removal: bool) -> None:
        image = result.image
        if image is None:
            assert flight.write.external_id is not None
            image = Image(external_id=flight.write.external_id, at=self.time.now(), fields={})
        seen = self._seen(flight.peer, image, f"answer:{flight.write.intent}")
        op = Op.ABSENT if is_removal else Op.SEEN
        self.ingest(msgspec.structs.replace(seen, op=op, origin=flight.write.intent))

    def _ingest_refusal(self, flight: Flight, result: WriteResult) -> None:
        """Nothing was written: the intent is withdrawn, and where anything else was found it is read again."""
        before = self.entities[flight.entity]
        after = withdraw(before, flight.peer, flight.write.intent)
        self._put(after)
        self.bells[flight.entity, flight.peer] = None
        image = result.image
        doubtful = image.external_id if image is not None else before.link_at(flight.peer).external_id
        if result.effect in {Effect.DIVERGED, Effect.ABSENT} and doubtful is not None:
            self.rereads[flight.peer, doubtful] = None

    def look_for_answers(self) -> None:
        """Ring a reread wherever a write was never answered and cannot be under way any more."""
        for entity in self.entities.values():
            for peer, link in entity.links.items():
                until = unanswered_until(entity, peer)
                if until is not None and until < self.time.now() and link.external_id is not None:
                    self.rereads[peer, link.external_id] = None

    # --- reread -------------------------------------------------------------------------------------------

    def look(self, peer: PeerName, external_id: ExternalId) -> Look:
        """Begin a reread: note the shadow's revision, then read."""
        self.rereads.pop((peer, external_id), None)
        found = self.links.get((peer, KIND, external_id))
        rev = self.entities[found].link_at(peer).rev if found is not None else None
        truth = (found, self.entities[found].version) if found is not None else None
        fake = self.peers[peer]
        look = Look(peer, external_id, rev, truth, self.time.now(), fake.image(KIND, external_id), fake.place())
        self.looks.append(look)
        return look

    def report(self, look: Look) -> None:
        """End a reread: ingest what was found."""
        self.looks.remove(look)
        self.count += 1
        image = look.image
        op = Op.SEEN
        if image is None:
            op, image = Op.ABSENT, Image(external_id=look.external_id, at=look.began_at, fields={})
        # Whoever looks at a captured peer waits for the events before: they have named every write of ours.
        is_told = look.image is not None and self.peers[look.peer].habits.has_origins
        seen = msgspec.structs.replace(self._seen(look.peer, image, f"read:{self.count}"), names_writer=is_told)
        self.ingest(msgspec.structs.replace(seen, op=op, rev=look.rev, truth=look.truth, received_at=look.began_at))

    def _seen(self, peer: PeerName, image: Image, event_id: str) -> Observation:
        return Observation(
            peer=peer,
            kind=KIND,
            external_id=image.external_id,
            op=Op.SEEN,
            fields=image.fields,
            link_id=image.link_id,
            version=image.version,
            event_at=image.at,
            received_at=self.time.now(),
            event_id=event_id,
        )
