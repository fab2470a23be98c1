"""Bodies under a key per entity: they open with it, in their own place, and not at all once it is destroyed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.errors import DataRefused, StoreError
from idsync.model.delivery import FIRST_PLACE
from idsync.model.entity import Conflict
from idsync.model.plan import EntityWrite, LaneCursor, LaneRow, Plan
from idsync.model.values import Subject
from idsync.ports import ParkedFilter
from idsync.stores.common.seal import make_key, seal, unseal
from idsync.stores.sqlite import SqliteStore
from idsync.testing.store_suite.samples import APP, AT, AUTH, begin, parked_row, person, row, tried


@given(body=st.binary(min_size=1))
def test_body_opens_with_its_key_in_its_place(body: bytes) -> None:
    """And is never kept as it is, nor twice alike."""
    key = make_key()
    sealed = seal(body, "entity", {"entity": key}, "inbox/1")
    assert unseal(sealed, "entity", key, "inbox/1") == body
    assert sealed != seal(body, "entity", {"entity": key}, "inbox/1")


def test_body_that_was_moved_or_changed_does_not_open() -> None:
    """Neither in another row, nor under another key, nor with one bit changed."""
    key = make_key()
    sealed = seal(b"body", "entity", {"entity": key}, "inbox/1")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for attempt in ((sealed, key, "inbox/2"), (sealed, make_key(), "inbox/1"), (changed, key, "inbox/1")):
        with pytest.raises(StoreError, match="changed outside"):
            unseal(attempt[0], "entity", attempt[1], attempt[2])


def test_body_without_an_entity_or_content_is_kept_as_it_is() -> None:
    """There is nobody whose key it could be under, or nothing to hide."""
    assert seal(b"body", None, {}, "inbox/1") == b"body"
    assert seal(b"", "entity", {"entity": make_key()}, "inbox/1") == b""
    assert unseal(b"body", None, None, "inbox/1") == b"body"


def test_nothing_is_kept_for_an_entity_whose_key_was_destroyed() -> None:
    """What comes after an erasure is not stored, what came before does not open."""
    sealed = seal(b"body", "entity", {"entity": make_key()}, "inbox/1")
    assert unseal(sealed, "entity", None, "inbox/1") == b""
    assert seal(b"body", "entity", {"entity": None}, "inbox/1") == b""


def test_body_of_an_unknown_entity_is_refused() -> None:
    """It would have to be kept in the clear."""
    with pytest.raises(DataRefused, match="which does not exist"):
        seal(b"body", "entity", {}, "inbox/1")


async def test_destroying_one_key_erases_every_body_of_its_entity_and_no_other(store: SqliteStore) -> None:
    """Events, queued deliveries, parked rows, answers and conflicts: the rows stay, what they said is gone."""
    line = await begin(store)
    people = [person(1), person(2)]
    rows = tuple(row(f"e{number}", entity=one, body=b"body") for number, one in enumerate(people))
    subjects = [Subject(f"user/{one.id}") for one in people]
    lane = line.audit[0]
    conflicts = tuple(
        Conflict(
            entity=one.id,
            field="name",
            rule="newest",
            peer=APP,
            refused="a",
            kept="b",
            kept_peer=AUTH,
            at=AT,
            event_id="e",
        )
        for one in people
    )
    await line.commit(
        Plan(
            epoch=0,
            inbox=rows,
            entities=tuple(EntityWrite(one, None) for one in people),
            conflicts=conflicts,
            deliveries=tuple(LaneRow(lane.id, one.subject, 1, row=index) for index, one in enumerate(rows)),
            parked=tuple(parked_row(90 + index, lane, subject=one) for index, one in enumerate(subjects)),
            attempts=tuple(msgspec.structs.replace(tried(1, 1), subject=one) for one in subjects),
        )
    )
    store._connections.writing.connection.execute("UPDATE entity SET key = NULL WHERE id = ?", (people[0].id,))
    assert [entry.row.body for entry in await store.recent(0, 10)] == [b"", b"body"]
    assert [one.body for one in (await store.read([LaneCursor(lane.id, FIRST_PLACE)], 10)).deliveries] == [b"", b"body"]
    assert [one.body for one in await store.parked(ParkedFilter(), 10)] == [b"", b"body"]
    assert [one.response for one in await store.attempts(1)] == [b"", b"fine"]
    assert list(await store.conflicts(None, 10)) == [conflicts[1]]
    erased = msgspec.structs.replace(row("e9", body=b"late"), entity=people[0].id)
    await line.accept(erased)
    assert (await store.recent(2, 10))[0].row.body == b""
