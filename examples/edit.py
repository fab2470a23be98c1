"""Edit a database of `make run` as the program that owns it would: `python -m examples.edit auth|app COLUMN VALUE`."""

import sqlite3
import sys
import time

from examples import stage

TABLES = {"auth": ('"user"', "id, name, email"), "app": ("users", "id, auth_id, full_name, email, suspended")}
FOLLOWS_S = 2.0


def main() -> None:
    """Change one column of every row, and show both tables: the other one as soon as it has followed."""
    try:
        side, column, value = sys.argv[1:]
        (other,) = TABLES.keys() - {side}
    except ValueError:
        raise SystemExit(__doc__) from None
    if not (stage.FOLDER / f"{side}.db").exists():
        raise SystemExit(f"There is no playground/{side}.db: start `make run` first.")
    before = _look(other)
    quoted = column.replace('"', '""')
    try:
        stage.execute(f"{side}.db", f'UPDATE {TABLES[side][0]} SET "{quoted}" = ?', value)  # noqa: S608  # the user's own
    except sqlite3.Error as fault:
        raise SystemExit(f"playground/{side}.db: {fault}") from None
    _show(side)
    ends_at = time.monotonic() + FOLLOWS_S
    while _look(other) == before and time.monotonic() < ends_at:
        time.sleep(0.002)
    _show(other)


def _look(side: str) -> list[tuple[object, ...]]:
    table, columns = TABLES[side]
    return stage.find(f"{side}.db", f"SELECT {columns} FROM {table}")  # noqa: S608  # names from the table above


def _show(side: str) -> None:
    for row in _look(side):
        print(f"{side}.db", *row)


if __name__ == "__main__":
    main()
