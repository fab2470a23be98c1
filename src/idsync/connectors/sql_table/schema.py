"""What a peer's table really looks like: the configured names found, how columns write, what makes rows unique."""

import re
from collections.abc import Iterable
from typing import Final

import apsw
import msgspec

from idsync.connectors.sql_table.database import quoted, statement
from idsync.connectors.sql_table.mapping import Encoding, IdStyle, SqlValue, TableMapping
from idsync.errors import SchemaMismatch
from idsync.policy.canonical import FLAG_FIELDS, SECONDS_MAX

BINARY: Final = '"BINARY"'
CREATED_NAMES: Final = ("createdat", "created_at", "created", "created_on", "inserted_at", "date_joined")
UPDATED_NAMES: Final = ("updatedat", "updated_at", "updated", "updated_on", "modified_at", "modified")
UUID_LENGTH: Final = 36
LETTERS_LENGTH: Final = 32

_TOKENS: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|\w+|.""", re.DOTALL
)


class UniqueSet(msgspec.Struct, frozen=True):
    """Columns that no two rows may share, each with the collation they are compared by."""

    columns: tuple[tuple[str, str], ...]
    """(name, collation as SQL writes it)."""
    where: str | None = None
    """The condition of a partial index, as its owner wrote it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns without their collations."""
        return tuple(name for name, _ in self.columns)


class Column(msgspec.Struct, frozen=True):
    """One column and what it holds."""

    field: str
    """The canonical field; the column's own name where it holds none."""
    name: str
    encoding: Encoding
    instead: SqlValue = None
    """What stands for null in a column that cannot hold it; None: it can, or nothing can stand for it."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping as it was found in the database."""

    kind: str
    name: str
    key: str
    key_collation: str
    """Of what makes the key unique, as SQL writes it."""
    has_own_keys: bool
    """Whether the database gives a new row its key."""
    id_style: IdStyle
    link: str | None
    columns: tuple[Column, ...]
    soft: Column | None
    is_removed: bool
    """Whether a delete removes the row; with `soft` it is marked, else left."""
    created: Column | None
    updated: Column | None
    defaults: dict[str, SqlValue]
    uniques: tuple[UniqueSet, ...]
    ends: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    @property
    def captured(self) -> tuple[str, ...]:
        """The only columns whose values may leave the table in a trigger."""
        more = [self.link, self.soft.name if self.soft else None]
        names = [self.key, *(column.name for column in self.columns), *(name for name in more if name is not None)]
        return tuple(dict.fromkeys(names))

    def column_of(self, field: str) -> Column | None:
        """The column of a canonical field."""
        return next((column for column in self.columns if column.field == field), None)


class _Declared(msgspec.Struct, frozen=True):
    """A column as the table declares it."""

    name: str
    type: str
    is_required: bool
    has_default: bool
    primary: int
    is_generated: bool


class _Shape:
    """One table's declaration, and what some of its rows hold."""

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        self.connection = connection
        rows = connection.execute(
            'SELECT name, upper(type), "notnull", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?)',
            (name,),
        )
        self.columns = [
            _Declared(str(column), str(kind), bool(required), bool(default), int(str(pk)), bool(hidden))
            for column, kind, required, default, pk, hidden in rows
        ]
        self.name = name
        self.by_name = {column.name.lower(): column for column in self.columns}

    def find(self, name: str | None) -> _Declared | None:
        return self.by_name.get(name.lower()) if name is not None else None

    def sample(self, column: str) -> str | int | float | None:
        """One value that the column holds, None where the first rows hold none."""
        sql = statement("sample_column").format(column=quoted(column), table=quoted(self.name))
        found = self.connection.execute(sql).fetchone()
        if found is None or not isinstance(found[1], bytes):
            return None
        text = found[1].decode(errors="replace")
        return int(text) if found[0] == "integer" else float(text) if found[0] == "real" else text


def find_tables(connection: apsw.Connection, mappings: Iterable[TableMapping]) -> dict[str, Table]:
    """Find every mapped table, by kind; an optional one that is missing is left out.

    Raises:
        SchemaMismatch: a configured table or column is missing, or cannot be used; each is named.
    """
    tables: dict[str, Table] = {}
    for mapping in mappings:
        table = _find_table(connection, mapping)
        if table is not None:
            tables[mapping.kind] = table
    return tables


