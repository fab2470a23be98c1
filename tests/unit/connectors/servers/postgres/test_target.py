"""What the PostgreSQL Target does beyond the contract of every Target: refusals, what the outbox shows, links."""

import msgspec
import pytest

from idsync.connectors.tables.mapping import TableMapping
from idsync.model.delivery import Effect
from idsync.model.event import Op
from idsync.model.values import ExternalId, Kind, Value
from idsync.ports import Write
from idsync.testing.target_suite import create_of, remove_of, update_of
from tests.servers import PostgresApp
from tests.unit.connectors.servers.app import PEOPLE, PLAIN, TWO, MakePeer, look, observed, write
from tests.unit.connectors.servers.claims import refusal_of
from tests.unit.connectors.servers.conftest import Capture

SEEN = "SELECT op, origin, new->>'name' FROM idsync_app.outbox ORDER BY seq"


def trigger(moment: str, body: str) -> str:
    """A rule of the application."""
    return (
        f"CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
        f"CREATE TRIGGER rule {moment} ON people FOR EACH ROW EXECUTE FUNCTION rule();"
    )


# --- refusals -----------------------------------------------------------------------------------------------

NO_BAD = "IF NEW.name = 'bad' THEN {} END IF; RETURN NEW;"
RULES: dict[str, tuple[str, dict[str, Value]]] = {
    "not_null": ("CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL, name text);", {"email": None}),
    "check": (
        "CREATE TABLE people (id integer PRIMARY KEY, email text, name text CHECK (name <> 'bad'));",
        {"name": "bad"},
    ),
    "trigger": (PLAIN + trigger("BEFORE UPDATE", NO_BAD.format("RAISE 'Ada is secret';")), {"name": "bad"}),
    "ignored": (PLAIN + trigger("BEFORE UPDATE", NO_BAD.format("RETURN NULL;")), {"name": "bad"}),
    "datatype": ("CREATE TABLE people (id integer PRIMARY KEY, email text, name integer);", {"name": "text"}),
    "too_big": ("CREATE TABLE people (id integer PRIMARY KEY, email text, name varchar(3));", {"name": "long"}),
    "unfit": (PLAIN, {"name": 5}),
    "unmapped": (PLAIN, {"picture": "x"}),
    "foreign_key": (
        """CREATE TABLE names (name text PRIMARY KEY);
        CREATE TABLE people (
          id integer PRIMARY KEY, email text, name text REFERENCES names DEFERRABLE INITIALLY DEFERRED
        );""",
        {"name": "unknown"},
    ),
    "unique": (
        """CREATE TABLE people (id integer PRIMARY KEY, email text, name text);
        CREATE UNIQUE INDEX one ON people (lower(name)); INSERT INTO people VALUES (3, 'c@example.com', 'TAKEN');""",
        {"name": "taken"},
    ),
}


@pytest.mark.parametrize("code", RULES)
async def test_a_refusal_has_a_short_code_and_harms_nobody_else(captured: Capture, app: PostgresApp, code: str) -> None:
    """Whatever rule of the application it is; nothing of the write is left, not in the outbox either."""
    schema, fields = RULES[code]
    assert await refusal_of(await captured(schema), app, fields) == code


async def test_rule_that_is_only_looked_at_by_the_commit_refuses_one_write_alone(
    captured: Capture, app: PostgresApp
) -> None:
    """A constraint trigger that puts its own question off again."""
    peer = await captured(PLAIN + TWO)
    await app.script("""
        CREATE TABLE doubts (id integer);
        CREATE FUNCTION doubt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          SET CONSTRAINTS ALL DEFERRED;
          IF NEW.name = 'bad' THEN INSERT INTO doubts VALUES (1); END IF;
          RETURN NEW; END $$;
        CREATE TRIGGER doubt AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION doubt();
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE CONSTRAINT TRIGGER no AFTER INSERT ON doubts DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION no();
    """)
    images = [await look(peer, "1"), await look(peer, "2")]
    results = await write(peer, update_of(images[0], {"name": "good"}), update_of(images[1], {"name": "bad"}, number=2))
    assert [(one.effect, one.error) for one in results] == [(Effect.WRITTEN, None), (Effect.REFUSED, "trigger")]
    assert await app.run("SELECT name FROM people ORDER BY id") == [["good"], [None]]


# --- what the outbox shows of our writes --------------------------------------------------------------------


async def test_one_write_is_one_row_whatever_the_triggers_of_the_application_do(
    captured: Capture, app: PostgresApp
) -> None:
    """And it shows what they made of it; a create stays a create."""
    peer = await captured("CREATE TABLE people (id bigserial PRIMARY KEY, email text, name text);")
    tidy = "UPDATE people SET name = name || ' tidy' WHERE id = NEW.id;"
    await app.script(
        trigger("AFTER INSERT OR UPDATE", f"IF NEW.name NOT LIKE '% tidy' THEN {tidy} END IF; RETURN NEW;")
    )
    (made,) = await write(peer, create_of(1))
    assert made.image is not None
    assert made.image.fields["name"] == "User 1 tidy"
    (edited,) = await write(peer, update_of(made.image, {"name": "Ada"}))
    seen = await observed(peer)
    assert [(one.op, one.fields["name"], one.version) for one in seen] == [
        (Op.CREATED, "User 1 tidy", made.image.version),
        (Op.UPDATED, "Ada tidy", edited.image.version if edited.image else None),
    ]


