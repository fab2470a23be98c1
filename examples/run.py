"""`make run`: keeps two SQLite databases equal, prints what happens as it happens, and a URL.

One database has Better Auth's real schema, the other an application's own `users` table. Both are in `playground/`:
edit either one, and look at the other.
"""

import sqlite3
from contextlib import closing

from examples.stage import FOLDER, HERE, execute, expect, find, prepare, start_idsync, stay

HINT = """
Both databases are yours now, in playground/, until `make run` begins anew. In another terminal:

  .venv/bin/python -m examples.edit app full_name "Augusta Ada King"
  .venv/bin/python -m examples.edit auth email ada@example.org
  cd playground && ../.venv/bin/idsync explain ada@example.org

Ctrl-C stops it.
"""


def main() -> None:
    """Set the stage, run a first edit in each direction, then leave the stage to the user."""
    prepare()
    with closing(sqlite3.connect(FOLDER / "auth.db")) as auth:
        auth.execute("PRAGMA journal_mode = WAL")
        auth.executescript((HERE / "better-auth" / "schema.sql").read_text())
    idsync = start_idsync()
    try:
        print("\nAda signs up: a new row in auth.db", flush=True)
        at = "2026-01-01T12:00:00.000Z"
        execute(
            "auth.db",
            'INSERT INTO "user" (id, name, email, emailVerified, createdAt, updatedAt) VALUES (?, ?, ?, 1, ?, ?)',
            *("u_ada", "Ada", "ada@example.com", at, at),
        )
        expect("Ada is in app.db", lambda: find("app.db", "SELECT full_name FROM users") == [("Ada",)])

        print("\nThe application renames her in app.db", flush=True)
        execute("app.db", "UPDATE users SET full_name = 'Ada Lovelace'")
        expect("auth.db has the new name", lambda: find("auth.db", 'SELECT name FROM "user"') == [("Ada Lovelace",)])
        stay(idsync, HINT)
    finally:
        idsync.terminate()
        idsync.wait()


if __name__ == "__main__":
    main()
