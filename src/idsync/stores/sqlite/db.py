"""One connection that speaks in verbs: each is a file in `sql/`, and this is where SQLite's errors become ours."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from itertools import chain
from typing import Any, Final

import apsw
import msgspec

from idsync.errors import DataRefused, StoreError
from idsync.stores.common.rows import Row

CHUNKS: Final = (64, 16, 4, 1)
"""Rows written by one statement. Few sizes, so that each is prepared once; one statement for many rows lets go of the
interpreter's lock once, not once a row."""

_ROW: Final = re.compile(r"\(\?(?:, \?)*\)")
_encode: Final = msgspec.json.Encoder().encode


def read_verbs() -> dict[str, str]:
    """Read every statement of `sql/`, by the name of its file."""
    folder = files(__package__).joinpath("sql")
    return {path.name.removesuffix(".sql"): path.read_text() for path in folder.iterdir() if path.name.endswith(".sql")}


def to_json(values: object) -> str:
    """Encode keys for one `json_each`.

    Raises:
        UnicodeEncodeError: a text holds a lone surrogate.
    """
    return _encode(values).decode()


class Db:
    """One connection. Belongs to one thread at a time."""

    def __init__(self, connection: apsw.Connection, verbs: Mapping[str, str]) -> None:
        """Speak over an open connection."""
        self.connection = connection
        self._verbs = verbs
        self._expanded: dict[tuple[str, int], str] = {}

    def read(self, verb: str, *bindings: Any) -> list[Row]:  # noqa: ANN401  # whatever SQLite can store
        """Run a query and give all its rows."""
        return self.connection.execute(self._verbs[verb], bindings).fetchall()

    def read_one(self, verb: str, *bindings: Any) -> Row | None:  # noqa: ANN401  # as above
        """Run a query and give its first row, or None."""
        rows = self.read(verb, *bindings)
        return rows[0] if rows else None

    def read_packed(self, verb: str, keys: object) -> str:
        """Find many keys with a query that answers with one text: it changes threads once, and not once a row."""
        text: str = self.read(verb, to_json(keys))[0][0]
        return text

    def write(self, verb: str, *bindings: Any) -> int:  # noqa: ANN401  # as above
        """Run one change and give the number of rows it touched."""
        self.connection.execute(self._verbs[verb], bindings)
        return self.connection.changes()

    def write_many(self, verb: str, rows: Sequence[Row]) -> None:
        """Run an INSERT for many rows, with as few statements as there are chunks."""
        start = 0
        for size in CHUNKS:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                self.connection.execute(self._many(verb, size), tuple(chain.from_iterable(chunk)))
                start += size

    def _many(self, verb: str, size: int) -> str:
        """Repeat the one row of placeholders that the statement has."""
        found = self._expanded.get((verb, size))
        if found is None:
            found = _ROW.sub(lambda row: ", ".join([row[0]] * size), self._verbs[verb], count=1)
            self._expanded[verb, size] = found
        return found

    def begin(self) -> None:
        """Begin the transaction of the only writer."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the transaction durable."""
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, unless SQLite did so itself, as it does after a failure of the disk."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Let several reads see one moment."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.rollback()


DATA_FAULTS: Final = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.TooBigError,
    UnicodeEncodeError,
    OverflowError,
)
"""What the rows are to blame for, wherever they would be written."""


def refusal(fault: Exception) -> DataRefused:
    """Say that rows are refused. The text of a fault of encoding would quote the value, so it is left out."""
    cause = str(fault) if isinstance(fault, apsw.Error) else type(fault).__name__
    return DataRefused(f"the store refuses a row of this plan: {cause}; commit the others without it")


@contextmanager
def named_faults(path: str) -> Iterator[None]:
    """Turn what SQLite raises into errors of ours that name the file."""
    try:
        yield
    except DATA_FAULTS as fault:
        raise refusal(fault) from fault
    except apsw.Error as fault:
        raise StoreError(_describe(path, fault)) from fault


def _describe(path: str, fault: apsw.Error) -> str:
    match fault:
        case apsw.NotADBError() | apsw.CorruptError() | apsw.FormatError():
            advice = "it is damaged or no SQLite database; restore it from a backup or name another file"
        case apsw.FullError():
            advice = "the disk is full; free some space"
        case apsw.IOError() | apsw.CantOpenError() | apsw.PermissionsError() | apsw.ReadOnlyError():
            advice = "check that the disk works and that this user may write the file and its directory"
        case apsw.BusyError() | apsw.LockedError():
            advice = "another program has the file open; close it"
        case _:
            advice = "this is a fault of idsync or of the machine"
    return f"the store {path} failed: {type(fault).__name__}: {fault}; {advice}"
