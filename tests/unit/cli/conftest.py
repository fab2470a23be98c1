"""The command line in a folder of its own, and real services that its commands ask."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from idsync.cli import build_cli

IDSYNC = (sys.executable, "-c", "from idsync.cli import main; main()")
"""The entry point in a process of its own."""
STOP_S = 30


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin every test in an empty folder and an environment without a word about idsync."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("IDSYNC_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command in this process; its standard input and further variables may be given."""

    def run_command(*args: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Result:
        result = CliRunner(env=env or {}).invoke(build_cli(), args, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_command


class RunningService:
    """`idsync up` in a process of its own, in a folder with its configuration, on a free port."""

    def __init__(self, folder: Path, *args: str) -> None:
        """Start it; `wait` says when it is ready."""
        self.log = folder / "log"
        with self.log.open("ab") as log:
            command = [*IDSYNC, "up", "--listen", "127.0.0.1:0", "--json", *args]
            self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log)
        self.ready: dict[str, Any] = {}

    def wait(self) -> "RunningService":
        """Wait until it is ready, and keep what it says then."""
        self.ready = self.read_line()
        return self

    @property
    def access(self) -> dict[str, str]:
        """The environment in which commands find it."""
        return {"IDSYNC_URL": self.ready["url"], "IDSYNC_API_KEY": self.ready["generated_key"]}

    def read_line(self) -> dict[str, Any]:
        """Read the next line of its standard output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        read: dict[str, Any] = json.loads(line)
        return read

    def stop(self) -> int:
        """Ask it to stop, if nobody did, and give its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()


@pytest.fixture(scope="session")
def make_service() -> Callable[..., RunningService]:
    """Give what makes a service for longer than one test; whoever takes it stops it."""
    return RunningService


@pytest.fixture(scope="session")
def idsync() -> tuple[str, ...]:
    """Give the command that is `idsync`."""
    return IDSYNC


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningService]]:
    """Start services in this test's folder; they are stopped at its end."""
    with ExitStack() as stack:

        def start_service(*args: str) -> RunningService:
            service = RunningService(tmp_path, *args)
            stack.callback(service.stop)
            return service.wait()

        yield start_service
