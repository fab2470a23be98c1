"""What the configuration says of one kind at one peer: which table, which columns, what a delete and a ban do there."""

from enum import StrEnum

import msgspec

SqlValue = None | int | float | str | bytes


class Encoding(StrEnum):
    """How a column writes a canonical value. What is not declared is taken from what the column already holds."""

    PLAIN = "plain"
    FLAG = "flag"
    """0 or 1."""
    FLAG_TEXT = "flag-text"
    """`true` or `false`."""
    INVERSE_FLAG = "inverse-flag"
    """0 for true: an `active` column that a ban clears."""
    COMMA = "comma"
    """A list as `a,b`."""
    JSON = "json"
    """A list as `["a","b"]`."""
    ARRAY = "array"
    """A list as PostgreSQL writes its arrays: `{"a","b"}`."""
    ISO = "iso"
    """`2026-01-31T12:00:00.000Z`."""
    SPACED = "spaced"
    """`2026-01-31 12:00:00`, UTC; SQLite's own form."""
    MS = "ms"
    SECONDS = "seconds"


class IdStyle(StrEnum):
    """What a new text key looks like, where the table has none yet to go by."""

    UUID = "uuid"
    LETTERS = "letters"
    """32 random letters and digits, as Better Auth makes them."""


class TableMapping(msgspec.Struct, frozen=True, kw_only=True):
    """One kind in one table. A name that is not found as it is written is found without regard to case."""

    kind: str
    table: str
    key: str | None = None
    """The column of the peer's own id, text or integer; None: the field `id`, else the primary key."""
    link: str | None = None
    """The column that holds the id at the first peer of `sync.<kind>.peers`."""
    fields: dict[str, str]
    """Canonical field → column. No other column ever leaves the table."""
    optional: frozenset[str] = frozenset()
    """Canonical fields whose column may be missing."""
    is_optional: bool = False
    """Whether the table may be missing."""
    on_delete: str = "delete"
    """`delete`, `ignore`, or `soft:<column>`: the column says when; a row where it is set is not there for us."""
    on_ban: str = "ignore"
    """`ignore`, `flag:<column>` (true is banned) or `deactivate:<column>` (false is banned)."""
    created: str | None = None
    """The column stamped by a create; None: found by its usual name, if there is one."""
    updated: str | None = None
    """The column stamped by every write; None: found by its usual name, if there is one."""
    defaults: dict[str, SqlValue] = {}
    """Column → value of a create, where nothing else sets it."""
    encodings: dict[str, Encoding] = {}
    """Canonical field → how its column writes it; absent: as found."""
    may_create: bool = True
    """Whether we ever make a row: those of some tables need more than we know, as a session needs its token."""
    id_style: IdStyle = IdStyle.UUID
    ends: tuple[tuple[str, str], ...] = ()
    """(table, column) of rows that a ban removes: those whose column holds the key of who is banned."""

    @property
    def held_fields(self) -> dict[str, str]:
        """Every canonical field with its column: the ban's too, and not the id, which is no field but the key."""
        verb, _, column = self.on_ban.partition(":")
        fields = {field: name for field, name in self.fields.items() if field != "id"}
        return fields if verb == "ignore" else {**fields, "banned": column}

    @property
    def soft(self) -> str | None:
        """The column of a soft delete."""
        verb, _, column = self.on_delete.partition(":")
        return column if verb == "soft" else None
