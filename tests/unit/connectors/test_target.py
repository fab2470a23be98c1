"""What the SQLite Target does beyond the contract of every Target: refusals, knots, links, deletes, other writers."""

import asyncio

import msgspec
import pytest

from idsync.connectors.sql_table import Pace, SqlitePeer, TableMapping
from idsync.connectors.tables.untangle import KNOT_WRITES_MAX
from idsync.errors import PeerError
from idsync.model.delivery import Effect, Image
from idsync.model.entity import Action
from idsync.model.event import Op
from idsync.model.values import EntityId, ExternalId, Kind, Value
from idsync.ports import Write
from idsync.testing.sqlite_app import SqliteApp
from idsync.testing.target_suite import create_of, remove_of, update_of
from tests.unit.connectors.people import PEOPLE, PLAIN, MakePeer, look, made_peer, observed, write


def create_linked(number: int, link: str, **fields: Value) -> Write:
    """Ask for a new user who is linked to the first peer."""
    return msgspec.structs.replace(create_of(number, **fields), link_id=ExternalId(link))


# --- refusals -----------------------------------------------------------------------------------------------

NO_BAD_NAMES = "CREATE TRIGGER no BEFORE UPDATE ON people WHEN NEW.name = 'bad' BEGIN SELECT RAISE({how}); END;"
RULES: dict[str, tuple[str, dict[str, Value]]] = {
    "not_null": ("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT NOT NULL, name);", {"email": None}),
    "check": ("CREATE TABLE people (id INTEGER PRIMARY KEY, email, name CHECK (name <> 'bad'));", {"name": "bad"}),
    "trigger": (PLAIN + NO_BAD_NAMES.format(how="ABORT, 'Ada is secret'"), {"name": "bad"}),
    "ignored": (PLAIN + NO_BAD_NAMES.format(how="IGNORE"), {"name": "bad"}),
    "datatype": ("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name INTEGER) STRICT;", {"name": "text"}),
    "unfit": (PLAIN, {"name": 5}),
    "unmapped": (PLAIN, {"picture": "x"}),
    "foreign_key": (
        """CREATE TABLE names (name TEXT PRIMARY KEY);
        CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT REFERENCES names);""",
        {"name": "unknown"},
    ),
}


@pytest.mark.parametrize("code", RULES)
async def test_a_refusal_has_a_short_code_and_harms_nobody_else(app: SqliteApp, make_peer: MakePeer, code: str) -> None:
    """Whatever rule of the application it is; nothing of the write is left, not in the outbox either."""
    schema, fields = RULES[code]
    peer = await made_peer(app, make_peer, schema, PEOPLE)
    app.run("INSERT INTO people (id, email) VALUES (1, 'a@example.com'), (2, 'b@example.com')")
    first, second = await look(peer, "1"), await look(peer, "2")
    results = await write(
        peer,
        update_of(first, {"email": "new@example.com"}),
        update_of(second, {"email": "lost@example.com", **fields}, number=2),
        update_of(first, {"email": "newer@example.com"}, intent="again"),
    )
    assert [result.effect for result in results] == [Effect.WRITTEN, Effect.REFUSED, Effect.DIVERGED]
    assert results[1].error == code
    assert app.run("SELECT email FROM people ORDER BY id") == [["new@example.com"], ["b@example.com"]]
    assert [one.origin for one in await observed(peer)] == [None, None, "entity-1:update"]
    assert app.run("SELECT count(*) FROM idsync_writer") == [[0]]


LATE_FOREIGN_KEY = """
    CREATE TABLE names (name TEXT PRIMARY KEY);
    CREATE TABLE known (name TEXT REFERENCES names DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER late AFTER UPDATE ON people WHEN NEW.name = 'bad' BEGIN INSERT INTO known VALUES ('unknown'); END;
"""


@pytest.mark.parametrize(
    ("rule", "code"),
    [(NO_BAD_NAMES.format(how="ROLLBACK, 'all is over'"), "trigger"), (LATE_FOREIGN_KEY, "foreign_key")],
    ids=["trigger", "foreign_key"],
)
async def test_one_that_ends_the_whole_transaction_is_found_and_refused_alone(
    app: SqliteApp, make_peer: MakePeer, rule: str, code: str
) -> None:
    """A trigger that rolls everything back, a foreign key that is looked at only by the commit."""
    peer = await made_peer(app, make_peer, PLAIN + rule, PEOPLE)
    app.run("INSERT INTO people (id) VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)")
    writes = [
        update_of(await look(peer, str(number)), {"name": "bad" if number == 4 else "good"}, number=number)
        for number in range(1, 10)
    ]
    results = await write(peer, *writes)
    assert [result.error for result in results] == [None, None, None, code, *[None] * 5]
    assert app.run("SELECT count(*) FROM people WHERE name = 'good'") == [[8]]
    assert [one.external_id for one in await observed(peer)][9:] == ["1", "2", "3", "5", "6", "7", "8", "9"]


