"""Where a play is given: a real server on 127.0.0.1."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Final

from idsync.testing.endpoints.answers import Play, Scene, When
from idsync.testing.sink import Then

_HEAD_BYTES_MAX: Final = 65_536


class Stage:
    """One endpoint while it is played; `open_stage` makes it."""

    def __init__(self, play: Play, pause_s: float) -> None:
        self.connections = 0
        self.port = 0
        self._pause_s = pause_s
        self._scenes = list(play.scenes)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play on one connection."""
        self.connections += 1
        self._writers.add(writer)
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while self._scenes and await self._play(reader, writer):
                pass
            await reader.read()
        writer.close()

    async def end(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(task for task in self._tasks if task is not None), return_exceptions=True)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Play the next scene; whether the connection stays open for another one."""
        if self._scenes[0].when is When.CONNECTED:
            return await self._answer(self._scenes.pop(0), writer)
        head = await reader.readuntil(b"\r\n\r\n")
        size_bytes = int(head.rpartition(b"Content-Length: ")[2])
        if not self._scenes:
            return False
        scene = self._scenes.pop(0)
        if scene.when is When.EARLY:
            is_kept = await self._answer(scene, writer)
            await reader.readexactly(size_bytes)
            return is_kept
        await reader.readexactly(size_bytes)
        return await self._answer(scene, writer)

    async def _answer(self, scene: Scene, writer: asyncio.StreamWriter) -> bool:
        for number, piece in enumerate(scene.pieces):
            if number:
                await asyncio.sleep(self._pause_s)
            if writer.is_closing():
                return False
            writer.write(piece)
            await writer.drain()
        if writer.is_closing():
            return False
        match scene.then:
            case Then.CLOSE:
                writer.close()
                return False
            case Then.HALF_CLOSE:
                writer.write_eof()
                return False
            case Then.RESET:
                await asyncio.sleep(self._pause_s)  # else what was written might never be seen
                if writer.is_closing():
                    return False
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return False
            case _:
                return True


@contextlib.asynccontextmanager
async def open_stage(play: Play, pause_s: float) -> AsyncIterator[Stage]:
    """Play on a free port of 127.0.0.1 until the block ends, with pauses of `pause_s` seconds between pieces."""
    stage = Stage(play, pause_s)
    server = await asyncio.start_server(stage.talk, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
    stage.port = server.sockets[0].getsockname()[1]
    try:
        yield stage
    finally:
        server.close()
        await stage.end()
        await server.wait_closed()
