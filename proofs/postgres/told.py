"""Judges what an endpoint was told, and what was written to the other side, by what the server's log says.

It reads the rows by itself: nothing of a connector takes part.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from proofs.postgres.committed import Change, Row

Value = None | bool | str | list[str]
Fields = dict[str, Value]
Name = tuple[str, str]
"""(kind, id at the peer)."""
LINK: Final = "auth_id"
"""The application's column for Better Auth's id."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """One change of one identity."""

    type: str
    fields: Fields | None
    """Everything that it is by it and that is not empty; None: it is gone."""


Tale = dict[Name, list[Told]]
"""Every change of each identity, in order."""


class Table(NamedTuple):
    """How a table's rows read as fields."""

    kind: str
    columns: dict[str, str]
    readers: dict[str, Callable[[str], Value]] = {}  # noqa: RUF012  # nobody writes to it

    def fields_of(self, row: Row) -> Fields:
        """Read a row; a flag that was never set is not set."""
        read: Fields = {}
        for field, column in self.columns.items():
            text, reader = row[column], self.readers.get(field, str)
            read[field] = reader(text) if text is not None else False if reader is flag else None
        return read


def flag(text: str) -> bool:
    """Read a boolean, as a cast or the log writes it."""
    return text in {"t", "true"}


def instant(text: str) -> str:
    """Read a time."""
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def names(text: str) -> list[str]:
    """Read a list, whose order means nothing."""
    return sorted(text.split(","))


AUTH: Final = {
    "user": Table(
        "user",
        {
            "email": "email",
            "email_verified": "emailVerified",
            "name": "name",
            "picture": "image",
            "roles": "role",
            "banned": "banned",
            "ban_reason": "banReason",
            "ban_expires_at": "banExpires",
        },
        {"email_verified": flag, "banned": flag, "roles": names, "ban_expires_at": instant},
    ),
    "session": Table(
        "session",
        {
            "user_id": "userId",
            "expires_at": "expiresAt",
            "created_at": "createdAt",
            "ip_address": "ipAddress",
            "user_agent": "userAgent",
        },
        {"expires_at": instant, "created_at": instant},
    ),
    "organization": Table("organization", {"name": "name", "slug": "slug", "logo": "logo"}),
    "member": Table(
        "organizationMembership", {"user_id": "userId", "organization_id": "organizationId", "role": "role"}
    ),
}
APP: Final = {
    "users": Table(
        "user",
        {
            "email": "email",
            "email_verified": "verified",
            "name": "full_name",
            "picture": "avatar",
            "banned": "suspended",
        },
        {"email_verified": flag, "banned": flag},
    ),
    "teams": Table("organization", {"name": "title", "slug": "handle", "logo": "logo"}),
    "team_members": Table("organizationMembership", {"user_id": "person", "organization_id": "team", "role": "role"}),
}
SHARED: Final = {table.kind: frozenset(table.columns) for table in APP.values()}
"""Kind → the fields that both sides keep."""


class Findings(msgspec.Struct, frozen=True):
    """How what was told differs from what was committed."""

    lost: list[str]
    excess: list[str]
    inverted: list[str]

    @property
    def complaints(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.excess, *self.inverted]

    @property
    def figure(self) -> str:
        """How many of each."""
        return f"{len(self.lost):,} lost, {len(self.excess):,} repeated, {len(self.inverted):,} out of order"


def follow(changes: Iterable[Change], tables: Mapping[str, Table]) -> Tale:
    """Tell the tale of these tables; what leaves every field as it was is no part of it."""
    tale: Tale = defaultdict(list)
    state: dict[Name, Fields] = {}
    for change in changes:
        table = tables.get(change.table)
        if table is None:
            continue
        name = (table.kind, change.key)
        old, new = state.get(name), table.fields_of(change.row) if change.row is not None else None
        if new == old:
            continue
        tale[name].append(Told(_type_of(table.kind, old, new), _filled(new)))
        if new is None:
            del state[name]
        else:
            state[name] = new
    return tale


def _type_of(kind: str, old: Fields | None, new: Fields | None) -> str:
    if new is None:
        return f"{kind}.revoked" if kind == "session" else f"{kind}.deleted"
    if old is None:
        return f"{kind}.created"
    if old.get("banned") != new.get("banned"):
        return f"{kind}.banned" if new["banned"] else f"{kind}.unbanned"
    return f"{kind}.updated"


def hear(bodies: Iterable[bytes], peer: str) -> Tale:
    """Tell the tale of a peer as the endpoint heard it; an identity has the peer's id from its first event on."""
    tale: Tale = defaultdict(list)
    ids: dict[str, str] = {}
    for body in bodies:
        event = msgspec.json.decode(body)
        subject, kind = event["subject"], event["type"].partition(".")[0]
        ids[subject] = event.get("ids", {}).get(peer, ids.get(subject, subject))
        if event["source"] == peer:
            is_gone = event["type"].endswith((".deleted", ".revoked"))
            fields = {field: value for field, value in event["data"].items() if field != "id"}
            tale[kind, ids[subject]].append(Told(event["type"], None if is_gone else _filled(fields)))
    return tale


