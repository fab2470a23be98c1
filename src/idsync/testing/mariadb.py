"""A real MariaDB of our own, from Debian's packages: started in a few seconds, on 127.0.0.1, as durable as in earnest.

    with open_mariadb() as server:
        url = await server.new_database()
        ...
        await server.restart(Shutdown.IMMEDIATE)

Nothing of a MariaDB that the machine runs itself is touched: neither its folder, its port nor its configuration.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncmy

from idsync.testing.postgres import GUARDIAN, START_S, STOP_S, Shutdown, account, free_port, run_to_end

PACKAGES: Final = "mariadb-server-core and mariadb-client-core"
PLACES: Final = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
SIGNALS: Final = {Shutdown.FAST: signal.SIGTERM, Shutdown.IMMEDIATE: signal.SIGKILL}
_USER: Final = "root"


class MariadbServer:
    """One running server with any number of databases. It belongs to no event loop."""

    def __init__(self, folder: Path, options: Mapping[str, str]) -> None:
        """Make the data folder in this empty folder; `start` is still to be called.

        Raises:
            RuntimeError: Debian's package is not installed.
        """
        self.folder = folder
        self.port = free_port()
        self._server = _find("mariadbd")
        self._options = options
        self._guardian: subprocess.Popen[str] | None = None
        owner = account()
        if owner.user is not None:
            os.chown(folder, owner.user, owner.group or 0)
        run_to_end([
            *(_find("mariadb-install-db"), "--no-defaults", f"--datadir={folder / 'cluster'}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--skip-name-resolve", f"--tmpdir={folder}"),
        ])  # fmt: skip

    def url(self, database: str) -> str:
        """The address of one database; its user may do everything and has no password."""
        return f"mariadb://{_USER}@127.0.0.1:{self.port}/{database}"

    async def connect(self, database: str | None = None) -> asyncmy.Connection:
        """Connect as a client of its own, each statement in its own transaction."""
        return await asyncmy.connect(
            host="127.0.0.1", port=self.port, user=_USER, database=database, autocommit=True, charset="utf8mb4"
        )

    async def new_database(self) -> str:
        """Make a fresh database and return its url."""
        name = f"t{uuid.uuid4().hex}"
        await self._order(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return self.url(name)

    async def drop_database(self, url: str) -> None:
        """Drop a database that `new_database` made, connections to it included."""
        name = url.rpartition("/")[2]
        await self._kill(f"WHERE db = '{name}'")  # a lock that one of them holds would keep us waiting
        await self._order(f"DROP DATABASE IF EXISTS {name}")

    async def terminate_connections(self) -> int:
        """End every connection of every client but this one; say how many."""
        return await self._kill("WHERE command <> 'Daemon'")

    async def restart(self, how: Shutdown = Shutdown.FAST) -> None:
        """Stop and start on the same port; IMMEDIATE is a crash, with recovery on the way up."""
        await asyncio.to_thread(self.stop, how)
        await asyncio.to_thread(self.start)

    def start(self) -> None:
        """Start the server and return when it answers; blocks.

        Raises:
            RuntimeError: it did not answer within 30 s; the text ends with its log.
        """
        options = {
            "datadir": str(self.folder / "cluster"),
            "bind-address": "127.0.0.1",
            "port": str(self.port),
            "socket": str(self.folder / "socket"),
            "pid-file": str(self.folder / "pid"),
            "tmpdir": str(self.folder),
            "innodb-flush-log-at-trx-commit": "1",
            "innodb-buffer-pool-size": "64M",
            "skip-name-resolve": "1",
            **self._options,
        }
        with (self.folder / "log").open("ab") as log:
            told_before = log.tell()
            owner = account()
            given = [self._server, "--no-defaults", *(f"--{name}={value}" for name, value in options.items())]
            self._guardian = subprocess.Popen(  # noqa: S603  # the server that we came for
                ["/bin/sh", "-c", GUARDIAN.replace("INT", "TERM"), "guardian", str(self.folder), *given],
                stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, cwd=self.folder, start_new_session=True,
                user=owner.user, group=owner.group, extra_groups=owner.groups,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._is_ready(told_before):
            if time.monotonic() > deadline:
                raise RuntimeError(f"MariaDB did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: Shutdown = Shutdown.FAST) -> None:
        """Stop the server and return when it is gone; blocks; safe to call twice."""
        if self._guardian is not None:
            self._guardian.communicate(f"{SIGNALS[how].name.removeprefix('SIG')}\n", timeout=STOP_S)
            self._guardian = None

    def _is_ready(self, told_before: int) -> bool:
        """Whether the server has written that it can be reached, past what its log held before."""
        return b"ready for connections" in (self.folder / "log").read_bytes()[told_before:]

    async def _kill(self, which: str) -> int:
        """End connections, but for our own."""
        sql = f"SELECT id FROM information_schema.processlist {which} AND id <> connection_id()"  # noqa: S608  # ours
        ids = [row[0] for row in await self._order(sql)]
        for one in ids:
            try:
                await self._order(f"KILL {one}")
            except asyncmy.OperationalError:
                continue  # it has ended by itself
        return len(ids)

    async def _order(self, statement: str) -> list[tuple[object, ...]]:
        connection = await self.connect()
        try:
            return await run_sql(connection, statement)
        finally:
            connection.close()


@contextmanager
def open_mariadb(options: Mapping[str, str] | None = None) -> Iterator[MariadbServer]:
    """A server in a temporary folder, stopped and removed when the block ends; blocks for about two seconds.

    Args:
        options: settings of the server over ours, as in `{"max-connections": "20"}`.
    """
    with tempfile.TemporaryDirectory(prefix="idsync-my-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = MariadbServer(folder, options or {})
        try:
            server.start()
            yield server
        finally:
            server.stop()


async def run_sql(connection: asyncmy.Connection, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Run one statement and give its rows; each `%s` is a value."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql, values)
        return list(await cursor.fetchall())


async def run_script(connection: asyncmy.Connection, script: str) -> None:
    """Run statements that end with a semicolon at the end of a line."""
    for statement in script.split(";\n"):
        if statement.strip():
            await run_sql(connection, statement.replace("%", "%%"))


def _find(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{PLACES}")
    if found is None:
        raise RuntimeError(f"{program} is not here: tests of MySQL and MariaDB need Debian's packages {PACKAGES}")
    return found
