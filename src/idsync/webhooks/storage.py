"""Where the library keeps its truth: the stores of idsync, by name."""

from pathlib import Path
from typing import Protocol, final


class WebhookStorage(Protocol):
    """A place for endpoints, queue and attempts."""

    @property
    def url(self) -> str:
        """The store's address, as `store.url` of the configuration."""
        ...


@final
class MemoryStorage:
    """Ends with the process: for tests."""

    url = "sqlite:///:memory:"


@final
class SqliteStorage:
    """One file, which one process has for itself. Durable as soon as `send_webhook` returns."""

    def __init__(self, path: str | Path) -> None:
        """Name the file; it is made where there is none."""
        self.url = f"sqlite:///{path}"


@final
class PostgresStorage:
    """A PostgreSQL database, which any number of processes share: each endpoint's rate and breaker hold over all."""

    def __init__(self, url: str) -> None:
        """Name the database: `postgresql://user:password@host/database`."""
        self.url = url