async def test_a_function_that_only_the_application_has_is_the_peers_error(app: SqliteApp, make_peer: MakePeer) -> None:
    """Its trigger cannot run in our process: that is no fault of any write."""
    schema = PLAIN + "CREATE TRIGGER own AFTER INSERT ON people BEGIN SELECT only_the_app_has(NEW.name); END;"
    peer = await made_peer(app, make_peer, schema, PEOPLE)
    with pytest.raises(PeerError, match="only_the_app_has"):
        await write(peer, create_of(1))


async def test_a_key_or_a_link_that_names_two_rows_is_not_written(app: SqliteApp, make_peer: MakePeer) -> None:
    """Neither is known to be the right one."""
    schema = "CREATE TABLE people (id TEXT, email TEXT, name TEXT, auth TEXT);"
    mapping = msgspec.structs.replace(PEOPLE, key="id", link="auth")
    app.run_script(schema)
    peer = make_peer(mapping)
    assert "nothing makes id unique" in str((await peer.install()).warnings)
    app.run("INSERT INTO people VALUES ('1', '', '', 'u_1'), ('1', '', '', 'u_2'), ('2', '', '', 'u_2')")
    image = Image(external_id=ExternalId("1"), fields={"name": ""}, at=(await look(peer, "2")).at)
    results = await write(peer, update_of(image, {"name": "x"}), create_linked(2, "u_2"))
    assert [result.error for result in results] == ["ambiguous", "ambiguous"]
    with pytest.raises(PeerError, match="more than one user"):
        await look(peer, "1")


# --- knots --------------------------------------------------------------------------------------------------

UNIQUE = "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT UNIQUE CHECK (email LIKE '%@%'), name TEXT UNIQUE);"


async def test_a_ring_of_unique_values_is_untangled(app: SqliteApp, make_peer: MakePeer) -> None:
    """Everybody takes the next one's e-mail; nobody is told of the moment in between."""
    peer = await made_peer(app, make_peer, UNIQUE, PEOPLE)
    size = KNOT_WRITES_MAX
    app.run(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO people SELECT i, 'u' || i || '@x', 'n' || i FROM n",
        size - 1,
    )
    writes = [
        update_of(
            await look(peer, str(number)),
            {"email": f"u{(number + 1) % size}@x", "name": f"n{(number + 1) % size}"},
            number=number,
        )
        for number in range(size)
    ]
    results = await write(peer, *writes)
    assert {result.effect for result in results} == {Effect.WRITTEN}
    seen = (await observed(peer))[size:]
    assert [(one.origin, one.fields["email"]) for one in seen] == [(one.intent, one.fields["email"]) for one in writes]
    versions = [result.image.version for result in results if result.image]
    assert versions == [one.version for one in seen]


async def test_who_stands_outside_a_knot_blocks_only_its_own(app: SqliteApp, make_peer: MakePeer) -> None:
    """1 and 2 swap; 3 wants what 4 keeps; 5 wants what 3 would have given up."""
    peer = await made_peer(app, make_peer, UNIQUE, PEOPLE)
    app.run("INSERT INTO people (id, email) VALUES (1, '1@x'), (2, '2@x'), (3, '3@x'), (4, '4@x'), (5, '5@x')")
    wanted = {1: "2@x", 2: "1@x", 3: "4@x", 5: "3@x"}
    writes = [update_of(await look(peer, str(key)), {"email": email}, number=key) for key, email in wanted.items()]
    results = await write(peer, *writes)
    assert [result.error for result in results] == [None, None, "unique", "unique"]
    assert app.run("SELECT email FROM people ORDER BY id") == [["2@x"], ["1@x"], ["3@x"], ["4@x"], ["5@x"]]
    assert len(await observed(peer)) == 7


