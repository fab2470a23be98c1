"""The SQLite Target keeps the contract of every Target, on an application's table and on Better Auth's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from idsync.connectors.better_auth import better_auth_tables
from idsync.connectors.sql_table import Pace, SqlitePeer, TableMapping
from idsync.connectors.tables.text import quoted
from idsync.model.values import ExternalId, Kind, PeerName, Value
from idsync.testing.clock import FakeClock
from idsync.testing.sqlite_app import SqliteApp, SqlValue
from idsync.testing.target_suite import CHECKS, Check

APP_SCHEMA = """
    CREATE TABLE "user" (
      "id" INTEGER PRIMARY KEY AUTOINCREMENT,
      "auth id" TEXT UNIQUE,
      "email" TEXT NOT NULL UNIQUE COLLATE NOCASE,
      "full ""name" TEXT NOT NULL,
      "order" TEXT,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL
    );
"""
KEYLESS_SCHEMA = """
    CREATE TABLE "user" (
      "id" TEXT PRIMARY KEY NOT NULL, "auth id" TEXT UNIQUE, "email" TEXT UNIQUE, "full ""name" TEXT, "order" TEXT
    ) WITHOUT ROWID;
"""
APP_MAPPING = TableMapping(
    kind=Kind.USER,
    table="USER",
    link="auth id",
    fields={"email": "email", "name": 'full "name', "picture": "order"},
)
AUTH_SCHEMA = (Path(__file__).parents[2] / "examples" / "better-auth" / "schema.sql").read_text()
JOURNAL = """
    CREATE TABLE journal (number INTEGER PRIMARY KEY);
    CREATE TRIGGER j1 AFTER INSERT ON "user" BEGIN INSERT INTO journal (number) VALUES (NULL); END;
    CREATE TRIGGER j2 AFTER UPDATE ON "user" BEGIN INSERT INTO journal (number) VALUES (NULL); END;
    CREATE TRIGGER j3 AFTER DELETE ON "user" BEGIN INSERT INTO journal (number) VALUES (NULL); END;
"""
REQUIRED: dict[str, SqlValue] = {
    "createdAt": "2026-01-01",
    "updatedAt": "2026-01-01",
    "emailVerified": 0,
    "created_at": "",
    "updated_at": "",
}


class Rig:
    """An application with its own SQLite library, connection and journal, and our peer beside it."""

    def __init__(self, path: Path, schema: str, mappings: list[TableMapping]) -> None:
        self.path = path
        self.app = SqliteApp(path)
        self.app.run("PRAGMA journal_mode = WAL")
        self.app.run_script(schema + JOURNAL)
        self.mappings = mappings
        self.peer = SqlitePeer(PeerName("app"), path, mappings, FakeClock(), Pace(busy_timeout_s=0.05))
        self.target, self.reader, self.source = self.peer.target, self.peer.reader, self.peer.source

    async def create(self, fields: dict[str, Value]) -> ExternalId:
        """Make a user by plain SQL."""
        there = {str(row[1]) for row in self.app.run("PRAGMA table_info('user')")}
        row: dict[str, SqlValue] = {name: value for name, value in REQUIRED.items() if name in there}
        row |= self._columns(fields)
        if self.path.name != "app.db":
            row["id"] = f"theirs-{fields['email']}"
        names = ", ".join(quoted(name) for name in row)
        marks = ", ".join("?" for _ in row)
        self.app.run(f'INSERT INTO "user" ({names}) VALUES ({marks})', *row.values())  # noqa: S608
        ((key,),) = self.app.run('SELECT id FROM "user" WHERE email = ?', str(fields["email"]))
        return ExternalId(str(key))

    async def edit(self, external_id: ExternalId, fields: dict[str, Value]) -> None:
        """Change a user by plain SQL."""
        for name, value in self._columns(fields).items():
            self.app.run(f'UPDATE "user" SET {quoted(name)} = ? WHERE id = ?', value, external_id)  # noqa: S608

    async def count_changes(self) -> int:
        """Count what the application's own triggers saw."""
        ((count,),) = self.app.run("SELECT count(*) FROM journal")
        return int(str(count))

    async def set_away(self, *, is_away: bool) -> None:
        """Hold the write lock for longer than we wait."""
        self.app.run("BEGIN IMMEDIATE" if is_away else "ROLLBACK")

    def _columns(self, fields: dict[str, Value]) -> dict[str, SqlValue]:
        columns = self.mappings[0].fields
        return {columns[name]: value for name, value in fields.items() if not isinstance(value, list)}


@pytest.fixture(params=["app", "without-rowid", "better-auth"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """One peer of each kind, empty and captured."""
    schema, mappings = {
        "app": (APP_SCHEMA, [APP_MAPPING]),
        "without-rowid": (KEYLESS_SCHEMA, [APP_MAPPING]),
        "better-auth": (AUTH_SCHEMA, better_auth_tables({})),
    }[request.param]
    made = Rig(tmp_path / f"{request.param}.db", schema, mappings)
    await made.peer.install()
    yield made
    await made.peer.close()
    made.app.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_sqlite_target_keeps_the_contract(check: Check, rig: Rig) -> None:
    """Each check on each schema."""
    await check(rig)
