"""What is configured is found in the database as it is, or named."""

import msgspec
import pytest

from idsync.connectors.sql_table import TableMapping
from idsync.connectors.sql_table.schema import partial_condition
from idsync.errors import SchemaMismatch
from idsync.model.delivery import Effect
from idsync.model.values import Kind
from idsync.testing.sqlite_app import SqliteApp
from idsync.testing.target_suite import create_of, remove_of, update_of
from tests.unit.connectors.people import PEOPLE, MakePeer, look, made_peer, observed, write

UNUSABLE = {
    "has no column nick": (
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT);",
        msgspec.structs.replace(PEOPLE, fields={"name": "nick"}),
    ),
    "has no column gone": (
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT);",
        msgspec.structs.replace(PEOPLE, on_delete="soft:gone"),
    ),
    "no primary key of one column": ("CREATE TABLE people (a, b, email TEXT, name TEXT, PRIMARY KEY (a, b));", PEOPLE),
    "it is a view": ("CREATE VIEW people AS SELECT 1 AS id, '' AS email, '' AS name;", PEOPLE),
    "it is a virtual": ("CREATE VIRTUAL TABLE people USING fts5 (id, email, name);", PEOPLE),
    "people.name is computed": (
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT AS (lower(email)));",
        PEOPLE,
    ),
    "two fields name the same column": (
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT);",
        msgspec.structs.replace(PEOPLE, fields={"name": "name", "preferred_username": "NAME"}),
    ),
}


@pytest.mark.parametrize("text", UNUSABLE)
async def test_what_cannot_be_used_is_named(app: SqliteApp, make_peer: MakePeer, text: str) -> None:
    """Nothing is installed then."""
    schema, mapping = UNUSABLE[text]
    with pytest.raises(SchemaMismatch, match=text):
        await made_peer(app, make_peer, schema, mapping)
    assert app.run("SELECT name FROM sqlite_master WHERE name LIKE 'idsync%'") == []


HOSTILE_NAME = 'or"der; -- ` [x] {key} %s \N{GRINNING FACE}'
HOSTILE_SCHEMA = """
    CREATE TABLE "group" (
      "select" TEXT, "order" INTEGER, "{name}" TEXT COLLATE NOCASE, "values" TEXT, "Deleted At" TEXT,
      PRIMARY KEY ("select", "order"), UNIQUE ("{name}")
    );
    CREATE UNIQUE INDEX "in dex" ON "group" ("order");
""".replace("{name}", HOSTILE_NAME.replace('"', '""'))
HOSTILE_MAPPING = TableMapping(
    kind=Kind.USER,
    table="GROUP",
    key="ORDER",
    link="Values",
    fields={"email": HOSTILE_NAME, "name": "Select"},
    on_delete="soft:deleted at",
)


async def test_names_may_be_anything_that_sql_allows(app: SqliteApp, make_peer: MakePeer) -> None:
    """Reserved words, quotes, spaces, braces, in any case; a key beside a primary key of two columns."""
    peer = await made_peer(app, make_peer, HOSTILE_SCHEMA, HOSTILE_MAPPING)
    assert (await peer.status()).warnings == ()
    app.run('INSERT INTO "group" VALUES (?, 7, ?, NULL, NULL)', "Ada", "A@example.com")
    app.run('INSERT OR REPLACE INTO "group" VALUES (?, 8, ?, NULL, NULL)', "Ada", "a@example.com")
    assert [(one.external_id, one.fields) for one in await observed(peer)] == [
        (key, {"email": "a@example.com", "name": "Ada"}) for key in ("7", "8")
    ]
    image = await look(peer, "8")
    renamed = msgspec.structs.replace(update_of(image, {"name": "Grace"}), link_id=image.external_id)
    assert [one.effect for one in await write(peer, renamed)] == [Effect.WRITTEN]
    assert [one.effect for one in await write(peer, remove_of(image))] == [Effect.WRITTEN]
    assert app.run('SELECT "select", "values", "Deleted At" IS NULL FROM "group"') == [["Grace", "8", 0]]


