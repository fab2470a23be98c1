"""One connection: takes one exchange at a time, and is kept between them."""

import asyncio
from typing import Protocol, cast

from idsync.ports import SendError
from idsync.senders.fast.answer import AnswerReader
from idsync.senders.fast.exchange import KEPT, Exchange


class Owner(Protocol):
    """Whoever keeps connections."""

    def take_back(self, connection: "Connection") -> None:
        """It may take another exchange."""
        ...

    def forget(self, connection: "Connection") -> None:
        """It is gone; may be told more than once."""
        ...


class Connection(asyncio.Protocol):
    """An asyncio protocol. It tells its owner when it is free, and when it is gone."""

    __slots__ = ("_exchange", "_is_spoiled", "_owner", "_reader", "_transport", "opening", "origin")

    def __init__(self, owner: Owner, origin: str, body_bytes_max: int) -> None:
        self.origin = origin
        self.opening = KEPT
        """What it took to make it."""
        self._owner = owner
        self._reader = AnswerReader(body_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._is_spoiled = False

    def begin(self, exchange: Exchange, now: float) -> bool:
        """Write a request, and read the answer to it; False: the connection is known to be gone, nothing was done."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        exchange.place = self
        self._exchange = exchange
        exchange.written_at = now
        transport.write(exchange.written)
        return True

    def begin_first(self, exchange: Exchange) -> None:
        """Begin the exchange that the connection was made for, or fail it."""
        exchange.opening = self.opening
        if not self.begin(exchange, exchange.now()):
            self._end(exchange, SendError.PROTOCOL if self._is_spoiled else SendError.READ)

    def leave(self, exchange: Exchange) -> None:  # noqa: ARG002  # there is only one
        """Drop what is under way: its answer could come at any time, so nothing else can be asked here."""
        self.cut_off()

    def cut_off(self) -> None:
        """End the connection at once: a TLS farewell may never come, so none is waited for."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._owner.forget(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on; what nobody asked for ends the connection."""
        exchange = self._exchange
        if exchange is None:
            # It would be taken for the answer to what we ask next.
            self._is_spoiled = True
            self.cut_off()
        elif exchange.reader is not None:
            if self._reader.feed(data):
                self._answer(exchange)
        else:
            exchange.reader = self._reader
            if self._reader.begin(data):
                self._answer(exchange)
            else:
                exchange.note_heard()

    def eof_received(self) -> None:
        """The other side will say no more: then neither do we."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it was lost
        """Fail what was under way, unless its head came."""
        if self._exchange is None:
            self.cut_off()
        else:
            self._end(self._exchange, SendError.READ)

    def _answer(self, exchange: Exchange) -> None:
        """End the exchange: no more will be read for it."""
        transport = self._transport
        # An answer may come before the whole request was written; the rest would be read as the next request.
        if self._reader.may_follow() and transport is not None and transport.get_write_buffer_size() == 0:
            self._exchange = None
            response = exchange.respond()
            # First this, so that whoever asks again when told finds the connection free.
            self._owner.take_back(self)
            exchange.end(response)
        else:
            self._end(exchange, self._reader.error or SendError.READ)

    def _end(self, exchange: Exchange, error: SendError) -> None:
        self.cut_off()
        exchange.finish(error)
