"""Authon: `X-Authon-Signature: v1=<hex>` over `<X-Authon-Timestamp>.<body>`, the time in ISO 8601.

Authon's older pages also know `Authon-Signature` over the body alone. It is not accepted: were it, every
signature over a time could be passed by.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from idsync.model.values import instant_text, parse_instant
from idsync.wire.dialects.checks import (
    conclude,
    digest,
    hmac_keys,
    is_signed,
    parse_text_secret,
    read_headers,
    to_hex,
)
from idsync.wire.dialects.timestamped import timed_content, values_of
from idsync.wire.signing import Incoming, MalformedSecret, Outgoing, Part, Reason, Refused, Secret, Verified

# The zone must be there: without it, "…20.000Z.{}" could be read as the time "…20" and the body "000Z.{}".
_ISO_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


class Authon(msgspec.Struct, frozen=True):
    """The one sender of its kind."""

    name: str = "authon"
    signs: frozenset[Part] = frozenset({Part.TIMESTAMP, Part.BODY})

    def parse_secret(self, text: str) -> Secret | MalformedSecret:
        """Read a secret that is used as its own text."""
        return parse_text_secret(text)

    def sign(self, secrets: Sequence[Secret], outgoing: Outgoing) -> list[tuple[str, str]]:
        """Sign with the newest secret: Authon's published receivers read one signature only."""
        timestamp = instant_text(outgoing.sent_at)
        signature = digest(hmac_keys(secrets)[0], timed_content(timestamp, outgoing.body)).hex()
        return [("X-Authon-Signature", f"v1={signature}"), ("X-Authon-Timestamp", timestamp)]

    def verify(self, secrets: Sequence[Secret], incoming: Incoming) -> Verified | Refused:
        """Accept if any `v1=` is right by any secret and the time is near."""
        texts = read_headers(incoming, "x-authon-signature", "x-authon-timestamp")
        if isinstance(texts, Refused):
            return texts
        signature, timestamp = texts
        signed_at = parse_instant(timestamp) if _ISO_TIME.fullmatch(timestamp) else None
        if signed_at is None:
            return Refused(Reason.MALFORMED)
        signatures = [value.lower() for value in values_of("v1", signature)]
        content = timed_content(timestamp, incoming.body)
        return conclude(
            incoming,
            is_authentic=is_signed(secrets, content, signatures, to_hex),
            verified=Verified(None, signed_at, self.signs),
        )


DIALECTS: Final = (Authon(),)
