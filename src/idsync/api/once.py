"""Once: what an operation makes under one `Idempotency-Key` it makes once; a repeated request gets the first answer.

Kept for a day in the document `once:<hash>`, sealed under the caller's own API key and Idempotency-Key, of which the
store has only hashes: an answer may hold a secret, and only who asked for it can read it again.

A process that dies between doing and keeping leaves the document open: `OPEN_MAX_MS` later the same request runs again,
and what it wanted to make may then be there already.
"""

import os
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from idsync.api.http import Answer, Outcome, Problem, ProblemType
from idsync.model.values import Instant
from idsync.ports import Clock, Registry
from idsync.wire.signing import is_event_id

HEADER: Final = b"idempotency-key"
PREFIX: Final = "once:"
KEPT_MS: Final = 86_400_000
OPEN_MAX_MS: Final = 60_000
"""How long one request may be under way: more than any operation takes."""
KEPT_MAX: Final = 2_000
SWEEP_EVERY_S: Final = 60.0
NONCE_BYTES: Final = 12
OK_MIN: Final = 200
OK_MAX: Final = 299
REPLAYED: Final = ((b"idempotent-replay", b"true"),)

_WRONG_KEY: Final = Problem(
    ProblemType.BAD_HEADER, "An Idempotency-Key is 1 to 256 visible ASCII characters without a full stop."
)
_REUSED: Final = Problem(ProblemType.KEY_REUSED, "Send another Idempotency-Key, or the request that it belongs to.")
_UNDER_WAY: Final = Problem(ProblemType.UNDER_WAY, "Send it again in a moment.", ((b"retry-after", b"1"),))
_FULL: Final = Problem(
    ProblemType.BUSY, f"{KEPT_MAX} answers of the last day are kept already.", ((b"retry-after", b"3600"),)
)


class _Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one request."""

    at: Instant
    request: bytes
    """The SHA-256 of what was asked for."""
    answer: bytes | None = None
    """The nonce and the sealed answer; None: it is under way."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """One request that may be repeated."""

    operation: str
    authorization: bytes
    key: bytes
    """What its header `Idempotency-Key` holds."""
    request: bytes
    """Its path and its body, as they came."""


class Once:
    """Remembers the answers of one process's store."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._swept_at = float("-inf")
        self._count = 0

    async def run(self, caller: Caller, run: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Run an operation, or give the answer that it gave before; a refusal is not kept."""
        if not is_event_id(caller.key.decode("latin-1")):
            return _WRONG_KEY
        await self._sweep()
        name = PREFIX + sha256(b"\0".join((caller.operation.encode(), caller.authorization, caller.key))).hexdigest()
        opened = _Kept(at=self._clock.now(), request=sha256(caller.request).digest())
        text = msgspec.json.encode(opened)
        found = await self._registry.setting(name)
        kept = msgspec.json.decode(found, type=_Kept) if found is not None else None
        if kept is not None and not self._is_over(kept):
            return self._repeat(caller, kept, opened)
        if kept is None and self._count >= KEPT_MAX:
            return _FULL
        if not await self._registry.put_setting(name, text, expected=found):
            return _UNDER_WAY
        return await self._begin(caller, name, opened, run)

    async def _begin(self, caller: Caller, name: str, opened: _Kept, run: Callable[[], Awaitable[Outcome]]) -> Outcome:
        self._count += 1
        outcome: Outcome | None = None
        try:
            outcome = await run()
        finally:
            if isinstance(outcome, Answer) and OK_MIN <= outcome.status <= OK_MAX:
                closed = msgspec.structs.replace(opened, answer=_seal(caller, outcome))
                await self._registry.put_setting(name, msgspec.json.encode(closed))
            else:
                self._count -= 1
                await self._registry.put_setting(name, None)
        return outcome

    def _repeat(self, caller: Caller, kept: _Kept, opened: _Kept) -> Outcome:
        if kept.request != opened.request:
            return _REUSED
        if kept.answer is None:
            return _UNDER_WAY
        answer = _unseal(caller, kept.answer)
        return msgspec.structs.replace(answer, headers=(*answer.headers, *REPLAYED)) if answer else _REUSED

    def _is_over(self, kept: _Kept) -> bool:
        age_ms = self._clock.now() - kept.at
        return age_ms > (KEPT_MS if kept.answer is not None else OPEN_MAX_MS)

    async def _sweep(self) -> None:
        """Forget what is over, now and then, and count what is left."""
        now_s = self._clock.monotonic()
        if now_s - self._swept_at < SWEEP_EVERY_S:
            return
        self._swept_at = now_s
        found = await self._registry.settings(PREFIX)
        over = [name for name, one in found.items() if self._is_over(msgspec.json.decode(one, type=_Kept))]
        for name in over:
            await self._registry.put_setting(name, None, expected=found[name])
        self._count = len(found) - len(over)


def _cipher(caller: Caller) -> AESGCM:
    return AESGCM(sha256(b"\0".join((b"once", caller.authorization, caller.key))).digest())


def _seal(caller: Caller, answer: Answer) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(caller).encrypt(nonce, msgspec.json.encode(answer), caller.operation.encode())


def _unseal(caller: Caller, sealed: bytes) -> Answer | None:
    try:
        text = _cipher(caller).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], caller.operation.encode())
    except InvalidTag:
        return None
    return msgspec.json.decode(text, type=Answer)
