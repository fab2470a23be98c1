"""The one write: a plan in one transaction, locked, compared, then written whole (DESIGN §6).

Every writer takes its locks in one order: leases, routes, claims, entities, waits, inbox keys; each set sorted. Each
look comes after the lock that keeps its answer, in a later statement, so it sees what was committed before the lock was
had. The ids of deliveries are drawn last: of two writers of one identity the one that commits first draws first.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from idsync import crash
from idsync.errors import DataRefused, StoreError
from idsync.model.delivery import Attempt
from idsync.model.plan import (
    REVISION,
    CommitResult,
    Committed,
    EmailKey,
    Fenced,
    InboxKey,
    InboxRow,
    LinkKey,
    Plan,
    Redo,
)
from idsync.model.values import EntityId, ExternalId, PeerName
from idsync.stores.common import rows
from idsync.stores.common.rows import Row
from idsync.stores.common.seal import EntityKeys, make_key
from idsync.stores.common.sense import check_sense, email_of, entities_named, expected_revs, given_up
from idsync.stores.postgres import registry
from idsync.stores.postgres.claims import Changes
from idsync.stores.postgres.db import REPEATED, Db, columns_of
from idsync.stores.postgres.lanes import LaneMap

TRIES_MAX: Final = 8
"""How often a transaction that met another writer is tried; both have then seen each other at least once."""


class _Abandoned(Exception):
    """Undoes the transaction, for the plan is not to be written."""

    def __init__(self, result: Redo | Fenced) -> None:
        self.result = result


class Written(msgspec.Struct, frozen=True):
    """A plan that was written, with the events whose bodies this process may hand on from memory."""

    result: CommitResult
    sent: tuple[tuple[int, InboxRow], ...] = ()


async def commit(db: Db, plan: Plan, lanes: LaneMap) -> Written:
    """Write a plan, or say why not.

    Args:
        db: a connection without a transaction.
        plan: what to write.
        lanes: every lane that is known.

    Raises:
        DataRefused: the plan contradicts itself or the store; nothing of it was written.
    """
    check_sense(plan)
    changes = Changes(plan)
    if unknown := {one.lane for one in plan.deliveries} - lanes.targets.keys():
        raise DataRefused(f"a delivery is for the lane {min(unknown)}, which was never opened")
    for _ in range(TRIES_MAX):
        try:
            async with db.transaction():
                written = await _write(db, plan, changes, lanes)
                crash.point("store.in_transaction")
        except _Abandoned as abandoned:
            return Written(abandoned.result)
        except REPEATED:
            continue
        crash.point("store.after_commit")
        return written
    raise StoreError(f"a plan of {len(plan.inbox)} events met other writers {TRIES_MAX} times; try again")


async def _write(db: Db, plan: Plan, changes: Changes, lanes: LaneMap) -> Written:
    await _check_fences(db, plan)
    await _lock_routes(db, plan)
    names = changes.names(plan)
    seqs: list[int] = []
    if names or plan.inbox:
        seqs = [seq for (seq,) in await db.read("begin_commit", names, len(plan.inbox), plan.routes is not None)]
    keys = await _lock(db, plan, changes)
    await _write_inbox(db, plan, seqs, keys)
    await _write_entities(db, plan, changes, keys)
    released = await _write_waits(db, plan, seqs)
    await _write_sources(db, plan)
    await _write_results(db, plan, keys)
    ids = await _write_deliveries(db, plan, seqs, lanes)
    sent = [(seq, row) for seq, row in zip(seqs, plan.inbox, strict=True) if row.event_id is not None]
    sent += [(one.seq, one.row) for one in plan.settles if one.row.event_id is not None]
    known = tuple((seq, row) for seq, row in sent if row.entity is None or keys.get(row.entity) is not None)
    return Written(Committed(tuple(seqs), ids, released), known)


async def _check_fences(db: Db, plan: Plan) -> None:
    if plan.fences:
        names, epochs = list(plan.fences), dict[str, int]()
        if plan.is_repeated:
            # Its own earlier commit may still be under way.
            epochs = await db.read_pairs("lock_leases_alone", names)
        else:
            epochs = await db.read_pairs("lock_leases", names)
        if lost := frozenset(name for name, epoch in plan.fences.items() if epochs.get(name) != epoch):
            raise _Abandoned(Fenced(lost))


async def _lock_routes(db: Db, plan: Plan) -> None:
    """Let no change of where events go pass a plan that was routed; one with events locks, and looks, as it goes on."""
    if REVISION in plan.settings:
        await db.read("change_routes")
    if plan.routes is not None and not plan.inbox:
        await db.read("hold_routes")
        await _check_routes(db, plan)


async def _check_routes(db: Db, plan: Plan) -> None:
    if plan.routes is not None and plan.routes != (await registry.setting(db, REVISION) or b""):
        raise _Abandoned(Redo(routes=True))


async def _lock(db: Db, plan: Plan, changes: Changes) -> EntityKeys:
    """Lock what the plan writes and compare all that it was made from; give the keys of all entities it names.

    Raises:
        _Abandoned: something has moved.
    """
    expected = expected_revs(plan)
    written = [one.entity.id for one in plan.entities]
    keys: dict[str, bytes | None] = {}
    revs: dict[str, int] = {}
    if written:
        for id_, rev, key in await db.read("lock_entities", written):
            revs[id_], keys[id_] = rev, key
    if watched := [id_ for id_ in expected if id_ not in set(written)]:
        revs |= await db.read_pairs("watch_entities", watched)
    moved = {id_ for id_, rev in expected.items() if revs.get(id_) != rev}
    owners = await _find_links(db, changes.link_looks)
    passed_on = given_up(plan, changes.every, owners)
    moved |= {one for key, one in changes.links if owners.get(key, one) != one and key not in passed_on}
    redo = Redo(
        entities=frozenset(moved),
        inbox=await _settled_keys(db, plan),
        links=changes.moved_links(plan, owners),
        emails=changes.moved_emails(plan, await _find_emails(db, changes.email_looks)),
    )
    if redo != Redo():
        raise _Abandoned(redo)
    changes.new_links = [(key, one) for key, one in changes.links if key not in owners or key in passed_on]
    if others := [id_ for id_ in entities_named(plan) if id_ not in keys]:
        keys |= await db.read_pairs("find_keys", others)
    return keys | {id_: make_key() for id_ in written if id_ not in keys}


async def _find_links(db: Db, wanted: Collection[LinkKey]) -> dict[LinkKey, EntityId]:
    if not wanted:
        return {}
    found = await db.read("find_links", *columns_of(list(wanted)))
    return {(peer, kind, external_id): entity for peer, kind, external_id, entity in found}


async def _find_emails(db: Db, wanted: Collection[EmailKey]) -> dict[EmailKey, EntityId]:
    if not wanted:
        return {}
    return {(kind, email): entity for kind, email, entity in await db.read("find_emails", *columns_of(list(wanted)))}


async def _settled_keys(db: Db, plan: Plan) -> frozenset[InboxKey]:
    """Arrivals that the plan takes for waiting although they were settled meanwhile: no effect twice."""
    taken = {one.seq for one in plan.settles} | {one.seq for one in plan.waits if one.seq is not None}
    named = taken | {one.seq for one in plan.deliveries if one.seq is not None}
    if not named:
        return frozenset()
    waiting = {seq for (seq,) in await db.read("find_waits", list(taken))} if taken else set()
    if named == waiting:
        return frozenset()
    found = {seq: (PeerName(peer), id_) for seq, peer, id_ in await db.read("find_inbox_keys", list(named - waiting))}
    if unknown := named - waiting - found.keys():
        raise DataRefused(f"no inbox row has the sequence {min(unknown)}; a wait, a settle or a delivery names it")
    return frozenset(found[seq] for seq in taken - waiting)


async def _write_inbox(db: Db, plan: Plan, seqs: list[int], keys: EntityKeys) -> None:
    """Add events, in the order of their keys: two writers of the same keys wait for each other one way round."""
    pairs = sorted(zip(seqs, plan.inbox, strict=True), key=lambda pair: (pair[1].id, pair[1].peer))
    new = [rows.inbox_columns(seq, row, keys) for seq, row in pairs]
    if new:
        added = {seq for (seq,) in await db.read("insert_inbox", *columns_of(new), plan.routes)}
        if not added:
            await _check_routes(db, plan)
        if len(added) < len(new):
            raise _Abandoned(Redo(inbox=frozenset((row.peer, row.id) for seq, row in pairs if seq not in added)))
    settled = [(*rows.verdict_columns(one.seq, one.row, keys), one.seq) for one in plan.settles]
    if settled:
        await db.write_each("settle_inbox", settled)
        await db.write("delete_waits", [one.seq for one in plan.settles])
    await db.write_many("insert_conflicts", [rows.conflict_columns(one, keys) for one in plan.conflicts])


async def _write_entities(db: Db, plan: Plan, changes: Changes, keys: EntityKeys) -> None:
    docs = [(one.entity, one.expected_rev, rows.encode(one.entity).decode()) for one in plan.entities]
    new = [(one.id, one.kind, one.rev, keys[one.id], doc) for one, old, doc in docs if old is None]
    await db.write_many("insert_entities", new)
    await db.write_many("update_entities", [(one.id, old, one.rev, doc) for one, old, doc in docs if old is not None])
    await db.write_many("insert_links", [(*key, one) for key, one in changes.new_links])
    moved = dict(changes.emails)
    if changes.unknown:
        for id_, email in await db.read("find_claims", changes.unknown):
            if email == email_of(moved[EntityId(id_)]):
                del moved[EntityId(id_)]
    if old := [id_ for id_ in moved if id_ in changes.existing]:
        await db.write("release_emails", old)
    claims = [(one.id, one.kind, email) for one in moved.values() if (email := email_of(one)) is not None]
    await db.write_many("claim_emails", claims)


async def _write_waits(db: Db, plan: Plan, seqs: list[int]) -> int:
    """Let arrivals wait, then make due what this plan fulfils for its own waits too; give how many that are."""
    waits: dict[int, Row] = {}
    for one in plan.waits:
        seq = (one.seq or 0) if one.row is None else seqs[one.row]
        waits[seq] = (seq, one.reason, one.key, one.own_key, one.retry_at, one.attempts, plan.at)
    await db.write_many("put_waits", [waits[seq] for seq in sorted(waits)])
    if not plan.releases:
        return 0
    keys = sorted(plan.releases)
    return await db.write("release_waits", plan.at, keys) + await db.write("release_own_waits", plan.at, keys)


async def _write_sources(db: Db, plan: Plan) -> None:
    """Write what concerns the peers' outgoing halves: rereads, ended before they are asked for again, and positions."""
    done = [(one.peer, one.kind, one.external_id, one.asked_at) for one in plan.rereads_done]
    if done:
        await db.write_each("end_reread", sorted(done))
    asked: dict[tuple[PeerName, str, ExternalId], Row] = {
        (one.peer, one.kind, one.external_id): (
            one.peer,
            one.kind,
            one.external_id,
            one.asked_at,
            one.retry_at,
            one.attempts,
        )
        for one in plan.rereads
    }
    await db.write_many("put_rereads", [asked[key] for key in sorted(asked)])
    positions = [(peer, rows.encode(one).decode()) for peer, one in sorted(plan.positions.items())]
    await db.write_many("put_positions", positions)


