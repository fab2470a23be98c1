"""The PostgreSQL store keeps the contract of every Store: the checks that SQLite keeps, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

import asyncpg
import pytest

from idsync.stores.postgres import PostgresStore, open_store
from idsync.testing.store_suite import CHECKS, DURABLE_CHECKS, Check, DurableCheck

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'idsync'::regnamespace AND relkind = 'r'"


class PostgresRig:
    """A store in a database; a killed process leaves the server to undo what it had not committed."""

    def __init__(self, url: str, store: PostgresStore) -> None:
        """Begin with an open store."""
        self.url = url
        self.store = store
        self.opened = [store]

    async def reopen(self) -> PostgresStore:
        """Close the store, and open the same database."""
        await self.store.close()
        return await self._open()

    async def crash(self) -> PostgresStore:
        """Cut the connections off, without a word of farewell, and open the same database."""
        self.store._connections._pool.terminate()
        return await self._open()

    async def read_at_rest(self) -> bytes:
        """Every row of every table of ours."""
        kept = BytesIO()
        connection = await asyncpg.connect(self.url)
        try:
            for name in await connection.fetch(TABLES):
                await connection.copy_from_table(name[0], schema_name="idsync", output=kept, format="binary")
        finally:
            await connection.close()
        return kept.getvalue()

    async def _open(self) -> PostgresStore:
        self.store = await open_store(self.url)
        self.opened.append(self.store)
        return self.store


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """An empty store."""
    opened = await open_store(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
async def rig(postgres_url: str) -> AsyncIterator[PostgresRig]:
    """An empty store that can end."""
    made = PostgresRig(postgres_url, await open_store(postgres_url))
    yield made
    await asyncio.gather(*(opened.close() for opened in made.opened))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_store_keeps_the_contract(check: Check, store: PostgresStore) -> None:
    """Each check of the suite passes."""
    await check(store)


@pytest.mark.parametrize("check", DURABLE_CHECKS, ids=lambda check: check.__name__)
async def test_database_keeps_the_contract_of_what_lasts(check: DurableCheck, rig: PostgresRig) -> None:
    """Each check of the suite that ends the store passes."""
    await check(rig)
