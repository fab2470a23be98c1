"""Better Auth's own tables on every server, in the schema that its migrations make there."""

from pathlib import Path

from idsync.connectors.better_auth import better_auth_tables
from idsync.model.delivery import Effect
from idsync.model.values import Kind
from idsync.testing.postgres import PostgresServer
from idsync.testing.target_suite import create_of, update_of
from tests.servers import App, Server
from tests.unit.connectors.servers.app import MakePeer, look, observed, write

SCHEMAS = Path(__file__).parents[4] / "examples" / "better-auth"
SIGN_UP = """
INSERT INTO "user" (id, name, email, "emailVerified") VALUES ('u1', 'Ada', 'Ada@Example.com', false);
INSERT INTO session (id, "expiresAt", token, "updatedAt", "userId") VALUES ('s1', now(), 'token', now(), 'u1');
"""


async def test_our_user_is_a_whole_row_and_our_ban_ends_the_sessions(
    app: App, make_peer: MakePeer, server: Server
) -> None:
    """As Better Auth makes and bans them itself."""
    name = "schema.postgres.sql" if isinstance(server, PostgresServer) else "schema.mysql.sql"
    await app.script((SCHEMAS / name).read_text() + SIGN_UP)
    peer = make_peer(*better_auth_tables({}))
    await peer.install()
    image = await look(peer, "u1")
    key = peer.target.choose_id(Kind.USER)
    assert key is not None
    assert len(key) == 32
    (made,) = await write(peer, create_of(1, roles=["admin", "user"], email_verified=True))
    assert made.effect is Effect.WRITTEN
    row = await app.run('SELECT "emailVerified", role, "createdAt" = "updatedAt" FROM "user" WHERE id <> \'u1\'')
    assert row == [[True, "admin,user", True]]
    (result,) = await write(peer, update_of(image, {"banned": True, "ban_reason": "spam"}))
    assert result.effect is Effect.WRITTEN
    assert await app.run("SELECT 1 FROM session") == []
    assert {one.origin for one in await observed(peer) if one.kind == Kind.SESSION} == {"entity-1:update"}
