"""An open store in a file, and its connections for those tests that look under it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from idsync.stores.sqlite import SqliteStore, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store will be."""
    return tmp_path / "idsync.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """An empty store."""
    opened = await open_store(path)
    yield opened
    await opened.close()
