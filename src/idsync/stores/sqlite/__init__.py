"""The Store in one SQLite file: one owner process, one writer with group commit (DESIGN §6)."""

from idsync.stores.sqlite.store import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
