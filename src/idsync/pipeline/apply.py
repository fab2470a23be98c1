"""Deliver to a peer: look, announce, write, confirm (DESIGN §1.4, §5).

A Target delivery is a doorbell: what is written is the entity as it is now, and every delivery of that subject up to
then is settled with it. The confirmation goes through the same door as everything else a peer says: ingest. What is
written to one link again and again is parked for a while instead (DESIGN §4).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from idsync import crash
from idsync.errors import LeaseLost, PeerError, StoreError, StoreFenced
from idsync.model.delivery import Delivery, Effect, Image, Outcome, Parked, Place, WriteResult
from idsync.model.destination import Lane
from idsync.model.entity import Action, Entity, Intent, intent_id
from idsync.model.event import Arrival, Receipt
from idsync.model.mapping import Mapping
from idsync.model.plan import Committed, EntityWrite, Fenced, Keys, Plan, Redo, Reread
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Subject, subject_of
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.beats import FLAPPING, Beats
from idsync.pipeline.parts.bells import UNSETTLED, Bell, Bells
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.pipeline.parts.looks import arrival_of, observation_of
from idsync.pipeline.parts.routes import target_name
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.parts.wake import wait_for
from idsync.pipeline.reach import Half, Reach
from idsync.policy.dispatch import Need, Unknown, announce, chosen_id, need_of, newest_stamp, withdraw
from idsync.policy.oscillation import OscillationPolicy
from idsync.policy.retry import RetryPolicy
from idsync.ports import Clock, Store, Target, Write
from idsync.telemetry import Counters, Log

Kinds = MappingOf[str, Mapping]
"""The rules of every synced kind."""
BATCH_MAX = 100
"""Subjects written together."""
INTENT_LIFE_MS = 60_000
"""After this no request of an intent can still be under way."""
PASSES_MAX = 20
WRITE_TAKES_S = 5.0
"""Longer than a batch of writes takes where all is well: none is begun later than so long before the tenure ends."""
TENURE_PAUSE_S = 0.05
PAUSE_MAX_S = 30.0
"""A peer that does not answer is tried again at least this often; its lanes wait and burn no attempts."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One write that is announced: what the entity was, and what is asked of the peer."""

    entity: Entity
    intent: Intent
    write: Write


@dataclass(slots=True)
class _Round:
    """What becomes of the subjects of one batch."""

    jobs: list[_Job] = field(default_factory=list)
    done: dict[Subject, Outcome] = field(default_factory=dict)
    unknown: list[tuple[Entity, Unknown]] = field(default_factory=list)
    resting: dict[Subject, Instant] = field(default_factory=dict)
    """Until when each is not to be written."""


