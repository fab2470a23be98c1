"""What a mapped table looks like: how it is declared, and what that and its values say of each column. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from idsync.connectors.tables.mapping import Encoding, IdStyle, SqlValue, TableMapping
from idsync.errors import SchemaMismatch
from idsync.policy.canonical import FLAG_FIELDS, SECONDS_MAX

CREATED_NAMES: Final = ("createdat", "created_at", "created", "created_on", "inserted_at", "date_joined")
UPDATED_NAMES: Final = ("updatedat", "updated_at", "updated", "updated_on", "modified_at", "modified")
UUID_LENGTH: Final = 36
LETTERS_LENGTH: Final = 32


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
    ends: tuple[tuple[str, str], ...] = ()
    uniques: tuple[UniqueSet, ...] = ()
    warnings: tuple[str, ...] = ()
    key_collation: str = ""
    """Of what makes the key unique, as SQL writes it (SQLite)."""
    schema: str = ""
    """Where the table is (PostgreSQL)."""
    types: dict[str, str] = {}
    """Column → its type, as a cast writes it (PostgreSQL)."""
    is_counted: bool = False
    """Whether the keys come from a counter that does not notice a key of ours (PostgreSQL)."""

    @property
    def captured(self) -> tuple[str, ...]:
        """The only columns whose values may leave the table in a trigger."""
        more = [self.link, self.soft.name if self.soft else None]
        names = [self.key, *(column.name for column in self.columns), *(name for name in more if name is not None)]
        return tuple(dict.fromkeys(names))

    def column_of(self, field: str) -> Column | None:
        """The column of a canonical field."""
        return next((column for column in self.columns if column.field == field), None)


class Declared(msgspec.Struct, frozen=True):
    """A column as the table declares it."""

    name: str
    type: str
    """In upper case."""
    is_required: bool
    has_default: bool
    primary: int
    """Its place in the primary key, from 1; 0: it is not part of it."""
    is_generated: bool
    form: Encoding | None = None
    """How it writes values, where its type leaves no choice."""


class Shape:
    """One table's declaration, and what some of its rows hold."""

    def __init__(
        self, name: str, columns: Sequence[Declared], sample: Callable[[str], str | int | float | None]
    ) -> None:
        """Take a declaration; `sample` gives one value that a column holds, None where the first rows hold none."""
        self.name = name
        self.columns = columns
        self.sample = sample
        self._by_name = {column.name.lower(): column for column in columns} | {one.name: one for one in columns}

    def find(self, name: str | None) -> Declared | None:
        """Find a column by its exact name, else without regard to case."""
        return self._by_name.get(name) or self._by_name.get(name.lower()) if name is not None else None


def key_of(shape: Shape, mapping: TableMapping) -> Declared:
    """Find the key column.

    Raises:
        SchemaMismatch: it is missing, or nothing says which one it is.
    """
    named = mapping.key or mapping.fields.get("id")
    if named is not None:
        return needed(shape, mapping, named)
    primary = [column for column in shape.columns if column.primary]
    if len(primary) != 1:
        raise SchemaMismatch(
            f"{mapping.kind}: {shape.name} has no primary key of one column; name the key column in `key`"
        )
    return primary[0]


def needed(shape: Shape, mapping: TableMapping, name: str) -> Declared:
    """Find a column.

    Raises:
        SchemaMismatch: there is none of that name.
    """
    found = shape.find(name)
    if found is None:
        raise SchemaMismatch(f"{mapping.kind}: the table {shape.name} has no column {name}")
    return found


def is_asked(name: str, mapping: TableMapping) -> bool:
    """Whether a column is one whose values we look at; no other is ever read."""
    asked = {*mapping.held_fields.values(), mapping.fields.get("id"), mapping.key, mapping.soft, "id"}
    asked |= {mapping.created, mapping.updated, *CREATED_NAMES, *UPDATED_NAMES}
    return name.lower() in {one.lower() for one in asked if one is not None}


def describe(shape: Shape, mapping: TableMapping) -> Table:
    """Put a mapping and a declaration together; what only one kind of database knows is left to it.

    Raises:
        SchemaMismatch: a configured column is missing, or cannot be used.
    """
    key = key_of(shape, mapping)
    fields = _fields_of(shape, mapping)
    taken = {key.name, *(column.name for column in fields)}
    created, updated = (_stamp_of(shape, mapping, which, taken) for which in ("created", "updated"))
    table = Table(
        kind=mapping.kind,
        name=shape.name,
        key=key.name,
        has_own_keys=key.has_default,
        id_style=_id_style_of(shape, key, mapping),
        link=needed(shape, mapping, mapping.link).name if mapping.link else None,
        columns=fields,
        soft=_soft_of(shape, mapping),
        is_removed=mapping.on_delete == "delete",
        created=created,
        updated=updated,
        defaults=_defaults_of(shape, mapping, fields),
    )
    warnings = _creation_warnings(shape, table) if mapping.may_create else ()
    return msgspec.structs.replace(table, warnings=warnings)