async def _write_results(db: Db, plan: Plan, keys: EntityKeys) -> None:
    """Write what the deliver side settles: attempts, positions, parked rows, commands, settings."""
    tries = plan.attempts if not plan.is_repeated else await _not_written(db, plan.attempts)
    await db.write_many("insert_attempts", [rows.attempt_columns(one, keys) for one in tries])
    progress = [(lane, tick, id_) for lane, (tick, id_) in plan.progress.items()]
    if await db.write_many("insert_progress", progress) != len(progress):
        raise DataRefused(f"a position is for a lane that was never opened; the plan names {sorted(plan.progress)}")
    parked: Mapping[int, Row] = {one.id: rows.parked_columns(one, keys) for one in plan.parked}
    await db.write_many("put_parked", [parked[id_] for id_ in sorted(parked)])
    if plan.unparked:
        await db.write("delete_parked", sorted(plan.unparked))
    if plan.commands_done:
        await db.write("delete_commands", sorted(plan.commands_done))
    await registry.put_settings(db, plan.settings)


async def _not_written(db: Db, tries: Sequence[Attempt]) -> list[Attempt]:
    """Leave out the tries that are there already."""
    there = {
        (delivery, number, at)
        for event in {one.event for one in tries}
        for delivery, _, _, _, number, at, *_ in await db.read("attempts", event)
    }
    return [one for one in tries if (one.delivery, one.number, one.at) not in there]


async def _write_deliveries(db: Db, plan: Plan, seqs: list[int], lanes: LaneMap) -> tuple[int, ...]:
    """Queue deliveries in the newest lanes, whichever the plan was made with."""
    while plan.deliveries:
        queued = [
            (
                lanes.lane_now(one.lane, one.subject),
                one.subject,
                one.version,
                one.seq if one.row is None else seqs[one.row],
            )
            for one in plan.deliveries
        ]
        if ids := await db.read("insert_deliveries", *columns_of(queued), plan.at, lanes.last):
            return tuple(id_ for (id_,) in ids)
        await lanes.learn(db)
    return ()