def _filled(fields: Fields | None) -> Fields | None:
    return None if fields is None else {field: value for field, value in sorted(fields.items()) if value is not None}


def compare(committed: Tale, told: Tale) -> Findings:
    """Say what was never told, what was told and never happened or not so often, and whose order is another."""
    findings = Findings([], [], [])
    for name in {**committed, **told}:
        happened, heard = committed.get(name, []), told.get(name, [])
        if happened == heard:
            continue
        kept, missing = _split(happened, heard)
        known, more = _split(heard, happened)
        findings.lost.extend(f"{name}: {one.type} was never told" for one in missing)
        findings.excess.extend(f"{name}: {one.type} was told, which did not happen, or not so often" for one in more)
        if kept != known:
            findings.inverted.append(f"{name} was told in another order")
    return findings


def _split(tale: Sequence[Told], other: Sequence[Told]) -> tuple[list[Told], list[Told]]:
    """Part what the other tells too, as often as it does, from the rest."""
    left = Counter(map(msgspec.json.encode, other))
    both: list[Told] = []
    rest: list[Told] = []
    for one in tale:
        text = msgspec.json.encode(one)
        (both if left[text] else rest).append(one)
        left[text] -= left[text] > 0
    return both, rest


def cascaded(changes: Iterable[Change]) -> int:
    """Count the sessions and members that were deleted in one transaction with whom they belonged to."""
    gone: dict[int, Counter[str]] = defaultdict(Counter)
    for change in changes:
        if change.row is None:
            gone[change.transaction][change.table] += 1
    return sum(one["session"] + one["member"] for one in gone.values() if one["user"] or one["organization"])


def gaps(changes: Iterable[Change], ends: Iterable[Change]) -> Iterator[str]:
    """Whether the log leads to the tables as they were at last: else nothing that it says counts."""
    tables = {**AUTH, **APP}
    last = {(one.table, one.key): one.row for one in changes}
    found = {(one.table, one.key): one.row for one in ends}
    for name in last.keys() | found.keys():
        logged, held = last.get(name), found.get(name)
        table = tables[name[0]]
        if (logged and table.fields_of(logged)) != (held and table.fields_of(held)):
            yield f"{name} is not what the log says"


def differences(ends: Iterable[Change]) -> Iterator[str]:
    """Where the tables at the end are not equal, field by field; who belongs to whom, the application's link says."""
    auth: dict[Name, Fields] = {}
    app: dict[Name, Fields] = {}
    for end in ends:
        assert end.row is not None, "a table holds no rows that are gone"
        if end.table in APP:
            table = APP[end.table]
            app[table.kind, end.row[LINK] or f"nobody of {end.key}"] = table.fields_of(end.row)
        elif (kind := AUTH[end.table].kind) in SHARED:
            auth[kind, end.key] = AUTH[end.table].fields_of(end.row)
    for name in auth.keys() ^ app.keys():
        yield f"{name} is only in {'auth' if name in auth else 'app'}"
    for name in auth.keys() & app.keys():
        for field in SHARED[name[0]]:
            if auth[name][field] != app[name][field]:
                yield f"{name}: {field} is {auth[name][field]!r} in auth and {app[name][field]!r} in app"


def link(changes: Sequence[Change]) -> list[Change]:
    """Call the application's rows by Better Auth's ids; who went before that was noted is known by the e-mail."""
    people = {one.row["email"]: one.key for one in changes if one.table == "user" and one.row is not None}
    ids: dict[tuple[str, str], str] = {}
    app = [change for change in changes if change.table in APP]
    for change in app:
        if change.row is not None:
            known = ids.get((change.table, change.key)) or people.get(change.row.get("email"), change.key)
            ids[change.table, change.key] = change.row[LINK] or known
    return [msgspec.structs.replace(one, key=ids[one.table, one.key]) for one in app]


def strays(written: Tale, committed: Tale) -> Iterator[str]:
    """Identities that were written at one side as they never were at the other, or as they no longer were."""
    for name, tale in written.items():
        states = iter(_shared(name, committed.get(name, [])))
        if not all(any(one == state for state in states) for one in _shared(name, tale)):
            yield f"{name} was written as it was not any more"


def _shared(name: Name, tale: Sequence[Told]) -> list[Fields | None]:
    """List its states, of the fields that both sides keep."""
    shared = SHARED[name[0]]
    states = [
        None if one.fields is None else {field: value for field, value in one.fields.items() if field in shared}
        for one in tale
    ]
    return [state for number, state in enumerate(states) if number == 0 or state != states[number - 1]]
