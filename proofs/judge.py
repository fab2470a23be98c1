"""Judges two peers' journals and what an endpoint was told, by the peers' own word. Every complaint is a sentence."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import apsw
import msgspec

from proofs.endpoint import Told
from proofs.journal import APP, AUTH, FIELDS, LINK, Entry, Values, replay

PEERS: Final = (AUTH.peer, APP.peer)
OTHER: Final = {AUTH.peer: APP.peer, APP.peer: AUTH.peer}
UNIQUE: Final = ("name", "picture")
"""Fields whose every value was written by one edit only: where a value came from can be told."""
ENDS: Final = frozenset({"delete", "replaced"})
RACE_MS: Final = 50
"""Edits of one field on both sides within this time are concurrent: either may be the newer one."""
PLACEHOLDER: Final = "@vacated.invalid"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is judged."""

    entries: dict[str, list[Entry]]
    tables: dict[str, dict[str, Values]]
    captured: dict[str, list[tuple[int, str]]]
    """Peer → number and op of each row that the triggers ever wrote."""
    store: "StoreRows"
    told: list[Told]


class StoreRows(msgspec.Struct, frozen=True, kw_only=True):
    """What is read from the store once the service has stopped."""

    owners: dict[tuple[str, str], str]
    """(peer, its id) → entity."""
    taken: dict[str, set[int]]
    """Peer → numbers of the outbox rows that were ingested."""
    events: list[Told]
    """Every canonical event, in the order in which they were made."""


def read_store(file: str) -> StoreRows:
    """Read a stopped service's store."""
    connection = apsw.Connection(file, flags=apsw.SQLITE_OPEN_READONLY)
    links = connection.execute("SELECT peer, external_id, entity FROM link WHERE kind = 'user'").fetchall()
    taken: dict[str, set[int]] = defaultdict(set)
    for peer, event_id in connection.execute("SELECT peer, id FROM inbox"):
        number = str(event_id).removesuffix(":refused").rpartition(":")[2]
        if number.isdigit():
            taken[str(peer)].add(int(number))
    sql = "SELECT event_id, event_subject, version FROM inbox WHERE event_id IS NOT NULL ORDER BY seq"
    events = [Told(str(one), str(subject), int(str(version))) for one, subject, version in connection.execute(sql)]
    connection.close()
    return StoreRows(
        owners={(str(peer), str(key)): str(entity) for peer, key, entity in links}, taken=taken, events=events
    )


class Journals:
    """The journals of both sides, grouped by whose identity each row was."""

    def __init__(self, evidence: Evidence) -> None:
        """Follow both to their end."""
        self.full: dict[str, list[Entry]] = {}
        self.ends: dict[str, dict[str, Values]] = {}
        for peer in PEERS:
            self.full[peer], self.ends[peer] = replay(evidence.entries[peer])
        self._owners = evidence.store.owners

    def owner(self, entry: Entry) -> str:
        """The entity that a row belongs to."""
        return self._owners.get((entry.peer, entry.key), f"unknown {entry.peer} {entry.key}")

    def outside(self, peer: str) -> list[Entry]:
        """What others than idsync changed at a peer."""
        return [entry for entry in self.full[peer] if entry.writer is None]

    def writes(self, peer: str) -> list[Entry]:
        """What idsync changed at a peer; a value put aside for a moment inside a transaction is part of its write."""
        ours: dict[tuple[str, str], Entry] = {}
        repeated: list[Entry] = []
        for entry in self.full[peer]:
            if entry.writer is None:
                continue
            name = (entry.writer, entry.key)
            before = ours.get(name)
            if before is None:
                ours[name] = entry
            elif before.new is not None and str(before.new["email"]).endswith(PLACEHOLDER):
                ours[name] = msgspec.structs.replace(entry, old=before.old)
            else:
                repeated.append(entry)
        return sorted([*ours.values(), *repeated], key=lambda entry: entry.seq)


def differences(evidence: Evidence) -> Iterator[str]:
    """Where the two sides are not equal, field by field; people are paired by e-mail."""
    sides = {peer: {row["email"]: row for row in evidence.tables[peer].values()} for peer in PEERS}
    auth, app = sides[AUTH.peer], sides[APP.peer]
    for email in auth.keys() ^ app.keys():
        yield f"{email} is only in {AUTH.peer if email in auth else APP.peer}"
    for email in auth.keys() & app.keys():
        for field in FIELDS:
            if auth[email][field] != app[email][field]:
                yield f"{email}: {field} is {auth[email][field]!r} in auth and {app[email][field]!r} in app"


def gaps_of_journals(evidence: Evidence, journals: Journals) -> Iterator[str]:
    """Whether each journal explains its table: else nothing that it says counts."""
    for peer in PEERS:
        if journals.ends[peer] != evidence.tables[peer]:
            yield f"the journal of {peer} does not lead to its table"


def uncaptured(evidence: Evidence, rings_until: Mapping[str, int]) -> Iterator[str]:
    """Rows of the outboxes that never came in. Those that only ring are left out: the values show what they did."""
    for peer in PEERS:
        taken = evidence.store.taken.get(peer, set())
        for number, op in evidence.captured[peer]:
            if op != "ring" and number > rings_until[peer] and number not in taken:
                yield f"row {number} of the outbox of {peer} ({op}) was never ingested"


