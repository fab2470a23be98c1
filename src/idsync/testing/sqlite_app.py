"""An application with an SQLite file, in a process and with an SQLite library of its own.

    with SqliteApp(path) as app:
        app.run("INSERT INTO users (email) VALUES (?)", "a@example.com")

It must be another process: file locks belong to processes, so two SQLite libraries in one do not see each other, and
damage the file. Its library is the one of Python's own `sqlite3`, usually older than ours.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SqlValue = None | int | float | str | bytes

_PROGRAM: Final = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
unpack = lambda value: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
pack = lambda value: {"hex": value.hex()} if isinstance(value, bytes) else value
for line in sys.stdin:
    sql, values = json.loads(line)
    try:
        if values is None:
            connection.executescript(sql)
            answer = []
        else:
            rows = connection.execute(sql, [unpack(value) for value in values])
            answer = [[pack(value) for value in row] for row in rows]
    except sqlite3.Error as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer), flush=True)
"""


class AppRefused(Exception):
    """The application's SQLite refused a statement; the text is its own."""


class SqliteApp:
    """One application. Calls block, and each is over when its transaction is, unless it began one itself."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-I", "-c", _PROGRAM, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        """Be open until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the application."""
        self.close()

    def run(self, sql: str, *values: SqlValue) -> list[list[SqlValue]]:
        """Run one statement and give its rows.

        Raises:
            AppRefused: SQLite refused it.
        """
        return self._ask(sql, [{"hex": one.hex()} if isinstance(one, bytes) else one for one in values])

    def run_script(self, sql: str) -> None:
        """Run many statements.

        Raises:
            AppRefused: SQLite refused one of them.
        """
        self._ask(sql, None)

    def close(self) -> None:
        """End the application in good order; safe to call twice."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, sql: str, values: list[object] | None) -> list[list[SqlValue]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the application was started without pipes")
        print(json.dumps([sql, values]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the application ended with status {self._process.wait()}")
        answer = json.loads(line)
        if isinstance(answer, dict):
            raise AppRefused(answer["refused"])
        return [[bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in row] for row in answer]
