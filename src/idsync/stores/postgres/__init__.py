"""The Store in one PostgreSQL database: any number of processes, one order of deliveries by ticks (DESIGN §6)."""

from idsync.stores.postgres.store import PostgresStore, open_store

__all__ = ["PostgresStore", "open_store"]
