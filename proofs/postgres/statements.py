"""Whoever writes around a Better Auth server: by SQL into its tables on PostgreSQL, and an application into its own.

Each keeps to people of its own, whom their e-mails tell, so that no two of them wait for each other in a circle.
"""

import asyncio
import random
from collections import Counter
from typing import Final

from proofs.postgres.committed import Connection

HANDS: Final = 6
PEOPLE_OF_HANDS: Final = 12
CROWD: Final = 30
ROLLBACKS: Final = 0.2
OWN: Final = "own-"
"""How the e-mails of those whom the application brought begin."""

APP_TABLES: Final = """
CREATE TABLE users (
  id bigserial PRIMARY KEY, auth_id text UNIQUE, email text UNIQUE NOT NULL, verified boolean NOT NULL DEFAULT false,
  full_name text, avatar text, suspended boolean NOT NULL DEFAULT false
);
CREATE TABLE teams (id bigserial PRIMARY KEY, auth_id text UNIQUE, title text, handle text UNIQUE, logo text);
CREATE TABLE team_members (id bigserial PRIMARY KEY, auth_id text UNIQUE, person text, team text, role text);
"""
NEW_USER: Final = """
INSERT INTO "user" (id, name, email, "emailVerified", role)
SELECT id, $2, coalesce($3, id || '@example.com'), true, 'user' FROM unnest($1::text[]) AS id
"""
NEW_SESSION: Final = """
INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt")
SELECT gen_random_uuid(), gen_random_uuid(), id, now() + interval '7 days', now() FROM unnest($1::text[]) AS id
"""
NEW_ORGANIZATION: Final = 'INSERT INTO organization (id, name, slug, "createdAt") VALUES ($1, $1, $1, now())'
NEW_MEMBER: Final = """
INSERT INTO member (id, "organizationId", "userId", role, "createdAt")
SELECT gen_random_uuid(), $1, id, 'member', now() FROM unnest($2::text[]) AS id
"""
BULK: Final = (
    """UPDATE "user" SET name = name || '+' WHERE email ~ '^[pq]-'""",
    """UPDATE "user" SET image = md5(random()::text), banned = NOT coalesce(banned, false) WHERE id LIKE 'crowd-%'""",
    """UPDATE session SET "expiresAt" = "expiresAt" + interval '1 day' WHERE "userId" LIKE 'crowd-%'""",
    """UPDATE session SET "ipAddress" = '127.0.0.9' WHERE "userId" LIKE 'crowd-%' AND random() < 0.5""",
    """UPDATE member SET role = md5(random()::text) WHERE "userId" LIKE 'crowd-%'""",
    """UPDATE "user" SET "updatedAt" = now() WHERE email ~ '^[pq]-'""",
    """DELETE FROM "user" WHERE id LIKE 'crowd-%' AND random() < 0.3""",
    """DELETE FROM organization WHERE id LIKE 'crowd-%' AND random() < 0.5""",
)
"""Statements about many rows. One changes nothing that is told to anybody, two delete what refers to the rows too."""


async def prepare(connection: Connection) -> None:
    """Make the application's tables, and the people who are there before idsync is."""
    await connection.execute(APP_TABLES)
    await connection.execute(NEW_ORGANIZATION, "by-hand")
    for number in range(PEOPLE_OF_HANDS):
        await connection.execute(NEW_USER, [f"hand-{number}"], "Somebody", email_of_hand(number))


def email_of_hand(number: int) -> str:
    """Name one of those who are edited by hand; the id may change."""
    return f"hand-{number}@example.com"


