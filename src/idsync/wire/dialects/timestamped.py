"""Dialects with time and signatures in one header, `t=<time>,v1=<hex>`: timestamped, workos, zitadel.

Signed is `<time>.<body>`, the time spelt as in the header; `v1=` may be repeated, once for each secret in
force. No id is signed, so none is returned; one inside the body is covered.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from idsync.wire.dialects.checks import (
    conclude,
    digest,
    hmac_keys,
    is_signed,
    parse_text_secret,
    parse_unix_time,
    read_headers,
    to_hex,
)
from idsync.wire.signing import Incoming, MalformedSecret, Outgoing, Part, Reason, Refused, Secret, Verified


class Timestamped(msgspec.Struct, frozen=True):
    """One sender of the family."""

    name: str
    header: str
    unit_ms: int
    """Of the time: 1000 for seconds, 1 for milliseconds."""
    separator: str
    """Between the pairs when we sign; when verifying, white space beside a comma means nothing."""
    signs: frozenset[Part] = frozenset({Part.TIMESTAMP, Part.BODY})

    def parse_secret(self, text: str) -> Secret | MalformedSecret:
        """Read a secret that is used as its own text."""
        return parse_text_secret(text)

    def sign(self, secrets: Sequence[Secret], outgoing: Outgoing) -> list[tuple[str, str]]:
        """Send one `v1=` for each secret."""
        timestamp = str(outgoing.sent_at // self.unit_ms)
        content = timed_content(timestamp, outgoing.body)
        signatures = [f"v1={digest(key, content).hex()}" for key in hmac_keys(secrets)]
        return [(self.header, self.separator.join([f"t={timestamp}", *signatures]))]

    def verify(self, secrets: Sequence[Secret], incoming: Incoming) -> Verified | Refused:
        """Accept if any `v1=` is right by any secret; two times, or none, are refused."""
        texts = read_headers(incoming, self.header.lower())
        if isinstance(texts, Refused):
            return texts
        times = values_of("t", texts[0])
        signed_at = parse_unix_time(times[0], unit_ms=self.unit_ms) if len(times) == 1 else None
        if signed_at is None:
            return Refused(Reason.MALFORMED)
        content = timed_content(times[0], incoming.body)
        signatures = [value.lower() for value in values_of("v1", texts[0])]
        return conclude(
            incoming,
            is_authentic=is_signed(secrets, content, signatures, to_hex),
            verified=Verified(None, signed_at, self.signs),
        )


def timed_content(timestamp: str, body: bytes) -> bytes:
    """Join what is signed: the time as it is spelt, a full stop, the body."""
    return b"%b.%b" % (timestamp.encode(), body)


def values_of(name: str, header: str) -> list[str]:
    """Take the values of one name from `name=value,name=value`; whatever is no such pair is skipped."""
    pairs = (pair.strip().partition("=") for pair in header.split(","))
    return [value for key, _, value in pairs if key == name]


DIALECTS: Final = (
    Timestamped("timestamped", "X-Webhook-Signature", 1000, ","),
    Timestamped("workos", "WorkOS-Signature", 1, ", "),
    Timestamped("zitadel", "ZITADEL-Signature", 1000, ","),
)