def _find_table(connection: apsw.Connection, mapping: TableMapping) -> Table | None:
    row = connection.execute(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND lower(name) = lower(?)",
        (mapping.table,),
    ).fetchone()
    if row is None and mapping.is_optional:
        return None
    if row is None or row[1] != "table":
        what = "there is none" if row is None else f"it is a {row[1]}"
        raise SchemaMismatch(f"{mapping.kind}: the table {mapping.table} is needed and {what}")
    shape = _Shape(connection, str(row[0]))
    key = _key_of(shape, mapping)
    fields = _fields_of(shape, mapping)
    uniques, warnings = _unique_sets(connection, shape.name)
    is_alias = key.primary > 0 and key.type == "INTEGER" and not row[2] and _count_primary(shape) == 1
    if is_alias:
        uniques = (*uniques, UniqueSet(((key.name, BINARY),)))
    collation = next((one.columns[0][1] for one in uniques if one.names == (key.name,) and one.where is None), None)
    if collation is None:
        warnings = (*warnings, f"{shape.name}: nothing makes {key.name} unique; rows that share a key are not written")
    taken = {key.name, *(column.name for column in fields)}
    created, updated = (_stamp_of(shape, mapping, which, taken) for which in ("created", "updated"))
    soft = _soft_of(shape, mapping)
    table = Table(
        kind=mapping.kind,
        name=shape.name,
        key=key.name,
        key_collation=collation or BINARY,
        has_own_keys=is_alias or key.has_default,
        id_style=_id_style_of(shape, key, mapping),
        link=_needed(shape, mapping, mapping.link).name if mapping.link else None,
        columns=fields,
        soft=soft,
        is_removed=mapping.on_delete == "delete",
        created=created,
        updated=updated,
        defaults=_defaults_of(shape, mapping, fields),
        uniques=uniques,
        ends=tuple(one for one in mapping.ends if _exists(connection, *one)),
        warnings=warnings,
    )
    more = _creation_warnings(shape, table) if mapping.may_create else ()
    return msgspec.structs.replace(table, warnings=(*warnings, *more))


def _key_of(shape: _Shape, mapping: TableMapping) -> _Declared:
    named = mapping.key or mapping.fields.get("id")
    if named is not None:
        return _needed(shape, mapping, named)
    primary = [column for column in shape.columns if column.primary]
    if len(primary) != 1:
        raise SchemaMismatch(
            f"{mapping.kind}: {shape.name} has no primary key of one column; name the key column in `key`"
        )
    return primary[0]


def _count_primary(shape: _Shape) -> int:
    return sum(column.primary > 0 for column in shape.columns)


def _fields_of(shape: _Shape, mapping: TableMapping) -> tuple[Column, ...]:
    columns: list[Column] = []
    for field, name in mapping.held_fields.items():
        if shape.find(name) is None and field in mapping.optional:
            continue
        declared = _needed(shape, mapping, name)
        if declared.is_generated:
            raise SchemaMismatch(
                f"{mapping.kind}: {shape.name}.{name} is computed by the database and cannot be synchronised"
            )
        encoding = mapping.encodings.get(field) or _encoding_of(shape, mapping, field, declared)
        columns.append(Column(field, declared.name, encoding, _instead_of_null(field, declared, encoding)))
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise SchemaMismatch(f"{mapping.kind}: two fields name the same column of {shape.name}")
    return tuple(columns)


def _needed(shape: _Shape, mapping: TableMapping, name: str) -> _Declared:
    found = shape.find(name)
    if found is None:
        raise SchemaMismatch(f"{mapping.kind}: the table {shape.name} has no column {name}")
    return found


def _encoding_of(shape: _Shape, mapping: TableMapping, field: str, declared: _Declared) -> Encoding:
    """Take the encoding from what the column holds, else from how it is declared."""
    if field == "banned" and mapping.on_ban.startswith("deactivate:"):
        return Encoding.INVERSE_FLAG
    if field in FLAG_FIELDS:
        sample = shape.sample(declared.name)
        is_word = isinstance(sample, str) and not sample.isdigit()
        return Encoding.FLAG_TEXT if is_word else Encoding.FLAG
    if field == "roles":
        sample = shape.sample(declared.name)
        is_json = sample.lstrip().startswith("[") if isinstance(sample, str) else "JSON" in declared.type
        return Encoding.JSON if is_json else Encoding.COMMA
    return _instant_encoding(shape, declared) if field.endswith("_at") else Encoding.PLAIN


def _instant_encoding(shape: _Shape, declared: _Declared) -> Encoding:
    """Go by the column's own values, else by those of its siblings of the same type, else by the type."""
    siblings = [declared, *(other for other in shape.columns if other.type == declared.type and other != declared)]
    for column in siblings:
        sample = shape.sample(column.name)
        if isinstance(sample, int | float) and sample > SECONDS_MAX // 100:
            return Encoding.MS if sample > SECONDS_MAX else Encoding.SECONDS
        if isinstance(sample, str) and sample[:4].isdigit() and sample[4:5] == "-":
            return Encoding.SPACED if sample[10:11] == " " else Encoding.ISO
    return Encoding.MS if "INT" in declared.type else Encoding.ISO


