"""Two SQLite files with a `users` table each: how long an edit in one takes until it is seen in the other."""

import time
from pathlib import Path
from typing import Final

import apsw

from bench.programs import BenchError

SCHEMA: Final = """
CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, full_name TEXT NOT NULL);
CREATE TABLE edits (seq INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TRIGGER edits_insert AFTER INSERT ON users BEGIN INSERT INTO edits (id) VALUES (new.id); END;
CREATE TRIGGER edits_update AFTER UPDATE ON users BEGIN INSERT INTO edits (id) VALUES (new.id); END;
"""
USERS: Final = 200
EDIT: Final = "UPDATE users SET full_name = ? WHERE email = ?"
POLL_S: Final = 0.001
TIMEOUT_S: Final = 30.0


def make_files(left: Path, right: Path, *, is_copied: bool) -> None:
    """Make the two databases; those that are copied have the users on both sides, else only on the left."""
    for path in (left, right):
        connection = open_file(path)
        connection.pragma("journal_mode", "wal")
        tables = SCHEMA if is_copied else SCHEMA.partition("\n")[2].partition("\n")[0]
        connection.execute(tables)
        with connection:
            for number in range(USERS if path is left or is_copied else 0):
                row = (f"{path.stem}-{number}", f"user{number}@example.com", "Ada")
                connection.execute("INSERT INTO users (id, email, full_name) VALUES (?, ?, ?)", row)
        connection.close()


class Pair:
    """Both files, as an application has them open."""

    def __init__(self, left: Path, right: Path) -> None:
        self._left = open_file(left)
        self._right = open_file(right)
        self._number = 0

    def is_equal(self) -> bool:
        """Whether both sides hold the same users."""
        users = "SELECT email, full_name FROM users ORDER BY email"
        found = self._left.execute(users).fetchall()
        return len(found) == USERS and found == self._right.execute(users).fetchall()

    def edit(self, rate: float, for_s: float) -> list[float]:
        """Edit one user after the other on the left at a rate; give how long each took to be seen on the right.

        The time counts from when the edit was due, so an edit that had to wait for a lock is charged for it.

        Raises:
            BenchError: one was not seen within `TIMEOUT_S`.
        """
        waiting: dict[str, tuple[str, float]] = {}
        latencies: list[float] = []
        seen = 0
        began = time.monotonic()
        count = int(rate * for_s)
        done = 0
        while done < count or waiting:
            now = time.monotonic()
            if done < count and now >= (at := began + done / rate):
                email, name = f"user{self._number % USERS}@example.com", f"Ada {self._number}"
                self._left.execute(EDIT, (name, email))
                waiting[email] = (name, at)
                self._number += 1
                done += 1
            elif (version := self._version()) != seen:
                seen = version
                latencies += self._arrived(waiting)
            elif waiting and now - next(iter(waiting.values()))[1] > TIMEOUT_S:
                raise BenchError(f"{len(waiting)} edits were not seen on the other side within {TIMEOUT_S:.0f} s")
            else:
                time.sleep(POLL_S)
        return latencies

    def close(self) -> None:
        """Release both files."""
        self._left.close()
        self._right.close()

    def _version(self) -> int:
        return int(str(self._right.pragma("data_version")))

    def _arrived(self, waiting: dict[str, tuple[str, float]]) -> list[float]:
        """Take out of `waiting` what is there now."""
        now = time.monotonic()
        marks = ",".join("?" * len(waiting))
        rows = self._right.execute(f"SELECT email, full_name FROM users WHERE email IN ({marks})", tuple(waiting))  # noqa: S608  # only marks
        return [now - waiting.pop(str(email))[1] for email, name in rows.fetchall() if waiting[str(email)][0] == name]


def open_file(path: Path) -> apsw.Connection:
    """Connect as an application does."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.pragma("synchronous", "FULL")
    return connection
