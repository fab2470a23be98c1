"""The SQLite Target writes every column as the application does."""

import msgspec
import pytest

from idsync.connectors.sql_table import Encoding, IdStyle, SqlitePeer, TableMapping
from idsync.model.delivery import Effect
from idsync.model.event import Op
from idsync.model.values import Kind, Value
from idsync.testing.sqlite_app import SqliteApp
from idsync.testing.target_suite import create_of, update_of
from tests.unit.connectors.people import PEOPLE, PLAIN, MakePeer, look, made_peer, observed, write

STYLES: tuple[tuple[str, str, str | int | None, Value, str | int], ...] = (
    ("roles", "TEXT", "a", ["b", "a"], "a,b"),
    ("roles", "TEXT", '["a"]', ["b", "a"], '["a","b"]'),
    ("roles", "JSON", None, ["b"], '["b"]'),
    ("email_verified", "INTEGER", 0, True, 1),
    ("email_verified", "TEXT", "false", True, "true"),
    ("email_verified", "TEXT", "0", True, "1"),
    ("ban_expires_at", "INTEGER", 1_600_000_000, "2026-01-01T00:00:00.500Z", 1_767_225_600),
    ("ban_expires_at", "INTEGER", 1_600_000_000_000, "2026-01-01T00:00:00.500Z", 1_767_225_600_500),
    ("ban_expires_at", "INTEGER", None, "2026-01-01T00:00:00.500Z", 1_767_225_600_500),
    ("ban_expires_at", "DATETIME", "2020-01-01 00:00:00", "2026-01-01T00:00:00.500Z", "2026-01-01 00:00:00"),
    ("ban_expires_at", "TEXT", "2020-01-01T00:00:00Z", "2026-01-01T00:00:00.500Z", "2026-01-01T00:00:00.500Z"),
    ("ban_expires_at", "TEXT", None, "2026-01-01T00:00:00.500Z", "2026-01-01T00:00:00.500Z"),
)


@pytest.mark.parametrize("style", STYLES, ids=repr)
async def test_a_value_is_written_as_the_column_writes_it(
    app: SqliteApp, make_peer: MakePeer, style: tuple[str, str, str | int | None, Value, str | int]
) -> None:
    """By what it holds already, else by its type; and what was written reads as what was wanted."""
    field, declared, sample, value, stored = style
    mapping = TableMapping(kind=Kind.USER, table="people", fields={field: "kept"})
    app.run(f"CREATE TABLE people (id INTEGER PRIMARY KEY, kept {declared})")
    app.run("INSERT INTO people VALUES (1, ?)", sample)
    peer = make_peer(mapping)
    await peer.install()
    image = await look(peer, "1")
    (result,) = await write(peer, update_of(image, {field: value}))
    assert result.effect is Effect.WRITTEN
    assert result.image is not None
    assert app.run("SELECT kept FROM people") == [[stored]]
    again = update_of(image, {field: result.image.fields[field]}, intent="again")
    assert [one.effect for one in await write(peer, again)] == [Effect.UNCHANGED]


async def test_a_role_that_the_list_cannot_hold_is_refused(app: SqliteApp, make_peer: MakePeer) -> None:
    """Two roles would come back."""
    mapping = TableMapping(
        kind=Kind.USER, table="people", fields={"roles": "role"}, encodings={"roles": Encoding.COMMA}
    )
    peer = await made_peer(app, make_peer, "CREATE TABLE people (id INTEGER PRIMARY KEY, role TEXT);", mapping)
    app.run("INSERT INTO people (id) VALUES (1)")
    (result,) = await write(peer, update_of(await look(peer, "1"), {"roles": ["admin,user"]}))
    assert (result.effect, result.error) == (Effect.REFUSED, "unfit")


async def test_required_columns_are_filled_where_nothing_is_known(app: SqliteApp, make_peer: MakePeer) -> None:
    """An empty name, a flag that is off, the time now; a default of the column comes first; nothing fills an e-mail."""
    schema = """CREATE TABLE people (
      id TEXT PRIMARY KEY NOT NULL, email TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL DEFAULT 'member',
      verified BOOLEAN NOT NULL, active BOOLEAN NOT NULL, createdAt INTEGER NOT NULL, updated_at TEXT NOT NULL
    );"""
    mapping = TableMapping(
        kind=Kind.USER,
        table="people",
        fields={"email": "email", "name": "name", "roles": "role", "email_verified": "verified"},
        on_ban="deactivate:active",
    )
    peer = await made_peer(app, make_peer, schema, mapping)
    nameless = msgspec.structs.replace(create_of(1), fields={"email": "a@example.com"})
    nobody = msgspec.structs.replace(create_of(2), fields={"name": "Nobody"})
    results = await write(peer, nameless, nobody)
    assert [result.error for result in results] == [None, "not_null"]
    assert app.run("SELECT email, name, role, verified, active, createdAt, updated_at FROM people") == [
        ["a@example.com", "", "member", 0, 1, 1_700_000_000_000, "2023-11-14T22:13:20.000Z"]
    ]
    image = results[0].image
    assert image is not None
    (emptied,) = await write(peer, update_of(image, {"name": None}))
    assert emptied.effect is Effect.UNCHANGED


