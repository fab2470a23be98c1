"""Dialects and their secrets, from the settings."""

from idsync.errors import ConfigError
from idsync.wire.dialects import DIALECTS, KNOWN_LATER
from idsync.wire.signing import Dialect, MalformedSecret, Secret


def dialect_of(name: str, where: str) -> Dialect:
    """Find a dialect by its name.

    Raises:
        ConfigError: it is not in this version.
    """
    found = DIALECTS.get(name)
    if found is None:
        why = "is not in this version" if name in KNOWN_LATER else "is not known"
        raise ConfigError(f"{where}: the dialect {name} {why}; choose one of {', '.join(sorted(DIALECTS))}")
    return found


def parse_secrets(texts: tuple[str, ...], dialect: Dialect, where: str) -> tuple[Secret, ...]:
    """Read secrets as their dialect writes them.

    Raises:
        ConfigError: one cannot be read; the message never shows it.
    """
    parsed: list[Secret] = []
    for text in texts:
        found = dialect.parse_secret(text.rstrip("\r\n"))
        if isinstance(found, MalformedSecret):
            raise ConfigError(f"{where}: the secret {found.problem}")
        parsed.append(found)
    return tuple(parsed)
