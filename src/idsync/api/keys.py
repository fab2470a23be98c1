"""API keys: what a key may do, and how a request proves that it has one. Only hashes are kept.

Those of the configuration hold as long as they stand there. The others are documents of the store, `key:<id>`, made and
deleted by operators; a process that shares its store reads them again before it believes what is older than a second.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Final, Protocol

import msgspec

from idsync.api.http import Problem, ProblemType
from idsync.config import Settings
from idsync.model.values import Instant
from idsync.ports import Store

PREFIX: Final = "key:"
FORMER_SETTING: Final = "api_key"
"""Where the key of the first start was kept before keys had names."""
FIRST_NAME: Final = "first"
KEY_BYTES: Final = 32
KEYS_MAX: Final = 1_000
AGE_MAX_S: Final = 0.5
"""How old the kept keys may be that are believed: with the time that reading takes, a deleted one ends within 1 s."""
HEADERS_CACHED_MAX: Final = 256
LONG_AGO: Final = Instant(0)
_SCHEME: Final = b"bearer "


class Scope(StrEnum):
    """What a key may do. A key has any set of them."""

    PUBLISH = "publish"
    """Hand in events."""
    READ = "read"
    """Look at everything but secrets."""
    ADMIN = "admin"
    """Everything."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key, as it is kept: the SHA-256 of its text, which is random and long, so a plain hash is enough."""

    digest: bytes
    scopes: tuple[Scope, ...] = (Scope.ADMIN,)
    id: str = ""
    """Names it to operators; empty for one of the configuration."""
    name: str = ""
    """What operators call it."""
    made_at: Instant = LONG_AGO

    def may(self, scope: Scope) -> bool:
        """Whether it allows what asks for a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def is_admin(self) -> bool:
        """Whether it allows everything."""
        return Scope.ADMIN in self.scopes


class LastAdmin(msgspec.Struct, frozen=True):
    """The key stays: without it nobody could make another one."""


class TooMany(msgspec.Struct, frozen=True):
    """No key was made: there are as many as there may be."""


NO_KEY: Final = Problem(
    ProblemType.UNAUTHORIZED,
    "Send the header authorization: Bearer <key> with a key of this server.",
    ((b"www-authenticate", b'Bearer realm="idsync"'),),
)
_WRONG_SCOPE: Final = {
    scope: Problem(ProblemType.FORBIDDEN, f"Use a key with the scope {scope.value}.") for scope in Scope
}


class KeyStore(Protocol):
    """What of a store keys need."""

    @property
    def has_one_writer(self) -> bool:
        """Whether nobody but this process changes them."""
        ...

    async def settings(self, prefix: str) -> dict[str, bytes]:
        """Every value whose name begins so."""
        ...

    async def put_setting(self, name: str, value: bytes | None) -> bool:
        """Keep a value; None removes it."""
        ...


class ApiKeys:
    """The keys that may be used."""

    def __init__(self, configured: Sequence[ApiKey], store: KeyStore | None = None) -> None:
        """Hold the keys of the configuration; those of a store are there once `read` has run."""
        self._configured = tuple(configured)
        self._kept: tuple[ApiKey, ...] = ()
        self._store = store
        self._is_shared = store is not None and not store.has_one_writer
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._cache: dict[bytes, ApiKey] = {}

    @property
    def kept(self) -> Sequence[ApiKey]:
        """Those of the store, as they were read last, in the order of their ids."""
        return self._kept

    async def check(self, head: Mapping[bytes, bytes], scope: Scope, now_s: float) -> Problem | None:
        """As `refuse`, for a request's headers, after looking whether another process has changed a key.

        Args:
            head: by lower-cased name.
            scope: what the request needs.
            now_s: a monotonic clock's time.
        """
        if self.is_stale(now_s):
            await self.refresh(now_s)
        return self.refuse(head.get(b"authorization"), scope)

    def refuse(self, header: bytes | None, scope: Scope) -> Problem | None:
        """Judge whether a request's `Authorization` header (None: there is none) allows a scope; None: it does."""
        key = self.find(header) if header is not None else None
        if key is None:
            return NO_KEY
        return None if key.may(scope) else _WRONG_SCOPE[scope]

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
        for key in (*self._kept, *self._configured):
            if compare_digest(key.digest, digest):
                found = key
        if found is not None and len(self._cache) < HEADERS_CACHED_MAX:
            self._cache[header] = found
        return found

    def is_stale(self, now_s: float) -> bool:
        """Whether another process may have changed a key so long ago that it must be known here.

        Args:
            now_s: a monotonic clock's time.
        """
        return self._is_shared and now_s - self._read_at > AGE_MAX_S

    async def refresh(self, now_s: float) -> None:
        """Read the kept keys again if they are too old; whoever comes meanwhile waits for the same reading."""
        async with self._reading:
            if self.is_stale(now_s):
                await self.read()
                self._read_at = now_s

    async def read(self) -> None:
        """Read the kept keys."""
        if self._store is not None:
            found = await self._store.settings(PREFIX)
            self._kept = tuple(msgspec.json.decode(one, type=ApiKey) for one in found.values())
            self._cache.clear()

    async def add(self, name: str, scopes: Iterable[Scope], now: Instant) -> tuple[ApiKey, str] | TooMany:
        """Make a key and keep its hash; return it with its text, which is kept nowhere."""
        if len(self._kept) >= KEYS_MAX or self._store is None:
            return TooMany()
        text = f"idsync_{secrets.token_urlsafe(KEY_BYTES)}"
        wanted = frozenset(scopes)
        key = ApiKey(
            digest=hash_text(text),
            scopes=tuple(one for one in Scope if one in wanted),
            id=secrets.token_hex(8),
            name=name,
            made_at=now,
        )
        await self._store.put_setting(PREFIX + key.id, msgspec.json.encode(key))
        await self.read()
        return key, text

    async def remove(self, key_id: str) -> ApiKey | LastAdmin | None:
        """Delete a key; here it ends at once. None: there is none of this id.

        Who deletes the last but one while another process does the same finds out by looking once more: it is put back.
        """
        if self._store is None:
            return None
        await self.read()
        key = next((one for one in self._kept if one.id == key_id), None)
        if key is None:
            return None
        if self._is_last(key):
            return LastAdmin()
        await self._store.put_setting(PREFIX + key_id, None)
        await self.read()
        if key.is_admin and not self._has_admin():
            await self._store.put_setting(PREFIX + key_id, msgspec.json.encode(key))
            await self.read()
            return LastAdmin()
        return key

    def _is_last(self, key: ApiKey) -> bool:
        others = [one for one in (*self._kept, *self._configured) if one.digest != key.digest]
        return key.is_admin and not any(one.is_admin for one in others)

    def _has_admin(self) -> bool:
        return any(one.is_admin for one in (*self._kept, *self._configured))

    async def ensure_admin(self, now: Instant) -> str | None:
        """Make a key where none allows everything; return its text, or None where there was one."""
        if self._has_admin():
            return None
        made = await self.add(FIRST_NAME, (Scope.ADMIN,), now)
        return None if isinstance(made, TooMany) else made[1]


