"""Better Auth's tables as a peer: what is seen of them, what never is, and what our writes do there."""

import re
from pathlib import Path

import msgspec
import pytest

from idsync.config import KindSettings
from idsync.connectors.better_auth import better_auth_tables
from idsync.connectors.sql_table import SqlitePeer
from idsync.model.delivery import Effect
from idsync.model.event import Observation, Op
from idsync.model.values import Kind, Value
from idsync.testing.better_auth import BetterAuthServer
from idsync.testing.sqlite_app import SqliteApp
from idsync.testing.target_suite import create_of, remove_of, update_of
from tests.unit.connectors.people import MakePeer, look, observed, write

DIRECTORY = Path(__file__).parents[3] / "examples" / "better-auth"
SCHEMA = (DIRECTORY / "schema.sql").read_text()
"""As a server of the example made it."""
SECRETS = ("token-s3cret", "password-s3cret", "refresh-s3cret", "plugin-s3cret")

SIGN_UP = """
    INSERT INTO "user" (id, name, email, emailVerified, createdAt, updatedAt, role, banned)
      VALUES ('u_1', 'Ada', 'ada@example.com', 0, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 'user', 0);
    INSERT INTO account (id, accountId, providerId, userId, password, refreshToken, createdAt, updatedAt)
      VALUES ('a_1', 'u_1', 'credential', 'u_1', 'password-s3cret', 'refresh-s3cret', '2026', '2026');
    INSERT INTO session (id, expiresAt, token, createdAt, updatedAt, ipAddress, userAgent, userId)
      VALUES ('s_1', '2026-01-08T00:00:00.000Z', 'token-s3cret', '2026-01-01', '2026', '127.0.0.1', 'curl', 'u_1');
    INSERT INTO organization (id, name, slug, createdAt, metadata)
      VALUES ('o_1', 'Engines', 'engines', '2026-01-01', '{"key": "plugin-s3cret"}');
    INSERT INTO member (id, organizationId, userId, role, createdAt) VALUES ('m_1', 'o_1', 'u_1', 'owner', '2026');
"""


@pytest.fixture
async def auth(app: SqliteApp, make_peer: MakePeer) -> SqlitePeer:
    """Better Auth's tables, empty and captured; a plugin has added a column of its own."""
    app.run_script(SCHEMA + 'ALTER TABLE "user" ADD COLUMN twoFactorSecret TEXT;')
    peer = make_peer(*better_auth_tables({}), name="auth")
    assert (await peer.install()).warnings == ()
    return peer


def told(seen: list[Observation]) -> list[tuple[str, Op, str]]:
    """Say in short what was observed."""
    return [(one.kind, one.op, one.external_id) for one in seen]


async def test_a_sign_up_is_seen_without_any_secret(app: SqliteApp, auth: SqlitePeer) -> None:
    """User, session, organization and membership, with their canonical fields, and nothing else of them."""
    app.run_script(SIGN_UP)
    app.run("""UPDATE "user" SET twoFactorSecret = 'plugin-s3cret'""")
    app.run("UPDATE session SET token = 'token-s3cret-2'")
    app.run("UPDATE account SET password = 'password-s3cret-2'")
    seen = await observed(auth)
    assert [(one.kind, one.fields) for one in seen] == [
        (
            Kind.USER,
            {
                "email": "ada@example.com",
                "email_verified": False,
                "name": "Ada",
                "picture": None,
                "roles": ["user"],
                "banned": False,
                "ban_reason": None,
                "ban_expires_at": None,
            },
        ),
        (
            Kind.SESSION,
            {
                "user_id": "u_1",
                "expires_at": "2026-01-08T00:00:00.000Z",
                "created_at": "2026-01-01T00:00:00.000Z",
                "ip_address": "127.0.0.1",
                "user_agent": "curl",
            },
        ),
        (Kind.ORGANIZATION, {"name": "Engines", "slug": "engines", "logo": None}),
        (Kind.MEMBERSHIP, {"user_id": "u_1", "organization_id": "o_1", "role": "owner"}),
    ]
    outbox = str(app.run("SELECT * FROM idsync_outbox"))
    assert not any(secret in outbox or secret.encode().hex().upper() in outbox for secret in SECRETS)


async def test_a_ban_of_ours_ends_the_sessions(app: SqliteApp, auth: SqlitePeer) -> None:
    """Better Auth itself would look at it only at the next sign-in. Lifting it ends nothing."""
    app.run_script(SIGN_UP)
    ban: dict[str, Value] = {"banned": True, "ban_reason": "rude", "ban_expires_at": "2026-02-01T00:00:00.000Z"}
    (banned,) = await write(auth, update_of(await look(auth, "u_1"), ban))
    assert banned.effect is Effect.WRITTEN
    assert banned.image is not None
    assert app.run('SELECT banned, banReason, banExpires, updatedAt FROM "user"') == [
        [1, "rude", "2026-02-01T00:00:00.000Z", "2023-11-14T22:13:20.000Z"]
    ]
    assert app.run("SELECT count(*) FROM session") == [[0]]
    app.run(SIGN_UP.split(";")[2])
    await write(auth, update_of(banned.image, {"banned": False}, intent="lift"))
    assert app.run("SELECT count(*) FROM session") == [[1]]


