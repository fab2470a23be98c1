"""A clean clone of this repository, as a newcomer has it: nothing but what is committed."""

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from proofs.pair import ROOT, scratch

STOP_S: Final = 20.0
OWN = ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "HYPOTHESIS_PROFILE", "FULL", "CLAIM", "STORE")
"""Variables of this run that a newcomer's terminal does not have."""


@contextlib.asynccontextmanager
async def open_clone(name: str) -> AsyncIterator[Path]:
    """Clone the committed state into a folder that is removed at the end."""
    with scratch(name) as folder:
        clone = folder / "idsync"
        git = await asyncio.create_subprocess_exec("git", "clone", "--quiet", str(ROOT), str(clone))
        if await git.wait() != 0:
            raise RuntimeError("the repository cannot be cloned")
        yield clone


async def type_in(clone: Path, command: str) -> Process:
    """Type a command into a fresh terminal in the clone; what it says can be read."""
    environment = {name: value for name, value in os.environ.items() if name not in OWN}
    return await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        command,
        cwd=clone,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )


async def read_until(process: Process, text: str, within_s: float) -> list[str]:
    """Read what a command says until a line holds the text; give the lines.

    Raises:
        TimeoutError: it did not say it in time.
        RuntimeError: it ended before.
    """
    assert process.stdout is not None  # it was started with a pipe
    lines: list[str] = []
    async with asyncio.timeout(within_s):
        while line := (await process.stdout.readline()).decode(errors="replace"):
            lines.append(line.rstrip())
            if text in line:
                return lines
    raise RuntimeError(f"it ended without saying {text!r}: {' / '.join(lines[-5:])}")


async def end(process: Process) -> None:
    """Press Ctrl-C in that terminal: everything that the command started gets it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
    async with asyncio.timeout(STOP_S):
        await process.communicate()


def size_mb(folder: Path) -> float:
    """How much a folder holds."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file() and not one.is_symlink()) / 1e6


class Watch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it is now."""
        return time.monotonic() - self._began