def hash_text(text: str) -> bytes:
    """Turn a key's text into what may be kept of it."""
    return sha256(text.encode()).digest()


def hash_key(text: str, *scopes: Scope) -> ApiKey:
    """Make the key of the configuration that a text is; without scopes it allows everything."""
    return ApiKey(digest=hash_text(text), scopes=scopes or (Scope.ADMIN,))


async def ensure_keys(store: Store, settings: Settings, now: Instant = LONG_AGO) -> tuple[ApiKeys, str | None]:
    """Gather the keys of the settings and of the store; where none allows everything, one is made.

    Returns:
        The keys, and the text of a key that was made just now: it is shown once and kept nowhere.
    """
    configured = [hash_key(one.key.reveal(), *map(Scope, one.scopes)) for one in settings.server.api_keys]
    await _adopt_former(store)
    keys = ApiKeys(configured, store)
    await keys.read()
    return keys, await keys.ensure_admin(now)


class _Former(msgspec.Struct, frozen=True):
    digest: bytes


async def _adopt_former(store: Store) -> None:
    """Give the key of an older version's first start its place among the others; safe to repeat."""
    former = await store.setting(FORMER_SETTING)
    if former is not None:
        digest = msgspec.json.decode(former, type=_Former).digest
        key = ApiKey(digest=digest, id=digest.hex()[:16], name=FIRST_NAME)
        await store.put_setting(PREFIX + key.id, msgspec.json.encode(key))
        await store.put_setting(FORMER_SETTING, None)
