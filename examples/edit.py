"""Edit a database of `make run` as the program that owns it would: `python -m examples.edit auth|app COLUMN VALUE`."""

import sys

from examples.stage import execute, find

TABLES = {"auth": ('"user"', "id, name, email"), "app": ("users", "id, auth_id, full_name, email, suspended")}


def main() -> None:
    """Change one column of every row, and show both tables."""
    try:
        side, column, value = sys.argv[1:]
        table, _ = TABLES[side]
    except (ValueError, KeyError):
        raise SystemExit(__doc__) from None
    quoted = column.replace('"', '""')
    execute(f"{side}.db", f'UPDATE {table} SET "{quoted}" = ?', value)  # noqa: S608  # the user's own playground
    for name, (other, columns) in TABLES.items():
        for row in find(f"{name}.db", f"SELECT {columns} FROM {other}"):  # noqa: S608  # names from the table above
            print(f"{name}.db", *row)


if __name__ == "__main__":
    main()
