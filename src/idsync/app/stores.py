"""The store, from the settings."""

from idsync.config import Settings
from idsync.errors import ConfigError
from idsync.ports import Store
from idsync.stores.common.retention import Retention
from idsync.stores.sqlite import open_store as open_sqlite_store

DAY_S = 86_400


async def open_store(settings: Settings) -> Store:
    """Open the store that the settings name.

    Raises:
        ConfigError: this version has no such store.
        StoreError: it cannot be opened.
    """
    url = settings.store.url
    if url.scheme != "sqlite":
        raise ConfigError(f"store.url: {url.scheme}:// is not in this version; use sqlite:///idsync.db")
    retention = Retention(
        inbox_s=settings.retention.inbox_days * DAY_S,
        attempts_s=settings.retention.attempts_days * DAY_S,
        conflicts_s=settings.retention.conflicts_days * DAY_S,
    )
    return await open_sqlite_store(url.sqlite_path, retention=retention)
