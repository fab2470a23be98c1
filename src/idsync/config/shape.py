"""From an untyped tree to `Settings`, guided by its types, collecting every problem on the way.

A value that cannot be used gives way to its default, so that the other checks run and all problems are shown
together.
"""

import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path as FilePath
from types import UnionType
from typing import Annotated, Any, Final, Literal, NewType, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from idsync.config.draft import Draft, Path, Text, closest, nearest, shown
from idsync.config.values import SecretText, Url

Annotation: TypeAlias = Any
"""A type as `typing` describes it: `Annotated[float, Meta(gt=0)]`."""

BAD: Final = object()
"""Stands for a value that cannot be used; its problem is already recorded."""

FILE_BYTES_MAX: Final = 65_536
"""The largest file a `file:` value may be read from."""

_PARSERS: Final[dict[object, Callable[[str], object]]] = {SecretText: SecretText, Url: Url}

_WORDS: Final = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false",
    "array": "a list", "object": "a table", "null": "nothing",
    "datetime": "a date and time", "date": "a date", "time": "a time of day",
}  # fmt: skip


class Slot(msgspec.Struct, frozen=True):
    """One setting or table that a section may hold."""

    key: str
    attribute: str
    annotation: Annotation
    meta: Meta
    default: object
    is_required: bool

    @property
    def is_inline(self) -> bool:
        """Whether this mapping's entries stand beside the section's own keys (a peer's kinds)."""
        return bool((self.meta.extra or {}).get("inline"))


def slots_of(table: type[msgspec.Struct]) -> dict[str, Slot]:
    """Return what a section may hold, by key. Fields without a `Meta` are not settings."""
    slots = {}
    for field in msgspec.structs.fields(table):
        metas = strip(field.type)[1]
        if metas:
            slots[field.encode_name] = Slot(
                field.encode_name, field.name, field.type, metas[0], _default_of(field), field.required
            )
    return slots


def strip(annotation: Annotation) -> tuple[Annotation, tuple[Meta, ...]]:
    """Take `Annotated`, `NewType` and `| None` off; return what is left and every `Meta`, outermost first."""
    metas: tuple[Meta, ...] = ()
    while True:
        origin = _origin_of(annotation)
        if origin is Annotated:
            metas += tuple(meta for meta in annotation.__metadata__ if isinstance(meta, Meta))
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        else:
            return annotation, metas


def is_table(bare: Annotation) -> bool:
    """Whether a stripped annotation is a section of its own."""
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def is_mapping(bare: Annotation) -> bool:
    """Whether a stripped annotation is a table whose keys the user chooses."""
    return _origin_of(bare) is dict


def is_list(bare: Annotation) -> bool:
    """Whether a stripped annotation is a list."""
    return _origin_of(bare) is tuple


def choices_of(bare: Annotation) -> tuple[str, ...]:
    """Return the words a stripped annotation allows; empty where it is not a choice."""
    if _origin_of(bare) is Literal:
        return get_args(bare)
    return tuple(member.value for member in bare) if isinstance(bare, type) and issubclass(bare, Enum) else ()


def build_table(draft: Draft, raw: object, table: type[msgspec.Struct], path: Path) -> object:
    """Build one section; BAD where it is no table or lacks something required."""
    if not isinstance(raw, dict):
        return _refuse(draft, path, "expected a table")
    slots = slots_of(table)
    inline = next((slot for slot in slots.values() if slot.is_inline), None)
    if inline is not None:
        del slots[inline.key]
    names = choices_of(get_args(strip(inline.annotation)[0])[0]) if inline else ()
    # A key that is a setting and also names an inline entry (a peer's `api_key`) is an entry where it is a table.
    inlined = {key: raw[key] for key in raw if key in names and (key not in slots or isinstance(raw[key], dict))}
    own = {str(key): raw[key] for key in raw if key not in inlined}
    values = {}
    is_complete = True
    for key in own:
        if key not in slots:
            draft.refuse((*path, key), f"unknown key; {nearest(key, (*slots, *names))}")
    for slot in slots.values():
        value = BAD
        if own.get(slot.key) is not None:
            value = build(draft, own[slot.key], slot.annotation, (*path, slot.key))
        elif slot.is_required:
            draft.refuse((*path, slot.key), f"is required. {slot.meta.description}")
        if value is not BAD:
            values[slot.attribute] = value
        is_complete &= value is not BAD or not slot.is_required
    if inline is not None:
        values[inline.attribute] = build(draft, inlined, inline.annotation, path)
    return table(**values) if is_complete else BAD


def build(draft: Draft, raw: object, annotation: Annotation, path: Path) -> object:
    """Build the value of one setting or table; BAD where it cannot be used."""
    bare, metas = strip(annotation)
    if is_table(bare):
        alone = next((meta.extra["alone"] for meta in metas if meta.extra and "alone" in meta.extra), None)
        if alone is None or not isinstance(raw, str | Text):
            return build_table(draft, raw, bare, path)
        value = build(draft, raw, slots_of(bare)[alone].annotation, path)
        return BAD if value is BAD else bare(**{alone: value})
    if is_mapping(bare):
        return _build_mapping(draft, raw, annotation, path)
    if is_list(bare):
        return _build_list(draft, raw, annotation, path)
    value = _resolve(draft, raw, path)
    return BAD if value is BAD else _scalar(draft, value, annotation, path)


