"""The reference of every setting, read off the types; the settings page is made from it."""

from enum import Enum
from typing import get_args

import msgspec
from msgspec import Meta

from idsync.config.settings import Settings
from idsync.config.shape import Annotation, choices_of, is_list, is_mapping, is_table, slots_of, strip
from idsync.config.values import SecretText, Url

_UNITS = {
    "s": "seconds", "ms": "milliseconds", "days": "days",
    "bytes": "bytes", "events": "events", "items": "items", "rows": "rows",
}  # fmt: skip
_TYPES = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    SecretText: "secret",
    Url: "address",
}
_ENTRY = {"peers": "<name>", "endpoints": "<name>", "sync": "<kind>", "kinds": "<kind>", "fields": "<field>"}


class SettingDoc(msgspec.Struct, frozen=True):
    """One line of the reference."""

    path: str
    """As in the file, `<name>`, `<kind>` and `<field>` standing for what the file chooses."""
    type: str
    default: str
    """As in the file; `required`, or empty where absent means something of its own."""
    unit: str
    range: str
    meaning: str


def describe_settings() -> list[SettingDoc]:
    """Return every setting, in the order of the file."""
    return _describe_table(Settings, "")


def _describe_table(table: type[msgspec.Struct], prefix: str) -> list[SettingDoc]:
    docs: list[SettingDoc] = []
    for slot in slots_of(table).values():
        bare, metas = strip(slot.annotation)
        path = f"{prefix}{slot.key}"
        item = get_args(bare)[1] if is_mapping(bare) else None
        if is_table(bare):
            docs += _describe_table(bare, f"{path}.")
        elif item is not None and is_table(strip(item)[0]):
            entry = prefix + _ENTRY[slot.key] if slot.is_inline else f"{path}.{_ENTRY[slot.key]}"
            docs += _describe_table(strip(item)[0], f"{entry}.")
        else:
            default = "required" if slot.is_required else _written(slot.default)
            meaning = slot.meta.description or ""
            docs.append(SettingDoc(path, _type_of(bare), default, _unit_of(slot.key), _range_of(metas), meaning))
            if is_list(bare) and is_table(strip(get_args(bare)[0])[0]):
                docs += _describe_table(strip(get_args(bare)[0])[0], f"{path}[<n>].")
    return docs


def _type_of(bare: Annotation) -> str:
    if choices_of(bare):
        return " or ".join(f'"{word}"' for word in choices_of(bare))
    if is_list(bare):
        return f"list of {_type_of(strip(get_args(bare)[0])[0])}"
    if is_mapping(bare):
        return f"table of {_type_of(strip(get_args(bare)[1])[0])}"
    return "table" if is_table(bare) else _TYPES[bare]


def _unit_of(key: str) -> str:
    words = key.split("_")[1:]
    return next((_UNITS[word] for word in reversed(words) if word in _UNITS), "")


def _range_of(metas: tuple[Meta, ...]) -> str:
    bounds = []
    for meta in metas:
        if meta.title:
            return meta.title
        signs = {">": meta.gt, "≥": meta.ge, "<": meta.lt, "≤": meta.le}
        bounds += [f"{sign} {bound}" for sign, bound in signs.items() if bound is not None]
        sizes = {"at least": meta.min_length, "at most": meta.max_length}
        bounds += [f"{words} {size} long" for words, size in sizes.items() if size is not None]
    return ", ".join(bounds)


def _written(default: object) -> str:
    match default:
        case None:
            return ""
        case Url():
            return f'"{default.reveal()}"'
        case Enum():
            return f'"{default.value}"'
        case _:
            return msgspec.json.encode(default).decode()
