"""Whatever statements an application runs, replaying its outbox gives its table, exactly."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idsync.connectors.sql_table import SqlitePeer, TableMapping
from idsync.model.event import Observation, Op
from idsync.model.plan import Position
from idsync.model.values import ExternalId, Kind, PeerName, Value
from idsync.policy.canonical import canonical_fields
from idsync.ports import Rewound
from idsync.testing.clock import FakeClock
from idsync.testing.sqlite_app import AppRefused, SqliteApp, SqlValue

SCHEMAS = {
    "integer key, unique by collation": """
        CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT UNIQUE COLLATE NOCASE, name TEXT, gone INTEGER);
        CREATE UNIQUE INDEX one_name ON people (name) WHERE gone IS NULL -- only the living
    """,
    "text key, two columns unique together": """
        CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT, name TEXT, gone INTEGER, UNIQUE (email, name));
    """,
    "without rowid": """
        CREATE TABLE people (
          id TEXT PRIMARY KEY COLLATE NOCASE, email TEXT UNIQUE, name TEXT, gone INTEGER
        ) WITHOUT ROWID;
    """,
    "key beside the primary key": """
        CREATE TABLE people (row INTEGER PRIMARY KEY, id NOT NULL UNIQUE, email TEXT UNIQUE, name TEXT, gone INTEGER);
    """,
    "application's own triggers": """
        CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, gone INTEGER);
        CREATE TRIGGER lower_email AFTER INSERT ON people BEGIN
            UPDATE people SET email = lower(NEW.email) WHERE id = NEW.id;
        END;
        CREATE TRIGGER a_lower_email AFTER UPDATE OF email ON people BEGIN
            UPDATE people SET email = lower(NEW.email) WHERE id = NEW.id;
        END;
        CREATE TRIGGER no_e AFTER INSERT ON people WHEN NEW.name = 'e' BEGIN DELETE FROM people WHERE id = NEW.id; END;
        CREATE TRIGGER back AFTER DELETE ON people WHEN OLD.name = 'd' BEGIN
            INSERT INTO people (id, email) VALUES (OLD.id, 'back' || OLD.id);
        END;
    """,
}
MAPPING = TableMapping(kind=Kind.USER, table="people", key="id", fields={"email": "email", "name": "name"})

KEYS = st.sampled_from([1, 2, 3, 4])
TEXTS = st.sampled_from([None, "a", "A", "b", "B", "c", "C", "d", "e", "\x00", b"\xff", 1.5])
GONE = st.sampled_from([None, None, 1])
OR = st.sampled_from(["", "OR REPLACE", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ROLLBACK"])
Statement = tuple[str, tuple[SqlValue, ...]]


INSERT = "INSERT {or} INTO people (id, email, name, gone) VALUES (?, ?, ?, ?) {upsert}"
UPSERTS = st.sampled_from(["", "", "ON CONFLICT DO NOTHING", "ON CONFLICT DO UPDATE SET name = excluded.name"])
UPDATES: tuple[tuple[str, tuple[st.SearchStrategy[SqlValue], ...]], ...] = (
    ("UPDATE {or} people SET email = ? WHERE id = ?", (TEXTS, KEYS)),
    ("UPDATE {or} people SET name = ? WHERE id = ?", (TEXTS, KEYS)),
    ("UPDATE {or} people SET gone = ? WHERE id = ?", (GONE, KEYS)),
    ("UPDATE {or} people SET id = ?, name = ? WHERE id = ?", (KEYS, TEXTS, KEYS)),
    ("UPDATE {or} people SET email = email || ?", (TEXTS,)),
)


def _inserts() -> st.SearchStrategy[Statement]:
    sql = st.builds(lambda clause, upsert: INSERT.replace("{or}", clause).replace("{upsert}", upsert), OR, UPSERTS)
    return st.tuples(sql, st.tuples(KEYS, TEXTS, TEXTS, GONE))


def _updates() -> st.SearchStrategy[Statement]:
    return st.one_of(*(st.tuples(OR.map(partial(sql.replace, "{or}")), st.tuples(*values)) for sql, values in UPDATES))


STATEMENTS: st.SearchStrategy[list[Statement]] = st.lists(
    st.one_of(
        _inserts(),
        _updates(),
        st.builds(lambda key: ("DELETE FROM people WHERE id = ?", (key,)), KEYS),
        st.sampled_from(
            [
                (sql, ())
                for sql in (
                    "DELETE FROM people",
                    "INSERT OR REPLACE INTO people (id, email) SELECT id + 1, email FROM people",
                    "BEGIN",
                    "COMMIT",
                    "ROLLBACK",
                    "SAVEPOINT here",
                    "ROLLBACK TO here",
                    "RELEASE here",
                    "PRAGMA recursive_triggers = ON",
                    "PRAGMA recursive_triggers = OFF",
                )
            ]
        ),
    ),
    min_size=3,
    max_size=20,
)


class Replay:
    """What somebody who only reads the outbox knows of the table. A ring is answered by a look, at once."""

    def __init__(self, peer: SqlitePeer) -> None:
        self.peer = peer
        self.position: Position | None = None
        self.known: dict[ExternalId, dict[str, Value]] = {}
        self.looked_at: dict[ExternalId, int] = {}

    async def read(self) -> None:
        """Follow the outbox to its end, a few rows at a time."""
        while True:
            batch = await self.peer.source.read(self.position, 3)
            assert not isinstance(batch, Rewound)
            for seen in batch.observations:
                self.learn(seen)
            for _, external_id in batch.rings:
                await self.look(external_id)
            self.position = batch.position
            if not batch.has_more:
                return

    def learn(self, seen: Observation) -> None:
        """Take one observation, unless a look has already shown what it tells."""
        assert seen.version is not None
        if seen.version.number <= self.looked_at.get(seen.external_id, 0):
            return
        self.known.pop(seen.external_id, None)
        if seen.op is not Op.DELETED:
            self.known[seen.external_id] = seen.fields

    async def look(self, external_id: ExternalId) -> None:
        """Look at whoever was rung for."""
        image = await self.peer.reader.read(Kind.USER, external_id)
        self.known.pop(external_id, None)
        if image is not None and image.version is not None:
            self.known[external_id] = image.fields
            self.looked_at[external_id] = image.version.number


class Bench:
    """One application and its peer, used for many examples: each begins with the same three people."""

    def __init__(self, path: Path, schema: str) -> None:
        self.app = SqliteApp(path)
        self.app.run("PRAGMA journal_mode = WAL")
        self.app.run("PRAGMA synchronous = OFF")
        self.app.run_script(schema)
        self.peer = SqlitePeer(PeerName("app"), path, [MAPPING], FakeClock())
        asyncio.run(self.install())

    async def install(self) -> None:
        """Put the triggers in, and make sure that they have nothing to warn of."""
        assert (await self.peer.install()).warnings == ()

    def try_to(self, sql: str, *values: SqlValue) -> None:
        """Run what the application may well refuse."""
        with contextlib.suppress(AppRefused):
            self.app.run(sql, *values)

    def held(self) -> dict[ExternalId, dict[str, SqlValue]]:
        """What the application itself finds in its table; a value that no text can be has no canonical form."""
        rows = self.app.run("SELECT id, email, name FROM people")
        return {
            ExternalId(str(key)): {
                field: value for field, value in (("email", email), ("name", name)) if not isinstance(value, bytes)
            }
            for key, email, name in rows
        }

    async def check(self, statements: list[Statement], reads_at: frozenset[int]) -> None:
        """Run the statements, reading the outbox in between, and compare."""
        for sql in (
            "ROLLBACK",
            "PRAGMA recursive_triggers = OFF",
            "UPDATE people SET name = NULL",
            "DELETE FROM people",
        ):
            self.try_to(sql)
        replay = Replay(self.peer)
        await replay.read()
        for index, (sql, values) in enumerate(statements):
            self.try_to(sql, *values)
            if index in reads_at:
                await replay.read()
        self.try_to("COMMIT")
        await replay.read()
        assert replay.known == {key: canonical_fields(Kind.USER, row)[0] for key, row in self.held().items()}
        assert replay.known == {image.external_id: image.fields async for image in self.peer.reader.list(Kind.USER)}

    async def close(self) -> None:
        """End both."""
        await self.peer.close()
        self.app.close()


@pytest.fixture(scope="module", params=SCHEMAS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One bench for each schema."""
    made = Bench(tmp_path_factory.mktemp("replay") / "app.db", SCHEMAS[request.param])
    yield made
    asyncio.run(made.close())


@settings(max_examples=40 + settings().max_examples // 10)
@given(statements=STATEMENTS, reads_at=st.frozensets(st.integers(0, 19)))
def test_replaying_the_outbox_gives_the_table(
    bench: Bench, statements: list[Statement], reads_at: frozenset[int]
) -> None:
    """Inserts, upserts, replaces, changed keys, deletes, savepoints, rollbacks, and the application's own triggers."""
    asyncio.run(bench.check(statements, reads_at))
