"""Dialects that sign the body and nothing else: plain-hex, better-auth, github, logto, keycloak.

Signed is the body, as hexadecimal HMAC-SHA256. Their id, event, time and origin headers are free to forge, so
`verify` returns none of them; what the body itself says is covered. A replay looks like any repetition.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from idsync.wire.dialects.checks import (
    conclude,
    digest,
    hmac_keys,
    is_signed,
    parse_text_secret,
    read_headers,
    to_hex,
)
from idsync.wire.signing import Incoming, MalformedSecret, Outgoing, Part, Refused, Secret, Verified

_PREFIX: Final = "sha256="


class BodySignature(msgspec.Struct, frozen=True):
    """One sender of the family."""

    name: str
    header: str
    """Carries the signature, spelt as its sender spells it."""
    prefix: str
    """Before the digits. When verifying, `sha256=` may be there or not: Logto has sent both."""
    unsigned: Callable[[Outgoing], list[tuple[str, str]]]
    """Makes the headers that are sent beside the signature and that it does not cover."""
    signs: frozenset[Part] = frozenset({Part.BODY})

    def parse_secret(self, text: str) -> Secret | MalformedSecret:
        """Read a secret that is used as its own text."""
        return parse_text_secret(text)

    def sign(self, secrets: Sequence[Secret], outgoing: Outgoing) -> list[tuple[str, str]]:
        """Sign with the newest secret: there is room for one signature."""
        signature = digest(hmac_keys(secrets)[0], outgoing.body).hex()
        return [(self.header, self.prefix + signature), *self.unsigned(outgoing)]

    def verify(self, secrets: Sequence[Secret], incoming: Incoming) -> Verified | Refused:
        """Accept the body by any secret; never says how old it is."""
        texts = read_headers(incoming, self.header.lower())
        if isinstance(texts, Refused):
            return texts
        signature = texts[0].lower().removeprefix(_PREFIX)
        return conclude(
            incoming,
            is_authentic=is_signed(secrets, incoming.body, [signature], to_hex),
            verified=Verified(None, None, self.signs),
        )


def _plain_hex_headers(outgoing: Outgoing) -> list[tuple[str, str]]:
    return [
        ("X-Webhook-Id", outgoing.event_id),
        ("X-Webhook-Timestamp", str(outgoing.sent_at)),
        ("X-Webhook-Origin", outgoing.origin),
    ]


def _better_auth_headers(outgoing: Outgoing) -> list[tuple[str, str]]:
    return [("X-BetterAuth-Event", outgoing.event_type)]


def _github_headers(outgoing: Outgoing) -> list[tuple[str, str]]:
    return [("X-GitHub-Event", outgoing.event_type), ("X-GitHub-Delivery", outgoing.event_id)]


def _no_headers(_: Outgoing) -> list[tuple[str, str]]:
    return []


DIALECTS: Final = (
    BodySignature("plain-hex", "X-Webhook-Signature", "", _plain_hex_headers),
    BodySignature("better-auth", "X-BetterAuth-Signature", "", _better_auth_headers),
    BodySignature("github", "X-Hub-Signature-256", _PREFIX, _github_headers),
    BodySignature("logto", "logto-signature-sha-256", "", _no_headers),
    BodySignature("keycloak", "X-Keycloak-Signature", "", _no_headers),
)
