"""The PostgreSQL that tests are made of."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from idsync.testing.postgres import VERSIONS, WHEEL, PostgresServer, Shutdown, open_postgres
from idsync.testing.wait import until

KILLED = """
import os, signal
from idsync.testing.postgres import open_postgres
with open_postgres() as server:
    print(server.port, server.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_database_is_fresh_and_its_server_as_durable_as_in_earnest(postgres: PostgresServer) -> None:
    """No fast way past the disk."""
    url = await postgres.new_database()
    connection = await asyncpg.connect(url)
    shown = [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")]
    assert shown == ["on", "on", "on"]
    await connection.close()
    await postgres.drop_database(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


@pytest.mark.parametrize("how", list(Shutdown))
async def test_restart_ends_connections_and_keeps_what_was_committed(
    postgres: PostgresServer, postgres_url: str, how: Shutdown
) -> None:
    """In good order, and by a crash."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS value")
    await postgres.restart(how)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    again = await asyncpg.connect(postgres_url)
    assert await again.fetchval("SELECT value FROM kept") == 1
    assert await postgres.terminate_connections() >= 1
    again.terminate()


def test_server_starts_where_its_owner_may_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment below /root: the server runs as nobody, who cannot enter there."""
    tmp_path.chmod(0o700)
    found = importlib.util.find_spec(WHEEL)
    assert found is not None
    assert found.origin is not None
    packages = Path(found.origin).parents[1]
    for each in (f"{WHEEL}/{VERSIONS[18]}", f"{WHEEL}.libs"):
        shutil.copytree(packages / each, tmp_path / each)
    shutil.copy(found.origin, tmp_path / WHEEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    with open_postgres() as server:
        server.stop()


async def test_server_ends_with_who_started_it() -> None:
    """Also where that one is killed and can do nothing about it; no file is left."""
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED], capture_output=True, check=False, env=dict(os.environ)
    )
    port, folder = killed.stdout.split()
    await until(lambda: not Path(folder.decode()).exists())
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", int(port))


def test_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the end of its log."""
    monkeypatch.setattr("idsync.testing.postgres.START_S", 0.5)
    with pytest.raises(RuntimeError, match="no_such_setting"), open_postgres(options={"no_such_setting": "1"}):
        pass