async def test_an_integer_key_is_found_by_its_text(app: SqliteApp, make_peer: MakePeer) -> None:
    """Also where the column has no type; what only looks like an integer is a text."""
    peer = await made_peer(app, make_peer, "CREATE TABLE people (id PRIMARY KEY, email TEXT, name TEXT);", PEOPLE)
    keys = ("17", "-3", "017", "9223372036854775808", "1e3", " 5", "", "-0")
    app.run("INSERT INTO people (id) VALUES (17), (-3)")
    for key in keys[2:]:
        app.run("INSERT INTO people (id) VALUES (?)", key)
    for key in keys:
        image = await look(peer, key)
        assert image.external_id == key
        assert [one.effect for one in await write(peer, update_of(image, {"name": key}, intent=key))] == [
            Effect.WRITTEN
        ]
    assert app.run("SELECT count(*) FROM people WHERE CAST(id AS TEXT) = name") == [[len(keys)]]


async def test_keys_that_differ_only_in_case_are_two(app: SqliteApp, make_peer: MakePeer) -> None:
    """Where the column compares without regard to case but its index does not; neither is taken for the other."""
    schema = """
        CREATE TABLE people (id TEXT COLLATE NOCASE, email TEXT, name TEXT);
        CREATE UNIQUE INDEX one ON people (id COLLATE BINARY);
        INSERT INTO people (id) VALUES ('ab'), ('aB'), ('Ab'), ('AB');
    """
    peer = await made_peer(app, make_peer, schema, msgspec.structs.replace(PEOPLE, key="id"))
    image = await look(peer, "AB")
    assert [one.effect for one in await write(peer, update_of(image, {"name": "x"}))] == [Effect.WRITTEN]
    assert app.run("SELECT id FROM people WHERE name = 'x'") == [["AB"]]
    assert [one.effect for one in await write(peer, remove_of(image))] == [Effect.WRITTEN]
    assert [image.external_id async for image in peer.reader.list(Kind.USER)] == ["Ab", "aB", "ab"]
    assert [one.external_id for one in await observed(peer)] == ["AB", "AB"]


async def test_an_optional_table_that_is_missing_is_left_out(app: SqliteApp, make_peer: MakePeer) -> None:
    """Its kind is not held and cannot be written; a look is an error, for nobody may be taken for deleted."""
    peer = await made_peer(app, make_peer, "", msgspec.structs.replace(PEOPLE, is_optional=True))
    assert await peer.held_fields() == {}
    assert [one.error for one in await write(peer, create_of(1))] == ["unmapped"]
    with pytest.raises(SchemaMismatch, match="keeps no user"):
        await look(peer, "1")
    with pytest.raises(SchemaMismatch, match="keeps no user"):
        assert [image async for image in peer.reader.list(Kind.USER)]


async def test_the_field_id_is_the_key_and_no_field(app: SqliteApp, make_peer: MakePeer) -> None:
    """Ids of peers are never made equal."""
    schema = "CREATE TABLE people (row INTEGER PRIMARY KEY, uid TEXT UNIQUE, email TEXT, name TEXT);"
    mapping = msgspec.structs.replace(PEOPLE, fields={**PEOPLE.fields, "id": "uid"})
    peer = await made_peer(app, make_peer, schema, mapping)
    app.run("INSERT INTO people (uid) VALUES ('u_1')")
    assert (await look(peer, "u_1")).fields == {"email": None, "name": None}


async def test_a_required_column_that_nothing_fills_is_warned_of(app: SqliteApp, make_peer: MakePeer) -> None:
    """Creates will be refused: the operator should know before the first one."""
    schema = "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT, password TEXT NOT NULL);"
    peer = await made_peer(app, make_peer, schema, PEOPLE)
    assert "new rows will be refused: nothing fills the required password" in str((await peer.status()).warnings)
    assert [one.error for one in await write(peer, create_of(1))] == ["not_null"]
    filled = make_peer(msgspec.structs.replace(PEOPLE, defaults={"Password": "!"}))
    assert (await filled.install()).warnings == ()
    assert [one.effect for one in await write(filled, create_of(1))] == [Effect.WRITTEN]


@pytest.mark.parametrize(
    ("sql", "condition"),
    [
        ("CREATE UNIQUE INDEX i ON t (a)", None),
        ("CREATE UNIQUE INDEX i ON t (a) WHERE b", "b"),
        ('CREATE UNIQUE INDEX "where" ON "x) where (" (a, ")" DESC) /* where */ where\n b -- end', "b -- end"),
        (
            "CREATE UNIQUE INDEX i ON [a where] (`where` COLLATE NOCASE) WhErE c = ' where ' AND d",
            "c = ' where ' AND d",
        ),
    ],
    ids=["none", "plain", "hostile", "quoted"],
)
def test_the_condition_of_a_partial_index_is_cut_out(sql: str, condition: str | None) -> None:
    """Not fooled by names, strings and comments."""
    assert partial_condition(sql) == condition
