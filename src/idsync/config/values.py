"""Two kinds of text that must not appear in a log: secrets, and addresses that may carry one."""

from base64 import b64decode
from binascii import Error
from hmac import compare_digest
from typing import Final
from urllib.parse import urlsplit

KEY_BYTES: Final = 32


class SecretText:
    """A secret. Its `repr` and `str` hide it; `reveal` shows it to the code that signs or compares."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret. Never pass it to a log, an error or a metric."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


class Url:
    """An address. Its `repr` and `str` leave out user, password and query; `reveal` returns it as written.

    Raises:
        ValueError: the text is no address; the message says why and never repeats it.
    """

    __slots__ = ("_text", "host", "port", "scheme")

    def __init__(self, text: str) -> None:
        if not text.isprintable() or " " in text:
            raise ValueError("an address has no spaces and no control characters")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError("the host or port of this address cannot be understood") from None
        if text and not parts.scheme:
            raise ValueError("an address begins with its scheme, as in https://… or sqlite:///…")
        self._text = text
        self.scheme = parts.scheme
        self.host = parts.hostname
        self.port = port

    def reveal(self) -> str:
        """Return the whole address, password and query included. Never pass it to a log."""
        return self._text

    @property
    def sqlite_path(self) -> str:
        """The file of a `sqlite:///` address: relative to the working directory, absolute with a fourth slash.

        `:memory:` names a database that ends with the process.
        """
        return self._text.removeprefix("sqlite:///")

    def __str__(self) -> str:
        if self.scheme == "sqlite":
            return self._text
        parts = urlsplit(self._text)
        netloc = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=netloc, query="…" if parts.query else "", fragment="").geturl()

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def read_key(secret: SecretText) -> bytes | None:
    """Read 32 bytes written in base64, of either alphabet, padded or not; None where it is something else."""
    digits = secret.reveal().strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def reveal(value: object) -> str:
    """Write either kind as the text that it is: msgspec's hook to encode what is kept, and never logged."""
    if isinstance(value, SecretText | Url):
        return value.reveal()
    raise NotImplementedError


def hide(kind: type, text: object) -> object:
    """Take back what `reveal` wrote: msgspec's hook to decode."""
    if kind in {SecretText, Url} and isinstance(text, str):
        return kind(text)
    raise NotImplementedError
