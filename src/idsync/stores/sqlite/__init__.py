"""The Store in one SQLite file: one owner process, one writer with group commit (DESIGN §6)."""

from idsync.stores.sqlite.retention import Retention
from idsync.stores.sqlite.store import SqliteStore, open_store

__all__ = ["Retention", "SqliteStore", "open_store"]
