"""Values and ids in columns of every type that PostgreSQL has for them."""

import pytest

from idsync.model.values import Value
from tests.servers import PostgresApp
from tests.unit.connectors.servers.claims import TYPED, odd_ids_are_nobodys, values_come_back
from tests.unit.connectors.servers.conftest import Capture

TYPES: dict[str, dict[str, str]] = {
    "plain": {"roles": "text", "verified": "integer", "until": "bigint", "active": "smallint", "level": "varchar"},
    "rich": {"roles": "text[]", "verified": "boolean", "until": "timestamptz", "active": "boolean", "level": "level"},
    "json": {"roles": "jsonb", "verified": "text", "until": "timestamp", "active": "text", "level": "text"},
    "old json": {"roles": "json", "verified": "boolean", "until": "text", "active": "boolean", "level": "uuid"},
    "domains": {"roles": "level[]", "verified": "flag", "until": "moment", "active": "flag", "level": "character(1)"},
}
LEVELS = {"uuid": "018e0000-0000-7000-8000-000000000000"}


@pytest.mark.parametrize("types", TYPES)
async def test_values_come_back_from_columns_of_every_type(captured: Capture, app: PostgresApp, types: str) -> None:
    """What is written is what is read, what the outbox tells, and is recognised when it is written again."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES[types].items())
    await app.script(
        "CREATE TYPE level AS ENUM ('a', 'b', 'user, \"x\\y\"', 'admin');"
        "CREATE DOMAIN flag AS boolean NOT NULL DEFAULT false; CREATE DOMAIN moment AS timestamptz;"
    )
    peer = await captured(f"CREATE TABLE people (id uuid PRIMARY KEY, email text, name text, {columns});", TYPED)
    level = LEVELS.get(TYPES[types]["level"], "a")
    roles = ["admin", "b"] if types == "plain" else ["admin", 'user, "x\\y"']
    fields: dict[str, Value] = {
        "email_verified": True, "roles": sorted(roles), "ban_expires_at": "2026-01-31T12:00:00.123Z", "picture": level,
        "banned": True,
    }  # fmt: skip
    await values_come_back(peer, fields)


@pytest.mark.parametrize("key", ["integer", "smallint", "uuid", "text", "varchar(40)", "character(8)", "numeric"])
async def test_ids_that_a_key_cannot_hold_are_nobodys(captured: Capture, app: PostgresApp, key: str) -> None:
    """No look and no write fails for them."""
    peer = await captured(f"CREATE TABLE people (id {key} PRIMARY KEY, email text, name text);")
    await odd_ids_are_nobodys(peer)
