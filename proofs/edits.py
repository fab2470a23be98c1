"""Edits from outside, as applications make them: one at a time, random, each with values that no other edit has."""

import random
import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from idsync.testing.sqlite_app import SqliteApp

KINDS: Final[dict[str, int]] = {
    "insert": 16,
    "rename": 26,
    "change_several": 20,
    "erase": 8,
    "replace_itself": 8,
    "replace_other": 4,
    "upsert": 6,
    "change_many": 6,
    "roll_back": 6,
}
"""Edit → weight."""


class Names:
    """Values that are never the same twice."""

    def __init__(self) -> None:
        self._count = 0

    def new(self, what: str) -> str:
        """Make one."""
        self._count += 1
        return f"{what} {self._count}"

    def email(self) -> str:
        """Make an e-mail. Half of them are even, half odd: see `replace_other`."""
        self._count += 1
        return f"p{self._count}-{('even', 'odd')[self._count % 2]}@example.com"


class AppEditor:
    """The application with its own `users` table."""

    def __init__(self, app: SqliteApp, names: Names, chance: random.Random) -> None:
        """Edit through this application."""
        self._app = app
        self._names = names
        self._chance = chance

    def edit(self) -> str:
        """Make one random edit; give its kind."""
        return _edit(self, self._chance)

    def insert(self) -> None:
        """Somebody new."""
        row = (self._names.email(), self._names.new("name"), self._names.new("pic"))
        self._app.run("INSERT INTO users (email, full_name, avatar) VALUES (?, ?, ?)", *row)

    def insert_linked(self, auth_id: str, email: str) -> None:
        """Somebody whom the application believes to know from elsewhere."""
        row = (auth_id, email, self._names.new("name"), self._names.new("pic"))
        self._app.run("INSERT INTO users (auth_id, email, full_name, avatar) VALUES (?, ?, ?, ?)", *row)

    def rename(self) -> None:
        """One field of one row."""
        self._app.run("UPDATE users SET full_name = ? WHERE id = ?", self._names.new("name"), self._one())

    def change_several(self) -> None:
        """Three fields of one row."""
        values = (self._names.new("name"), self._names.new("pic"), self._one())
        self._app.run("UPDATE users SET full_name = ?, avatar = ?, suspended = 1 - suspended WHERE id = ?", *values)

    def erase(self) -> None:
        """One row goes."""
        self._app.run("DELETE FROM users WHERE id = ?", self._one())

    def replace_itself(self) -> None:
        """A row is replaced by one with the same key."""
        columns = "id, auth_id, email, verified, full_name, avatar, suspended"
        values = "id, auth_id, email, verified, ?, avatar, suspended"
        self._replace(columns, values)

    def replace_other(self) -> None:
        """A row is replaced by a new one that takes its e-mail: no delete trigger fires for the old one.

        Each side does so to one half of the people: were both to do it to one person at once, there would be two new
        people with one unproven e-mail, and only an operator could say whether they are the same.
        """
        self._replace("email, full_name", "email, ?", "WHERE email LIKE '%-odd@%'")

    def upsert(self) -> None:
        """A row is written whether it is there or not."""
        self._app.run(
            "INSERT INTO users (email, full_name) SELECT email, ? FROM users WHERE id = ?"
            " ON CONFLICT (email) DO UPDATE SET full_name = excluded.full_name",
            self._names.new("name"),
            self._one(),
        )

    def change_many(self) -> None:
        """Several rows in one transaction."""
        _in_transaction(self._app, [self.rename, self.change_several, self.rename], "COMMIT")

    def roll_back(self) -> None:
        """Changes that never were."""
        _in_transaction(self._app, [self.insert, self.erase, self.rename], "ROLLBACK")

    def _replace(self, columns: str, values: str, among: str = "") -> None:
        sql = f"INSERT OR REPLACE INTO users ({columns}) SELECT {values} FROM users WHERE id = ?"
        self._app.run(sql, self._names.new("name"), self._one(among))

    def _one(self, among: str = "") -> int | None:
        ids = self._app.run(f"SELECT id FROM users {among}")  # our own condition
        return int(str(self._chance.choice(ids)[0])) if ids else None