def _scalar(draft: Draft, value: object, annotation: Annotation, path: Path) -> object:
    bare, _ = strip(annotation)
    if choices_of(bare):
        return _choose(draft, value, bare, path)
    if bare in _PARSERS:
        return _parse(draft, value, _PARSERS[bare], path)
    return _convert(draft, value, annotation, path)


def _build_mapping(draft: Draft, raw: object, annotation: Annotation, path: Path) -> object:
    bare, metas = strip(annotation)
    if not isinstance(raw, dict):
        return _refuse(draft, path, "expected a table")
    if not _fits(draft, len(raw), metas, path):
        return BAD
    key_type, value_type = get_args(bare)
    built = {}
    for name, value in raw.items():
        place = (*path, str(name))
        key = _scalar(draft, str(name), key_type, place)
        item = BAD if key is BAD else build(draft, value, value_type, place)
        if item is not BAD:
            built[key] = item
    return built


def _build_list(draft: Draft, raw: object, annotation: Annotation, path: Path) -> object:
    bare, metas = strip(annotation)
    if raw == Text(""):
        raw = []
    elif isinstance(raw, str | Text):
        raw = [raw]
    if not isinstance(raw, list | tuple):
        return _refuse(draft, path, "expected a list")
    if not _fits(draft, len(raw), metas, path):
        return BAD
    items = [build(draft, value, get_args(bare)[0], (*path, number)) for number, value in enumerate(raw)]
    return BAD if BAD in items else tuple(items)


def _resolve(draft: Draft, raw: object, path: Path) -> object:
    """Read an `env:NAME` or `file:PATH` value from there. What is read is never resolved again."""
    written = raw.text if isinstance(raw, Text) else raw
    if not isinstance(written, str):
        return raw
    if not draft.may_refer and written.startswith(("env:", "file:")):
        return _refuse(draft, path, "is read from elsewhere only in the configuration file; give the value itself")
    if written.startswith("env:"):
        name = written.removeprefix("env:")
        if text := draft.environ.get(name):
            return Text(text)
        return _refuse(draft, path, f"the environment variable {shown(name)} is not set, or is empty")
    if written.startswith("file:"):
        return _read(draft, FilePath(written.removeprefix("file:")), path)
    return raw


def _read(draft: Draft, file: FilePath, path: Path) -> object:
    name = shown(str(file))
    try:
        if not file.is_file():
            return _refuse(draft, path, f"there is no file {name}")
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        return _refuse(draft, path, f"the file {name} cannot be read ({type(error).__name__})")
    if len(content) > FILE_BYTES_MAX:
        return _refuse(draft, path, f"the file {name} is larger than {FILE_BYTES_MAX} bytes")
    return Text(text) if text else _refuse(draft, path, f"the file {name} is empty")


def _choose(draft: Draft, value: object, bare: Annotation, path: Path) -> object:
    words = choices_of(bare)
    written = value.text if isinstance(value, Text) else value
    if isinstance(written, str) and written in words:
        return bare(written) if isinstance(bare, type) else written
    meant = closest(written, words) if isinstance(written, str) else None
    listed = ", ".join(f'"{word}"' for word in words)
    return _refuse(draft, path, f"expected one of {listed}" + (f"; did you mean {meant}?" if meant else ""))


def _parse(draft: Draft, value: object, parser: Callable[[str], object], path: Path) -> object:
    text = _convert(draft, value, str, path)
    if text is BAD:
        return BAD
    try:
        return parser(str(text))
    except ValueError as error:
        return _refuse(draft, path, str(error))


def _convert(draft: Draft, value: object, annotation: Annotation, path: Path) -> object:
    bare, metas = strip(annotation)
    is_text = isinstance(value, Text)
    given = value.text if isinstance(value, Text) else value
    if isinstance(given, str) and not _is_unicode(given):
        return _refuse(draft, path, "is not valid UTF-8")
    try:
        return msgspec.convert(given, Annotated[bare, *reversed(metas)] if metas else bare, strict=not is_text)
    except msgspec.ValidationError as error:
        reason = _plain(str(error), annotation)
        return _refuse(draft, path, reason.removesuffix(", got text") if is_text else reason)


def _plain(message: str, annotation: Annotation) -> str:
    """Say in plain words what msgspec says. Its messages name types and bounds, never the value."""
    title = next((meta.title for meta in strip(annotation)[1] if meta.title), None)
    if title and "matching regex" in message:
        return f"expected {title}"
    message = re.sub(r"`(\w+)`", lambda match: _WORDS.get(match[1], match[1]), message)
    return message[:1].lower() + message[1:]


def _is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8; the environment may hold bytes that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fits(draft: Draft, size: int, metas: tuple[Meta, ...], path: Path) -> bool:
    least = max((meta.min_length or 0 for meta in metas), default=0)
    most = min((meta.max_length for meta in metas if meta.max_length is not None), default=size)
    if least <= size <= most:
        return True
    draft.refuse(path, f"expected at least {least}" if size < least else f"expected at most {most}, got {size}")
    return False


def _origin_of(annotation: Annotation) -> object:
    return get_origin(annotation)


def _default_of(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _refuse(draft: Draft, path: Path, reason: str) -> object:
    draft.refuse(path, reason)
    return BAD
