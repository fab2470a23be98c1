"""What the MySQL Target does beyond the contract of every Target: refusals, knots, locks, types, Better Auth."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from idsync.connectors.better_auth import better_auth_tables
from idsync.connectors.tables.mapping import TableMapping
from idsync.connectors.tables.untangle import KNOT_WRITES_MAX
from idsync.errors import PeerError
from idsync.model.delivery import Effect
from idsync.model.entity import Action
from idsync.model.event import Op
from idsync.model.values import EntityId, ExternalId, Kind, Value
from idsync.ports import Write
from idsync.testing.mariadb import MariadbServer
from idsync.testing.target_suite import create_of, update_of
from tests.unit.connectors.mysql.app import PLAIN, MakePeer, MariadbApp, look, observed, read, write
from tests.unit.connectors.mysql.conftest import Capture, Connect

pytestmark = pytest.mark.long

TWO = "INSERT INTO people (id, email) VALUES (1, 'a@example.com'), (2, 'b@example.com');\n"
TABLE = "CREATE TABLE people (id int PRIMARY KEY, email varchar(100), name {});\n"
RULE = "CREATE TRIGGER rule BEFORE UPDATE ON people FOR EACH ROW IF NEW.name = 'bad' THEN {}; END IF;\n"
RULES: dict[str, tuple[str, dict[str, Value]]] = {
    "not_null": (PLAIN.replace("email varchar(100)", "email varchar(100) NOT NULL"), {"email": None}),
    "check": (TABLE.format("varchar(9) CHECK (name <> 'bad')"), {"name": "bad"}),
    "trigger": (PLAIN + RULE.format("SIGNAL SQLSTATE '45000'"), {"name": "bad"}),
    "datatype": (TABLE.format("int"), {"name": "text"}),
    "too_big": (TABLE.format("varchar(3)"), {"name": "long"}),
    "unfit": (PLAIN, {"name": 5}),
    "unmapped": (PLAIN, {"picture": "x"}),
    "foreign_key": (
        "CREATE TABLE names (name varchar(9) PRIMARY KEY);\n" + TABLE.format("varchar(9) REFERENCES names (name)"),
        {"name": "unknown"},
    ),
    "unique": (
        TABLE.format("varchar(9) COLLATE utf8mb4_general_ci UNIQUE") + "INSERT INTO people VALUES (3, 'c', 'TAKEN');\n",  # noqa: S608
        {"name": "taken"},
    ),
}


@pytest.mark.parametrize("code", RULES)
async def test_a_refusal_has_a_short_code_and_harms_nobody_else(captured: Capture, app: MariadbApp, code: str) -> None:
    """Whatever rule of the application it is; nothing of the write is left, not in the outbox either."""
    schema, fields = RULES[code]
    peer = await captured(schema)
    await app.script(TWO)
    first, second = await look(peer, "1"), await look(peer, "2")
    results = await write(
        peer,
        update_of(first, {"email": "new@example.com"}),
        update_of(second, {"email": "lost@example.com", **fields}, number=2),
        update_of(first, {"email": "newer@example.com"}, intent="again"),
    )
    assert [result.effect for result in results] == [Effect.WRITTEN, Effect.REFUSED, Effect.DIVERGED]
    assert results[1].error == code
    emails = "SELECT email FROM people WHERE id < 3 ORDER BY id"
    assert await app.run(emails) == [["new@example.com"], ["b@example.com"]]
    assert [one.origin for one in await observed(peer)] == [None, None, "entity-1:update"]


async def test_statement_that_the_server_would_not_take_is_refused(captured: Capture, app: MariadbApp) -> None:
    """It would end the connection, and with it the other writes, each time again."""
    peer = await captured(TABLE.format("longtext"))
    await app.script(TWO)
    (result,) = await write(peer, update_of(await look(peer, "1"), {"name": "x" * 16_777_216}))
    assert (result.effect, result.error) == (Effect.REFUSED, "too_big")


async def test_a_ring_of_unique_values_is_untangled_and_nobody_is_told_of_the_way(
    captured: Capture, app: MariadbApp
) -> None:
    """Each takes the next one's e-mail; the outbox shows one row for each write."""
    count = KNOT_WRITES_MAX
    peer = await captured(PLAIN.replace("email varchar(100)", "email varchar(100) UNIQUE"))
    await app.run(f"INSERT INTO people SELECT seq, concat('e', seq), NULL FROM seq_1_to_{count}")  # noqa: S608
    images = [await look(peer, str(number)) for number in range(1, count + 1)]
    writes = [
        update_of(one, {"email": f"e{number % count + 1}"}, number=number) for number, one in enumerate(images, 1)
    ]
    results = await write(peer, *writes)
    assert {result.effect for result in results} == {Effect.WRITTEN}
    assert await app.run("SELECT email FROM people ORDER BY id") == [[f"e{n % count + 1}"] for n in range(1, count + 1)]
    seen = [one for one in await observed(peer) if one.origin is not None]
    assert [one.origin for one in seen] == [one.intent for one in writes]