class TargetDeliverer:
    """Brings one peer to the truth. One batch at a time; `tick` is its only loop."""

    def __init__(  # noqa: PLR0913  # the composition root names each part once
        self,
        peer: PeerName,
        target: Target,
        mappings: Kinds,
        lanes: Sequence[tuple[Lane, Place]],
        *,
        tenure: Tenure,
        store: Store,
        submit: Callable[[Submission], Awaitable[list[Receipt]]],
        settler: Settler,
        clock: Clock,
        counters: Counters,
        log: Log,
        epoch: int,
        limits: DeliverLimits,
        retry: RetryPolicy,
        oscillation: OscillationPolicy,
    ) -> None:
        """Wire it; `start` loads what was parked."""
        self.peer = peer
        self.name = target_name(peer)
        self._target = target
        self._mappings = mappings
        self._store = store
        self._submit = submit
        self._tenure = tenure
        self._clock = clock
        self._counters = counters
        self._log = log
        self._epoch = epoch
        self._bells = Bells(
            self.name,
            lanes,
            store=store,
            settler=settler,
            tenure=tenure,
            clock=clock,
            counters=counters,
            limits=limits,
            retry=retry,
        )
        self._beats = Beats(oscillation)
        self._reach = Reach(Half.WRITE, peer, registry=store, submit=submit, tenure=tenure, clock=clock)
        self._paused_until: Instant = Instant(0)
        self._pause_s = 0.0
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Load the subjects that are parked."""
        await self._bells.start()
        await self._reach.start()

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery that was just committed."""
        self._bells.offer(delivery)
        self._wake.set()

    def requeue(self, row: Parked) -> None:
        """Carry out an operator's command: try a dead row's subject again."""
        self._bells.requeue(row)
        self._wake.set()

    def ring(self) -> None:
        """Another process may have queued something, or put it into its order."""
        self._bells.ring()
        self._wake.set()

    def owns(self, lane: int) -> bool:
        """Whether a lane's parked rows are this one's."""
        return self._bells.owns(lane)

    def close(self) -> None:
        """Leave the lanes as they were written last: another process goes on from there."""
        self._bells.close()

    async def tick(self) -> float:
        """Write one batch of what is due; return the seconds until the next look."""
        self._wake.clear()
        await self._bells.fetch()
        now = self._clock.now()
        if now < self._paused_until:
            return (self._paused_until - now) / 1000
        if not self._tenure.allows(WRITE_TAKES_S):
            return TENURE_PAUSE_S
        batch = self._bells.take(BATCH_MAX)
        if not batch:
            await self._reach.regain()
            return self._bells.next_due_s()
        crash.point("deliver.read")
        try:
            await self._apply(batch)
        except PeerError as error:
            self._bells.put_back(batch)
            self._pause(error)
            await self._reach.lose(error)
        except StoreError:
            self._bells.put_back(batch)
            raise
        else:
            await self._reach.regain()
        return 0.0

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something to do, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    async def _apply(self, batch: dict[Subject, Bell]) -> None:
        """The straight run: look up, announce, write, confirm, settle."""
        found = await self._announce(batch)
        jobs = found.jobs
        crash.point("intent.written")
        results = await self._write(jobs)
        self._remember(jobs, results)
        await self._withdraw(jobs, results)
        await self._confirm(jobs, results, found.unknown)
        self._pause_s = 0.0
        for subject, outcome in found.done.items():
            self._bells.settle(subject, batch[subject], outcome)
        for subject, until in found.resting.items():
            self._rest(subject, batch[subject], until)
        for job, result in zip(jobs, results, strict=True):
            subject = subject_of(job.entity.kind, job.entity.id)
            outcome = _outcome_of(job, result)
            error = result.error or (result.effect.value if outcome in UNSETTLED else None)
            self._bells.settle(subject, batch[subject], outcome, error, result.retry_after_s)

    async def _announce(self, batch: dict[Subject, Bell]) -> _Round:
        """Commit the intents of all writes that are needed, so that their echoes are known whatever happens next."""
        wanted = {EntityId(subject.partition("/")[2]): subject for subject in batch}
        for _ in range(PASSES_MAX):
            entities = (await self._store.load(Keys(entities=frozenset(wanted)))).entities
            found, now = _Round(), self._clock.now()
            for entity_id, subject in wanted.items():
                self._judge(found, subject, entities.get(entity_id), now)
            crash.point("intent.before_commit")
            writes = [EntityWrite(job.entity, job.entity.rev - 1) for job in found.jobs]
            if not writes or await self._commit(writes):
                return found
        raise StoreError(f"peer {self.peer}: {len(batch)} identities kept moving while their writes were announced")

    def _judge(self, found: _Round, subject: Subject, entity: Entity | None, now: Instant) -> None:
        """Say what is to be done for one subject: write it, let it rest, have it read, or nothing."""
        mapping = self._mappings.get(entity.kind) if entity is not None else None
        need = need_of(entity, self.peer, mapping) if entity is not None and mapping is not None else None
        if isinstance(need, Need) and entity is not None and mapping is not None:
            job = self._job(entity, need, mapping)
            until = self._beats.rests_until(entity.id, job.intent, now)
            if until is None:
                found.jobs.append(job)
            else:
                found.resting[subject] = until
            return
        if isinstance(need, Unknown) and entity is not None:
            found.unknown.append((entity, need))
        found.done[subject] = Outcome.UNCHANGED if need is None else Outcome.SUPERSEDED

    def _remember(self, jobs: list[_Job], results: Sequence[WriteResult]) -> None:
        """Count what was carried out, so that what is written again and again is seen."""
        written = [
            (job.entity.id, job.intent)
            for job, result in zip(jobs, results, strict=True)
            if result.effect is Effect.WRITTEN
        ]
        self._beats.remember(written, self._clock.now())

    def _rest(self, subject: Subject, bell: Bell, until: Instant) -> None:
        """Leave a subject alone for a while: it was written so often of late that somebody must change it back."""
        if self._bells.rest(subject, bell, FLAPPING, until):
            self._counters.add("idsync_flapping_total", self.peer)
            self._log.warn(
                "an identity is written again and again; it rests",
                peer=self.peer,
                entity=subject.partition("/")[2],
                retry_in_s=(until - self._clock.now()) / 1000,
            )

    async def _commit(self, writes: Sequence[EntityWrite]) -> bool:
        """Commit intents that were opened or closed; False: some entity moved since it was read."""
        plan = Plan(epoch=self._epoch, fences=self._tenure.fences, entities=tuple(writes), at=self._clock.now())
        match await self._store.commit(plan):
            case Committed():
                return True
            case Redo():
                return False
            case Fenced(leases):
                raise LeaseLost(leases) if leases else StoreFenced
            case unknown:
                assert_never(unknown)

    def _job(self, entity: Entity, need: Need, mapping: Mapping) -> _Job:
        link = entity.link_at(self.peer)
        chosen = link.external_id
        if need.action is Action.CREATE:
            chosen = chosen_id(entity, self.peer) or self._target.choose_id(entity.kind)
        intent = Intent(
            id=intent_id(entity.id, entity.version, self._clock.new_id()),
            action=need.action,
            epoch=self._epoch,
            version=entity.version,
            fields=need.fields,
            external_id=chosen,
            seen_at=newest_stamp(entity, need.fields),
            expires_at=Instant(self._clock.now() + INTENT_LIFE_MS),
        )
        write = Write(
            entity=entity.id,
            kind=entity.kind,
            action=need.action,
            intent=intent.id,
            external_id=chosen,
            link_id=_link_id(entity, self.peer, mapping),
            fields=need.fields,
            expected=need.expected,
        )
        return _Job(announce(entity, self.peer, intent), intent, write)

    async def _write(self, jobs: list[_Job]) -> Sequence[WriteResult]:
        if not jobs:
            return []
        try:
            return await self._tenure.abort_late(self._target.write([job.write for job in jobs]))
        except TimeoutError:
            raise PeerError(f"peer {self.peer} had not answered when another process could take over") from None

    async def _withdraw(self, jobs: list[_Job], results: Sequence[WriteResult]) -> None:
        """Close the intents of writes that certainly never happened."""
        void = {
            job.entity.id: job.write.intent for job, result in zip(jobs, results, strict=True) if _is_void(job, result)
        }
        for _ in range(PASSES_MAX):
            if not void:
                return
            found = (await self._store.load(Keys(entities=frozenset(void)))).entities
            closed = {one.id: withdraw(one, self.peer, void[one.id]) for one in found.values()}
            writes = [EntityWrite(one, found[one.id].rev) for one in closed.values() if one is not found[one.id]]
            if not writes or await self._commit(writes):
                return
        raise StoreError(f"peer {self.peer}: {len(void)} identities kept moving while their writes were withdrawn")

    async def _confirm(
        self,
        jobs: list[_Job],
        results: Sequence[WriteResult],
        unknown: list[tuple[Entity, Unknown]],
    ) -> None:
        """Ingest what confirms our writes; where the peer holds what we did not expect, have it read again."""
        now = self._clock.now()
        arrivals = [
            arrival
            for job, result in zip(jobs, results, strict=True)
            if (arrival := self._seen(job, result, now)) is not None
        ]
        doubtful = [(entity.kind, entity.link_at(self.peer).external_id) for entity, _ in unknown]
        doubtful += [
            (job.write.kind, result.image.external_id if result.image is not None else job.write.external_id)
            for job, result in zip(jobs, results, strict=True)
            if _is_strange(job, result)
        ]
        rereads = [
            Reread(peer=self.peer, kind=kind, external_id=external_id, asked_at=now, retry_at=now)
            for kind, external_id in doubtful
            if external_id is not None
        ]
        if arrivals or rereads:
            await self._submit(Submission(arrivals=arrivals, rereads=rereads))

    def _seen(self, job: _Job, result: WriteResult, now: Instant) -> Arrival | None:
        is_gone = job.write.action is Action.REMOVE
        if result.effect not in {Effect.WRITTEN, Effect.UNCHANGED} and not (is_gone and result.effect is Effect.ABSENT):
            return None
        image = result.image
        if image is None:
            if not is_gone or job.write.external_id is None:
                return None
            image = Image(external_id=job.write.external_id, fields={}, version=result.version, at=now)
        seen = observation_of(self.peer, job.write.kind, image, f"look:{job.write.intent}", now, is_gone=is_gone)
        return arrival_of(msgspec.structs.replace(seen, origin=job.write.intent))

    def _pause(self, error: PeerError) -> None:
        """Leave everything for later: the peer is away, and that is nobody's attempt."""
        self._pause_s = min(PAUSE_MAX_S, max(0.25, self._pause_s * 2))
        self._paused_until = Instant(self._clock.now() + round(self._pause_s * 1000))
        self._counters.add("idsync_target_pauses_total", self.name)
        self._log.warn(
            "peer cannot be written; its lanes wait", peer=self.peer, retry_in_s=self._pause_s, why=str(error)
        )


