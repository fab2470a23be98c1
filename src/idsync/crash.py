"""Named crash points: where a test may kill the process. Inert unless a test arms one.

A point is armed by the environment variable `IDSYNC_CRASH`: `<name>` or `<name>:<n>`, the n-th time that point is
passed (1 by default). Death is SIGKILL to ourselves: nothing is flushed and no handler runs.
"""

import os
import signal
from typing import Final

POINTS: Final = (
    "ingest.loaded",
    "ingest.before_commit",
    "ingest.after_commit",
    "store.in_transaction",
    "store.after_commit",
    "source.read",
    "source.before_trim",
    "source.after_trim",
    "deliver.read",
    "intent.before_commit",
    "intent.written",
    "target.in_transaction",
    "target.before_commit",
    "target.written",
    "send.before",
    "send.answered",
    "settle.announced",
    "settle.before_commit",
    "health.before_commit",
    "settle.after_commit",
    "park.before_commit",
    "reread.before_commit",
    "release.before_commit",
    "retention.before_commit",
    "command.before_commit",
    "replay.before_commit",
    "replay.after_commit",
    "replay.before_end",
    "endpoint.before_commit",
    "endpoint.after_commit",
    "skip.before_commit",
    "capture.in_transaction",
    "rewind.in_transaction",
)
"""Every point, so that a test can kill at each and a point that is never passed is found."""


class _Fuse:
    """Counts down the passes of the one armed point."""

    def __init__(self, armed: str) -> None:
        name, _, count = armed.partition(":")
        self.name = name
        self.left = int(count or 1)

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


_FUSE: Final = _Fuse(os.environ["IDSYNC_CRASH"]) if os.environ.get("IDSYNC_CRASH") else None


def point(name: str) -> None:
    """Die here if a test armed this point; otherwise do nothing (one comparison)."""
    if _FUSE is not None and _FUSE.name == name:
        _FUSE.burn()
