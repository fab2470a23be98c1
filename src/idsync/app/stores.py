"""The store, from the settings."""

from idsync.config import Settings
from idsync.errors import ConfigError
from idsync.ports import Store
from idsync.stores.common.retention import Retention
from idsync.stores.postgres import open_store as open_postgres_store
from idsync.stores.sqlite import open_store as open_sqlite_store

DAY_S = 86_400


async def open_store(settings: Settings) -> Store:
    """Open the store that the settings name.

    Raises:
        ConfigError: this version has no such store.
        StoreError: it cannot be opened.
    """
    url = settings.store.url
    retention = Retention(
        inbox_s=settings.retention.inbox_days * DAY_S,
        attempts_s=settings.retention.attempts_days * DAY_S,
        conflicts_s=settings.retention.conflicts_days * DAY_S,
    )
    match url.scheme:
        case "sqlite":
            return await open_sqlite_store(url.sqlite_path, retention=retention)
        case "postgresql" | "postgres":
            return await open_postgres_store(url.reveal(), retention=retention)
        case scheme:
            raise ConfigError(
                f"store.url: {scheme}:// is not in this version; use sqlite:///idsync.db or postgresql://host/database"
            )
