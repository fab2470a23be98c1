"""What holds on every server, where each has columns and rules of its own: a test gives the table, this is the rest."""

import msgspec

from idsync.connectors.tables.mapping import TableMapping
from idsync.model.delivery import Effect
from idsync.model.entity import Action
from idsync.model.values import EntityId, ExternalId, Kind, Value
from idsync.ports import Write
from idsync.testing.target_suite import create_of, update_of
from tests.servers import App
from tests.unit.connectors.servers.app import TWO, Peer, look, observed, write

TYPED = TableMapping(
    kind=Kind.USER,
    table="people",
    fields={
        "email": "email", "name": "name", "email_verified": "verified", "roles": "roles", "ban_expires_at": "until",
        "picture": "level",
    },
    on_ban="deactivate:active",
)  # fmt: skip
ODD = [
    "",
    "x",
    "1.0",
    "+1",
    " 1",
    "01",
    "9" * 20,
    "-32769",
    "0" * 40,
    "A" * 300,
    "\x00",
    "\u65e5",
    "\u00fc",
    "'",
    "\\",
    "%s",
]
"""Ids that some key cannot hold, or that no row has."""


async def refusal_of(peer: Peer, app: App, fields: dict[str, Value]) -> str | None:
    """Say why fields are refused, and see that nothing is left of them and that the writes beside it are made."""
    await app.script(TWO)
    first, second = await look(peer, "1"), await look(peer, "2")
    results = await write(
        peer,
        update_of(first, {"email": "new@example.com"}),
        update_of(second, {"email": "lost@example.com", **fields}, number=2),
        update_of(first, {"email": "newer@example.com"}, intent="again"),
    )
    assert [result.effect for result in results] == [Effect.WRITTEN, Effect.REFUSED, Effect.DIVERGED]
    emails = "SELECT email FROM people WHERE id < 3 ORDER BY id"
    assert await app.run(emails) == [["new@example.com"], ["b@example.com"]]
    assert [one.origin for one in await observed(peer)] == [None, None, "entity-1:update"]
    return results[1].error


async def values_come_back(peer: Peer, fields: dict[str, Value]) -> None:
    """See that what is written is read, and told by the outbox, and recognised when it is written again."""
    wanted = msgspec.structs.replace(create_of(1, **fields), external_id=peer.target.choose_id(Kind.USER))
    (made,) = await write(peer, wanted)
    assert (made.effect, made.error) == (Effect.WRITTEN, None)
    assert made.image is not None
    assert {name: made.image.fields[name] for name in fields} == fields
    (seen,) = await observed(peer)
    assert (seen.fields, seen.external_id) == (made.image.fields, made.image.external_id)
    emptied: dict[str, Value] = {"email_verified": False, "roles": [], "ban_expires_at": None, "banned": False}
    change = msgspec.structs.replace(update_of(made.image, emptied), expected=made.image.fields)
    for effect in (Effect.WRITTEN, Effect.UNCHANGED):
        (result,) = await write(peer, change)
        assert (result.effect, result.error) == (effect, None)
        assert result.image is not None
        assert {name: result.image.fields[name] for name in emptied} == emptied


async def odd_ids_are_nobodys(peer: Peer, *more: str) -> None:
    """See that neither a look nor a write fails for an id that a key cannot hold."""
    for text in [*ODD, *more]:
        assert await peer.reader.read(Kind.USER, ExternalId(text)) is None
        action = Write(
            entity=EntityId("e"), kind=Kind.USER, action=Action.UPDATE, intent="i", external_id=ExternalId(text),
            fields={"name": "x"},
        )  # fmt: skip
        assert [one.effect for one in await write(peer, action)] == [Effect.ABSENT]
