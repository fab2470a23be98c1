"""Faults that were found by killing the service: rows that vanish, and ids that come again."""

from idsync.model.values import PeerName
from idsync.testing.sqlite_app import SqliteApp
from idsync.testing.wait import until
from tests.faults.conftest import Running

AT = "2026-01-01T12:00:00.000Z"
UNTOLD = """
    BEGIN;
    DELETE FROM users;
    DELETE FROM idsync_outbox WHERE seq = (SELECT max(seq) FROM idsync_outbox);
    INSERT INTO users (id, email, full_name) VALUES (7, 'bob@example.com', 'Bob');
    COMMIT;
"""
"""Somebody goes and nobody hears of it; somebody else comes."""


def sign_up(auth: SqliteApp, user_id: str, email: str, name: str) -> None:
    """Somebody new at the identity provider."""
    columns = "id, name, email, emailVerified, createdAt, updatedAt"
    auth.run(f'INSERT INTO "user" ({columns}) VALUES (?, ?, ?, 1, ?, ?)', user_id, name, email, AT, AT)  # noqa: S608


async def test_create_that_is_given_a_deleted_rows_id_is_linked_to_whom_it_was_made_for(
    running: Running, auth: SqliteApp, app: SqliteApp
) -> None:
    """SQLite gives the id of the newest row again once that row is deleted: it is somebody else's then."""
    async with running():
        app.run("INSERT INTO users (email, full_name) VALUES ('ada@example.com', 'Ada')")
        await until(lambda: auth.run('SELECT name FROM "user"') == [["Ada"]])
        app.run("DELETE FROM users")
        await until(lambda: auth.run('SELECT name FROM "user"') == [])
        sign_up(auth, "u_bob", "bob@example.com", "Bob")
        await until(lambda: app.run("SELECT id, auth_id, full_name FROM users") == [[1, "u_bob", "Bob"]])
        app.run("UPDATE users SET full_name = 'Robert'")
        await until(lambda: auth.run('SELECT name FROM "user"') == [["Robert"]])


async def test_write_that_finds_its_row_gone_ends_the_identity_at_once(
    running: Running, auth: SqliteApp, app: SqliteApp
) -> None:
    """A look that finds nothing is as good as a delete that was told: it must not wait for an intent to expire."""
    sign_up(auth, "u_ada", "ada@example.com", "Ada")
    async with running() as line:

        async def is_confirmed() -> bool:
            found = await line.store.find("ada@example.com")
            return any(
                one.link_at(PeerName("app")).is_live and not one.link_at(PeerName("app")).intents for one in found
            )

        await until(is_confirmed)
        app.run_script(UNTOLD)
        auth.run("UPDATE \"user\" SET name = 'Ada Lovelace' WHERE id = 'u_ada'")
        await until(lambda: auth.run('SELECT email FROM "user"') == [["bob@example.com"]])
        assert line.counters.counts[("idsync_rereads_total", "done")] < 10


async def test_row_that_replaced_itself_before_we_removed_it_brings_nobody_back(
    running: Running, auth: SqliteApp, app: SqliteApp
) -> None:
    """A removal has its place among the peer's events: an older create is of the life it ended, however late heard."""
    sign_up(auth, "u_ada", "ada@example.com", "Ada")
    async with running() as line:

        async def is_confirmed() -> bool:
            return [one.link_at(PeerName("app")).is_live for one in await line.store.page("user", None, 9)] == [True]

        await until(is_confirmed)
    async with running(deaf_to=("app",)):
        app.run("REPLACE INTO users (id, auth_id, email, full_name) SELECT id, auth_id, email, 'Saved' FROM users")
        auth.run('DELETE FROM "user"')
        await until(lambda: app.run("SELECT id FROM users") == [])
    async with running() as line:
        last = app.run("SELECT max(seq) FROM idsync_outbox")

        async def is_read() -> bool:
            position = await line.store.position(PeerName("app"))
            return position is not None and [[position.number]] == last

        await until(is_read)
        (ada,) = await line.store.page("user", None, 9)
        assert ada.deleted is not None
    assert (app.run("SELECT id FROM users"), auth.run('SELECT id FROM "user"')) == ([], [])


async def test_ended_sessions_are_no_mass_delete(running: Running, auth: SqliteApp, app: SqliteApp) -> None:
    """A hundred sign-outs a minute are an ordinary day; they must not hold back whoever is really removed."""
    sign_up(auth, "u_ada", "ada@example.com", "Ada")
    sessions = ", ".join(f"('s{n}', '{AT}', 't{n}', '{AT}', '{AT}', 'u_ada')" for n in range(150))
    columns = "id, expiresAt, token, createdAt, updatedAt, userId"
    async with running() as line:
        await until(lambda: app.run("SELECT full_name FROM users") == [["Ada"]])
        auth.run(f"INSERT INTO session ({columns}) VALUES {sessions}")  # noqa: S608  # our own values
        auth.run("DELETE FROM session")
        auth.run('DELETE FROM "user"')
        await until(lambda: app.run("SELECT full_name FROM users") == [])
        assert (await line.store.stats()).waiting == 0


async def test_row_made_in_the_application_is_told_the_id_it_got_at_the_provider(
    running: Running, auth: SqliteApp, app: SqliteApp
) -> None:
    """The link column is filled once the first peer has given its id."""
    async with running():
        app.run("INSERT INTO users (email, full_name) VALUES ('ada@example.com', 'Ada')")
        await until(lambda: auth.run('SELECT name FROM "user"') == [["Ada"]])
        (row,) = auth.run('SELECT id FROM "user"')
        await until(lambda: app.run("SELECT auth_id FROM users") == [row])


async def test_read_that_waited_and_brings_nothing_new_waits_no_more(
    running: Running, auth: SqliteApp, app: SqliteApp
) -> None:
    """A parked look at an identity is settled when it is released, also where an earlier one has told all of it."""
    sign_up(auth, "u_ada", "ada@example.com", "Ada")
    app.run("INSERT INTO users (email, full_name) VALUES ('ada@example.com', 'Another Ada')")
    async with running(deaf_to=("app",)) as line:
        await until(lambda: line.store.find("ada@example.com"))
    async with running() as line:

        async def is_undecided(count: int) -> bool:
            return (await line.store.stats()).waiting == count

        await until(lambda: is_undecided(1))
        # The last row that was read disappears, as after a restore: every identity is looked at again.
        app.run("DELETE FROM idsync_outbox WHERE seq = (SELECT max(seq) FROM idsync_outbox)")
        await until(lambda: is_undecided(2))
        auth.run("UPDATE \"user\" SET email = 'lovelace@example.com'")
        await until(lambda: len(auth.run('SELECT id FROM "user"')) == 2)
        await until(lambda: is_undecided(0), within_s=5)
