"""Better Auth's own tables on PostgreSQL: the schema that its migrations make there."""

from pathlib import Path

from idsync.connectors.better_auth import better_auth_tables
from idsync.model.event import Op
from idsync.model.values import Kind
from tests.servers import PostgresApp
from tests.unit.connectors.servers.app import MakePeer, observed

SCHEMA = (Path(__file__).parents[5] / "examples" / "better-auth" / "schema.postgres.sql").read_text()
SIGN_UP = "INSERT INTO \"user\" (id, name, email, \"emailVerified\") VALUES ('u1', 'Ada', 'Ada@Example.com', false);"
SESSION = """
    INSERT INTO session (id, "expiresAt", token, "updatedAt", "userId") VALUES ('s1', now(), 'a token', now(), 'u1');
"""
WITHOUT_HOOKS = """
    INSERT INTO organization VALUES ('o1', 'Acme', 'acme', NULL, now(), NULL);
    INSERT INTO member VALUES ('m1', 'o1', 'u1', 'owner', now());
    UPDATE "user" SET banned = true, "banExpires" = '2026-12-31 12:00+01';
    DELETE FROM member;
    DELETE FROM "user";
"""


async def test_what_no_hook_sees_is_captured(app: PostgresApp, make_peer: MakePeer) -> None:
    """A cascade, plain SQL, a leave; no token is told."""
    await app.script(SCHEMA)
    peer = make_peer(*better_auth_tables({}))
    assert set((await peer.install()).tables) == {"user", "session", "organization", "organizationMembership"}
    await app.script(SIGN_UP + SESSION + WITHOUT_HOOKS)
    seen = [(one.kind, one.op) for one in await observed(peer)]
    assert seen == [
        (Kind.USER, Op.CREATED),
        (Kind.SESSION, Op.CREATED),
        (Kind.ORGANIZATION, Op.CREATED),
        (Kind.MEMBERSHIP, Op.CREATED),
        (Kind.USER, Op.UPDATED),
        (Kind.MEMBERSHIP, Op.DELETED),
        (Kind.USER, Op.DELETED),
        (Kind.SESSION, Op.DELETED),
    ]
    banned = next(one for one in await observed(peer) if one.op is Op.UPDATED)
    assert banned.fields["ban_expires_at"] == "2026-12-31T11:00:00.000Z"
    assert "a token" not in str(await app.run("SELECT old::text, new::text FROM idsync_app.outbox"))
