"""Sockets that a loop is given."""

import socket
from collections.abc import Callable


class Socket(socket.socket):
    """A socket that closes nothing when it is merely forgotten.

    uvloop before 0.23 closes the descriptor when connecting is cancelled at its last step, but leaves the socket
    believing that it owns it (uvloop issue 738). Such a socket would later close whatever had been given the same
    number since: another delivery's connection, or the store's file. Every other path closes its socket by name.

    Args:
        note_connected: called before it connects and, by either loop, once more when it has.
    """

    def __init__(
        self, family: int, kind: int, protocol: int, note_connected: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(family, kind, protocol)
        self._note_connected = note_connected

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001  # as the library has it
        """Do as every socket; whoever takes one over does this first."""
        self._note_connected()
        super().setblocking(flag)

    def __del__(self) -> None:
        self.detach()
