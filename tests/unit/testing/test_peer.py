"""The fake peer has the habits and the faults that real peers have."""

import msgspec
import pytest

from idsync.errors import PeerError
from idsync.model.delivery import Effect
from idsync.model.entity import Action
from idsync.model.event import Op
from idsync.model.plan import Position
from idsync.model.values import EntityId, ExternalId, Value
from idsync.ports import Rewound, SourceBatch, Write
from idsync.testing.peer import FakePeer, Form, Habits
from tests.unit.testing.rig import Rig


def update(peer: FakePeer, external_id: ExternalId, **fields: Value) -> Write:
    """Ask for a change of what the peer holds now."""
    held = peer.holds("user", external_id) or {}
    return Write(
        entity=EntityId("e1"),
        kind="user",
        action=Action.UPDATE,
        intent="e1:1:x",
        external_id=external_id,
        fields=fields,
        expected={name: held[name] for name in fields},
    )


async def test_journal_says_who_did_what() -> None:
    """Users and idsync stand in one order, with the row as each left it."""
    rig = Rig()
    ada = await rig.create({"name": "Ada"})
    await rig.target.write([update(rig.peer, ada, name="Bo")])
    rig.peer.delete("user", ada)
    assert [(one.writer, one.op, one.fields["name"]) for one in rig.peer.journal] == [
        ("user", Op.CREATED, "Ada"),
        ("idsync", Op.UPDATED, "Bo"),
        ("user", Op.DELETED, "Bo"),
    ]


@pytest.mark.parametrize(
    ("form", "stored"),
    [
        (Form.LOWER, " ada lovelacé"),
        (Form.TRIM, "Ada Lovelacé"),
        (Form.TRUNCATE, " Ada Lov"),
        (Form.NFD, " Ada Lovelace\u0301"),
    ],
)
async def test_peer_stores_texts_in_its_own_form(form: Form, stored: str) -> None:
    """What it was given and what it returns are two things."""
    rig = Rig(Habits(forms=(form,)))
    ada = await rig.create({"name": "x"})
    (result,) = await rig.target.write([update(rig.peer, ada, name=" Ada Lovelacé")])
    assert result.image is not None
    assert (result.effect, result.image.fields["name"]) == (Effect.WRITTEN, stored)


async def test_lost_answer_leaves_the_write_behind() -> None:
    """The write is carried out once, the caller hears of nothing, and the next try finds it done."""
    rig = Rig()
    ada = await rig.create({"name": "Ada"})
    rig.peer.replies_lost = 1
    write = update(rig.peer, ada, name="Bo")
    with pytest.raises(PeerError):
        await rig.target.write([write])
    assert rig.peer.holds("user", ada) == {"email": None, "name": "Bo", "picture": None}
    (again,) = await rig.target.write([write])
    assert (again.effect, len(rig.peer.journal)) == (Effect.UNCHANGED, 2)


async def test_peer_without_versions_and_origins_tells_little() -> None:
    """A service with hooks: an event says what it says, and no more."""
    rig = Rig(Habits(has_versions=False, has_origins=False, gives_ids=True))
    ada = await rig.create({"name": "Ada"})
    await rig.target.write([update(rig.peer, ada, name="Bo")])
    batch = await rig.source.read(None, 10)
    assert isinstance(batch, SourceBatch)
    assert [(one.version, one.origin) for one in batch.observations] == [(None, None), (None, None)]
    assert rig.target.choose_id("user") is None


async def test_source_is_read_in_order_and_from_any_position() -> None:
    """Every row once, the position's own row kept when the rest is trimmed."""
    rig = Rig()
    ada = await rig.create({"name": "Ada"})
    for name in ("Bo", "Cy", "Di"):
        await rig.edit(ada, {"name": name})
    first = await rig.source.read(None, 3)
    assert isinstance(first, SourceBatch)
    assert ([one.fields["name"] for one in first.observations], first.has_more) == (["Ada", "Bo", "Cy"], True)
    await rig.source.trim(first.position)
    rest = await rig.source.read(first.position, 3)
    assert isinstance(rest, SourceBatch)
    assert ([one.fields["name"] for one in rest.observations], rest.has_more) == (["Di"], False)
    assert [number for number, _ in rig.peer.log] == [3, 4]


async def test_restored_capture_is_noticed_and_rings_for_everybody() -> None:
    """A position of another history is refused; starting over names every identity."""
    rig = Rig()
    ada = await rig.create({"name": "Ada"})
    batch = await rig.source.read(None, 10)
    assert isinstance(batch, SourceBatch)
    rig.peer.rewind()
    assert isinstance(await rig.source.read(batch.position, 10), Rewound)
    await rig.source.start_over()
    again = await rig.source.read(None, 10)
    assert isinstance(again, SourceBatch)
    assert again.rings == (("user", ada),)
    assert again.position == msgspec.structs.replace(Position("", 0, "0"), generation=again.position.generation)


async def test_source_wakes_whoever_waits_for_it() -> None:
    """A change ends the wait at once; nothing ends it at its time."""
    rig = Rig()
    await rig.source.wait(0.001)
    await rig.create({"name": "Ada"})
    await rig.source.wait(60.0)
