"""The one write: a plan, checked against what was read for it, then written whole.

Runs inside the writer's transaction (`BEGIN IMMEDIATE`), so nothing moves between the checks and the writes. All checks
come before all writes, and the last one is the first write itself: what was accepted before cannot be inserted again. A
plan that is fenced or must be redone has written nothing.
"""

from collections.abc import Sequence

import apsw

from idsync.errors import DataRefused
from idsync.model.delivery import Attempt
from idsync.model.plan import REVISION, CommitResult, Committed, Fenced, InboxKey, LinkKey, Plan, Redo
from idsync.model.values import EntityId, PeerName
from idsync.stores.common import rows
from idsync.stores.common.seal import EntityKeys, make_key
from idsync.stores.common.sense import (
    Claims,
    asked_of,
    check_claims,
    check_sense,
    email_of,
    entities_named,
    expected_revs,
    given_up,
    links_of,
    moved_emails,
    moved_links,
)
from idsync.stores.sqlite import cluster, registry
from idsync.stores.sqlite.db import Db, to_json
from idsync.stores.sqlite.directory import find_emails, find_links

NOTHING_MOVED = Redo()


def commit(db: Db, plan: Plan) -> CommitResult:
    """Write a plan, or say why not.

    Raises:
        DataRefused: the plan contradicts itself or the store; nothing else of the transaction is touched.
    """
    epoch, seq, delivery = db.read("read_registry")[0]
    if plan.epoch != epoch:
        return Fenced()
    if lost := cluster.lost(db, plan.fences):
        return Fenced(lost)
    if plan.routes is not None and plan.routes != (registry.setting(db, REVISION) or b""):
        return Redo(routes=True)
    check_sense(plan)
    expected = expected_revs(plan)
    found = db.read("find_revs", to_json(list(expected.keys() | entities_named(plan))))
    claims = [(key, one.entity.id) for one in plan.entities for key in links_of(one.entity)]
    check_claims(claims)
    owners = find_links(db, {*(key for key, _ in claims), *asked_of(plan).links})
    passed_on = given_up(plan, claims, owners)
    redo = Redo(
        entities=_moved(expected, {id_: rev for id_, rev, _ in found}) | _taken(claims, owners, passed_on),
        inbox=_settled_keys(db, plan),
        links=frozenset() if plan.read is None else moved_links(plan.read, owners),
        emails=frozenset() if plan.read is None else moved_emails(plan.read, find_emails(db, plan.read.asked.emails)),
    )
    if redo != NOTHING_MOVED:
        return redo
    keys: dict[str, bytes | None] = {id_: key for id_, _, key in found}
    keys |= {one.entity.id: make_key() for one in plan.entities if one.entity.id not in keys}
    seqs = tuple(range(seq + 1, seq + 1 + len(plan.inbox)))
    ids = tuple(range(delivery + 1, delivery + 1 + len(plan.deliveries)))
    if known := _accept(db, plan, seqs, keys):
        return Redo(inbox=known)
    _write_entities(db, plan, keys)
    is_new = {key for key, _ in claims} - owners.keys() | passed_on
    db.write_many("insert_link", [(*key, claimant) for key, claimant in claims if key in is_new])
    _write_settles(db, plan, keys)
    _write_deliveries(db, plan, ids, seqs)
    released = _write_waits(db, plan, seqs)
    _write_sources(db, plan)
    _write_results(db, plan, keys)
    if seqs or ids:
        db.write("save_marks", seq + len(seqs), delivery + len(ids))
    return Committed(seqs, ids, released)


def _moved(expected: dict[EntityId, int | None], revs: dict[str, int]) -> frozenset[EntityId]:
    """Entities that are not as they were read."""
    return frozenset(id_ for id_, rev in expected.items() if revs.get(id_) != rev)


def _taken(claims: Claims, owners: dict[LinkKey, EntityId], passed_on: set[LinkKey]) -> frozenset[EntityId]:
    """Entities that claim an id which another one has."""
    return frozenset(
        claimant for key, claimant in claims if owners.get(key, claimant) != claimant and key not in passed_on
    )


def _accept(db: Db, plan: Plan, seqs: tuple[int, ...], keys: EntityKeys) -> frozenset[InboxKey]:
    """Write the accepted events; where some were accepted before, write none and name those.

    Nearly all are new, and to look for them first makes a commit dearer by an eighth (measured: 0.8 µs an event).
    """
    if not plan.inbox:
        return frozenset()
    accepted = [rows.inbox_columns(seq, row, keys) for seq, row in zip(seqs, plan.inbox, strict=True)]
    db.connection.execute("SAVEPOINT accept")
    try:
        db.write_many("insert_inbox", accepted)
    except apsw.ConstraintError:
        db.connection.execute("ROLLBACK TO accept; RELEASE accept")
        if known := _known_keys(db, plan):
            return known
        raise
    db.connection.execute("RELEASE accept")
    return frozenset()


