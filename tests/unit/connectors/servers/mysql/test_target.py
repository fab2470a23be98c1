"""What the MySQL Target does beyond the contract of every Target: refusals, types, Better Auth."""

from pathlib import Path

import pytest

from idsync.connectors.better_auth import better_auth_tables
from idsync.connectors.tables.mapping import TableMapping
from idsync.model.delivery import Effect
from idsync.model.event import Op
from idsync.model.values import ExternalId, Kind, Value
from idsync.testing.target_suite import create_of, update_of
from tests.servers import MariadbApp
from tests.unit.connectors.servers.app import PLAIN, TWO, MakePeer, look, observed, read, write
from tests.unit.connectors.servers.claims import TYPED, odd_ids_are_nobodys, refusal_of, values_come_back
from tests.unit.connectors.servers.conftest import Capture

pytestmark = pytest.mark.long

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
    assert await refusal_of(await captured(schema), app, fields) == code


async def test_statement_that_the_server_would_not_take_is_refused(captured: Capture, app: MariadbApp) -> None:
    """It would end the connection, and with it the other writes, each time again."""
    peer = await captured(TABLE.format("longtext"))
    await app.script(TWO)
    (result,) = await write(peer, update_of(await look(peer, "1"), {"name": "x" * 16_777_216}))
    assert (result.effect, result.error) == (Effect.REFUSED, "too_big")


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
    await odd_ids_are_nobodys(peer, "\ud800")


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
    await values_come_back(peer, fields)


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

AUTH = (Path(__file__).parents[5] / "examples" / "better-auth" / "schema.mysql.sql").read_text()
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