async def test_a_create_takes_what_an_update_of_the_same_batch_gives_up(app: SqliteApp, make_peer: MakePeer) -> None:
    """The order within the batch does not matter."""
    peer = await made_peer(app, make_peer, UNIQUE, PEOPLE)
    app.run("INSERT INTO people (id, email) VALUES (7, 'u1@example.com')")
    results = await write(peer, create_of(1), update_of(await look(peer, "7"), {"email": "new@x"}, number=7))
    assert [result.effect for result in results] == [Effect.WRITTEN, Effect.WRITTEN]


# --- links, receipts, soft deletes --------------------------------------------------------------------------

LINKED = "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT, auth_id TEXT UNIQUE, deleted_at TEXT);"
LINKED_PEOPLE = msgspec.structs.replace(PEOPLE, link="auth_id", on_delete="soft:deleted_at")


async def test_a_row_that_carries_the_link_is_not_made_again(app: SqliteApp, make_peer: MakePeer) -> None:
    """What it holds was reported by nobody, so it is shown; once it agrees, there is nothing to do."""
    peer = await made_peer(app, make_peer, LINKED, LINKED_PEOPLE)
    app.run("INSERT INTO people (id, email, name, auth_id) VALUES (9, 'u1@example.com', 'Theirs', 'u_1')")
    create = create_linked(1, "u_1")
    (shown,) = await write(peer, create)
    assert (shown.effect, shown.image and shown.image.external_id) == (Effect.DIVERGED, "9")
    agreeing = msgspec.structs.replace(create, fields={"name": "Theirs"})
    (agreed,) = await write(peer, agreeing)
    assert agreed.effect is Effect.UNCHANGED
    assert agreed.image is not None
    assert agreed.image.link_id == "u_1"
    assert app.run("SELECT count(*) FROM people") == [[1]]


async def test_a_write_fills_an_empty_link_and_leaves_a_foreign_one(app: SqliteApp, make_peer: MakePeer) -> None:
    """Somebody else's row is not ours to write."""
    peer = await made_peer(app, make_peer, LINKED, LINKED_PEOPLE)
    app.run("INSERT INTO people (id, auth_id) VALUES (1, NULL), (2, 'u_other')")
    writes = [
        msgspec.structs.replace(
            update_of(await look(peer, key), {"name": "x"}, number=int(key)), link_id=ExternalId("u_1")
        )
        for key in ("1", "2")
    ]
    results = await write(peer, *writes)
    assert [(result.effect, result.error) for result in results] == [(Effect.WRITTEN, None), (Effect.REFUSED, "linked")]
    assert app.run("SELECT auth_id, name FROM people") == [["u_1", "x"], ["u_other", None]]


async def test_what_was_made_and_then_removed_is_not_made_again_at_once(app: SqliteApp, make_peer: MakePeer) -> None:
    """The create is answered with 'later', so that the delete is heard of first; then it makes a new identity."""
    schema = "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT, name TEXT);"
    peer = await made_peer(app, make_peer, schema, PEOPLE)
    await write(peer, create_of(1))
    app.run("DELETE FROM people")
    (later,) = await write(peer, create_of(1))
    assert (later.effect, later.error, later.retry_after_s) == (Effect.UNAVAILABLE, "removed", 1.0)
    assert app.run("SELECT count(*) FROM people") == [[0]]
    (made,) = await write(peer, create_of(1))
    assert (made.effect, made.image and made.image.external_id) == (Effect.WRITTEN, "2")


async def test_what_we_removed_ourselves_can_be_made_again(app: SqliteApp, make_peer: MakePeer) -> None:
    """A new life of the same entity is a new identity there."""
    peer = await made_peer(app, make_peer, PLAIN, PEOPLE)
    (made,) = await write(peer, create_of(1))
    assert made.image is not None
    assert [one.effect for one in await write(peer, remove_of(made.image), create_of(1))] == [Effect.WRITTEN] * 2


async def test_a_soft_delete_marks_the_row_and_a_create_of_the_same_link_brings_it_back(
    app: SqliteApp, make_peer: MakePeer
) -> None:
    """In the style of the column; the row comes back with all that it should hold."""
    peer = await made_peer(app, make_peer, LINKED, LINKED_PEOPLE)
    (made,) = await write(peer, create_linked(1, "u_1"))
    assert made.image is not None
    (removed,) = await write(peer, remove_of(made.image))
    assert (removed.effect, removed.image) == (Effect.WRITTEN, None)
    assert app.run("SELECT deleted_at FROM people") == [["2023-11-14T22:13:20.000Z"]]
    app.run("UPDATE people SET name = 'changed while dead'")
    (again,) = await write(peer, create_linked(1, "u_1"))
    assert again.effect is Effect.WRITTEN
    assert app.run("SELECT name, deleted_at FROM people") == [["User 1", None]]
    assert [one.op for one in await observed(peer)] == [Op.CREATED, Op.DELETED, Op.DELETED, Op.CREATED]


