"""Values of ours as rows of a table, and back. A row that is read ends with its entity's key, which opens its body."""

from typing import Any, Final

import msgspec

from idsync.model.delivery import Attempt, Delivery, Outcome, Parked, ParkedState, Phases
from idsync.model.entity import Conflict, Entity
from idsync.model.event import Verdict
from idsync.model.plan import Command, InboxRow, Reread, Waiting
from idsync.model.values import EntityId, ExternalId, PeerName
from idsync.ports import InboxEntry
from idsync.stores.common.seal import EntityKeys, seal, unseal

Row = tuple[Any, ...]
"""One row as a database gives or takes it: its columns are typed where they become a value of ours."""

encode: Final = msgspec.json.Encoder().encode
decode_entity: Final = msgspec.json.Decoder(Entity).decode
decode_entities: Final = msgspec.json.Decoder(list[Entity]).decode
decode_known: Final = msgspec.json.Decoder(list[tuple[PeerName, str, Verdict, str | None, EntityId | None]]).decode
decode_links: Final = msgspec.json.Decoder(list[tuple[PeerName, str, ExternalId, EntityId]]).decode
decode_emails: Final = msgspec.json.Decoder(list[tuple[str, str, EntityId]]).decode
_decode_conflict: Final = msgspec.json.Decoder(Conflict).decode
_decode_command: Final = msgspec.json.Decoder(Command).decode
_decode_names: Final = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_phases: Final = msgspec.json.Decoder(Phases).decode


def inbox_columns(seq: int, row: InboxRow, keys: EntityKeys) -> Row:
    """Write an inbox row whole."""
    return (seq, row.peer, row.id, row.type, row.subject, row.received_at, *verdict_columns(seq, row, keys))


def verdict_columns(seq: int, row: InboxRow, keys: EntityKeys) -> Row:
    """Write the part of an inbox row that settling it replaces."""
    return (
        row.verdict,
        row.reason,
        row.entity,
        row.event_id,
        row.event_type,
        row.event_subject,
        row.version,
        encode(row.changed).decode() if row.changed else "[]",
        row.body if row.entity is None else seal(row.body, row.entity, keys, f"inbox/{seq}"),
        row.trace,
        row.not_before,
    )


def inbox_entry(row: Row) -> InboxEntry:
    """Read an inbox row whole."""
    seq, peer, id_, type_, subject, received_at, verdict, reason, entity, event_id, *rest, key = row
    event_type, event_subject, version, changed, body, trace, not_before = rest
    return InboxEntry(
        seq,
        InboxRow(
            peer=peer,
            id=id_,
            type=type_,
            subject=subject,
            received_at=received_at,
            verdict=Verdict(verdict),
            reason=reason,
            entity=entity,
            event_id=event_id,
            event_type=event_type,
            event_subject=event_subject,
            version=version,
            changed=_decode_names(changed),
            body=unseal(body, entity, key, f"inbox/{seq}"),
            trace=trace,
            not_before=not_before,
        ),
    )


def waiting(row: Row) -> Waiting:
    """Read an arrival that waits."""
    seq, peer, id_, type_, subject, reason, wait_key, retry_at, attempts, parked_at, body, entity, key = row
    return Waiting(
        seq=seq,
        peer=peer,
        id=id_,
        type=type_,
        subject=subject,
        reason=reason,
        key=wait_key,
        retry_at=retry_at,
        attempts=attempts,
        parked_at=parked_at,
        body=unseal(body, entity, key, f"inbox/{seq}"),
    )


def reread(row: Row) -> Reread:
    """Read a job."""
    peer, kind, external_id, asked_at, retry_at, attempts = row
    return Reread(
        peer=peer, kind=kind, external_id=external_id, asked_at=asked_at, retry_at=retry_at, attempts=attempts
    )


