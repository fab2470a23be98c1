"""What is measured and what it is measured against, started: the line, bare ceilings, the floor, the ordinary stack."""

import socket
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final

from bench.load import CONCURRENCY, KEY, SECRET
from bench.peers import Pair, make_files
from bench.programs import Program, Server, find_port
from bench.stores import Urls

IDSYNC: Final = ("-c", "from idsync.cli import main; main()")
INSTALL_S: Final = 30.0
READY: Final = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

CONFIG: Final = """
[store]
url = "{store}"
[server]
listen = "127.0.0.1:{port}"
api_keys = ["{key}"]
"""
SINK: Final = """
[delivery]
allow_cidrs = ["127.0.0.0/8"]
[endpoints.sink]
url = "{url}"
secret = "{secret}"
concurrency = {concurrency}
"""
SPREAD: Final = """
[endpoints.sink-{number}]
url = "{url}"
secret = "{secret}"
events = ["spread.{number}"]
"""
PEER: Final = """
[peers.{name}]
connector = "sql"
database = "sqlite:///{file}"
[peers.{name}.user]
table = "users"
key = "id"
fields = {{ email = "email", name = "full_name" }}
email_verified = "always"
"""
CAPTURED: Final = """
[peers.app]
connector = "sql"
database = "{url}"
[peers.app.user]
table = "users"
key = "id"
fields = {{ email = "email", name = "name" }}
email_verified = "always"
[sync.user]
peers = ["app"]
"""
SYNC: Final = """
[sync.user]
peers = ["left", "right"]
"""


class Variants:
    """Starts each variant on the measured core, its files in one folder that the caller removes."""

    def __init__(self, folder: Path, core: int, stores: Urls) -> None:
        self._folder = folder
        self._core = core
        self._stores = stores

    @contextmanager
    def line(self, name: str, sink: str | None = None) -> Iterator[Server]:
        """`idsync up` on the store of that name, posting to the sink if there is one."""
        more = "" if sink is None else SINK.format(url=sink, secret=SECRET, concurrency=CONCURRENCY)
        config, port = self._configure(name, more)
        with self._serve(name, (*IDSYNC, "up", "--config", config), port) as server:
            yield server

    @contextmanager
    def spread(self, name: str, sinks: Sequence[str]) -> Iterator[Server]:
        """`idsync up` with one endpoint for each sink, each of a type of its own."""
        endpoints = [SPREAD.format(number=number, url=url, secret=SECRET) for number, url in enumerate(sinks)]
        config, port = self._configure(name, '[delivery]\nallow_cidrs = ["127.0.0.0/8"]\n' + "".join(endpoints))
        with self._serve(name, (*IDSYNC, "up", "--config", config), port) as server:
            yield server

    @asynccontextmanager
    async def several(
        self, name: str, count: int, sink: str, application: str, cores: Collection[int]
    ) -> AsyncIterator[Sequence[Server]]:
        """Several `idsync up` on one store, with a peer, on these cores; the sink hears of notes alone."""
        more = SINK.format(url=sink, secret=SECRET, concurrency=CONCURRENCY) + 'events = ["note.*"]\n'
        more += CAPTURED.format(url=application)
        config, _ = self._configure(name, more)
        with self._start(f"{name}-capture", (*IDSYNC, "capture", "install", "--config", config)) as program:
            await program.finish(INSTALL_S)
        with ExitStack() as stack:
            servers = []
            for number in range(count):
                config, port = self._configure(name, more, f"{name}-{number}")
                arguments = (*IDSYNC, "up", "--config", config)
                server = self._serve(f"{name}-{number}", arguments, port, cores)
                servers.append(stack.enter_context(server))
            yield servers

    @asynccontextmanager
    async def peers(self) -> AsyncIterator[Pair]:
        """`idsync up` between two files, after the first synchronisation."""
        left, right = self._folder / "left.db", self._folder / "right.db"
        make_files(left, right, is_copied=False)
        more = PEER.format(name="left", file=left) + PEER.format(name="right", file=right) + SYNC
        config, port = self._configure("peers", more)
        with self._start("capture", (*IDSYNC, "capture", "install", "--config", config)) as program:
            await program.finish(INSTALL_S)
        with (
            self._serve("peers", (*IDSYNC, "up", "--config", config), port) as server,
            closing(Pair(left, right)) as pair,
        ):
            server.program.wait_until(pair.is_equal, "both peers were equal")
            yield pair

    @contextmanager
    def copier(self) -> Iterator[Pair]:
        """The bare ceiling between two files."""
        left, right = self._folder / "bare-left.db", self._folder / "bare-right.db"
        make_files(left, right, is_copied=True)
        with self._start("copier", ("-m", "bench.copier", str(left), str(right))), closing(Pair(left, right)) as pair:
            yield pair

    @contextmanager
    def bare(self, what: str, *sinks: str) -> Iterator[Server]:
        """One of the bare ceilings of `bench.bare`."""
        port = find_port()
        arguments = ("-m", "bench.bare", what, "--port", str(port), "--sink", *sinks)
        with self._serve(f"bare-{what}-{len(sinks)}", arguments, port) as server:
            yield server

    @contextmanager
    def ordinary(self, sink: str) -> Iterator[Server]:
        """The ordinary stack."""
        port = find_port()
        file = str(self._folder / "ordinary.db")
        arguments = ("-m", "bench.ordinary", "--port", str(port), "--file", file, "--sink", sink)
        with self._serve("ordinary", arguments, port) as server:
            yield server

    @contextmanager
    def floor(self, sink: str) -> Iterator[Server]:
        """The leanest program that keeps the line's rows; in a file, whatever the store."""
        port = find_port()
        file = str(self._folder / "floor.db")
        with self._serve(
            "floor", ("-m", "bench.floor", "--port", str(port), "--file", file, "--sink", sink), port
        ) as server:
            yield server

    def _configure(self, name: str, more: str, file_name: str = "") -> tuple[str, int]:
        """Write a configuration; give its file and the port in it."""
        port = find_port()
        file = self._folder / f"{file_name or name}.toml"
        file.write_text(CONFIG.format(store=self._stores[name], port=port, key=KEY) + more)
        return str(file), port

    @contextmanager
    def _serve(self, name: str, arguments: Sequence[str], port: int, cores: Collection[int] = ()) -> Iterator[Server]:
        """Start a server and wait until it takes requests."""
        with self._start(name, arguments, cores) as program:
            program.wait_until(lambda: is_ready(port), "it was ready")
            yield Server(program, port)

    def _start(self, name: str, arguments: Sequence[str], cores: Collection[int] = ()) -> Program:
        variables = {"BENCH_SECRET": SECRET, "BENCH_KEY": KEY}
        return Program(arguments, self._folder / f"{name}.log", cores or {self._core}, variables)


def is_ready(port: int) -> bool:
    """Whether a server says that it takes requests."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.settimeout(1.0)
            connection.sendall(READY)
            return b" 200 " in connection.recv(64)
    except OSError:
        return False
