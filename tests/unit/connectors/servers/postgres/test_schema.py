"""How configured names are found in PostgreSQL, and what cannot be used is refused with a reason."""

import pytest

from idsync.connectors.tables.mapping import TableMapping
from idsync.errors import SchemaMismatch
from idsync.model.values import Kind
from tests.servers import PostgresApp
from tests.unit.connectors.servers.app import MakePeer, look, observed
from tests.unit.connectors.servers.conftest import Capture


def mapping(table: str, **fields: str) -> TableMapping:
    """Map a table."""
    return TableMapping(kind=Kind.USER, table=table, fields=fields)


@pytest.mark.parametrize(
    ("table", "found"),
    [("people", "first"), ("PEOPLE", "first"), ("People", "exact"), ("second.people", "second"), ("Odd", "odd")],
)
async def test_table_is_found_by_exact_name_then_by_path_then_without_case(
    app: PostgresApp, make_peer: MakePeer, table: str, found: str
) -> None:
    """A schema before the name takes precedence over the search path."""
    await app.script("""
        CREATE SCHEMA second;
        CREATE TABLE second.people (id integer PRIMARY KEY, name text);
        CREATE TABLE people (id integer PRIMARY KEY, name text);
        CREATE TABLE "People" (id integer PRIMARY KEY, name text);
        CREATE TABLE odd (id integer PRIMARY KEY, name text);
        INSERT INTO people VALUES (1, 'first'); INSERT INTO second.people VALUES (1, 'second');
        INSERT INTO "People" VALUES (1, 'exact'); INSERT INTO odd VALUES (1, 'odd');
    """)
    peer = make_peer(mapping(table, name="NAME"))
    await peer.install()
    assert (await look(peer, "1")).fields["name"] == found
    schema = "second." if found == "second" else ""
    name = '"People"' if found == "exact" else "odd" if found == "odd" else "people"
    await app.run(f"UPDATE {schema}{name} SET name = 'edited'")  # noqa: S608  # our own tables
    assert [one.fields["name"] for one in await observed(peer)] == ["edited"]


@pytest.mark.parametrize(
    ("schema", "wanted", "said"),
    [
        ("SELECT 1", mapping("people", name="name"), "there is none"),
        ("CREATE VIEW people AS SELECT 1 AS id, 'a' AS name", mapping("people", name="name"), "a view"),
        ("CREATE TABLE people (id integer PRIMARY KEY)", mapping("people", name="name"), "no column name"),
        ("CREATE TABLE people (id integer, name text)", mapping("people", name="name"), "name the key"),
        (
            "CREATE TABLE people (id bytea PRIMARY KEY, name text)",
            mapping("people", name="name"),
            "binary",
        ),
        (
            "CREATE TABLE people (id integer PRIMARY KEY, name text GENERATED ALWAYS AS ('x') STORED)",
            mapping("people", name="name"),
            "computed",
        ),
    ],
)
async def test_what_cannot_be_captured_is_refused_with_a_reason(
    app: PostgresApp, make_peer: MakePeer, schema: str, wanted: TableMapping, said: str
) -> None:
    """And nothing is installed."""
    await app.script(schema)
    with pytest.raises(SchemaMismatch, match=said):
        await make_peer(wanted).install()
    assert await app.run("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'idsync%'") == []


async def test_optional_table_that_comes_later_is_noticed(app: PostgresApp, make_peer: MakePeer) -> None:
    """Until it is captured too, nothing is read."""
    await app.script("CREATE TABLE people (id integer PRIMARY KEY, name text)")
    optional = TableMapping(kind=Kind.SESSION, table="visits", fields={"user_id": "person"}, is_optional=True)
    peer = make_peer(mapping("people", name="name"), optional)
    assert (await peer.install()).tables == {"user": "people"}
    await app.script("CREATE TABLE visits (id integer PRIMARY KEY, person text)")
    status = await peer.status()
    assert any("visits" in one for one in status.differs)
    assert (await peer.install()).tables == {"user": "people", "session": "visits"}


async def test_what_creates_will_lack_and_keys_that_are_not_unique_are_warned_of(
    captured: Capture, app: PostgresApp
) -> None:
    """Before anything is refused."""
    peer = await captured(
        "CREATE TABLE people (id integer, name text, tenant text NOT NULL);",
        TableMapping(kind=Kind.USER, table="people", key="id", fields={"name": "name"}),
    )
    warnings = (await peer.status()).warnings
    assert any("tenant" in one for one in warnings)
    assert any("unique" in one for one in warnings)


async def test_held_fields_need_no_capture(app: PostgresApp, make_peer: MakePeer) -> None:
    """Nor do they leave a trace."""
    await app.script("CREATE TABLE people (id integer PRIMARY KEY, name text)")
    assert await make_peer(mapping("people", name="name")).held_fields() == {"user": frozenset({"name"})}
    assert await app.run("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'idsync%'") == []