TEXT_KEY = "CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT, name TEXT);"
WITH_A_UUID = f"{TEXT_KEY} INSERT INTO people (id) VALUES ('6b2f0e8a-7a0f-4a53-9d0c-1f1a3c1c9b55');"  # noqa: S608  # our own


@pytest.mark.parametrize(
    ("schema", "style", "length"),
    [
        (TEXT_KEY, IdStyle.UUID, 36),
        (TEXT_KEY, IdStyle.LETTERS, 32),
        (WITH_A_UUID, IdStyle.LETTERS, 36),
        (
            "CREATE TABLE people (id TEXT PRIMARY KEY DEFAULT (hex(randomblob(8))), email TEXT, name TEXT);",
            IdStyle.UUID,
            16,
        ),
        (PLAIN, IdStyle.UUID, 1),
    ],
    ids=["uuid", "letters", "as found", "the column's default", "the database's"],
)
async def test_new_keys_look_like_the_others(
    app: SqliteApp, make_peer: MakePeer, schema: str, style: IdStyle, length: int
) -> None:
    """What the database makes itself is left to it."""
    peer = await made_peer(app, make_peer, schema, msgspec.structs.replace(PEOPLE, id_style=style))
    chosen = peer.target.choose_id(Kind.USER)
    assert (chosen is None) == (length < 32)
    for write_id in (chosen, None):
        number = 1 if write_id else 2
        (made,) = await write(peer, msgspec.structs.replace(create_of(number), external_id=write_id))
        assert made.image is not None
        assert len(made.image.external_id) == length


async def test_what_has_no_canonical_form_is_overwritten(app: SqliteApp, peer: SqlitePeer) -> None:
    """Nobody could have reported it, so nobody waits for it."""
    app.run("INSERT INTO users (id, email, avatar) VALUES (1, 'a@example.com', ?)", b"\xff")
    image = await look(peer, "1")
    assert "picture" not in image.fields
    for value in ("https://example.com/a.png", None):
        app.run("UPDATE users SET avatar = ?", b"\xff")
        (result,) = await write(peer, update_of(image, {"picture": value}, intent=str(value)))
        assert result.effect is Effect.WRITTEN
        assert app.run("SELECT avatar FROM users") == [[value]]


@pytest.mark.parametrize("is_older", [True, False])
async def test_the_image_shows_what_the_application_made_of_it(
    app: SqliteApp, make_peer: MakePeer, *, is_older: bool
) -> None:
    """Its triggers have the last word, whichever run first; the outbox has one row for one write, as what it began."""
    app.run_script(PLAIN)
    peer = make_peer(PEOPLE)
    if not is_older:
        await peer.install()
    for name, moment in (("one", "INSERT"), ("two", "UPDATE")):
        trim = "UPDATE people SET name = trim(NEW.name) WHERE id = NEW.id"
        app.run(f"CREATE TRIGGER {name} AFTER {moment} ON people BEGIN {trim}; END")
    await peer.install()
    (made,) = await write(peer, create_of(1, name="  Ada "))
    assert made.image is not None
    assert made.image.fields["name"] == "Ada"
    (changed,) = await write(peer, update_of(made.image, {"name": " Grace "}))
    assert changed.image is not None
    seen = await observed(peer)
    assert [(one.op, one.origin, one.fields["name"]) for one in seen] == [
        (Op.CREATED, "entity-1:create", "Ada"),
        (Op.UPDATED, "entity-1:update", "Grace"),
    ]
    assert [one.version for one in seen] == [made.image.version, changed.image.version]


async def test_only_the_columns_that_differ_are_written(app: SqliteApp, peer: SqlitePeer) -> None:
    """A trigger of the application that looks at one column does not wake for another."""
    app.run("CREATE TABLE woken (what TEXT)")
    app.run("CREATE TRIGGER of_email AFTER UPDATE OF email ON users BEGIN INSERT INTO woken VALUES ('email'); END")
    app.run("INSERT INTO users (id, email, name) VALUES (1, 'a@example.com', 'Ada')")
    await write(peer, update_of(await look(peer, "1"), {"name": "Ada L.", "email": "a@example.com"}))
    assert app.run("SELECT name FROM users") == [["Ada L."]]
    assert app.run("SELECT * FROM woken") == []
