"""What is forgotten: deliveries once settled, the rest after its time, in bounded ranges of ids (decision 0003)."""

from idsync.model.values import Instant
from idsync.stores.common.retention import Retention
from idsync.stores.sqlite.db import Db

Sweep = tuple[int, int, int]
"""How far the last trim looked in inbox, attempts, conflicts: rows that must stay are not looked at each time anew."""


def trim(db: Db, now: Instant, limit: int, retention: Retention, sweep: Sweep) -> tuple[int, Sweep]:
    """Delete at most `limit` rows; give how many, and where to look next. One bounded step of the writer.

    Deliveries go first, for they keep the inbox rows that they point to.
    """
    deleted = db.write("trim_deliveries", limit)
    in_inbox, inbox = _trim("inbox", db, now - retention.inbox_s * 1000, sweep[0], limit - deleted)
    deleted += in_inbox
    in_attempts, attempts = _trim("attempts", db, now - retention.attempts_s * 1000, sweep[1], limit - deleted)
    deleted += in_attempts
    in_conflicts, conflicts = _trim("conflicts", db, now - retention.conflicts_s * 1000, sweep[2], limit - deleted)
    return deleted + in_conflicts, (inbox, attempts, conflicts)


def _trim(table: str, db: Db, before: int, after: int, limit: int) -> tuple[int, int]:
    """Delete what is too old of a table's next `limit` rows; give how many, and where to go on (0: at the first)."""
    if limit <= 0:
        return 0, after
    last, expired = db.read(f"scan_{table}", before, after, limit)[0]
    if not expired:
        return 0, 0
    return db.write(f"trim_{table}", before, after, last), last