async def test_row_that_somebody_holds_is_left_for_later_and_the_others_are_written(
    captured: Capture, app: MariadbApp, connect: Connect
) -> None:
    """Nobody waits for longer than we were told to."""
    peer = await captured(PLAIN + TWO)
    images = [await look(peer, "1"), await look(peer, "2")]
    other = await connect()
    await other.run("START TRANSACTION")
    await other.run("UPDATE people SET name = 'theirs' WHERE id = 1")
    writes = [update_of(one, {"name": "ours"}, number=number) for number, one in enumerate(images)]
    results = await write(peer, *writes)
    assert [(one.effect, one.error) for one in results] == [(Effect.UNAVAILABLE, "locked"), (Effect.WRITTEN, None)]
    await other.run("COMMIT")
    assert [one.effect for one in await write(peer, *writes)] == [Effect.DIVERGED, Effect.UNCHANGED]


async def test_write_waits_for_who_changes_the_row_and_sees_what_he_did(
    captured: Capture, app: MariadbApp, connect: Connect
) -> None:
    """What he wrote is not overwritten."""
    peer = await captured(PLAIN + TWO)
    image = await look(peer, "1")
    other = await connect()
    await other.run("START TRANSACTION")
    await other.run("UPDATE people SET name = 'theirs' WHERE id = 1")
    writing = asyncio.create_task(write(peer, update_of(image, {"name": "ours"})))
    done, _ = await asyncio.wait({writing}, timeout=0.1)
    assert not done
    await other.run("COMMIT")
    (result,) = await writing
    assert result.effect is Effect.DIVERGED
    assert result.image is not None
    assert result.image.fields["name"] == "theirs"


async def test_deadlock_with_the_application_is_got_over(captured: Capture, app: MariadbApp, connect: Connect) -> None:
    """Each has what the other waits for; where ours is undone, all of it is begun anew."""
    peer = await captured(PLAIN + TWO)
    images = [await look(peer, "1"), await look(peer, "2")]
    other = await connect()
    await other.run("START TRANSACTION")
    for number in range(100):  # who has done more is not undone
        await other.run("INSERT INTO people (id) VALUES (%s)", number + 10)
    await other.run("UPDATE people SET email = 'theirs' WHERE id = 2")

    async def cross() -> None:
        await other.run("UPDATE people SET email = 'theirs too' WHERE id = 1")
        await other.run("COMMIT")

    writes = [update_of(one, {"name": f"ours {number}"}, number=number) for number, one in enumerate(images, 1)]
    results, _ = await asyncio.gather(write(peer, *writes), cross())
    later = [one for one, result in zip(writes, results, strict=True) if result.effect is Effect.UNAVAILABLE]
    assert {one.effect for one in await write(peer, *later)} <= {Effect.WRITTEN}
    assert await app.run("SELECT name, email FROM people WHERE id < 10 ORDER BY id") == [
        ["ours 1", "theirs too"],
        ["ours 2", "theirs"],
    ]
    assert len([one for one in await observed(peer) if one.origin is not None]) == 2


async def test_lost_connection_is_an_error_and_the_next_write_works(
    captured: Capture, app: MariadbApp, mariadb: MariadbServer, connect: Connect
) -> None:
    """Nothing is known of the write, which is not half done."""
    peer = await captured(PLAIN + TWO)
    wanted = update_of(await look(peer, "1"), {"name": "ours"})
    await app.run("START TRANSACTION")
    await app.run("UPDATE people SET email = 'theirs' WHERE id = 1")
    writing = asyncio.create_task(write(peer, wanted))
    await asyncio.wait({writing}, timeout=0.1)
    await mariadb.terminate_connections()
    with pytest.raises(PeerError, match="lost"):
        await writing
    assert await (await connect()).run("SELECT name FROM people WHERE id = 1") == [[None]]
    (result,) = await write(peer, wanted)
    assert result.effect is Effect.WRITTEN


# --- keys, links and types ----------------------------------------------------------------------------------


