"""A network that swallows everything."""

import asyncio


class BlackHole:
    """A way to the server on which everything may be swallowed, without an end to any connection."""

    def __init__(self, url: str) -> None:
        """Lead to the server of a url."""
        self._url = url
        self._port = int(url.rpartition(":")[2].partition("/")[0])
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.is_silent = False

    async def open(self) -> str:
        """Give the url that leads through here."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return self._url.replace(f":{self._port}/", f":{port}/")

    async def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        if self._server is not None:
            self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(back)
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.ensure_future(self._carry(source, target))
            self._tasks.add(task)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        is_swallowed = False
        while found := await source.read(65_536):
            is_swallowed = is_swallowed or self.is_silent
            if not is_swallowed:
                target.write(found)
        target.close()
