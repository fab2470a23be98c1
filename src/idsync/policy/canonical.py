"""The canonical form of a field's value: what every peer's word is brought to before it is compared. Pure.

Fields are told apart by their canonical name (DESIGN §9). E-mails are NFC and lower case and otherwise untouched; every
other text stays as it is. A value that has no canonical form is not guessed at: it comes back as `Unfit`.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Final, final

import msgspec

from idsync.model.values import INSTANT_MAX, Instant, Kind, Value, instant_text, parse_instant

CANONICAL_VERSION: Final = 1
"""Moves when a value's form changes: shadows of another version are formed anew before they are compared."""

TEXT_FIELDS: Final = frozenset({"name", "picture", "preferred_username", "ban_reason"})
FLAG_FIELDS: Final = frozenset({"email_verified", "active", "banned"})
FALSE_UNLESS_SAID: Final = frozenset({"email_verified", "banned"})
"""Flags where no answer means no: a NULL says nothing else, and another peer's column may not be able to hold it."""

TRUE_WORDS: Final = frozenset({"true", "1"})
FALSE_WORDS: Final = frozenset({"false", "0"})
SECONDS_MAX: Final = 100_000_000_000
"""Numbers up to this are seconds (until the year 5138), greater ones milliseconds (since March 1973)."""
INTEGER_MAX: Final = 2**63 - 1
NO_UNICODE: Final = "it is not valid Unicode"
FLOAT_DIGITS: Final = 15
"""Decimal digits that survive every peer's own way of writing a float."""


@final
class Unfit(msgspec.Struct, frozen=True):
    """A value without a canonical form. `why` says what is wrong with it, never what it is."""

    field: str
    why: str


def canonical_fields(kind: str, raw: Mapping[str, object]) -> tuple[dict[str, Value], tuple[Unfit, ...]]:
    """Bring many fields of one identity to their canonical form; those that have none are named apart."""
    fields: dict[str, Value] = {}
    unfit: list[Unfit] = []
    for field, value in raw.items():
        formed = canonical_value(kind, field, value)
        if isinstance(formed, Unfit):
            unfit.append(formed)
        else:
            fields[field] = formed
    return fields, tuple(unfit)


def canonical_value(kind: str, field: str, raw: object) -> Value | Unfit:
    """Bring one value to its canonical form; forming it twice changes nothing.

    Args:
        kind: only users have fields of their own form; those of other kinds pass, but for instants.
        field: the canonical name. Every field that ends in `_at` is an instant.
        raw: as the peer gave it: a JSON value or a column's.
    """
    return former_of(kind, field)(raw)


Former = Callable[[object], Value | Unfit]
"""Brings the values of one field to their canonical form."""


@lru_cache(maxsize=1024)
def former_of(kind: str, field: str) -> Former:
    """Decide once how the values of a field are formed; as `canonical_value`."""
    if field.endswith("_at"):
        return partial(_instant, field)
    if kind != Kind.USER:
        return partial(_scalar, field)
    match field:
        case "email":
            return _email
        case "id":
            return _identity
        case "roles":
            return _roles
        case _ if field in FLAG_FIELDS:
            return partial(_flag, field)
        case _ if field in TEXT_FIELDS:
            return partial(_text, field)
        case _:
            return partial(_scalar, field)


def _text(field: str, raw: object) -> Value | Unfit:
    if isinstance(raw, str):
        return raw if raw.isascii() or _is_unicode(raw) else Unfit(field, NO_UNICODE)
    return None if raw is None else Unfit(field, "it is not text")


def _email(raw: object) -> Value | Unfit:
    if isinstance(raw, str) and raw.isascii():
        return raw.lower()
    text = _text("email", raw)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()) if isinstance(text, str) else text


def _identity(raw: object) -> Value | Unfit:
    if isinstance(raw, str):
        return raw if raw.isascii() or _is_unicode(raw) else Unfit("id", NO_UNICODE)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    return None if raw is None else Unfit("id", "it is neither text nor an integer")


def _flag(field: str, raw: object) -> Value | Unfit:
    if raw is None:
        return False if field in FALSE_UNLESS_SAID else None
    if isinstance(raw, int | float) and raw in (0, 1):
        return bool(raw)
    word = raw.lower() if isinstance(raw, str) else ""
    if word in TRUE_WORDS | FALSE_WORDS:
        return word in TRUE_WORDS
    return Unfit(field, "it is neither true nor false")


def _roles(raw: object) -> Value | Unfit:
    """Read a JSON array or a comma list; nothing is an empty list, for a comma list cannot tell them apart."""
    if isinstance(raw, str) and not _is_unicode(raw):
        return Unfit("roles", NO_UNICODE)
    if isinstance(raw, str) and raw.lstrip().startswith("["):
        try:
            raw = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return Unfit("roles", "it begins like a JSON array and is none")
    names = raw.split(",") if isinstance(raw, str) else [] if raw is None else raw
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and _is_unicode(name) for name in names):
        return Unfit("roles", "it is not a list of names")
    return sorted({name.strip() for name in names} - {""})


def _instant(field: str, raw: object) -> Value | Unfit:
    if raw is None:
        return None
    at = _instant_of(raw)
    return Unfit(field, "it is no instant between 1970 and 9999") if at is None else instant_text(at)


def _instant_of(raw: object) -> Instant | None:
    if isinstance(raw, str):
        return (
            _instant_of(int(raw))
            if raw.isascii() and raw.isdigit() and len(raw) > len("20260101")
            else parse_instant(raw)
        )
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= INSTANT_MAX:
        return None
    return Instant(round(raw * 1000) if raw <= SECONDS_MAX else round(raw))


def _scalar(field: str, raw: object) -> Value | Unfit:
    if isinstance(raw, str):
        return raw if raw.isascii() or _is_unicode(raw) else Unfit(field, NO_UNICODE)
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, int):
        return raw if -INTEGER_MAX <= raw <= INTEGER_MAX else Unfit(field, "it does not fit into 64 bits")
    if isinstance(raw, float):
        rounded = float(f"{raw:.{FLOAT_DIGITS}g}")
        return rounded if math.isfinite(rounded) else Unfit(field, "it is no finite number")
    if isinstance(raw, list) and all(isinstance(item, str) and _is_unicode(item) for item in raw):
        return raw
    return Unfit(field, "it is neither a plain value nor a list of texts")


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: Python's text may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