@pytest.mark.parametrize("default", ["", " DEFAULT (uuid())"])
async def test_key_that_the_database_makes_is_learned(captured: Capture, app: MariadbApp, default: str) -> None:
    """By whatever means: here a trigger of the application, or a default."""
    schema = f"CREATE TABLE people (id char(36) PRIMARY KEY{default or ' DEFAULT 0'}, email text, name text);\n"
    rule = "CREATE TRIGGER key_of BEFORE INSERT ON people FOR EACH ROW SET NEW.id = uuid();\n"
    peer = await captured(schema + ("" if default else rule))
    (made,) = await write(peer, create_of(1))
    assert made.image is not None
    assert await app.run("SELECT id FROM people") == [[made.image.external_id]]


@pytest.mark.parametrize("key", ["int", "tinyint unsigned", "varchar(40) CHARACTER SET latin1", "uuid", "decimal(9,2)"])
async def test_ids_that_a_key_cannot_hold_are_nobodys(captured: Capture, app: MariadbApp, key: str) -> None:
    """No look and no write fails for them."""
    peer = await captured(f"CREATE TABLE people (id {key} PRIMARY KEY, email text, name text);\n")
    odd = ["", "x", "1.0", "+1", " 1", "01", "99999999999999999999", "-32769", "0" * 40, "A" * 300, "\x00", "\u65e5"]
    for text in [*odd, "'", "\\", "%s", "\ud800"]:
        assert await peer.reader.read(Kind.USER, ExternalId(text)) is None
        action = Write(
            entity=EntityId("e"), kind=Kind.USER, action=Action.UPDATE, intent="i", external_id=ExternalId(text),
            fields={"name": "x"},
        )  # fmt: skip
        assert [one.effect for one in await write(peer, action)] == [Effect.ABSENT]


async def test_ids_that_only_the_collation_takes_for_equal_are_strangers(captured: Capture, app: MariadbApp) -> None:
    """By capitals, accents or blanks at the end."""
    peer = await captured("CREATE TABLE people (id varchar(9) PRIMARY KEY, email text, name text);\n")
    await app.run("INSERT INTO people (id) VALUES ('abc')")
    for other in ("ABC", "äbc", "abc "):
        assert await peer.reader.read(Kind.USER, ExternalId(other)) is None
    await app.run("UPDATE people SET id = 'ABC'")
    assert [(one.op, one.external_id) for one in (await observed(peer))[1:]] == [
        (Op.DELETED, "abc"),
        (Op.CREATED, "ABC"),
    ]


TYPED = TableMapping(
    kind=Kind.USER,
    table="people",
    fields={
        "email": "email", "name": "name", "email_verified": "verified", "roles": "roles", "ban_expires_at": "until",
        "picture": "level",
    },
    on_ban="deactivate:active",
)  # fmt: skip
TYPES: dict[str, dict[str, str]] = {
    "plain": {
        "roles": "text", "verified": "int(9) ZEROFILL", "until": "bigint", "active": "smallint", "level": "varchar(99)",
    },
    "rich": {"roles": "json", "verified": "boolean", "until": "datetime(3)", "active": "bit(1)", "level": "uuid"},
    "old": {
        "roles": "set('admin','b')", "verified": "enum('false','true')", "until": "timestamp(6) NULL",
        "active": "boolean", "level": "char(36) CHARACTER SET latin1",
    },
}  # fmt: skip


