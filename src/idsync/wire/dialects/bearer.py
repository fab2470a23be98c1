"""Senders that sign nothing and show a token instead: auth0 event streams, `Authorization: Bearer <token>`.

The token proves who sends, to whoever has not seen it before; it says nothing about id, time or body.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from idsync.wire.dialects.checks import hmac_keys, parse_text_secret, read_headers
from idsync.wire.signing import (
    Incoming,
    MalformedSecret,
    Outgoing,
    Part,
    Reason,
    Refused,
    Secret,
    Verified,
)

_TOKEN: Final = re.compile(r"[!-~]{1,4000}")


class Bearer(msgspec.Struct, frozen=True):
    """One sender of the family."""

    name: str
    signs: frozenset[Part] = frozenset()

    def parse_secret(self, text: str) -> Secret | MalformedSecret:
        """Read a token: 1 to 4000 visible ASCII characters, since it travels in a header."""
        secret = parse_text_secret(text)
        if isinstance(secret, Secret) and not _TOKEN.fullmatch(text):
            return MalformedSecret("is not 1 to 4000 visible ASCII characters")
        return secret

    def sign(self, secrets: Sequence[Secret], _: Outgoing) -> list[tuple[str, str]]:
        """Show the newest token."""
        return [("Authorization", f"Bearer {hmac_keys(secrets)[0].decode()}")]

    def verify(self, secrets: Sequence[Secret], incoming: Incoming) -> Verified | Refused:
        """Accept any of the tokens; the name of the scheme is read in any case (RFC 9110 §11.1)."""
        texts = read_headers(incoming, "authorization")
        if isinstance(texts, Refused):
            return texts
        scheme, _, token = texts[0].partition(" ")
        if scheme.lower() != "bearer":
            return Refused(Reason.MALFORMED)
        matched = False
        for key in hmac_keys(secrets):
            matched |= hmac.compare_digest(key, token.strip().encode())
        return Verified(None, None, self.signs) if matched else Refused(Reason.WRONG_SIGNATURE)


DIALECTS: Final = (Bearer("auth0"),)
