"""What every Target must keep, as a suite that any of them can be put through.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_my_target_keeps_the_contract(check: Check, rig: MyRig) -> None:
        await check(rig)

Each check begins with an empty peer that synchronises users with the fields `email`, `name` and `picture`, and whose
e-mails are unique. What a Target did is judged by the peer's own journal, never by what it says of itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from idsync.errors import PeerError
from idsync.model.delivery import Effect, Image, WriteResult
from idsync.model.entity import Action
from idsync.model.event import Observation
from idsync.model.plan import Position
from idsync.model.values import EntityId, ExternalId, Kind, Value
from idsync.ports import Reader, Rewound, Source, Target, Write

MANY: Final = 300
HOSTILE_TEXTS: Final = (
    "nothing\x00hidden",
    'O\'Brien "quoted" `ticked` [boxed]',
    "'); DROP TABLE users; --",
    "\N{GRINNING FACE} \N{HAIR SPACE} \N{RIGHT-TO-LEFT OVERRIDE} \u0065\u0301 \u00e9",
    "{} {name} %s %(name)s ? :1 \\ \\u0000 \n\t\r\x01\x7f",
    "x" * 1_048_576,
    "",
)


class TargetRig(Protocol):
    """A Target under test, and the hands of its peer's own users."""

    @property
    def target(self) -> Target:
        """What is tested."""
        ...

    @property
    def reader(self) -> Reader:
        """A look at the same peer."""
        ...

    @property
    def source(self) -> Source | None:
        """Its capture, where it has one: then our own writes are known by their intents."""
        ...

    async def create(self, fields: dict[str, Value]) -> ExternalId:
        """Make a user as the peer's own people do."""
        ...

    async def edit(self, external_id: ExternalId, fields: dict[str, Value]) -> None:
        """Change a user as the peer's own people do."""
        ...

    async def count_changes(self) -> int:
        """How many changes of users the peer itself has journaled, by whomever."""
        ...

    async def set_away(self, *, is_away: bool) -> None:
        """Make the peer unusable, or usable again."""
        ...


Check = Callable[[TargetRig], Awaitable[None]]


def create_of(number: int, **fields: Value) -> Write:
    """Ask for a new user."""
    email = f"u{number}@example.com"
    return Write(
        entity=EntityId(f"entity-{number}"),
        kind=Kind.USER,
        action=Action.CREATE,
        intent=f"entity-{number}:create",
        fields={"email": email, "name": f"User {number}", **fields},
    )


def update_of(image: Image, fields: dict[str, Value], *, number: int = 1, intent: str = "update") -> Write:
    """Ask for a change of a user that was seen."""
    return Write(
        entity=EntityId(f"entity-{number}"),
        kind=Kind.USER,
        action=Action.UPDATE,
        intent=f"entity-{number}:{intent}",
        external_id=image.external_id,
        fields=fields,
        expected={name: image.fields.get(name) for name in fields},
    )


def remove_of(image: Image, *, number: int = 1) -> Write:
    """Ask for a user's end."""
    return Write(
        entity=EntityId(f"entity-{number}"),
        kind=Kind.USER,
        action=Action.REMOVE,
        intent=f"entity-{number}:remove",
        external_id=image.external_id,
    )


async def a_create_makes_what_was_asked_for(rig: TargetRig) -> None:
    """The image has the fields, and a look at the peer shows the same."""
    result = await _write(rig, _chosen(rig, create_of(1, picture="https://example.com/1.png")))
    image = _image(result, Effect.WRITTEN)
    assert image.fields["email"] == "u1@example.com"
    assert image.fields["picture"] == "https://example.com/1.png"
    seen = await rig.reader.read(Kind.USER, image.external_id)
    assert seen is not None
    assert seen.fields == image.fields


async def a_create_that_is_repeated_makes_no_second_identity(rig: TargetRig) -> None:
    """Neither the same write nor a new try of it with another intent makes another user."""
    write = _chosen(rig, create_of(1))
    image = _image(await _write(rig, write), Effect.WRITTEN)
    changes = await rig.count_changes()
    for again in (write, msgspec.structs.replace(write, intent="entity-1:another")):
        repeated = _image(await _write(rig, again), Effect.UNCHANGED)
        assert repeated.external_id == image.external_id
    assert await rig.count_changes() == changes
    assert len(await _list(rig)) == 1


async def an_update_changes_only_its_fields(rig: TargetRig) -> None:
    """What the peer's people changed meanwhile in another field stays."""
    image = await _created(rig, 1)
    await rig.edit(image.external_id, {"picture": "theirs"})
    result = await _write(rig, update_of(image, {"name": "Ours"}))
    assert _image(result, Effect.WRITTEN).fields["picture"] == "theirs"
    assert _image(result, Effect.WRITTEN).fields["name"] == "Ours"


