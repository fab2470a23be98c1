"""SQL as text: names, constants, and the statements that stand in files."""

from functools import cache
from importlib import resources


@cache
def statement_of(package: str, name: str) -> str:
    """Read `sql/<name>.sql` of a package without its comments, which would be kept for ever in somebody's schema."""
    text = (resources.files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()


def quoted(name: str) -> str:
    """Write an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a text constant."""
    return "'" + text.replace("'", "''") + "'"