def delivery(row: Row) -> Delivery:
    """Read a delivery; one without an event has sequence 0 and nothing to post."""
    tick, id_, lane, subject, event, version, event_id, event_type, body, trace, *rest = row
    not_before, queued_at, entity, key = rest
    return Delivery(
        id=id_,
        lane=lane,
        subject=subject,
        event=event or 0,
        version=version,
        event_id=event_id or "",
        event_type=event_type or "",
        body=unseal(body, entity, key, f"inbox/{event}") if body else b"",
        trace=trace,
        queued_at=queued_at,
        not_before=not_before,
        tick=tick,
    )


def entity_of(subject: str, keys: EntityKeys) -> str | None:
    """Name the entity that a subject speaks of; None for any other subject."""
    candidate = candidate_of(subject)
    return candidate if candidate in keys else None


def candidate_of(subject: str) -> str:
    """Give what would be the entity's id if the subject names one: `<kind>/<entity id>`."""
    return subject.partition("/")[2]


def parked_columns(row: Parked, keys: EntityKeys) -> Row:
    """Write a parked row."""
    entity = entity_of(row.subject, keys)
    return (
        row.id,
        row.destination,
        row.lane,
        row.subject,
        row.event or None,
        row.version,
        row.event_id,
        row.event_type,
        seal(row.body, entity, keys, f"parked/{row.id}"),
        row.reason,
        row.attempts,
        row.retry_at,
        row.state,
        row.parked_at,
        row.first_at,
        row.trace,
        entity,
    )


def parked(row: Row) -> Parked:
    """Read a parked row."""
    id_, destination, lane, subject, event, version, event_id, event_type, body, reason, *rest, trace, entity, key = row
    attempts, retry_at, state, parked_at, first_at = rest
    return Parked(
        id=id_,
        destination=destination,
        lane=lane,
        subject=subject,
        event=event or 0,
        version=version,
        event_id=event_id,
        event_type=event_type,
        body=unseal(body, entity, key, f"parked/{id_}"),
        reason=reason,
        attempts=attempts,
        retry_at=retry_at,
        state=ParkedState(state),
        parked_at=parked_at,
        first_at=first_at,
        trace=trace,
    )


def attempt_columns(one: Attempt, keys: EntityKeys) -> Row:
    """Write a try."""
    entity = entity_of(one.subject, keys) if keys else None
    return (
        one.delivery,
        one.event,
        one.destination,
        one.subject,
        one.number,
        one.at,
        one.outcome,
        one.status,
        one.error,
        one.latency_ms,
        one.response if entity is None else seal(one.response, entity, keys, f"attempt/{one.delivery}/{one.number}"),
        one.trace,
        entity,
        None if one.phases is None else encode(one.phases).decode(),
    )


def attempt(row: Row) -> Attempt:
    """Read a try."""
    delivery_id, event, destination, subject, number, at, outcome, status, error, latency_ms, *rest = row
    response, trace, entity, phases, key = rest
    return Attempt(
        delivery=delivery_id,
        event=event,
        destination=destination,
        subject=subject,
        number=number,
        at=at,
        outcome=Outcome(outcome),
        status=status,
        error=error,
        latency_ms=latency_ms,
        phases=None if phases is None else _decode_phases(phases),
        response=unseal(response, entity, key, f"attempt/{delivery_id}/{number}"),
        trace=trace,
    )


def conflict_columns(one: Conflict, keys: EntityKeys) -> Row:
    """Write a conflict: both values are the person's, so all of it is sealed."""
    return one.entity, one.at, seal(encode(one), one.entity, keys, f"conflict/{one.entity}/{one.at}")


def conflict(row: Row) -> Conflict | None:
    """Read a conflict; None once its entity was erased."""
    entity, at, doc, key = row
    opened = unseal(doc, entity, key, f"conflict/{entity}/{at}")
    return _decode_conflict(opened) if opened else None


def command_columns(command: Command) -> Row:
    """Write a command; its id is given by the store."""
    return (encode(command),)


def command(row: Row) -> Command:
    """Read a command."""
    id_, doc = row
    return msgspec.structs.replace(_decode_command(doc), id=id_)