async def an_update_that_is_repeated_writes_nothing(rig: TargetRig) -> None:
    """The peer's journal shows one change."""
    image = await _created(rig, 1)
    before = await rig.count_changes()
    write = update_of(image, {"name": "Once"})
    assert _image(await _write(rig, write), Effect.WRITTEN).fields["name"] == "Once"
    assert _image(await _write(rig, write), Effect.UNCHANGED).fields["name"] == "Once"
    assert await rig.count_changes() == before + 1


async def what_is_held_already_is_not_written(rig: TargetRig) -> None:
    """A peer that came to the wanted value by itself is left alone, whatever was expected of it."""
    image = await _created(rig, 1)
    await rig.edit(image.external_id, {"name": "The same"})
    before = await rig.count_changes()
    _image(await _write(rig, update_of(image, {"name": "The same"})), Effect.UNCHANGED)
    assert await rig.count_changes() == before


async def what_nobody_reported_is_not_overwritten(rig: TargetRig) -> None:
    """The answer shows what the peer's people wrote, and nothing of the write is done, not even its other fields."""
    image = await _created(rig, 1)
    await rig.edit(image.external_id, {"name": "Theirs"})
    before = await rig.count_changes()
    result = await _write(rig, update_of(image, {"name": "Ours", "picture": "ours"}))
    found = _image(result, Effect.DIVERGED)
    assert found.fields["name"] == "Theirs"
    assert found.fields["picture"] != "ours"
    assert await rig.count_changes() == before


async def what_nobody_reported_of_another_field_is_not_passed_over(rig: TargetRig) -> None:
    """Where another field is not as expected either, somebody was there whom we have not heard: nothing is written."""
    image = await _created(rig, 1)
    await rig.edit(image.external_id, {"picture": "theirs"})
    before = await rig.count_changes()
    write = msgspec.structs.replace(update_of(image, {"name": "Ours"}), expected=image.fields)
    assert _image(await _write(rig, write), Effect.DIVERGED).fields["picture"] == "theirs"
    assert await rig.count_changes() == before


async def what_is_unknown_is_not_overwritten(rig: TargetRig) -> None:
    """A field that nobody expected anything of is only filled, never replaced."""
    image = await _created(rig, 1)
    blind = msgspec.structs.replace(update_of(image, {"name": "Ours"}), expected={})
    assert _image(await _write(rig, blind), Effect.DIVERGED).fields["name"] == "User 1"


async def who_is_not_there_is_not_made_by_an_update(rig: TargetRig) -> None:
    """An update of nobody is answered with absent, and so is a remove."""
    image = await _created(rig, 1)
    assert (await _write(rig, remove_of(image))).effect is Effect.WRITTEN
    assert await rig.reader.read(Kind.USER, image.external_id) is None
    before = await rig.count_changes()
    assert (await _write(rig, update_of(image, {"name": "Ghost"}))).effect is Effect.ABSENT
    assert (await _write(rig, remove_of(image))).effect is Effect.ABSENT
    assert await rig.count_changes() == before
    assert await _list(rig) == []


async def one_that_is_refused_leaves_the_others_alone(rig: TargetRig) -> None:
    """An e-mail that somebody else has is refused with a code; what stands before and after it in the batch is done."""
    await rig.create({"email": "u2@example.com", "name": "Already there"})
    results = await rig.target.write([_chosen(rig, create_of(number)) for number in (1, 2, 3)])
    assert [result.effect for result in results] == [Effect.WRITTEN, Effect.REFUSED, Effect.WRITTEN]
    assert results[1].error
    assert results[1].error.isascii()
    assert len(await _list(rig)) == 3


async def two_that_swap_a_unique_value_both_succeed(rig: TargetRig) -> None:
    """Neither order of two single writes would do."""
    first, second = await _created(rig, 1), await _created(rig, 2)
    writes = [
        update_of(first, {"email": second.fields["email"]}, number=1),
        update_of(second, {"email": first.fields["email"]}, number=2),
    ]
    results = await rig.target.write(writes)
    assert [_image(result, Effect.WRITTEN).fields["email"] for result in results] == [
        "u2@example.com",
        "u1@example.com",
    ]


async def a_peer_that_is_away_is_an_error_and_not_a_refusal(rig: TargetRig) -> None:
    """Nothing is known of the writes; later they are done as if nothing had been."""
    write = _chosen(rig, create_of(1))
    await rig.set_away(is_away=True)
    try:
        results = await rig.target.write([write])
    except PeerError:
        results = []
    assert results == [], "a peer that is away must raise PeerError"
    await rig.set_away(is_away=False)
    _image(await _write(rig, write), Effect.WRITTEN)


