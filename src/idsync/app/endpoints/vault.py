"""What is kept of endpoints, encrypted under the keys of `server.secret_key` (AES-256-GCM)."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from idsync.config import Settings
from idsync.config.values import read_key
from idsync.errors import ConfigError
from idsync.stores.common.seal import seal, unseal

MARK: Final = b"sealed1:"
"""What sealed values begin with; others are JSON."""
PRINT_BYTES: Final = 8


class Vault:
    """Seals with the first key, opens with all; without a key it leaves everything as it is."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 bytes."""
        self._keys = {blake2b(key, digest_size=PRINT_BYTES, person=b"idsync-key").digest(): key for key in keys}
        self._first = next(iter(self._keys), None)

    @property
    def has_key(self) -> bool:
        """Whether anything is sealed."""
        return self._first is not None

    def seal(self, name: str, body: bytes) -> bytes:
        """Encrypt a value that is not empty; its name is bound into it, so that it cannot be moved to another one."""
        if self._first is None:
            return body
        return MARK + self._first + seal(body, name, {name: self._keys[self._first]}, name)

    def open(self, name: str, stored: bytes) -> bytes:
        """Give back what was sealed.

        Raises:
            ConfigError: it was sealed under a key that is not there.
            StoreError: it was changed outside idsync.
        """
        if not stored.startswith(MARK):
            return stored
        start = len(MARK) + PRINT_BYTES
        key = self._keys.get(stored[len(MARK) : start])
        if key is None:
            raise ConfigError(
                f"server.secret_key: what the store keeps as {name} is encrypted under a key that is not given; give"
                " the key that it was written with (as one of several: the first encrypts, all decrypt)"
            )
        return unseal(stored[start:], name, key, name)

    def is_current(self, stored: bytes) -> bool:
        """Whether a value is kept as it would be now: under the first key, or under none."""
        return stored.startswith(MARK + self._first) if self._first is not None else not stored.startswith(MARK)


def open_vault(settings: Settings) -> Vault:
    """Take the keys of the settings, which are checked."""
    return Vault([key for one in settings.server.secret_key if (key := read_key(one)) is not None])
