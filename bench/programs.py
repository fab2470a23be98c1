"""The programs that are measured: each a process of its own, on a core of its own."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
START_S: Final = 30.0
STOP_S: Final = 15.0
LOOK_S: Final = 0.02
LOG_CHARS_SHOWN: Final = 2_000


class BenchError(Exception):
    """A measurement that could not be made; the text says which, and why."""


class Cores(NamedTuple):
    """Where what is measured runs, and where load and sink run; the same core where there is only one."""

    measured: int
    load: int


def choose_cores() -> Cores:
    """Take the first two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[min(1, len(usable) - 1)])


def find_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """One running process. As a context it is stopped at the end, by its id."""

    def __init__(
        self, arguments: Sequence[str], log: Path, cores: Collection[int], variables: Mapping[str, str]
    ) -> None:
        """Start `python <arguments>` on some cores, its output to a log file."""
        self.name = log.stem
        self._log = log
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
            )
        # Its threads come later and inherit this.
        os.sched_setaffinity(self._child.pid, cores)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.terminate()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def check(self) -> None:
        """Raise BenchError with the end of its log if it ended."""
        if self._child.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self._child.returncode}:\n{self.log_text()}")

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
        """Look again and again until something is so.

        Raises:
            BenchError: the program ended first, or the time did.
        """
        deadline = time.monotonic() + timeout_s
        while not is_so():
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name}: {what} not within {timeout_s:.0f} s:\n{self.log_text()}")
            time.sleep(LOOK_S)

    async def finish(self, timeout_s: float) -> str:
        """Wait until it ends by itself; give what it wrote.

        Raises:
            BenchError: it failed, or did not end.
        """
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._child.wait, timeout_s)
        if self._child.returncode != 0:
            raise BenchError(f"{self.name} did not end well within {timeout_s:.0f} s:\n{self.log_text()}")
        return self._log.read_text()

    def log_text(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-LOG_CHARS_SHOWN:]

    def cpu_s(self) -> float:
        """CPU time used so far by all its threads, user and system."""
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def peak_mib(self) -> float:
        """The most memory it held so far (resident set)."""
        return self._memory_mib("VmHWM:")

    def memory_mib(self) -> float:
        """The memory it holds now (resident set)."""
        return self._memory_mib("VmRSS:")

    def _memory_mib(self, field: str) -> float:
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return int(status.partition(field)[2].split()[0]) / 1024


class Server(NamedTuple):
    """A program that takes events in."""

    program: Program
    port: int
