"""API keys: what a key may do, and how a request proves that it has one. Only hashes are kept."""

import secrets
from collections.abc import Sequence
from enum import IntEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Final

import msgspec

from idsync.api.http import Problem, ProblemType
from idsync.config import Settings
from idsync.ports import Registry

SETTING: Final = "api_key"
"""The name under which the store keeps the key that was made at first start."""
KEY_BYTES: Final = 32
HEADERS_CACHED_MAX: Final = 256
_SCHEME: Final = b"bearer "


class Scope(IntEnum):
    """What a key may do; each scope includes those before it."""

    PUBLISH = 1
    READ = 2
    ADMIN = 3


class ApiKey(msgspec.Struct, frozen=True):
    """One key, as it is kept: the SHA-256 of its text, which is random and long, so a plain hash is enough."""

    digest: bytes
    scope: Scope = Scope.ADMIN


NO_KEY: Final = Problem(
    ProblemType.UNAUTHORIZED,
    "Send the header authorization: Bearer <key> with a key of this server.",
    ((b"www-authenticate", b'Bearer realm="idsync"'),),
)
_TOO_SMALL: Final = {
    scope: Problem(ProblemType.FORBIDDEN, f"Use a key with the scope {scope.name.lower()}.") for scope in Scope
}


class ApiKeys:
    """The keys that may be used."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)
        self._cache: dict[bytes, ApiKey] = {}

    def refuse(self, header: bytes | None, scope: Scope) -> Problem | None:
        """Judge whether a request's `Authorization` header (None: there is none) allows a scope; None: it does."""
        key = self.find(header) if header is not None else None
        if key is None:
            return NO_KEY
        return None if key.scope >= scope else _TOO_SMALL[scope]

    def find(self, header: bytes) -> ApiKey | None:
        """Find the key that an `Authorization` header proves, comparing in constant time; None: it proves nothing.

        Only accepted headers are remembered: a stranger can neither fill the memory nor learn from the clock.
        """
        known = self._cache.get(header)
        if known is not None:
            return known
        if header[: len(_SCHEME)].lower() != _SCHEME:
            return None
        digest = sha256(header[len(_SCHEME) :].strip(b" ")).digest()
        found = None
        for key in self._keys:
            if compare_digest(key.digest, digest):
                found = key
        if found is not None and len(self._cache) < HEADERS_CACHED_MAX:
            self._cache[header] = found
        return found


def hash_key(text: str, scope: Scope = Scope.ADMIN) -> ApiKey:
    """Turn a key's text into what may be kept of it."""
    return ApiKey(sha256(text.encode()).digest(), scope)


async def ensure_keys(registry: Registry, settings: Settings) -> tuple[ApiKeys, str | None]:
    """Read the keys of the settings; where none is set, the one in the store, which is made if it is not there.

    Returns:
        The keys, and the text of a key that was made just now: it is shown once and kept nowhere.
    """
    if settings.server.api_keys:
        return ApiKeys([hash_key(one.key.reveal()) for one in settings.server.api_keys]), None
    kept = await registry.setting(SETTING)
    if kept is not None:
        return ApiKeys([msgspec.json.decode(kept, type=ApiKey)]), None
    text = f"idsync_{secrets.token_urlsafe(KEY_BYTES)}"
    key = hash_key(text)
    await registry.put_setting(SETTING, msgspec.json.encode(key))
    return ApiKeys([key]), text
