"""Watches a journal from a process of its own, and notes when each row could first be seen from outside."""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

# It looks as often as this; what it notes is late by as much at most.
POLL_S: Final = 0.001

_PROGRAM: Final = """
import json, sqlite3, sys, time
file, poll_s = sys.argv[1], float(sys.argv[2])
connection = sqlite3.connect(file, timeout=10, isolation_level=None)
last, version = 0, None
while True:
    now = connection.execute("PRAGMA data_version").fetchone()
    if now != version:
        version = now
        rows = connection.execute("SELECT seq FROM journal WHERE seq > ? ORDER BY seq", (last,)).fetchall()
        seen = time.time() * 1000
        for (last,) in rows:
            print(last, seen, flush=True)
    time.sleep(poll_s)
"""


class Watcher:
    """One watcher, at work inside `with`."""

    def __init__(self, database: Path) -> None:
        """Start nothing yet; the journal must be there."""
        self._database = database
        self._notes = database.with_suffix(".seen")
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Begin to watch."""
        with self._notes.open("wb") as notes:
            command = [sys.executable, "-I", "-c", _PROGRAM, str(self._database), str(POLL_S)]
            self._child = subprocess.Popen(command, stdout=notes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()

    def seen_at_ms(self) -> dict[int, float]:
        """Number of each journal row → when it was first seen."""
        lines = (line.split() for line in self._notes.read_text().splitlines())
        return {int(seq): float(at) for seq, at in lines}
