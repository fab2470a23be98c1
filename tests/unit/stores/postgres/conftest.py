"""An open PostgreSQL store, and a plain connection for those tests that look under it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from idsync.stores.postgres import PostgresStore, open_store


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """An empty store."""
    opened = await open_store(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
async def other(store: PostgresStore, postgres_url: str) -> AsyncIterator[PostgresStore]:
    """The same store as another process has it open."""
    opened = await open_store(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
async def raw(store: PostgresStore, postgres_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of an operator, or of another program."""
    connection = await asyncpg.connect(postgres_url, server_settings={"search_path": "idsync"})
    yield connection
    await connection.close()