class AuthEditor:
    """The identity provider's own program, as far as its `user` table goes."""

    def __init__(self, app: SqliteApp, names: Names, chance: random.Random) -> None:
        """Edit through this application."""
        self._app = app
        self._names = names
        self._chance = chance

    def edit(self) -> str:
        """Make one random edit; give its kind."""
        return _edit(self, self._chance)

    def insert(self) -> None:
        """Somebody signs up."""
        self.sign_up("".join(self._chance.choices(string.ascii_letters + string.digits, k=32)), self._names.email())

    def sign_up(self, user_id: str, email: str) -> None:
        """Somebody signs up, whose id and e-mail are known."""
        is_verified = self._chance.randrange(2)
        row = (user_id, self._names.new("name"), email, is_verified, self._names.new("pic"), _now(), _now())
        columns = "id, name, email, emailVerified, image, createdAt, updatedAt"
        self._app.run(f'INSERT INTO "user" ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)', *row)

    def rename(self) -> None:
        """One field of one row."""
        values = (self._names.new("name"), _now(), self._one())
        self._app.run('UPDATE "user" SET name = ?, updatedAt = ? WHERE id = ?', *values)

    def change_several(self) -> None:
        """A new e-mail and a new picture; or a ban, or its end."""
        if self._chance.random() < 0.5:
            values = (self._names.email(), self._names.new("pic"), _now(), self._one())
            self._app.run(
                'UPDATE "user" SET email = ?, emailVerified = 0, image = ?, updatedAt = ? WHERE id = ?', *values
            )
            return
        self._app.run(
            'UPDATE "user" SET banned = NOT coalesce(banned, 0), banReason = iif(coalesce(banned, 0), NULL, ?),'
            " updatedAt = ? WHERE id = ?",
            self._names.new("reason"),
            _now(),
            self._one(),
        )

    def erase(self) -> None:
        """One row goes."""
        self._app.run('DELETE FROM "user" WHERE id = ?', self._one())

    def replace_itself(self) -> None:
        """A row is replaced by one with the same key."""
        self._app.run(
            'INSERT OR REPLACE INTO "user" (id, name, email, emailVerified, image, createdAt, updatedAt)'
            ' SELECT id, ?, email, emailVerified, image, createdAt, ? FROM "user" WHERE id = ?',
            self._names.new("name"),
            _now(),
            self._one(),
        )

    def replace_other(self) -> None:
        """As the application does it, to the other half of the people."""
        user_id = "".join(self._chance.choices(string.ascii_letters + string.digits, k=32))
        self._app.run(
            'INSERT OR REPLACE INTO "user" (id, name, email, emailVerified, createdAt, updatedAt)'
            ' SELECT ?, ?, email, emailVerified, ?, ? FROM "user" WHERE id = ?',
            *(user_id, self._names.new("name"), _now(), _now(), self._one("WHERE email LIKE '%-even@%'")),
        )

    def upsert(self) -> None:
        """A row is written whether it is there or not."""
        self._app.run(
            'INSERT INTO "user" (id, name, email, emailVerified, createdAt, updatedAt)'
            ' SELECT id, ?, email, emailVerified, createdAt, ? FROM "user" WHERE id = ?'
            " ON CONFLICT (id) DO UPDATE SET name = excluded.name, updatedAt = excluded.updatedAt",
            self._names.new("name"),
            _now(),
            self._one(),
        )

    def change_many(self) -> None:
        """Several rows in one transaction."""
        _in_transaction(self._app, [self.rename, self.change_several, self.rename], "COMMIT")

    def roll_back(self) -> None:
        """Changes that never were."""
        _in_transaction(self._app, [self.insert, self.erase, self.rename], "ROLLBACK")

    def _one(self, among: str = "") -> str | None:
        ids = self._app.run(f'SELECT id FROM "user" {among}')  # our own condition
        return str(self._chance.choice(ids)[0]) if ids else None


Editor = AppEditor | AuthEditor


def _edit(editor: Editor, chance: random.Random) -> str:
    [kind] = chance.choices(list(KINDS), list(KINDS.values()))
    edit: Callable[[], None] = getattr(editor, kind)
    edit()
    return kind


def _in_transaction(app: SqliteApp, edits: list[Callable[[], None]], end: str) -> None:
    app.run("BEGIN IMMEDIATE")
    for edit in edits:
        edit()
    app.run(end)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
