"""Values and ids in columns of every type that PostgreSQL has for them."""

import msgspec
import pytest

from idsync.connectors.tables.mapping import TableMapping
from idsync.model.delivery import Effect, Image
from idsync.model.entity import Action
from idsync.model.values import EntityId, ExternalId, Kind, Value
from idsync.ports import Write
from idsync.testing.target_suite import create_of, update_of
from tests.unit.connectors.postgres.app import PostgresApp, observed, write
from tests.unit.connectors.postgres.conftest import Capture

TYPED = TableMapping(
    kind=Kind.USER,
    table="people",
    fields={
        "email": "email", "name": "name", "email_verified": "verified", "roles": "roles", "ban_expires_at": "until",
        "picture": "level",
    },
    on_ban="deactivate:active",
)  # fmt: skip
TYPES: dict[str, dict[str, str]] = {
    "plain": {"roles": "text", "verified": "integer", "until": "bigint", "active": "smallint", "level": "varchar"},
    "rich": {"roles": "text[]", "verified": "boolean", "until": "timestamptz", "active": "boolean", "level": "level"},
    "json": {"roles": "jsonb", "verified": "text", "until": "timestamp", "active": "text", "level": "text"},
    "old json": {"roles": "json", "verified": "boolean", "until": "text", "active": "boolean", "level": "uuid"},
    "domains": {"roles": "level[]", "verified": "flag", "until": "moment", "active": "flag", "level": "character(1)"},
}
LEVELS = {"uuid": "018e0000-0000-7000-8000-000000000000"}


@pytest.mark.parametrize("types", TYPES)
async def test_values_come_back_from_columns_of_every_type(capture: Capture, app: PostgresApp, types: str) -> None:
    """What is written is what is read, what the outbox tells, and is recognised when it is written again."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES[types].items())
    await app.script(
        "CREATE TYPE level AS ENUM ('a', 'b', 'user, \"x\\y\"', 'admin');"
        "CREATE DOMAIN flag AS boolean NOT NULL DEFAULT false; CREATE DOMAIN moment AS timestamptz;"
    )
    peer = await capture(f"CREATE TABLE people (id uuid PRIMARY KEY, email text, name text, {columns});", TYPED)
    level = LEVELS.get(TYPES[types]["level"], "a")
    roles = ["admin", "b"] if types == "plain" else ["admin", 'user, "x\\y"']
    fields: dict[str, Value] = {
        "email_verified": True, "roles": sorted(roles), "ban_expires_at": "2026-01-31T12:00:00.123Z", "picture": level,
        "banned": True,
    }  # fmt: skip
    wanted = msgspec.structs.replace(create_of(1, **fields), external_id=peer.target.choose_id(Kind.USER))
    (made,) = await write(peer, wanted)
    image = _written(made.effect, made.image, made.error)
    assert {name: image.fields[name] for name in fields} == fields
    (seen,) = await observed(peer)
    assert (seen.fields, seen.external_id) == (image.fields, image.external_id)
    emptied: dict[str, Value] = {"email_verified": False, "roles": [], "ban_expires_at": None, "banned": False}
    change = msgspec.structs.replace(update_of(image, emptied), expected=image.fields)
    for effect in (Effect.WRITTEN, Effect.UNCHANGED):
        (result,) = await write(peer, change)
        assert (result.effect, result.error) == (effect, None)
        assert result.image is not None
        assert {name: result.image.fields[name] for name in emptied} == emptied


def _written(effect: Effect, image: Image | None, error: str | None) -> Image:
    assert effect is Effect.WRITTEN, error
    assert image is not None
    return image


@pytest.mark.parametrize("key", ["integer", "smallint", "uuid", "text", "varchar(40)", "character(8)", "numeric"])
async def test_ids_that_a_key_cannot_hold_are_nobodys(capture: Capture, app: PostgresApp, key: str) -> None:
    """No look and no write fails for them."""
    peer = await capture(f"CREATE TABLE people (id {key} PRIMARY KEY, email text, name text);")
    odd = ["", "x", "1.0", "+1", " 1", "01", "99999999999999999999", "-32769", "0" * 40, "A" * 300, "\x00", "ü", "'"]
    for text in odd:
        assert await peer.reader.read(Kind.USER, ExternalId(text)) is None
        action = Write(
            entity=EntityId("e"), kind=Kind.USER, action=Action.UPDATE, intent="i", external_id=ExternalId(text),
            fields={"name": "x"},
        )  # fmt: skip
        assert [one.effect for one in await write(peer, action)] == [Effect.ABSENT]