def _fields_of(shape: Shape, mapping: TableMapping) -> tuple[Column, ...]:
    columns: list[Column] = []
    for field, name in mapping.held_fields.items():
        if shape.find(name) is None and field in mapping.optional:
            continue
        declared = needed(shape, mapping, name)
        if declared.is_generated:
            raise SchemaMismatch(
                f"{mapping.kind}: {shape.name}.{name} is computed by the database and cannot be synchronised"
            )
        encoding = _encoding_of(shape, mapping, field, declared)
        columns.append(Column(field, declared.name, encoding, _instead_of_null(field, declared, encoding)))
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise SchemaMismatch(f"{mapping.kind}: two fields name the same column of {shape.name}")
    return tuple(columns)


def _encoding_of(shape: Shape, mapping: TableMapping, field: str, declared: Declared) -> Encoding:
    """Take the encoding from the column's type, from the mapping, from what the column holds, in this order."""
    if field == "banned" and mapping.on_ban.startswith("deactivate:"):
        return Encoding.INVERSE_FLAG
    given = declared.form or mapping.encodings.get(field)
    if given is not None:
        return given
    if field in FLAG_FIELDS:
        sample = shape.sample(declared.name)
        is_word = isinstance(sample, str) and not sample.isdigit()
        return Encoding.FLAG_TEXT if is_word else Encoding.FLAG
    if field == "roles":
        sample = shape.sample(declared.name)
        is_json = sample.lstrip().startswith("[") if isinstance(sample, str) else "JSON" in declared.type
        return Encoding.JSON if is_json else Encoding.COMMA
    return _instant_encoding(shape, declared) if field.endswith("_at") else Encoding.PLAIN


def _instant_encoding(shape: Shape, declared: Declared) -> Encoding:
    """Go by the column's own values, else by those of its siblings of the same type, else by the type."""
    if declared.form is not None:
        return declared.form
    siblings = [declared, *(other for other in shape.columns if other.type == declared.type and other != declared)]
    for column in siblings:
        sample = shape.sample(column.name)
        if isinstance(sample, int | float) and sample > SECONDS_MAX // 100:
            return Encoding.MS if sample > SECONDS_MAX else Encoding.SECONDS
        if isinstance(sample, str) and sample[:4].isdigit() and sample[4:5] == "-":
            return Encoding.SPACED if sample[10:11] == " " else Encoding.ISO
    return Encoding.MS if "INT" in declared.type else Encoding.ISO


def _instead_of_null(field: str, declared: Declared, encoding: Encoding) -> SqlValue:
    """Say what stands for null in a required column; an e-mail, a number and an instant have nothing that could."""
    if not declared.is_required:
        return None
    match encoding:
        case Encoding.FLAG | Encoding.INVERSE_FLAG:
            return int(encoding is Encoding.INVERSE_FLAG)
        case Encoding.FLAG_TEXT:
            return "false"
        case Encoding.JSON:
            return "[]"
        case Encoding.ARRAY:
            return "{}"
        case Encoding.COMMA:
            return ""
        case Encoding.PLAIN if field != "email" and not any(word in declared.type for word in ("INT", "REAL", "NUM")):
            return ""
        case _:
            return None


def _stamp_of(shape: Shape, mapping: TableMapping, which: str, taken: set[str]) -> Column | None:
    given = mapping.created if which == "created" else mapping.updated
    names = (given,) if given else CREATED_NAMES if which == "created" else UPDATED_NAMES
    found = next((column for name in names if (column := shape.find(name)) and not column.is_generated), None)
    if found is None or found.name in taken:
        return None
    return Column(found.name, found.name, _instant_encoding(shape, found))


def _soft_of(shape: Shape, mapping: TableMapping) -> Column | None:
    if mapping.soft is None:
        return None
    declared = needed(shape, mapping, mapping.soft)
    is_flag = declared.is_required or "BOOL" in declared.type or shape.sample(declared.name) in (0, 1)
    encoding = Encoding.FLAG if is_flag else _instant_encoding(shape, declared)
    return Column(declared.name, declared.name, encoding, 0 if declared.is_required else None)


def _id_style_of(shape: Shape, key: Declared, mapping: TableMapping) -> IdStyle:
    sample = shape.sample(key.name)
    if not isinstance(sample, str) or len(sample) not in {UUID_LENGTH, LETTERS_LENGTH}:
        return mapping.id_style
    return IdStyle.UUID if len(sample) == UUID_LENGTH else IdStyle.LETTERS


def _defaults_of(shape: Shape, mapping: TableMapping, fields: tuple[Column, ...]) -> dict[str, SqlValue]:
    """Say what a create fills in: required columns without a default of their own, and what the mapping says."""
    has_default = {column.name for column in shape.columns if column.has_default}
    filled = {one.name: one.instead for one in fields if one.instead is not None and one.name not in has_default}
    return filled | {found.name: value for name, value in mapping.defaults.items() if (found := shape.find(name))}


def _creation_warnings(shape: Shape, table: Table) -> tuple[str, ...]:
    """Name the columns that would make the database refuse a new row."""
    stamps = [column.name for column in (table.created, table.updated) if column]
    filled = {table.key, table.link, *stamps, *table.defaults, *(column.name for column in table.columns)}
    missing = [one.name for one in shape.columns if one.is_required and not one.has_default and one.name not in filled]
    named = ", ".join(missing)
    return (f"{table.name}: new rows will be refused: nothing fills the required {named}",) if missing else ()