async def test_a_delete_of_ours_takes_what_belongs_to_the_user(app: SqliteApp, auth: SqlitePeer) -> None:
    """Its foreign keys hold for us too; each row that goes is seen, and known as ours."""
    app.run_script(SIGN_UP)
    await write(auth, remove_of(await look(auth, "u_1")))
    assert app.run("SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM organization)") == [[0, 1]]
    gone = (await observed(auth))[4:]
    assert set(told(gone)) == {
        (Kind.USER, Op.DELETED, "u_1"),
        (Kind.SESSION, Op.DELETED, "s_1"),
        (Kind.MEMBERSHIP, Op.DELETED, "m_1"),
    }
    assert {one.origin for one in gone} == {"entity-1:remove"}


async def test_without_the_admin_plugin_its_fields_are_not_held(app: SqliteApp, make_peer: MakePeer) -> None:
    """And a peer of which they are wanted says so, instead of losing a ban."""
    plain = re.sub(r', "(role|banned|banReason|banExpires)" \w+(?=[,)])', "", SCHEMA.split(";")[0])
    app.run(plain)
    peer = make_peer(*better_auth_tables({}), name="auth")
    await peer.install()
    assert await peer.held_fields() == {Kind.USER: frozenset({"email", "email_verified", "name", "picture"})}
    (made,) = await write(peer, create_of(1))
    assert made.image is not None
    (refused,) = await write(peer, update_of(made.image, {"banned": True}))
    assert (refused.effect, refused.error) == (Effect.REFUSED, "unmapped")


async def test_tables_and_columns_may_have_other_names(app: SqliteApp, make_peer: MakePeer) -> None:
    """As `modelName` and additional fields give them."""
    renamed = SCHEMA.replace('"user"', '"members"').replace('"image"', '"avatar"')
    app.run_script(renamed + "ALTER TABLE members ADD COLUMN phone TEXT;")
    settings = KindSettings(table="members", fields={"picture": "avatar", "phone": "phone"})
    peer = make_peer(*better_auth_tables({Kind.USER: settings}), name="auth")
    await peer.install()
    app.run_script(SIGN_UP.replace('"user"', "members"))
    (changed,) = await write(peer, update_of(await look(peer, "u_1"), {"phone": "+44", "picture": "a.png"}))
    assert changed.effect is Effect.WRITTEN
    assert app.run("SELECT phone, avatar FROM members") == [["+44", "a.png"]]


@pytest.mark.node
async def test_a_real_server_is_seen_and_bears_our_writes(path: Path, make_peer: MakePeer) -> None:
    """Sign-up, changes, bans and removals over its HTTP API come out of the outbox; what we write its API shows."""
    async with BetterAuthServer(DIRECTORY, path, {"FAST_HASH": "1"}) as server:
        peer = make_peer(*better_auth_tables({}), name="auth")
        assert (await peer.install()).warnings == ()
        start = await observed(peer)
        assert start == []
        ada = await server.sign_up("Ada@Example.com", "a long enough password", "Ada")
        await server.update_user(ada.token, {"name": "Ada L."})
        organization = await server.create_organization(ada.token, "Engines", "engines")
        await server.ban_user(ada.user_id, "rude", 3600)
        await server.unban_user(ada.user_id)
        seen = await observed(peer)
        users = [one for one in seen if one.kind == Kind.USER]
        assert [one.op for one in users] == [Op.CREATED, *[Op.UPDATED] * 3]
        assert [one.fields["name"] for one in users] == ["Ada", *["Ada L."] * 3]
        assert [one.fields["banned"] for one in users] == [False, False, True, False]
        assert users[2].fields["ban_reason"] == "rude"
        assert str(users[2].fields["ban_expires_at"]).endswith("Z")
        assert {kind for kind, _, _ in told(seen)} == {Kind.USER, Kind.SESSION, Kind.ORGANIZATION, Kind.MEMBERSHIP}
        assert (Kind.ORGANIZATION, Op.CREATED, organization) in told(seen)

        (renamed,) = await write(peer, update_of(await look(peer, ada.user_id), {"name": "Countess"}))
        asked = msgspec.structs.replace(create_of(2, roles=["user"]), external_id=peer.target.choose_id(Kind.USER))
        (made,) = await write(peer, asked)
        assert (renamed.effect, made.effect) == (Effect.WRITTEN, Effect.WRITTEN)
        listed = {one["email"]: one for one in await server.list_users()}
        assert listed["ada@example.com"]["name"] == "Countess"
        assert listed["u2@example.com"]["id"] == asked.external_id
        assert listed["u2@example.com"]["role"] == "user"
        assert listed["u2@example.com"]["emailVerified"] is False
        await server.remove_user(listed["u2@example.com"]["id"])
        assert told(await observed(peer))[-1] == (Kind.USER, Op.DELETED, asked.external_id)
        assert not [status for (_, status), _ in server.statuses.items() if status >= 500]
