"""`idsync sign` and `idsync verify`, each judging the other, and the official library judging both."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from typer.testing import Result

from idsync.model.values import Instant, instant_text
from idsync.wire.dialects import DIALECTS

Run = Callable[..., Result]

BODY = '{"name":"Adä"}\r\n'.encode()
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_bm90IHRoaXMgb25lIGVpdGhlciwgc29ycnkh"
HOOK = "https://app.example.com/hook"


def _is_standard(dialect: str) -> bool:
    return dialect in {"standard", "svix", "clerk", "stytch", "supabase"}


def _secret_of(dialect: str) -> str:
    return WHSEC if _is_standard(dialect) else "a-secret-of-some-length"


def _headers(result: Result) -> list[str]:
    """Give what was printed as the options of `verify`."""
    return [text for line in result.stdout.splitlines() for text in ("--header", line)]


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_what_sign_prints_is_verified_in_every_dialect(dialect: str, run: Run) -> None:
    """A body signed by one command is authentic for the other, and any other body is not."""
    common = ("--dialect", dialect, "--secret", _secret_of(dialect), "--to", HOOK)
    signed = run("sign", *common, stdin=BODY)
    assert signed.exit_code == 0
    verified = run("verify", *common, *_headers(signed), stdin=BODY)
    assert verified.exit_code == 0, verified.stderr
    if DIALECTS[dialect].signs:
        assert run("verify", *common, *_headers(signed), stdin=BODY + b" ").exit_code == 1


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_another_secret_is_refused_in_every_dialect(dialect: str, run: Run) -> None:
    """Whoever has not the secret proves nothing, and the owner is told why."""
    secret = _secret_of(dialect)
    other = OTHER if _is_standard(dialect) else "another-secret-of-a-length"
    signed = run("sign", "--dialect", dialect, "--secret", secret, "--to", HOOK, stdin=BODY)
    refused = run("verify", "--dialect", dialect, "--secret", other, "--to", HOOK, *_headers(signed), stdin=BODY)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("refused (wrong_signature): ")
    assert refused.stdout == ""


def test_official_library_verifies_what_sign_prints(run: Run) -> None:
    """Standard Webhooks' own verifier accepts the headers as they are printed, and no other body."""
    signed = run("sign", "--dialect", "standard", "--secret", WHSEC, "--id", "msg_1", stdin=BODY)
    headers = dict(line.split(": ", 1) for line in signed.stdout.splitlines())
    assert Webhook(WHSEC).verify(BODY, headers) == {"name": "Adä"}
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(BODY[:-1], headers)


def test_sign_prints_json_that_says_the_same(run: Run) -> None:
    """The object holds the very headers that are printed for people."""
    args = ("sign", "--secret", WHSEC, "--id", "msg_1", "--at", "2026-01-31T12:00:00Z")
    printed = dict(line.split(": ", 1) for line in run(*args, stdin=BODY).stdout.splitlines())
    assert json.loads(run(*args, "--json", stdin=BODY).stdout) == printed
    assert printed["webhook-id"] == "msg_1"
    assert printed["webhook-timestamp"] == "1769860800"


def test_verify_prints_json_for_both_verdicts(run: Run) -> None:
    """A program reads the verdict, and what the signature covers or why it was refused."""
    at = "2026-01-31T12:00:00.000Z"
    signed = run("sign", "--secret", WHSEC, "--id", "msg_1", "--at", at, stdin=BODY)
    verified = run("verify", "--secret", WHSEC, "--json", "--at", at, *_headers(signed), stdin=BODY)
    assert json.loads(verified.stdout) == {
        "verified": True, "id": "msg_1", "signed_at": at, "signs": ["body", "id", "timestamp"],
    }  # fmt: skip
    refused = run("verify", "--secret", WHSEC, "--json", *_headers(signed), stdin=BODY)
    assert refused.exit_code == 1
    assert json.loads(refused.stdout) == {"verified": False, "reason": "too_old"}


