"""Bodies under the key of the entity they speak of: destroying one key erases them all (decision 0004)."""

import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from idsync.errors import DataRefused, StoreError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12

EntityKeys = Mapping[str, bytes | None]
"""Entity id → its key; None where the key was destroyed."""


def make_key() -> bytes:
    """Draw the key of a new entity."""
    return os.urandom(KEY_BYTES)


def seal(body: bytes, entity: str | None, keys: EntityKeys, place: str) -> bytes:
    """Encrypt a body for an entity with AES-256-GCM; one without an entity, or without content, stays as it is.

    Args:
        place: the table and row, bound into the seal, so that a body cannot be moved to another row.

    Returns:
        The nonce and the sealed body; nothing at all where the key was destroyed, for nothing may be kept then.

    Raises:
        DataRefused: the entity does not exist; a body meant to be sealed is never stored in the clear.
    """
    if entity is None or not body:
        return body
    if entity not in keys:
        raise DataRefused(f"{place} names the entity {entity}, which does not exist; write the entity in the same plan")
    key = keys[entity]
    if key is None:
        return b""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, body, place.encode())


def unseal(body: bytes, entity: str | None, key: bytes | None, place: str) -> bytes:
    """Give back what `seal` took; b"" where the entity's key was destroyed since.

    Raises:
        StoreError: the bytes are not what was sealed here.
    """
    if entity is None or not body:
        return body
    if key is None:
        return b""
    try:
        return AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], place.encode())
    except InvalidTag as fault:
        raise StoreError(f"the body of {place} was changed outside idsync; restore the store from a backup") from fault
