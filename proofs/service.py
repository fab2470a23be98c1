"""`idsync up` as a child of ours, and its API from outside."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

KEY: Final = "a-key-that-guards-invented-people"
IDSYNC: Final = str(Path(sys.executable).with_name("idsync"))
READY_S: Final = 30.0
STOP_S: Final = 20.0


class Service:
    """One running service; it may be killed and started again."""

    def __init__(self, folder: Path, role: str = "up", log: str = "service.log") -> None:
        """Start nothing yet.

        Args:
            folder: holds idsync.toml; several processes may share it.
            role: `up`, or `serve` or `worker` where there are several.
            log: the file in `folder` that takes what it logs.
        """
        self.folder = folder
        self._role = role
        self._log = log
        self.url = ""
        self.holder = ""
        """The name under which this life holds leases."""
        self._child: Process | None = None

    @property
    def is_started(self) -> bool:
        """Whether it has had a life at all."""
        return self._child is not None

    @property
    def pid(self) -> int:
        """The process of this life."""
        return self._living().pid

    async def start(self, crash: str = "") -> None:
        """Begin a new life; `crash` names the point where it is to end (`idsync.crash`)."""
        self.url = ""
        with (self.folder / self._log).open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                IDSYNC,
                self._role,
                "--json",
                "--listen",
                "127.0.0.1:0",
                cwd=self.folder,
                env={**os.environ, "IDSYNC_CRASH": crash},
                stdout=PIPE,
                stderr=log,
            )

    async def is_ready(self) -> bool:
        """Wait until it answers; False: it died before."""
        child = self._living()
        assert child.stdout is not None
        async with asyncio.timeout(READY_S):
            line = await child.stdout.readline()
        if not line:
            return False
        said = msgspec.json.decode(line)
        self.url, self.holder = said["url"], said.get("worker") or ""
        return True

    async def died(self, within_s: float) -> int | None:
        """Wait for its end; give the exit status, or None if it lives on."""
        try:
            async with asyncio.timeout(within_s):
                return await self._living().wait()
        except TimeoutError:
            return None

    async def kill(self) -> None:
        """End it with SIGKILL, wherever it is."""
        child = self._living()
        if child.returncode is None:
            child.kill()
        await child.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP and SIGCONT make it sleep and wake."""
        self._living().send_signal(number)

    async def stop(self) -> int:
        """Ask it to stop in order; give the exit status."""
        child = self._living()
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            return await child.wait()

    async def get(self, path: str) -> dict[str, Any]:
        """Ask the API."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Tell the API."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {KEY}"}
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.request(method, self.url + path, json=body) as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found

    def _living(self) -> Process:
        assert self._child is not None, "it was not started"
        return self._child


async def run_command(folder: Path, *arguments: str, crash: str = "") -> int:
    """Run one `idsync` command in a folder; give its exit status, negative for the signal that ended it."""
    with (folder / "service.log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            IDSYNC, *arguments, cwd=folder, env={**os.environ, "IDSYNC_CRASH": crash}, stdout=log, stderr=log
        )
        return await child.wait()


async def ask_command(*arguments: str) -> tuple[int, bytes]:
    """Run one `idsync` command; give its exit status and what it printed."""
    child = await asyncio.create_subprocess_exec(IDSYNC, *arguments, stdout=PIPE)
    printed, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, printed