@pytest.mark.parametrize("types", TYPES)
async def test_values_come_back_from_columns_of_every_type(captured: Capture, app: MariadbApp, types: str) -> None:
    """What is written is what is read, what the outbox tells, and is recognised when it is written again."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES[types].items())
    peer = await captured(f"CREATE TABLE people (id char(36) PRIMARY KEY, email text, name text, {columns});\n", TYPED)
    fields: dict[str, Value] = {
        "email_verified": True, "roles": ["admin", "b"], "ban_expires_at": "2026-01-31T12:00:00.123Z",
        "picture": "018e0000-0000-7000-8000-000000000000", "banned": True,
    }  # fmt: skip
    wanted = msgspec.structs.replace(create_of(1, **fields), external_id=peer.target.choose_id(Kind.USER))
    (made,) = await write(peer, wanted)
    assert (made.effect, made.error) == (Effect.WRITTEN, None)
    assert made.image is not None
    assert {name: made.image.fields[name] for name in fields} == fields
    seen = (await observed(peer))[-1]
    assert (seen.fields, seen.external_id) == (made.image.fields, made.image.external_id)
    emptied: dict[str, Value] = {"email_verified": False, "roles": [], "ban_expires_at": None, "banned": False}
    change = msgspec.structs.replace(update_of(made.image, emptied), expected=made.image.fields)
    for effect in (Effect.WRITTEN, Effect.UNCHANGED):
        (result,) = await write(peer, change)
        assert (result.effect, result.error) == (effect, None)
        assert result.image is not None
        assert {name: result.image.fields[name] for name in emptied} == emptied


async def test_instant_without_digits_after_the_second_is_cut_and_then_held(captured: Capture, app: MariadbApp) -> None:
    """It is not written again and again, and never lies in the future."""
    mapping = TableMapping(kind=Kind.USER, table="people", fields={"name": "name", "ban_expires_at": "until"})
    peer = await captured("CREATE TABLE people (id int PRIMARY KEY, name text, until datetime);\n", mapping)
    await app.run("INSERT INTO people (id) VALUES (1)")
    wanted = update_of(await look(peer, "1"), {"ban_expires_at": "2026-01-31T12:00:00.900Z"})
    (result,) = await write(peer, wanted)
    assert result.image is not None
    assert result.image.fields["ban_expires_at"] == "2026-01-31T12:00:00.000Z"
    assert [one.effect for one in await write(peer, wanted)] == [Effect.UNCHANGED]


# --- Better Auth --------------------------------------------------------------------------------------------

AUTH = (Path(__file__).parents[4] / "examples" / "better-auth" / "schema.mysql.sql").read_text()
SIGN_UP = "INSERT INTO user (id, name, email, emailVerified) VALUES ('u1', 'Ada', 'Ada@Example.com', false);\n"
SESSION = "INSERT INTO session (id, expiresAt, token, updatedAt, userId) VALUES ('s1', now(), 'token', now(), 'u1');\n"
WITHOUT_HOOKS = """
    INSERT INTO organization VALUES ('o1', 'Acme', 'acme', NULL, now(), NULL);
    INSERT INTO member VALUES ('m1', 'o1', 'u1', 'owner', now());
    SET time_zone = '+01:00';
    UPDATE user SET banned = true, banExpires = '2026-12-31 12:00';
    DELETE FROM member;
    DELETE FROM user;
"""


async def test_what_no_hook_sees_is_captured(app: MariadbApp, make_peer: MakePeer) -> None:
    """Plain SQL, a leave; a session that goes with its user is read again. No token is told."""
    await app.script(AUTH)
    peer = make_peer(*better_auth_tables({}))
    installed = await peer.install()
    assert set(installed.tables) == {"user", "session", "organization", "organizationMembership"}
    assert installed.warnings == ()
    await app.script(SIGN_UP + SESSION + WITHOUT_HOOKS)
    batch = await read(peer)
    assert [(one.kind, one.op) for one in batch.observations] == [
        (Kind.USER, Op.CREATED),
        (Kind.SESSION, Op.CREATED),
        (Kind.ORGANIZATION, Op.CREATED),
        (Kind.MEMBERSHIP, Op.CREATED),
        (Kind.USER, Op.UPDATED),
        (Kind.MEMBERSHIP, Op.DELETED),
        (Kind.USER, Op.DELETED),
    ]
    assert batch.rings == ((Kind.SESSION, "s1"),)
    assert await peer.reader.read(Kind.SESSION, ExternalId("s1")) is None
    assert batch.observations[4].fields["ban_expires_at"] == "2026-12-31T11:00:00.000Z"
    assert "token" not in str(await app.run("SELECT CAST(new AS char) FROM idsync_app_outbox"))


async def test_our_user_is_a_whole_row_and_our_ban_ends_the_sessions(app: MariadbApp, make_peer: MakePeer) -> None:
    """As Better Auth makes and bans them itself."""
    await app.script(AUTH + SIGN_UP + SESSION)
    peer = make_peer(*better_auth_tables({}))
    await peer.install()
    image = await look(peer, "u1")
    key = peer.target.choose_id(Kind.USER)
    assert key is not None
    assert len(key) == 32
    (made,) = await write(peer, create_of(1, roles=["admin", "user"], email_verified=True))
    assert made.effect is Effect.WRITTEN
    row = await app.run("SELECT emailVerified, role, createdAt = updatedAt FROM user WHERE id <> 'u1'")
    assert row == [[1, "admin,user", 1]]
    (result,) = await write(peer, update_of(image, {"banned": True, "ban_reason": "spam"}))
    assert result.effect is Effect.WRITTEN
    assert await app.run("SELECT 1 FROM session") == []
    assert {one.origin for one in await observed(peer) if one.kind == Kind.SESSION} == {"entity-1:update"}
