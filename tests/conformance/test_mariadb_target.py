"""The MySQL Target keeps the contract of every Target on a MariaDB, on applications' tables and on Better Auth's."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncmy
import pytest

from idsync.connectors.better_auth import better_auth_tables
from idsync.connectors.sql_mysql import MysqlPeer
from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.values import ExternalId, Kind, PeerName, Value
from idsync.testing.clock import FakeClock
from idsync.testing.mariadb import MariadbServer, run_script, run_sql
from idsync.testing.target_suite import CHECKS, Check

pytestmark = pytest.mark.long

APP_SCHEMA = """
    CREATE TABLE `user` (
      `id` bigint unsigned AUTO_INCREMENT PRIMARY KEY,
      `auth id` varchar(64) UNIQUE,
      `email` varchar(255) COLLATE utf8mb4_general_ci NOT NULL UNIQUE,
      `100% "name"` longtext NOT NULL,
      `order` longtext,
      created_at datetime(6) NOT NULL,
      updated_at timestamp(3) NOT NULL
    );
"""
UUID_SCHEMA = """
    CREATE TABLE `user` (
      `id` uuid PRIMARY KEY DEFAULT (uuid()), `auth id` char(36) UNIQUE, `email` varchar(255) UNIQUE,
      `100% "name"` longtext, `order` longtext
    );
"""
APP_MAPPING = TableMapping(
    kind=Kind.USER,
    table="USER",
    link="auth id",
    fields={"email": "email", "name": '100% "name"', "picture": "order"},
)
AUTH_SCHEMA = (Path(__file__).parents[2] / "examples" / "better-auth" / "schema.mysql.sql").read_text()
LONG_NAMES = (
    "ALTER TABLE `user` MODIFY `name` longtext NOT NULL;\n"  # the suite writes longer ones than Better Auth keeps
)
JOURNAL = """
    CREATE TABLE journal (number bigint AUTO_INCREMENT PRIMARY KEY);
    CREATE TRIGGER j1 AFTER INSERT ON `user` FOR EACH ROW INSERT INTO journal () VALUES ();
    CREATE TRIGGER j2 AFTER UPDATE ON `user` FOR EACH ROW INSERT INTO journal () VALUES ();
    CREATE TRIGGER j3 AFTER DELETE ON `user` FOR EACH ROW INSERT INTO journal () VALUES ();
"""
REQUIRED = ("createdAt", "updatedAt", "created_at", "updated_at")


class Rig:
    """An application with its own connection and journal, and our peer beside it."""

    def __init__(
        self, server: MariadbServer, url: str, connection: asyncmy.Connection, mappings: list[TableMapping]
    ) -> None:
        self.server = server
        self.url = url
        self.connection = connection
        self.mappings = mappings
        self.peer = MysqlPeer(PeerName("app"), url, mappings, FakeClock(), Pace(busy_timeout_s=0.5))
        self.target, self.reader, self.source = self.peer.target, self.peer.reader, self.peer.source

    async def create(self, fields: dict[str, Value]) -> ExternalId:
        """Make a user by plain SQL."""
        there = {str(row[0]) for row in await run_sql(self.connection, "SHOW COLUMNS FROM `user`")}
        row = {name: "now()" for name in REQUIRED if name in there}
        if "emailVerified" in there:
            row |= {"emailVerified": "false", "id": "uuid()"}
        values = self._columns(fields)
        row |= dict.fromkeys(values, "%s")
        names = ", ".join(_quoted(name) for name in row)
        sql = f"INSERT INTO `user` ({names}) VALUES ({', '.join(row.values())})"  # noqa: S608
        await run_sql(self.connection, sql, *values.values())
        ((key,),) = await run_sql(
            self.connection, "SELECT CAST(id AS char) FROM `user` WHERE email = %s", fields["email"]
        )
        return ExternalId(str(key))

    async def edit(self, external_id: ExternalId, fields: dict[str, Value]) -> None:
        """Change a user by plain SQL."""
        for name, value in self._columns(fields).items():
            sql = f"UPDATE `user` SET {_quoted(name)} = %s WHERE id = %s"  # noqa: S608
            await run_sql(self.connection, sql, value, external_id)

    async def count_changes(self) -> int:
        """Count what the application's own triggers saw."""
        ((count,),) = await run_sql(self.connection, "SELECT count(*) FROM journal")
        return int(str(count))

    async def set_away(self, *, is_away: bool) -> None:
        """Keep everybody out of the server, also who is in."""
        if is_away:
            self.server.stop()
        else:
            self.server.start()
            self.connection = await self.server.connect(self.url.rpartition("/")[2])

    def _columns(self, fields: dict[str, Value]) -> dict[str, Value]:
        columns = self.mappings[0].fields
        return {columns[name]: value for name, value in fields.items()}


@pytest.fixture(params=["app", "uuid", "better-auth"])
async def rig(request: pytest.FixtureRequest, mariadb: MariadbServer, mariadb_url: str) -> AsyncIterator[Rig]:
    """One peer of each kind, empty and captured."""
    schema, mappings = {
        "app": (APP_SCHEMA, [APP_MAPPING]),
        "uuid": (UUID_SCHEMA, [APP_MAPPING]),
        "better-auth": (AUTH_SCHEMA + LONG_NAMES, better_auth_tables({})),
    }[request.param]
    connection = await mariadb.connect(mariadb_url.rpartition("/")[2])
    await run_script(connection, schema + JOURNAL)
    made = Rig(mariadb, mariadb_url, connection, mappings)
    await made.peer.install()
    yield made
    await made.peer.close()
    made.connection.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_mysql_target_keeps_the_contract(check: Check, rig: Rig) -> None:
    """Each check on each schema."""
    await check(rig)


def _quoted(name: str) -> str:
    return f"`{name.replace('%', '%%')}`"