async def every_text_comes_back_as_it_went(rig: TargetRig) -> None:
    """Also the hostile ones; and each is recognised as what was wanted when it is written again.

    A peer whose texts cannot hold NUL at all refuses such a text as `unfit`: it is never cut or changed.
    """
    image = await _created(rig, 1)
    for number, text in enumerate(HOSTILE_TEXTS):
        write = update_of(image, {"name": text}, intent=f"text-{number}")
        result = await _write(rig, write)
        if "\x00" in text and result.error == "unfit":
            continue
        image = _image(result, Effect.WRITTEN)
        assert image.fields["name"] == text
        assert _image(await _write(rig, write), Effect.UNCHANGED).fields["name"] == text


async def null_is_not_missing(rig: TargetRig) -> None:
    """Null empties a field; a field that is not there is left as it is."""
    image = await _created(rig, 1, picture="theirs")
    kept = _image(await _write(rig, update_of(image, {"name": "Renamed"})), Effect.WRITTEN)
    assert kept.fields["picture"] == "theirs"
    emptied = _image(await _write(rig, update_of(kept, {"picture": None}, intent="empty")), Effect.WRITTEN)
    assert emptied.fields["picture"] is None
    assert emptied.fields["name"] == "Renamed"


async def many_writes_are_answered_in_their_order(rig: TargetRig) -> None:
    """More than fit into one transaction or one request."""
    results = await rig.target.write([_chosen(rig, create_of(number)) for number in range(MANY)])
    emails = [_image(result, Effect.WRITTEN).fields["email"] for result in results]
    assert emails == [f"u{number}@example.com" for number in range(MANY)]
    assert len(await _list(rig)) == MANY


async def two_callers_at_once_lose_nothing(rig: TargetRig) -> None:
    """Two batches at the same moment are both carried out."""
    first, second = await asyncio.gather(
        rig.target.write([_chosen(rig, create_of(number)) for number in range(20)]),
        rig.target.write([_chosen(rig, create_of(number)) for number in range(20, 40)]),
    )
    assert {result.effect for result in (*first, *second)} == {Effect.WRITTEN}
    assert len(await _list(rig)) == 40


async def our_own_echo_is_known_and_theirs_is_not(rig: TargetRig) -> None:
    """The capture names the intent with our write, shows the image we were given, and names nothing with theirs."""
    if rig.source is None:
        return
    image = await _created(rig, 1)
    await rig.edit(image.external_id, {"name": "Theirs"})
    renamed = _image(await _write(rig, update_of(_edited(image, name="Theirs"), {"name": "Ours"})), Effect.WRITTEN)
    seen = await _drain(rig.source)
    assert [one.origin for one in seen] == ["entity-1:create", None, "entity-1:update"]
    assert seen[0].fields == image.fields
    assert seen[2].fields == renamed.fields
    assert renamed.version == seen[2].version


CHECKS: Final[tuple[Check, ...]] = (
    a_create_makes_what_was_asked_for,
    a_create_that_is_repeated_makes_no_second_identity,
    an_update_changes_only_its_fields,
    an_update_that_is_repeated_writes_nothing,
    what_is_held_already_is_not_written,
    what_nobody_reported_is_not_overwritten,
    what_nobody_reported_of_another_field_is_not_passed_over,
    what_is_unknown_is_not_overwritten,
    who_is_not_there_is_not_made_by_an_update,
    one_that_is_refused_leaves_the_others_alone,
    two_that_swap_a_unique_value_both_succeed,
    a_peer_that_is_away_is_an_error_and_not_a_refusal,
    every_text_comes_back_as_it_went,
    null_is_not_missing,
    many_writes_are_answered_in_their_order,
    two_callers_at_once_lose_nothing,
    our_own_echo_is_known_and_theirs_is_not,
)
"""The whole contract; a Target keeps all of it."""


async def _created(rig: TargetRig, number: int, **fields: Value) -> Image:
    return _image(await _write(rig, _chosen(rig, create_of(number, **fields))), Effect.WRITTEN)


async def _write(rig: TargetRig, write: Write) -> WriteResult:
    results = await rig.target.write([write])
    assert [result.entity for result in results] == [write.entity]
    return results[0]


def _chosen(rig: TargetRig, write: Write) -> Write:
    """Let a create ask for an id, as the line does where the peer lets it."""
    return msgspec.structs.replace(write, external_id=rig.target.choose_id(write.kind))


def _image(result: WriteResult, effect: Effect) -> Image:
    assert result.effect is effect, result.error
    assert result.image is not None
    return result.image


def _edited(image: Image, **fields: Value) -> Image:
    return msgspec.structs.replace(image, fields={**image.fields, **fields})


async def _list(rig: TargetRig) -> list[Image]:
    return [image async for image in rig.reader.list(Kind.USER)]


async def _drain(source: Source) -> Sequence[Observation]:
    """Read a capture from its beginning to its end."""
    seen: list[Observation] = []
    position: Position | None = None
    while True:
        batch = await source.read(position, 1000)
        assert not isinstance(batch, Rewound)
        seen += batch.observations
        position = batch.position
        if not batch.has_more:
            return seen