def _known_keys(db: Db, plan: Plan) -> frozenset[InboxKey]:
    """Events of the plan that were accepted before."""
    known = rows.decode_known(db.read_packed("find_known", [(row.peer, row.id) for row in plan.inbox]))
    return frozenset((peer, id_) for peer, id_, *_ in known)


def _settled_keys(db: Db, plan: Plan) -> frozenset[InboxKey]:
    """Arrivals that the plan takes for waiting although they were settled meanwhile: no effect twice."""
    taken = {one.seq for one in plan.settles} | {one.seq for one in plan.waits if one.seq is not None}
    if not taken:
        return frozenset()
    settled = taken - {seq for (seq,) in db.read("find_waits", to_json(list(taken)))}
    if not settled:
        return frozenset()
    found = {seq: (PeerName(peer), id_) for seq, peer, id_ in db.read("find_inbox_keys", to_json(list(settled)))}
    if unknown := settled - found.keys():
        raise DataRefused(f"no inbox row has the sequence {min(unknown)}; a wait or a settle names it")
    return frozenset(found.values())


def _write_entities(db: Db, plan: Plan, keys: EntityKeys) -> None:
    if not plan.entities:
        return
    entities = [one.entity for one in plan.entities]
    db.write_many("put_entity", [(one.id, one.kind, one.rev, keys[one.id], rows.encode(one)) for one in entities])
    claims = dict[str, str](db.read("find_claims", to_json([one.id for one in entities])))
    moved = [one for one in entities if claims.get(one.id) != email_of(one)]
    if moved:
        db.write("release_email", to_json([one.id for one in moved]))
        db.write_many("claim_email", [(one.id, one.kind, email_of(one)) for one in moved if email_of(one)])


def _write_settles(db: Db, plan: Plan, keys: EntityKeys) -> None:
    for one in plan.settles:
        db.write("settle_inbox", *rows.verdict_columns(one.seq, one.row, keys), one.seq)
    if plan.settles:
        db.write("delete_waits", to_json([one.seq for one in plan.settles]))
    db.write_many("insert_conflict", [rows.conflict_columns(one, keys) for one in plan.conflicts])


def _write_deliveries(db: Db, plan: Plan, ids: tuple[int, ...], seqs: tuple[int, ...]) -> None:
    db.write_many(
        "insert_delivery",
        [
            (one.lane, id_, one.subject, one.version, one.seq if one.row is None else seqs[one.row], plan.at)
            for id_, one in zip(ids, plan.deliveries, strict=True)
        ],
    )


def _write_waits(db: Db, plan: Plan, seqs: tuple[int, ...]) -> int:
    """Write waits, then release: what this plan fulfils it fulfils for its own waits too."""
    db.write_many(
        "put_wait",
        [
            (
                one.seq if one.row is None else seqs[one.row],
                one.reason,
                one.key,
                one.own_key,
                one.retry_at,
                one.attempts,
                plan.at,
            )
            for one in plan.waits
        ],
    )
    return db.write("release_waits", plan.at, to_json(plan.releases)) if plan.releases else 0


def _write_sources(db: Db, plan: Plan) -> None:
    """Write what concerns the peers' outgoing halves: rereads, ended before they are asked for again, and positions."""
    for done in plan.rereads_done:
        db.write("end_reread", done.peer, done.kind, done.external_id, done.asked_at)
    db.write_many(
        "put_reread",
        [(one.peer, one.kind, one.external_id, one.asked_at, one.retry_at, one.attempts) for one in plan.rereads],
    )
    db.write_many(
        "put_position",
        [(peer, one.generation, one.number, one.nonce, one.mark) for peer, one in plan.positions.items()],
    )


def _write_results(db: Db, plan: Plan, keys: EntityKeys) -> None:
    """Write what the deliver side settles: attempts, positions, parked rows, commands, settings."""
    tries = plan.attempts if not plan.is_repeated else _not_written(db, plan.attempts)
    db.write_many("insert_attempt", [rows.attempt_columns(one, keys) for one in tries])
    places = [(lane, id_) for lane, (_, id_) in plan.progress.items()]
    if places and db.write("advance_lanes", to_json(places)) != len(plan.progress):
        raise DataRefused(f"a position is for a lane that was never opened; the plan names {sorted(plan.progress)}")
    db.write_many("put_parked", [rows.parked_columns(one, keys) for one in plan.parked])
    if plan.unparked:
        db.write("delete_parked", to_json(plan.unparked))
    if plan.commands_done:
        db.write("delete_commands", to_json(plan.commands_done))
    registry.put_settings(db, plan.settings)


def _not_written(db: Db, tries: Sequence[Attempt]) -> list[Attempt]:
    """Leave out the tries that are there already."""
    there = {
        (delivery, number, at)
        for event in {one.event for one in tries}
        for delivery, _, _, _, number, at, *_ in db.read("attempts", event)
    }
    return [one for one in tries if (one.delivery, one.number, one.at) not in there]
