"""Throws random and mutated requests at a running service and reports what came back (claim: bad input is never a 5xx).

    report = await run_fuzz("http://127.0.0.1:8787", key, requests=100_000, seed=1, peers=[...], pid=server_pid)

Well framed requests share connections; those that are not get one of their own, which is half-closed after them, so
that the server need not wait for what never comes.
"""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from proofs.shots import Aim, FuzzPeer, Shot

WORKERS: Final = 32
ANSWER_S_MAX: Final = 15.0
"""After this an answer is given up; its time counts all the same."""
SHOWN_MAX: Final = 20
SAMPLES: Final = 20
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class FuzzReport(msgspec.Struct, kw_only=True):
    """What came back."""

    wanted: int
    requests: int = 0
    took_s: float = 0.0
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    slowest_s: float = 0.0
    unexpected: list[tuple[int, bytes]] = []
    """Answers that are neither 2xx nor 4xx, with the beginning of their request; 0: framed, and not answered."""
    rss_bytes: list[int] = []
    """The server's memory: at the start, then after each twentieth of the requests."""

    @property
    def growth(self) -> float:
        """Memory after the second half against that after the first."""
        return self.rss_bytes[-1] / self.rss_bytes[len(self.rss_bytes) // 2] if self.rss_bytes else 1.0


async def run_fuzz(
    base_url: str,
    key: str,
    *,
    requests: int,
    seed: int,
    peers: Sequence[FuzzPeer],
    pid: int | None = None,
    time_s_max: float = 600.0,
) -> FuzzReport:
    """Throw `requests` requests, WORKERS at a time.

    Args:
        key: an API key of the server with every scope.
        pid: the server's process, whose memory is sampled; None: it is not.
        time_s_max: no request is begun after this time.
    """
    report = FuzzReport(wanted=requests)
    began = time.monotonic()
    target = urlsplit(base_url)
    shots = _limit(Aim(random.Random(seed), f"{target.hostname}:{target.port}", key, peers).shots(), requests)
    every = max(1, requests // SAMPLES)

    def on_done() -> bool:
        report.requests += 1
        if pid is not None and report.requests % every == 0:
            report.rss_bytes.append(read_rss(pid))
        return time.monotonic() - began < time_s_max

    if pid is not None:
        report.rss_bytes.append(read_rss(pid))
    gunners = [Gunner(target.hostname or "", target.port or 80, report, on_done) for _ in range(WORKERS)]
    await asyncio.gather(*(gunner.run(shots) for gunner in gunners))
    report.took_s = time.monotonic() - began
    return report


def read_rss(pid: int) -> int:
    """Read the resident memory of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _limit(shots: Iterator[Shot], count: int) -> Iterator[Shot]:
    for _, shot in zip(range(count), shots, strict=False):
        yield shot


class Gunner:
    """One worker with one connection at a time."""

    def __init__(self, host: str, port: int, report: FuzzReport, on_done: Callable[[], bool]) -> None:
        self._host = host
        self._port = port
        self._report = report
        self._on_done = on_done
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, shots: Iterator[Shot]) -> None:
        """Send one after the other until there are none."""
        for shot in shots:
            began = time.monotonic()
            statuses = await self._exchange(shot)
            self._report.slowest_s = max(self._report.slowest_s, time.monotonic() - began)
            if shot.is_framed and not statuses:
                statuses = [0]
            for status in statuses:
                self._report.statuses[status] += 1
                is_expected = 200 <= status < 300 or 400 <= status < 500
                if not is_expected and len(self._report.unexpected) < SHOWN_MAX:
                    self._report.unexpected.append((status, shot.content[:2_000]))
            if not self._on_done():
                break
        await self._close()

    async def _exchange(self, shot: Shot) -> list[int]:
        """Send one request and give the statuses of its answers: one, or any number for bytes that are no request."""
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                if not shot.is_framed:
                    return await self._shoot_apart(shot)
                try:
                    return await self._shoot(shot)
                except (OSError, asyncio.IncompleteReadError):
                    await self._close()  # an idle connection may be closed just before it is used again
                    return await self._shoot(shot)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            await self._close()
            return []

    async def _shoot(self, shot: Shot) -> list[int]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(shot.content)
        head = await reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = _LENGTH.search(head)
        if length is not None and not shot.is_head:
            await reader.readexactly(int(length[1]))
        if b"connection: close" in head.lower():
            await self._close()
        return [status]

    async def _shoot_apart(self, shot: Shot) -> list[int]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(shot.content)
            writer.write_eof()
            answer = await reader.read(-1)
        finally:
            writer.close()
        return [int(status) for status in _STATUS.findall(answer) if not status.startswith(b"1")]

    async def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
