"""The PostgreSQL Target keeps the contract of every Target, on applications' tables and on Better Auth's."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from idsync.connectors.better_auth import better_auth_tables
from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.connectors.tables.text import quoted
from idsync.model.values import ExternalId, Kind, PeerName, Value
from idsync.testing.clock import FakeClock
from idsync.testing.postgres import PostgresServer
from idsync.testing.target_suite import CHECKS, Check

APP_SCHEMA = """
    CREATE TABLE "user" (
      "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      "auth id" text UNIQUE,
      "email" text NOT NULL UNIQUE,
      "full ""name" text NOT NULL,
      "order" text,
      created_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL
    );
"""
UUID_SCHEMA = """
    CREATE DOMAIN address AS text;
    CREATE TABLE "user" (
      "id" uuid PRIMARY KEY, "auth id" uuid UNIQUE, "email" address, "full ""name" varchar, "order" text
    );
    CREATE UNIQUE INDEX by_email ON "user" (lower(email));
"""
APP_MAPPING = TableMapping(
    kind=Kind.USER,
    table="USER",
    link="auth id",
    fields={"email": "email", "name": 'full "name', "picture": "order"},
)
AUTH_SCHEMA = (Path(__file__).parents[2] / "examples" / "better-auth" / "schema.postgres.sql").read_text()
JOURNAL = """
    CREATE TABLE journal (number bigint GENERATED ALWAYS AS IDENTITY);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO journal DEFAULT VALUES; RETURN NULL; END $$;
    CREATE TRIGGER j AFTER INSERT OR UPDATE OR DELETE ON "user" FOR EACH ROW EXECUTE FUNCTION note();
"""
REQUIRED = ("createdAt", "updatedAt", "created_at", "updated_at")


class Rig:
    """An application with its own connection and journal, and our peer beside it."""

    def __init__(
        self, server: PostgresServer, url: str, connection: asyncpg.Connection, mappings: list[TableMapping]
    ) -> None:
        self.server = server
        self.url = url
        self.connection = connection
        self.mappings = mappings
        self.peer = PostgresPeer(PeerName("app"), url, mappings, FakeClock(), Pace(busy_timeout_s=0.5))
        self.target, self.reader, self.source = self.peer.target, self.peer.reader, self.peer.source

    async def create(self, fields: dict[str, Value]) -> ExternalId:
        """Make a user by plain SQL."""
        columns = await self.connection.fetch(
            "SELECT column_name, data_type, is_identity FROM information_schema.columns WHERE table_name = 'user'"
        )
        there = {row["column_name"]: row for row in columns}
        row = {name: "now()" for name in REQUIRED if name in there}
        if there["id"]["is_identity"] == "NO":
            row["id"] = "gen_random_uuid()"
        if "emailVerified" in there:
            row["emailVerified"] = "false"
        values = self._columns(fields)
        row |= {name: f"${index}" for index, name in enumerate(values, 1)}
        names = ", ".join(quoted(name) for name in row)
        sql = f'INSERT INTO "user" ({names}) VALUES ({", ".join(row.values())}) RETURNING id::text'  # noqa: S608
        return ExternalId(await self.connection.fetchval(sql, *values.values()))

    async def edit(self, external_id: ExternalId, fields: dict[str, Value]) -> None:
        """Change a user by plain SQL."""
        for name, value in self._columns(fields).items():
            sql = f'UPDATE "user" SET {quoted(name)} = $1 WHERE id::text = $2'  # noqa: S608
            await self.connection.execute(sql, value, external_id)

    async def count_changes(self) -> int:
        """Count what the application's own triggers saw."""
        return int(await self.connection.fetchval("SELECT count(*) FROM journal"))

    async def set_away(self, *, is_away: bool) -> None:
        """Keep everybody out of the database, also who is in."""
        name = self.url.rpartition("/")[2]
        admin = await asyncpg.connect(self.server.url())
        await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {not is_away}")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        await admin.close()
        if not is_away:
            self.connection = await asyncpg.connect(self.url)

    def _columns(self, fields: dict[str, Value]) -> dict[str, Value]:
        columns = self.mappings[0].fields
        return {columns[name]: value for name, value in fields.items()}


@pytest.fixture(params=["app", "uuid", "better-auth"])
async def rig(request: pytest.FixtureRequest, postgres: PostgresServer, postgres_url: str) -> AsyncIterator[Rig]:
    """One peer of each kind, empty and captured."""
    schema, mappings = {
        "app": (APP_SCHEMA, [APP_MAPPING]),
        "uuid": (UUID_SCHEMA, [APP_MAPPING]),
        "better-auth": (AUTH_SCHEMA, better_auth_tables({})),
    }[request.param]
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(schema + JOURNAL)
    made = Rig(postgres, postgres_url, connection, mappings)
    await made.peer.install()
    yield made
    await made.peer.close()
    await made.connection.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_postgres_target_keeps_the_contract(check: Check, rig: Rig) -> None:
    """Each check on each schema."""
    await check(rig)
