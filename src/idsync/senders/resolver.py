"""Looking names up: the system's resolver, in threads of its own."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

LOOKUPS_MAX: Final = 16
"""Look-ups at once; what comes on top waits for one of them to end."""


class Resolver(Protocol):
    """Turns names into addresses."""

    async def resolve(self, host: str) -> Sequence[str]:
        """Give the numeric addresses of a name, best first; raises OSError where it has none."""
        ...

    async def close(self) -> None:
        """Begin no look-up any more."""
        ...


class ThreadResolver:
    """The system's resolver in threads of its own: names that never resolve hold up nobody but each other."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, "idsync-dns")

    async def resolve(self, host: str) -> Sequence[str]:
        """Look a name up; raises OSError where it has no address."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)

    async def close(self) -> None:
        """Let the threads end; only the interpreter's exit waits for a look-up that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError as error:  # a label that is empty or longer than 63 characters
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return [str(address[0]) for *_, address in found]