@pytest.mark.parametrize(("shift_s", "reason"), [(-301, "too_new"), (301, "too_old"), (-300, None), (300, None)])
def test_age_is_judged_at_the_given_time(shift_s: int, reason: str | None, run: Run) -> None:
    """An old request can be judged as if it had just come, to the second."""
    signed_at = 1_769_860_800_000
    common = ("--dialect", "timestamped", "--secret", "a-secret")
    signed = run("sign", *common, "--at", instant_text(Instant(signed_at)), stdin=BODY)
    judged_at = instant_text(Instant(signed_at + shift_s * 1000))
    judged = run("verify", *common, "--at", judged_at, *_headers(signed), stdin=BODY)
    assert judged.exit_code == (0 if reason is None else 1)
    assert (reason or "") in judged.stderr


def test_files_carry_a_signature_from_one_command_to_the_other(run: Run) -> None:
    """The two lines of the help work: headers in a file, body in a file, secret in a file."""
    Path("body.json").write_bytes(BODY)
    Path("secret").write_text(f"{WHSEC}\n")
    signed = run("sign", "--secret", "file:secret", "body.json")
    Path("headers").write_text(signed.stdout)
    assert run("verify", "--secret", "file:secret", "--header", "@headers", "body.json").exit_code == 0


def test_a_secret_need_not_stand_on_the_command_line(run: Run) -> None:
    """A variable of one's own, or the one that is looked for by default, says it."""
    body = run("sign", "--secret", "env:HOOK_SECRET", "--id", "a", stdin=BODY, env={"HOOK_SECRET": WHSEC})
    assert run("verify", *_headers(body), stdin=BODY, env={"IDSYNC_SECRET": WHSEC}).exit_code == 0


def test_any_secret_of_a_rotation_verifies(run: Run) -> None:
    """Both secrets of a rotation may be given, and a signature by either is accepted."""
    signed = run("sign", "--secret", OTHER, stdin=BODY)
    assert run("verify", "--secret", WHSEC, "--secret", OTHER, *_headers(signed), stdin=BODY).exit_code == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("sign", "--secret", WHSEC, "--dialect", "standart"), "choose one of auth0"),
        (("sign", "--secret", WHSEC, "--dialect", "ory"), "is not in this version"),
        (("sign",), "IDSYNC_SECRET"),
        (("sign", "--secret", "env:NOT_SET"), "NOT_SET is not set"),
        (("sign", "--secret", "file:no-such-file"), "cannot be read"),
        (("sign", "--secret", "whsec_%%%"), "is not one base64 text"),
        (("sign", "--secret", WHSEC, "--id", "a.b"), "full stop"),
        (("sign", "--secret", WHSEC, "--type", "a\nb"), "visible ASCII"),
        (("sign", "--secret", WHSEC, "--at", "yesterday"), "is no time"),
        (("sign", "--secret", WHSEC, "no-such-file"), "cannot be read"),
        (("sign", "--secret", "whpk_" + "A" * 43 + "="), "cannot sign"),
        (("sign", "--secret", "s", "--dialect", "qstash"), "signs the address"),
        (("verify", "--secret", WHSEC, "--header", "no colon"), "has no colon"),
        (("verify", "--secret", WHSEC, "--header", "@no-such-file"), "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_wrong_usage_with_the_reason(args: tuple[str, ...], told: str, run: Run) -> None:
    """Nothing is signed or judged, and the message says what to change."""
    result = run(*args, stdin=BODY)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", "").split())
    assert result.stdout == ""


def test_no_message_repeats_a_secret(run: Run) -> None:
    """A secret with a typing error does not end up in a log of the terminal."""
    result = run("sign", "--secret", "whsec_top*secret", stdin=BODY)
    assert result.exit_code == 2
    assert "top" not in result.output


def test_headers_that_are_missing_or_hostile_are_refused(run: Run) -> None:
    """No header makes the command fail in another way than by refusing."""
    for header in ("webhook-id: x", "webhook-signature: \x1b[31mred", "Webhook-Signature: " + "v1," * 3000):
        result = run("verify", "--secret", WHSEC, "--header", header, stdin=BODY)
        assert result.exit_code == 1
        assert "\x1b" not in result.output