async def test_next_statement_of_the_application_is_its_own_again(captured: Capture, app: PostgresApp) -> None:
    """The intent is named for one transaction of ours, and never on a connection of theirs."""
    peer = await captured(PLAIN + TWO)
    await write(peer, update_of(await look(peer, "1"), {"name": "ours"}))
    await app.run("UPDATE people SET name = 'theirs'")
    assert await app.run(SEEN) == [
        ["ring", None, None],
        ["ring", None, None],
        ["updated", "entity-1:update", "ours"],
        ["updated", None, "theirs"],
        ["updated", None, "theirs"],
    ]


# --- creates, links, deletes --------------------------------------------------------------------------------

LINKED = TableMapping(kind=Kind.USER, table="people", link="auth_id", fields={"email": "email", "name": "name"})
LINKED_SCHEMA = "CREATE TABLE people (id bigserial PRIMARY KEY, auth_id text, email text, name text);"


def linked(write_: Write, link: str) -> Write:
    """Name the first peer's id."""
    return msgspec.structs.replace(write_, link_id=ExternalId(link))


async def test_link_finds_its_row_and_keeps_strangers_out(captured: Capture, app: PostgresApp) -> None:
    """A create fills an empty link, and takes nobody else's row; two rows of one link are nobody's."""
    peer = await captured(LINKED_SCHEMA, LINKED)
    (made,) = await write(peer, linked(create_of(1), "u1"))
    assert made.image is not None
    (again,) = await write(peer, linked(create_of(2, email="u1@example.com", name="User 1"), "u1"))
    assert (again.effect, again.image and again.image.external_id) == (Effect.UNCHANGED, made.image.external_id)
    (other,) = await write(peer, linked(update_of(made.image, {"name": "x"}), "u2"))
    assert other.error == "linked"
    await app.run("INSERT INTO people (auth_id) VALUES ('u3'), ('u3')")
    (twice,) = await write(peer, linked(create_of(3), "u3"))
    assert twice.error == "ambiguous"


async def test_create_never_asks_a_counter_for_a_key_of_ours(captured: Capture, app: PostgresApp) -> None:
    """A sequence does not notice such a row, and would give its key again."""
    peer = await captured(LINKED_SCHEMA, LINKED)
    asked = msgspec.structs.replace(create_of(1), external_id=ExternalId("1000"))
    (made,) = await write(peer, asked)
    assert made.image is not None
    assert made.image.external_id == "1"
    assert peer.target.choose_id(Kind.USER) is None
    await app.run("INSERT INTO people (email) VALUES ('theirs')")


async def test_create_whose_row_is_gone_is_due_again_later(captured: Capture, app: PostgresApp) -> None:
    """The outbox says first by whom it was deleted."""
    peer = await captured(LINKED_SCHEMA, LINKED)
    await write(peer, create_of(1))
    await app.run("DELETE FROM people")
    (gone,) = await write(peer, create_of(1))
    assert (gone.effect, gone.error) == (Effect.UNAVAILABLE, "removed")
    (again,) = await write(peer, create_of(1))
    assert again.effect is Effect.WRITTEN


@pytest.mark.parametrize(
    ("declared", "gone"),
    [("timestamptz", "deleted_at IS NOT NULL"), ("boolean NOT NULL DEFAULT false", "deleted_at")],
)
async def test_soft_delete_marks_the_row_and_a_create_brings_it_back(
    captured: Capture, app: PostgresApp, declared: str, gone: str
) -> None:
    """By time or by flag; the outbox tells a delete and a create."""
    mapping = msgspec.structs.replace(LINKED, on_delete="soft:deleted_at")
    peer = await captured(LINKED_SCHEMA.replace("name text", f"name text, deleted_at {declared}"), mapping)
    (made,) = await write(peer, linked(create_of(1), "u1"))
    assert made.image is not None
    (removed,) = await write(peer, remove_of(made.image))
    assert removed.effect is Effect.WRITTEN
    assert await app.run(f"SELECT {gone} FROM people") == [[True]]  # noqa: S608  # our own condition
    assert await peer.reader.read(Kind.USER, made.image.external_id) is None
    (back,) = await write(peer, linked(create_of(2, email="u1@example.com", name="User 1"), "u1"))
    assert back.effect is Effect.WRITTEN
    assert [one.op for one in await observed(peer)] == [Op.CREATED, Op.DELETED, Op.CREATED]


async def test_delete_that_is_ignored_leaves_the_row(captured: Capture, app: PostgresApp) -> None:
    """By configuration."""
    peer = await captured(PLAIN + TWO, msgspec.structs.replace(PEOPLE, on_delete="ignore"))
    (result,) = await write(peer, remove_of(await look(peer, "1")))
    assert result.effect is Effect.UNCHANGED
    assert await app.run("SELECT count(*) FROM people") == [[2]]


async def test_list_gives_everybody_page_by_page(captured: Capture, app: PostgresApp) -> None:
    """In key order, each with a version that no event of his can have."""
    peer = await captured("CREATE TABLE people (id text PRIMARY KEY, email text, name text);")
    await app.run("INSERT INTO people SELECT 'k' || n, 'e' || n FROM generate_series(1, 450) AS n")
    images = [one async for one in peer.reader.list(Kind.USER)]
    assert len({one.external_id for one in images}) == 450
    assert all(one.version is not None and one.version.number > 450 for one in images)


async def test_two_peers_write_to_one_database(app: PostgresApp, captured: Capture, make_peer: MakePeer) -> None:
    """Each is told by its own triggers that it was itself."""
    first = await captured(PLAIN + TWO)
    second = make_peer(PEOPLE, name="crm")
    await second.install()
    await write(first, update_of(await look(first, "1"), {"name": "by the first"}))
    assert [one.origin for one in await observed(second)] == ["entity-1:update"]
