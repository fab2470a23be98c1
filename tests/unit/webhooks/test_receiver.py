"""The receiver: what is signed as seed 003 says is believed, everything else is not, and nothing makes it fail."""

import hmac
import json
import time

import pytest

from idsync.errors import ConfigError, InvalidSignature, SerializationError
from idsync.webhooks import IncomingWebhook, SignatureGenerator, WebhookReceiver

SECRET = "webhook_secret"
BODY = json.dumps({
    "id": "webhook_123",
    "event": "user.created",
    "timestamp": "2024-01-01T12:00:00Z",
    "data": {"user_id": "user_123", "email": "user@example.com"},
    "version": "1.0",
}).encode()  # fmt: skip


def signed(body: bytes = BODY, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    """Sign by hand, exactly as the seed writes it."""
    at = int(time.time()) if at is None else at
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
    return {"X-Webhook-Signature": f"t={at},v1={signature}"}


def test_webhook_of_the_seed_is_verified_and_read() -> None:
    """Headers in whatever case."""
    receiver = WebhookReceiver(SECRET)
    headers = {name.upper(): value for name, value in signed().items()}
    assert receiver.verify_signature(headers, BODY)
    assert receiver.receive(headers, BODY) == IncomingWebhook(
        id="webhook_123",
        event="user.created",
        timestamp="2024-01-01T12:00:00Z",
        data={"user_id": "user_123", "email": "user@example.com"},
        version="1.0",
    )


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        (signed(secret="another"), BODY),
        (signed(), BODY + b" "),
        (signed(at=int(time.time()) - 3_600), BODY),
        (signed(at=int(time.time()) + 3_600), BODY),
        ({"X-Webhook-Signature": ""}, BODY),
        ({"X-Webhook-Signature": "t=,v1="}, BODY),
        ({"X-Webhook-Signature": "v1=00"}, BODY),
        ({"X-Webhook-Signature": "t=1,t=2,v1=00"}, BODY),
        ({"X-Webhook-Signature": "\N{SNOWMAN}"}, BODY),
        ({"X-Webhook-Signature": "t=" + "9" * 5000}, BODY),
    ],
)
def test_whatever_is_not_signed_now_by_the_secret_is_refused(headers: dict[str, str], body: bytes) -> None:
    """No answer but False, and one error whose text says nothing of the reason."""
    receiver = WebhookReceiver(SECRET)
    assert receiver.verify_signature(headers, body) is False
    with pytest.raises(InvalidSignature, match="was not accepted"):
        receiver.receive(headers, body)


def test_old_and_new_secret_are_both_believed_while_one_replaces_the_other() -> None:
    """A rotation at the receiver's side."""
    receiver = WebhookReceiver(["new", "old"])
    assert receiver.verify_signature(signed(secret="old"), BODY)
    assert receiver.verify_signature(signed(secret="new"), BODY)


def test_receiver_without_a_usable_secret_is_refused() -> None:
    """An empty secret would believe everybody who knows that."""
    with pytest.raises(ConfigError):
        WebhookReceiver("")


def test_receiver_without_any_secret_believes_nobody() -> None:
    """It fails closed."""
    assert not WebhookReceiver([]).verify_signature(signed(), BODY)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"id":1}', b"\xff", b"[" * 100_000, BODY[:-1]])
def test_body_that_is_no_webhook_is_refused(body: bytes) -> None:
    """Whatever the bytes, it is the same error."""
    with pytest.raises(SerializationError):
        WebhookReceiver(SECRET).parse_webhook(body)


def test_generator_signs_as_the_seed_and_knows_its_own() -> None:
    """`<timestamp>.<payload>`, HMAC-SHA256, hexadecimal."""
    generator = SignatureGenerator()
    signature = generator.generate(SECRET, BODY, 1_234_567_890)
    assert signature == signed(at=1_234_567_890)["X-Webhook-Signature"].partition("v1=")[2]
    assert generator.verify(signature, SECRET, BODY, 1_234_567_890)
    assert not generator.verify(signature, SECRET, BODY, 1_234_567_891)
    assert not generator.verify(signature, "another", BODY, 1_234_567_890)
    assert not generator.verify("\N{SNOWMAN}", SECRET, BODY, 1_234_567_890)
