"""A peer in memory: one system whose own users write too, well-behaved or not.

    peer = FakePeer("app", clock.now, Habits(forms=(Form.LOWER,)))
    ada = peer.create("user", {"email": "a@example.com", "name": "Ada"})
    assert [entry.writer for entry in peer.journal] == ["user"]

Everything that ever changed it stands in `journal`, with who did it. `idsync.testing.halves` has its Source, Reader and
Target.
"""

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import assert_never

import msgspec

from idsync.errors import PeerError
from idsync.model.delivery import Effect, Image, WriteResult
from idsync.model.entity import Action
from idsync.model.event import Observation, Op, Version
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Value
from idsync.policy.canonical import canonical_fields
from idsync.ports import Write

UNIQUE = "unique"
"""The code of a write that is refused because somebody else has the e-mail."""
USER_FIELDS = frozenset(
    {"email", "email_verified", "name", "picture", "preferred_username", "roles", "banned", "ban_reason"}
)


class Form(StrEnum):
    """How a peer rewrites every text that it stores."""

    LOWER = "lower"
    TRIM = "trim"
    TRUNCATE = "truncate"
    NFD = "nfd"


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of system a peer is. The default is a table with capture triggers."""

    fields: frozenset[str] = USER_FIELDS
    """The canonical fields it holds; of others it knows nothing."""
    forms: tuple[Form, ...] = ()
    text_length_max: int = 8
    """Where `Form.TRUNCATE` cuts, in characters."""
    has_versions: bool = True
    """Whether events and images carry a version that cannot go back."""
    has_origins: bool = True
    """Whether it records our intent's id with the effect, and so knows a write that it has carried out already."""
    gives_ids: bool = False
    """Whether it chooses the ids of new identities; else a create may ask for one."""
    has_links: bool = True
    """Whether it stores the id at the first peer."""
    is_email_unique: bool = False
    skew_ms: int = 0
    """How far its clock runs ahead of the true time; negative: behind."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One identity as the peer holds it."""

    fields: dict[str, Value]
    number: int
    """The version: where the row's last change stands in the journal."""
    at: Instant
    link_id: ExternalId | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the peer, in its own order."""

    number: int
    at: Instant
    intent: str | None
    """The id of our intent; None: one of its own users did it."""
    op: Op
    kind: str
    external_id: ExternalId
    fields: dict[str, Value]
    """The whole row afterwards; as it was at last where it was deleted."""

    @property
    def writer(self) -> str:
        """Who did it: "idsync" or "user"."""
        return "user" if self.intent is None else "idsync"


class FakePeer:
    """One system with its users. Not for many threads."""

    def __init__(self, name: str, now: Callable[[], Instant], habits: Habits | None = None) -> None:
        """Begin empty.

        Args:
            name: the peer's name; ids that it gives begin with it.
            now: the true time; the peer's own clock may differ by `habits.skew_ms`.
            habits: what kind of system it is.
        """
        self.name = PeerName(name)
        self.habits = habits if habits is not None else Habits()
        self.rows: dict[tuple[str, ExternalId], Row] = {}
        self.journal: list[Entry] = []
        self.log: list[tuple[int, Observation]] = []
        """The capture, each row with its number: what its Source has to tell and nobody trimmed yet."""
        self.is_away = False
        """While true, every verb of its halves raises PeerError."""
        self.replies_lost = 0
        """So many of the next writes are carried out, and then their answer is lost."""
        self.now = now
        self.generation = 1
        self._ids = 0
        self._done: dict[str, ExternalId] = {}
        """Intent → the identity that its create made."""
        self._made: dict[EntityId, ExternalId] = {}
        """Entity → the identity that its last create made: the receipts of a table."""
        self._moving: frozenset[ExternalId | None] = frozenset()
        self.moved = asyncio.Event()
        """Set whenever something was captured."""

    # --- what its users do --------------------------------------------------------------------------------

    def create(self, kind: str, fields: dict[str, Value], external_id: str | None = None) -> ExternalId:
        """Bring a new identity, with an id of the user's choice or the peer's."""
        chosen = ExternalId(external_id) if external_id is not None else self.new_id()
        if (kind, chosen) in self.rows:
            raise ValueError(f"{self.name} has a {kind} {chosen} already; edit it, or create another")
        self._put(Op.CREATED, kind, chosen, self._blank() | self._formed(fields), intent=None, link_id=None)
        return chosen

    def edit(self, kind: str, external_id: str, fields: dict[str, Value]) -> None:
        """Change some fields of an identity that is there."""
        chosen = ExternalId(external_id)
        row = self.rows[kind, chosen]
        self._put(Op.UPDATED, kind, chosen, row.fields | self._formed(fields), intent=None, link_id=row.link_id)

    def delete(self, kind: str, external_id: str) -> None:
        """Delete an identity that is there."""
        self._drop(kind, ExternalId(external_id), intent=None)

    def rewind(self) -> None:
        """Restore the capture from a backup: what was told is another history now."""
        self.generation += 1
        self.log.clear()

    def holds(self, kind: str, external_id: str) -> dict[str, Value] | None:
        """What it holds of one identity; None: it is not there."""
        row = self.rows.get((kind, ExternalId(external_id)))
        return dict(row.fields) if row is not None else None

    def formed(self, value: Value) -> Value:
        """How the peer stores a value."""
        if not isinstance(value, str):
            return value
        for form in self.habits.forms:
            value = _form(form, value, self.habits.text_length_max)
        return value

    # --- what happens inside, at once and without faults ---------------------------------------------------

    def image(self, kind: str, external_id: ExternalId) -> Image | None:
        """What a look at one identity shows; None: it is not there."""
        row = self.rows.get((kind, external_id))
        if row is None:
            return None
        # As a table shows it: the state as it is now. When the row came to it, only the capture can tell.
        is_table = self.habits.has_origins
        return Image(
            external_id=external_id,
            fields=canonical_fields(kind, row.fields)[0],
            version=self._version(len(self.journal) if is_table else row.number),
            at=self.now() if is_table else row.at,
            link_id=row.link_id,
        )

    def apply_all(self, writes: Sequence[Write]) -> list[WriteResult]:
        """Carry out the writes one by one; then together those that were in each other's way by a unique e-mail."""
        results = [self.apply(one) for one in writes]
        knot = [index for index, result in enumerate(results) if result.error == UNIQUE]
        self._moving = frozenset(writes[index].external_id for index in knot)
        for index in knot:
            results[index] = self.apply(writes[index])
        self._moving = frozenset()
        return results

    def apply(self, write: Write) -> WriteResult:
        """Look, compare and write, in one step that nobody else comes between."""
        match write.action:
            case Action.CREATE:
                return self._apply_create(write)
            case Action.UPDATE:
                return self._apply_update(write)
            case Action.REMOVE:
                found = write.external_id is not None and (write.kind, write.external_id) in self.rows
                if write.external_id is None or not found:
                    return WriteResult(entity=write.entity, effect=Effect.ABSENT)
                self._drop(write.kind, write.external_id, intent=write.intent)
                return WriteResult(entity=write.entity, effect=Effect.WRITTEN)
            case unknown:
                assert_never(unknown)

    def _apply_create(self, write: Write) -> WriteResult:
        wanted = self._kept(write.fields)
        found = self._find(write)
        if found is not None:
            row = self.rows.get((write.kind, found))
            if row is None:
                return WriteResult(entity=write.entity, effect=Effect.ABSENT)
            is_known = found in {write.external_id, self._made.get(write.entity)}
            is_named = is_known or (write.link_id is not None and row.link_id == write.link_id)
            shown = canonical_fields(write.kind, row.fields)[0]
            is_ours = write.intent in self._done or (is_named and _holds(shown, wanted))
            return self._result(write, Effect.UNCHANGED if is_ours else Effect.DIVERGED, found)
        if self._is_email_taken(write.kind, wanted, None):
            return WriteResult(entity=write.entity, effect=Effect.REFUSED, error=UNIQUE)
        chosen = write.external_id if write.external_id is not None and not self.habits.gives_ids else self.new_id()
        link_id = write.link_id if self.habits.has_links else None
        self._put(
            Op.CREATED, write.kind, chosen, self._blank() | self._formed(wanted), intent=write.intent, link_id=link_id
        )
        if self.habits.has_origins:
            self._done[write.intent] = self._made[write.entity] = chosen
        return self._result(write, Effect.WRITTEN, chosen)

    def _apply_update(self, write: Write) -> WriteResult:
        wanted = self._kept(write.fields)
        row = self.rows.get((write.kind, write.external_id)) if write.external_id is not None else None
        if row is None or write.external_id is None:
            return WriteResult(entity=write.entity, effect=Effect.ABSENT)
        shown = canonical_fields(write.kind, row.fields)[0]
        link_id = row.link_id or (write.link_id if self.habits.has_links else None)
        expected = dict.fromkeys(wanted) | self._kept(write.expected)
        strange = [
            name
            for name, value in expected.items()
            if not (shown.get(name) == value or _is_blank(shown.get(name), value))
            and (name not in wanted or shown.get(name) != wanted[name])
        ]
        if strange:
            return self._result(write, Effect.DIVERGED, write.external_id)
        if _holds(shown, wanted) and link_id == row.link_id:
            return self._result(write, Effect.UNCHANGED, write.external_id)
        changes = {name: value for name, value in wanted.items() if shown.get(name) != value}
        if self._is_email_taken(write.kind, changes, write.external_id):
            return WriteResult(entity=write.entity, effect=Effect.REFUSED, error=UNIQUE)
        fields = row.fields | self._formed(wanted)
        self._put(Op.UPDATED, write.kind, write.external_id, fields, intent=write.intent, link_id=link_id)
        return self._result(write, Effect.WRITTEN, write.external_id)

    def _find(self, write: Write) -> ExternalId | None:
        """Whom a create would make a second time: ours by receipt, id or link, else anybody by e-mail."""
        if write.intent in self._done:
            return self._done[write.intent]
        made = self._made.get(write.entity)
        email = self.formed(write.fields.get("email"))
        is_by_email = email is not None and not self.habits.has_origins
        for (kind, external_id), row in self.rows.items():
            is_linked = write.link_id is not None and row.link_id == write.link_id
            is_same_email = is_by_email and row.fields.get("email") == email
            if kind == write.kind and (external_id in {write.external_id, made} or is_linked or is_same_email):
                return external_id
        return None

    def _is_email_taken(self, kind: str, wanted: dict[str, Value], by: ExternalId | None) -> bool:
        email = self.formed(wanted.get("email"))
        return self.habits.is_email_unique and any(
            found_kind == kind and external_id not in {by, *self._moving} and row.fields.get("email") == email
            for (found_kind, external_id), row in self.rows.items()
            if email is not None
        )

    def _result(self, write: Write, effect: Effect, external_id: ExternalId) -> WriteResult:
        return WriteResult(entity=write.entity, effect=effect, image=self.image(write.kind, external_id))

    def answer(self) -> None:
        """Do nothing while the peer is there.

        Raises:
            PeerError: it is away.
        """
        if self.is_away:
            raise PeerError(f"peer {self.name} does not answer; it is tried again")

    def new_id(self) -> ExternalId:
        """Draw the peer's next id."""
        self._ids += 1
        return ExternalId(f"{self.name}-{self._ids}")

    def _blank(self) -> dict[str, Value]:
        return dict.fromkeys(sorted(self.habits.fields))

    def _kept(self, fields: dict[str, Value]) -> dict[str, Value]:
        return {name: value for name, value in fields.items() if name in self.habits.fields}

    def _formed(self, fields: dict[str, Value]) -> dict[str, Value]:
        return {name: self.formed(value) for name, value in self._kept(fields).items()}

    def place(self) -> Version | None:
        """Say where the journal ends."""
        return self._version(self.journal[-1].number if self.journal else 0)

    def _version(self, number: int) -> Version | None:
        return Version(self.name, str(self.generation), number) if self.habits.has_versions else None

    def _put(  # one change of the peer, each part named at its call
        self,
        op: Op,
        kind: str,
        external_id: ExternalId,
        fields: dict[str, Value],
        *,
        intent: str | None,
        link_id: ExternalId | None,
    ) -> None:
        entry = self._note(op, kind, external_id, fields, intent)
        self.rows[kind, external_id] = Row(fields=fields, number=entry.number, at=entry.at, link_id=link_id)
        self._capture(entry, fields, link_id)

    def _drop(self, kind: str, external_id: ExternalId, *, intent: str | None) -> None:
        row = self.rows.pop((kind, external_id))
        self._capture(self._note(Op.DELETED, kind, external_id, row.fields, intent), {}, row.link_id)

    def _note(self, op: Op, kind: str, external_id: ExternalId, fields: dict[str, Value], intent: str | None) -> Entry:
        at = Instant(self.now() + self.habits.skew_ms)
        entry = Entry(
            number=len(self.journal) + 1,
            at=at,
            intent=intent,
            op=op,
            kind=kind,
            external_id=external_id,
            fields=dict(fields),
        )
        self.journal.append(entry)
        return entry

    def _capture(self, entry: Entry, fields: dict[str, Value], link_id: ExternalId | None) -> None:
        seen = Observation(
            peer=self.name,
            kind=entry.kind,
            external_id=entry.external_id,
            op=entry.op,
            fields=canonical_fields(entry.kind, fields)[0],
            link_id=link_id,
            version=self._version(entry.number),
            event_at=entry.at,
            received_at=self.now(),
            event_id=f"{self.name}-{entry.number}",
            origin=entry.intent if self.habits.has_origins else None,
            names_writer=self.habits.has_origins,
        )
        self.log.append((entry.number, seen))
        self.moved.set()


def _is_blank(shown: Value, expected: Value) -> bool:
    """Whether both say nothing: a flag or a list that nobody set has a value of its own."""
    return expected is None and shown in (None, False, "", [])


def _holds(fields: dict[str, Value], values: dict[str, Value]) -> bool:
    return all(fields.get(name) == value for name, value in values.items())


def _form(form: Form, text: str, length_max: int) -> str:
    match form:
        case Form.LOWER:
            return text.lower()
        case Form.TRIM:
            return text.strip()
        case Form.TRUNCATE:
            return text[:length_max]
        case Form.NFD:
            return unicodedata.normalize("NFD", text)
        case unknown:
            assert_never(unknown)