def lost_edits(journals: Journals) -> Iterator[str]:
    """Values at the end that are not the last that anybody outside wrote; of edits at one time any may be the last."""
    history: dict[tuple[str, str], list[tuple[int, str | bool | None]]] = defaultdict(list)
    for peer in PEERS:
        for entry in journals.outside(peer):
            for field in FIELDS:
                if entry.new is not None and (entry.old is None or entry.old[field] != entry.new[field]):
                    history[journals.owner(entry), field].append((entry.at_ms, entry.new[field]))
    for peer in PEERS:
        for key, row in journals.ends[peer].items():
            owner = journals.owner(Entry(peer, 0, 0, "", key, None, None, None))
            for field in FIELDS:
                edits = history[owner, field]
                last_at = max((at for at, _ in edits), default=0)
                last = [value for at, value in edits if at >= last_at - RACE_MS]
                if row[field] not in last:
                    yield f"{peer} {key}: {field} is {row[field]!r}, but what was written last is {last}"


def excess_writes(journals: Journals) -> Iterator[str]:
    """Writes of idsync that no change of the other side stands behind: more in number, repeated, idle, or an echo."""
    for peer in PEERS:
        notes = [entry for entry in journals.writes(peer) if is_note(entry)]
        for key, times in Counter(note.key for note in notes).items():
            if times > 1:
                yield f"{peer} {key}: the other side's id was noted {times} times"
        writes = [entry for entry in journals.writes(peer) if not is_note(entry)]
        outside = journals.outside(OTHER[peer])
        yield from _idle(peer, writes)
        yield from _repeated(peer, writes)
        yield from _uncaused(peer, writes, outside, journals)


def is_note(entry: Entry) -> bool:
    """Whether a write only noted the id that the other side gave to a row made here, into an empty column."""
    if entry.writer is None or entry.old is None or entry.new is None or LINK not in entry.new:
        return False
    return entry.old[LINK] is None and {**entry.old, LINK: entry.new[LINK]} == entry.new != entry.old


def _idle(peer: str, writes: Sequence[Entry]) -> Iterator[str]:
    for write in writes:
        if write.op == "update" and write.old == write.new:
            yield f"{peer} {write.key}: a write repeated what was there ({write.writer})"


def _repeated(peer: str, writes: Sequence[Entry]) -> Iterator[str]:
    for name, times in Counter(write.writer for write in writes).items():
        if times > 1:
            yield f"{peer}: the write {name} took effect {times} times"
    values = Counter(
        (write.key, field, write.new[field])
        for write in writes
        for field in UNIQUE
        if write.new is not None
        and write.new[field] is not None
        and (write.old is None or write.old[field] != write.new[field])
    )
    for (key, field, value), times in values.items():
        if times > 1:
            yield f"{peer} {key}: {field} {value!r} was written {times} times"


def _uncaused(  # noqa: C901  # one sentence after the other, in one order
    peer: str, writes: Sequence[Entry], outside: Sequence[Entry], journals: Journals
) -> Iterator[str]:
    if len(writes) > len(outside):
        yield f"{peer} was written {len(writes)} times for {len(outside)} changes of {OTHER[peer]}"
    causes = Counter(journals.owner(entry) for entry in outside)
    for owner, times in Counter(journals.owner(write) for write in writes).items():
        if times > causes[owner]:
            yield f"{peer}: {owner} was written {times} times for {causes[owner]} changes of {OTHER[peer]}"
    deaths = Counter(journals.owner(entry) for entry in outside if entry.op in ENDS)
    for owner, times in Counter(journals.owner(write) for write in writes if write.op in ENDS).items():
        if times > deaths[owner]:
            yield f"{peer}: {owner} was removed {times} times for {deaths[owner]} removals in {OTHER[peer]}"
    births = Counter(journals.owner(entry) for entry in outside if entry.op == "insert")
    for owner, times in Counter(journals.owner(write) for write in writes if write.op == "insert").items():
        if times > births[owner]:
            yield f"{peer}: {owner} was made {times} times for {births[owner]} creations in {OTHER[peer]}"
    spoken = {(field, entry.new[field]) for entry in outside if entry.new is not None for field in UNIQUE}
    for write in writes:
        for field in UNIQUE:
            if (
                write.new is None
                or write.new[field] is None
                or (write.old is not None and write.old[field] == write.new[field])
            ):
                continue
            if (field, write.new[field]) not in spoken:
                yield f"{peer} {write.key}: {field} {write.new[field]!r} was written, which {OTHER[peer]} never held"


def misled_endpoint(evidence: Evidence) -> Iterator[str]:
    """What the endpoint was not told, or not in order: a run of one identity may only be repeated oldest first."""
    heard = {one.event_id for one in evidence.told}
    for event in evidence.store.events:
        if event.event_id not in heard:
            yield f"{event.subject}: version {event.version} never came ({event.event_id})"
    places: dict[str, dict[str, int]] = defaultdict(dict)
    for event in evidence.store.events:
        places[event.subject][event.event_id] = len(places[event.subject])
    runs: dict[str, list[int]] = defaultdict(list)
    for one in evidence.told:
        place = places[one.subject].get(one.event_id)
        if place is None:
            yield f"{one.subject}: version {one.version} came and was never made ({one.event_id})"
        else:
            runs[one.subject].append(place)
    for subject, run in runs.items():
        if run[0] != 0 or any(after > before + 1 for before, after in pairwise(run)):
            yield f"{subject}: came in the order {run}"