def _outcome_of(job: _Job, result: WriteResult) -> Outcome:
    match result.effect:
        case Effect.WRITTEN:
            return Outcome.DELIVERED
        case Effect.UNCHANGED:
            return Outcome.UNCHANGED
        case Effect.ABSENT if job.write.action is Action.REMOVE:
            return Outcome.UNCHANGED
        case Effect.DIVERGED | Effect.ABSENT:
            # What was found is read again and dispatched anew, if anything is still to be written then.
            return Outcome.FAILED
        case Effect.REFUSED | Effect.UNAVAILABLE:
            return Outcome.REFUSED
        case unknown:
            assert_never(unknown)


def _is_void(job: _Job, result: WriteResult) -> bool:
    """Whether the write certainly never happened: the peer looked, and left everything as it was."""
    return result.effect is Effect.REFUSED or _is_strange(job, result)


def _is_strange(job: _Job, result: WriteResult) -> bool:
    """Whether the peer holds something else than we believed: an event of it is on its way, or nobody will tell us."""
    is_missing = result.effect is Effect.ABSENT and job.write.action is not Action.REMOVE
    return result.effect is Effect.DIVERGED or is_missing


def _link_id(entity: Entity, peer: PeerName, mapping: Mapping) -> ExternalId | None:
    first = mapping.first_peer
    return entity.link_at(first).external_id if first is not None and first != peer else None
