"""The other end: verify what was signed, read what was sent."""

from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import Any

import msgspec

from idsync.app import SystemClock
from idsync.app.dialects import dialect_of, parse_secrets
from idsync.config import Dialect
from idsync.errors import InvalidSignature, SerializationError
from idsync.wire.dialects.checks import digest
from idsync.wire.dialects.timestamped import timed_content
from idsync.wire.signing import PUBLIC_ERROR, TOLERANCE_S, Verified, verify


class IncomingWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """The body of one webhook, as seed 003 writes it."""

    id: str
    event: str
    """What happened: `user.created`."""
    timestamp: str
    """When it happened, RFC 3339."""
    data: Any
    version: str = "1.0"


class SignatureGenerator:
    """HMAC-SHA256 of `<timestamp>.<payload>`, in hexadecimal: the `v1` of `X-Webhook-Signature: t=<timestamp>,v1=…`."""

    def generate(self, secret: str, payload: bytes, timestamp: int) -> str:
        """Sign a payload; the timestamp is in seconds since 1970."""
        return digest(secret.encode(), timed_content(str(timestamp), payload)).hex()

    def verify(self, signature: str, secret: str, payload: bytes, timestamp: int) -> bool:
        """Whether a signature is that of this payload and time, compared in constant time. Its age is not judged."""
        return compare_digest(signature.encode(), self.generate(secret, payload, timestamp).encode())


class WebhookReceiver:
    """Verifies and reads what a `WebhookSystem` sent."""

    def __init__(
        self, secret: str | Sequence[str], *, dialect: Dialect = "timestamped", tolerance_s: float = TOLERANCE_S
    ) -> None:
        """Know what signs.

        Args:
            secret: the endpoint's secret, or several while one is replaced by another.
            dialect: how the endpoint signs.
            tolerance_s: how far the signed time may lie from now, both ways.

        Raises:
            ConfigError: a secret cannot be read; the message never shows it.
        """
        self._dialect = dialect_of(dialect, "WebhookReceiver")
        texts = (secret,) if isinstance(secret, str) else tuple(secret)
        self._secrets = parse_secrets(texts, self._dialect, "WebhookReceiver")
        self._tolerance_s = tolerance_s
        self._clock = SystemClock()

    def verify_signature(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether an owner of the secret sent this body, of late. Never raises, whatever the bytes.

        Args:
            headers: the request's, in whatever case.
            body: the raw bytes, before any decoding.
        """
        found = verify(
            self._dialect,
            self._secrets,
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
            now=self._clock.now(),
            tolerance_s=self._tolerance_s,
        )
        return isinstance(found, Verified)

    def parse_webhook(self, body: bytes) -> IncomingWebhook:
        """Read a body, verified before.

        Raises:
            SerializationError: it is no webhook as seed 003 writes it.
        """
        try:
            return msgspec.json.decode(body, type=IncomingWebhook)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SerializationError(f"the body is not a webhook: {type(error).__name__}") from None

    def receive(self, headers: Mapping[str, str], body: bytes) -> IncomingWebhook:
        """Verify and read at once.

        Raises:
            InvalidSignature: nobody who knows the secret sent it, or not of late.
            SerializationError: it is no webhook as seed 003 writes it.
        """
        if not self.verify_signature(headers, body):
            raise InvalidSignature(PUBLIC_ERROR)
        return self.parse_webhook(body)