class Hand:
    """Somebody with a SQL prompt. Several of them work on the same few people, in transactions of any length."""

    def __init__(self, connection: Connection, done: Counter[str], luck: random.Random) -> None:
        self._connection = connection
        self._done = done
        self._luck = luck

    async def step(self) -> None:
        """Make one transaction; it goes through the people in one order, so that no two wait for each other."""
        transaction = self._connection.transaction()
        await transaction.start()
        for number in sorted(self._luck.sample(range(PEOPLE_OF_HANDS), self._luck.randint(1, 3))):
            for _ in range(self._luck.randint(1, 3)):
                await self._edit_in_savepoint(email_of_hand(number))
            await asyncio.sleep(self._luck.choice((0, 0, 0.01, 0.1)) * self._luck.random())
        if self._luck.random() < ROLLBACKS:
            self._done["rolled back"] += 1
            await transaction.rollback()
        else:
            self._done["committed"] += 1
            await transaction.commit()
        await asyncio.sleep(0.1 * self._luck.random())

    async def _edit_in_savepoint(self, email: str) -> None:
        savepoint = self._connection.transaction()
        way = self._luck.random()
        if way < 0.5:
            await self._edit(email)
            return
        await savepoint.start()
        await self._edit(email)
        self._done["savepoints"] += 1
        await (savepoint.commit() if way < 0.75 else savepoint.rollback())

    async def _edit(self, email: str) -> None:
        run = self._connection.execute
        user = await self._connection.fetchval('SELECT id FROM "user" WHERE email = $1 FOR UPDATE', email)
        if user is None:
            return  # whoever we have waited for has deleted and made the row anew
        match self._luck.choices(
            ["change", "change twice", "touch", "session", "join", "leave", "reborn", "renumber", "brief"],
            [8, 3, 2, 4, 4, 2, 1, 1, 1],
        ):
            case ["change"]:
                await self._change(user)
            case ["change twice"]:
                await self._change(user)
                await self._change(user)
            case ["touch"]:
                await run('UPDATE "user" SET name = name, "updatedAt" = now() WHERE id = $1', user)
            case ["session"]:
                await run(NEW_SESSION, [user])
                await run("""UPDATE session SET "expiresAt" = "expiresAt" + interval '1 s' WHERE "userId" = $1""", user)
            case ["join"]:
                await run(NEW_MEMBER, "by-hand", [user])
            case ["leave"]:
                await run('DELETE FROM member WHERE "userId" = $1', user)
            case ["reborn"]:
                await run('DELETE FROM "user" WHERE id = $1', user)
                await run(NEW_USER, [user], self._name(), email)
            case ["renumber"]:
                await run('DELETE FROM session WHERE "userId" = $1', user)
                await run('DELETE FROM member WHERE "userId" = $1', user)
                await run('UPDATE "user" SET id = gen_random_uuid() WHERE id = $1', user)
            case _:
                brief = f"brief-{self._luck.getrandbits(64):x}"
                await run(NEW_USER, [brief], self._name(), None)
                await run(NEW_SESSION, [brief])
                await run('UPDATE "user" SET name = $2 WHERE id = $1', brief, self._name())
                await run('DELETE FROM "user" WHERE id = $1', brief)

    async def _change(self, user: str) -> None:
        sql = 'UPDATE "user" SET name = $2, image = $3, role = $4 WHERE id = $1'
        image, role = self._luck.choice([None, "pic"]), self._luck.choice(["user", "user,editor"])
        await self._connection.execute(sql, user, self._name(), image, role)

    def _name(self) -> str:
        return f"By hand {self._luck.getrandbits(64):x}"


class Operator:
    """Somebody who changes many rows with one statement."""

    def __init__(self, connection: Connection, done: Counter[str], luck: random.Random) -> None:
        self._connection = connection
        self._done = done
        self._luck = luck
        self._crowds = 0

    async def step(self) -> None:
        """Bring one more crowd, or run one statement; then pause."""
        if self._crowds % 3 == 0:
            await self._bring()
        else:
            self._note(await self._connection.execute(self._luck.choice(BULK)))
        self._crowds += 1
        await asyncio.sleep(self._luck.uniform(0.2, 0.8))

    async def _bring(self) -> None:
        organization = f"crowd-{self._crowds}"
        people = [f"{organization}-{number}" for number in range(CROWD)]
        async with self._connection.transaction():
            await self._connection.execute(NEW_ORGANIZATION, organization)
            self._note(await self._connection.execute(NEW_USER, people, "One of many", None))
            self._note(await self._connection.execute(NEW_SESSION, people))
            self._note(await self._connection.execute(NEW_MEMBER, organization, people))

    def _note(self, said: str) -> None:
        self._done["bulk rows"] += int(said.rpartition(" ")[2])


class Application:
    """The application with its own `users`: it changes, suspends and removes only whom it brought itself."""

    def __init__(self, connection: Connection, luck: random.Random) -> None:
        self._connection = connection
        self._luck = luck
        self._count = 0

    async def step(self) -> None:
        """Make one edit of one person; then pause."""
        self._count += 1
        one = f"(SELECT id FROM users WHERE email LIKE '{OWN}%' ORDER BY random() LIMIT 1)"
        bring = "INSERT INTO users (email, full_name, avatar) VALUES ($1 || '@example.com', $1, 'pic')"
        statements = {
            f"UPDATE users SET full_name = $1 WHERE id = {one}": 8,
            f"UPDATE users SET full_name = $1, avatar = $1, verified = true WHERE id = {one}": 4,
            f"UPDATE users SET suspended = NOT suspended, full_name = $1 WHERE id = {one}": 2,
            f"DELETE FROM users WHERE id = {one} AND $1::text IS NOT NULL": 1,
            bring: 5,
        }
        [statement] = self._luck.choices([*statements], [*statements.values()])
        await self._connection.execute(statement, f"{OWN}{self._count}")
        await asyncio.sleep(self._luck.uniform(0, 0.1))