async def test_what_comes_back_is_seen_so_whatever_triggers_add(app: SqliteApp, make_peer: MakePeer) -> None:
    """The one row that is left tells from where to where the whole write went."""
    peer = await made_peer(app, make_peer, LINKED, LINKED_PEOPLE)
    app.run("INSERT INTO people (id, auth_id, deleted_at) VALUES (1, 'u_1', 'now')")
    for_name = "AFTER UPDATE OF name ON people BEGIN UPDATE people SET email = 'x' WHERE id = NEW.id; END"
    app.run(f"CREATE TRIGGER more {for_name}")
    await write(peer, create_linked(1, "u_1"))
    assert [(one.op, one.fields["email"]) for one in await observed(peer)] == [(Op.DELETED, None), (Op.CREATED, "x")]


async def test_a_delete_that_is_ignored_here_leaves_the_row(app: SqliteApp, make_peer: MakePeer) -> None:
    """The configuration says so, and it counts as done."""
    mapping = msgspec.structs.replace(PEOPLE, on_delete="ignore")
    peer = await made_peer(app, make_peer, PLAIN, mapping)
    (made,) = await write(peer, create_of(1))
    assert made.image is not None
    (kept,) = await write(peer, remove_of(made.image))
    assert kept.effect is Effect.UNCHANGED
    assert app.run("SELECT count(*) FROM people") == [[1]]


# --- together with others -----------------------------------------------------------------------------------


async def test_the_application_and_we_write_at_the_same_time(app: SqliteApp, peer: SqlitePeer) -> None:
    """Nobody fails, nothing is lost, and the outbox tells whose each change was."""
    app.run("PRAGMA busy_timeout = 5000")
    app.run("INSERT INTO users (id, email, name, avatar) VALUES (1, 'a@example.com', '0', '0')")
    image = await look(peer, "1")

    async def ours() -> None:
        seen = image
        for number in range(1, 41):
            (result,) = await write(peer, update_of(seen, {"name": str(number)}, intent=str(number)))
            assert result.effect is Effect.WRITTEN
            assert result.image is not None
            seen = result.image

    def theirs() -> None:
        for number in range(1, 41):
            app.run("UPDATE users SET avatar = ? WHERE id = 1", str(number))

    await asyncio.gather(ours(), asyncio.to_thread(theirs))
    assert app.run("SELECT name, avatar FROM users") == [["40", "40"]]
    changes = (await observed(peer))[1:]
    assert [one.fields["name"] for one in changes if one.origin] == [str(number) for number in range(1, 41)]
    assert [one.fields["picture"] for one in changes if not one.origin] == [str(number) for number in range(1, 41)]


async def test_a_large_batch_lets_the_application_in_between(app: SqliteApp, make_peer: MakePeer) -> None:
    """It is written in several transactions, each of them short."""
    peer = make_peer(pace=Pace(transaction_s=0.002))
    await peer.install()
    app.run("PRAGMA busy_timeout = 5000")
    writing = asyncio.create_task(write(peer, *(create_of(number) for number in range(500))))
    counts = set()
    while not writing.done():
        ((count,),) = await asyncio.to_thread(app.run, "SELECT count(*) FROM users")
        counts.add(count)
    assert {result.effect for result in await writing} == {Effect.WRITTEN}
    assert len(counts - {0, 500}) > 1


async def test_writes_of_other_kinds_go_to_their_own_tables(
    app: SqliteApp, make_peer: MakePeer, users: TableMapping
) -> None:
    """The Target knows nothing of users but their mapping."""
    app.run("CREATE TABLE teams (id INTEGER PRIMARY KEY, title TEXT)")
    teams = TableMapping(kind=Kind.ORGANIZATION, table="teams", fields={"name": "title"})
    peer = make_peer(users, teams)
    await peer.install()
    team = Write(entity=EntityId("e"), kind=Kind.ORGANIZATION, action=Action.CREATE, intent="e:1", fields={"name": "T"})
    (made,) = await write(peer, team)
    assert made.effect is Effect.WRITTEN
    assert app.run("SELECT title FROM teams") == [["T"]]
    assert [(one.kind, one.origin) for one in await observed(peer)] == [(Kind.ORGANIZATION, "e:1")]