def _instead_of_null(field: str, declared: _Declared, encoding: Encoding) -> SqlValue:
    """Say what stands for null in a required column; an e-mail, a number and an instant have nothing that could."""
    if not declared.is_required:
        return None
    match encoding:
        case Encoding.FLAG:
            return 0
        case Encoding.INVERSE_FLAG:
            return 1
        case Encoding.FLAG_TEXT:
            return "false"
        case Encoding.JSON:
            return "[]"
        case Encoding.COMMA:
            return ""
        case Encoding.PLAIN if field != "email" and not any(word in declared.type for word in ("INT", "REAL", "NUM")):
            return ""
        case _:
            return None


def _stamp_of(shape: _Shape, mapping: TableMapping, which: str, taken: set[str]) -> Column | None:
    given = mapping.created if which == "created" else mapping.updated
    names = (given,) if given else CREATED_NAMES if which == "created" else UPDATED_NAMES
    found = next((column for name in names if (column := shape.find(name)) and not column.is_generated), None)
    if found is None or found.name in taken:
        return None
    return Column(found.name, found.name, _instant_encoding(shape, found))


def _soft_of(shape: _Shape, mapping: TableMapping) -> Column | None:
    if mapping.soft is None:
        return None
    declared = _needed(shape, mapping, mapping.soft)
    is_flag = declared.is_required or "BOOL" in declared.type or shape.sample(declared.name) in (0, 1)
    encoding = Encoding.FLAG if is_flag else _instant_encoding(shape, declared)
    return Column(declared.name, declared.name, encoding, 0 if declared.is_required else None)


def _id_style_of(shape: _Shape, key: _Declared, mapping: TableMapping) -> IdStyle:
    sample = shape.sample(key.name)
    if not isinstance(sample, str) or len(sample) not in {UUID_LENGTH, LETTERS_LENGTH}:
        return mapping.id_style
    return IdStyle.UUID if len(sample) == UUID_LENGTH else IdStyle.LETTERS


def _defaults_of(shape: _Shape, mapping: TableMapping, fields: tuple[Column, ...]) -> dict[str, SqlValue]:
    """Say what a create fills in: required columns without a default of their own, and what the mapping says."""
    filled = {
        one.name: one.instead
        for one in fields
        if one.instead is not None and not shape.by_name[one.name.lower()].has_default
    }
    return filled | {found.name: value for name, value in mapping.defaults.items() if (found := shape.find(name))}


def _creation_warnings(shape: _Shape, table: Table) -> tuple[str, ...]:
    """Name the columns that would make the database refuse a new row."""
    stamps = [column.name for column in (table.created, table.updated) if column]
    filled = {table.key, table.link, *stamps, *table.defaults, *(column.name for column in table.columns)}
    missing = [one.name for one in shape.columns if one.is_required and not one.has_default and one.name not in filled]
    named = ", ".join(missing)
    return (f"{table.name}: new rows will be refused: nothing fills the required {named}",) if missing else ()


def _exists(connection: apsw.Connection, table: str, column: str) -> bool:
    return (
        connection.execute("SELECT 1 FROM pragma_table_xinfo(?) WHERE name = ?", (table, column)).fetchone() is not None
    )


def _unique_sets(connection: apsw.Connection, table: str) -> tuple[tuple[UniqueSet, ...], tuple[str, ...]]:
    """List what is unique in a table, and warn of what cannot be watched.

    An integer primary key has no index of its own; the caller knows it.
    """
    found: list[UniqueSet] = []
    warnings: list[str] = []
    indexes = connection.execute('SELECT name, partial FROM pragma_index_list(?) WHERE "unique"', (table,)).fetchall()
    for name, is_partial in indexes:
        terms = connection.execute('SELECT name, coll FROM pragma_index_xinfo(?) WHERE "key" ORDER BY seqno', (name,))
        columns = tuple(
            (str(column) if column is not None else None, quoted(str(collation))) for column, collation in terms
        )
        where = _condition_of(connection, str(name)) if is_partial else None
        if any(column is None for column, _ in columns) or (is_partial and where is None):
            warnings.append(
                f"{table}: rows that a REPLACE removes through the index {name} are only found by a comparison"
                " of both sides: the index is made of an expression"
            )
            continue
        found.append(UniqueSet(tuple((column, coll) for column, coll in columns if column is not None), where))
    return tuple(found), tuple(warnings)


def _condition_of(connection: apsw.Connection, index: str) -> str | None:
    row = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (index,)).fetchone()
    return partial_condition(str(row[0])) if row is not None else None


def partial_condition(sql: str) -> str | None:
    """Cut the condition out of a `CREATE INDEX … WHERE …`; None: it has none."""
    depth = 0
    for token in _TOKENS.finditer(sql):
        match token[0].upper():
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case "WHERE" if depth == 0:
                return sql[token.end() :].strip()
            case _:
                pass
    return None
