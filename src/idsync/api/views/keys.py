"""What the API shows of its keys: never their text, but once when they are made."""

import msgspec

from idsync.api.keys import ApiKey
from idsync.api.views.times import time_text


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """One key."""

    id: str
    name: str
    scopes: list[str]
    made_at: str | None


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that the service keeps; those of the configuration are not among them."""

    items: list[KeyView]
    next: str | None = None


class NewKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A new key, and its text: shown this once."""

    id: str
    name: str
    scopes: list[str]
    made_at: str | None
    key: str


def view_key(key: ApiKey) -> KeyView:
    """Show one key."""
    return KeyView(id=key.id, name=key.name, scopes=[one.value for one in key.scopes], made_at=time_text(key.made_at))
