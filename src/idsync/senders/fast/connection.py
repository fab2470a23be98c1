"""One connection: takes one exchange at a time, and is kept between them."""

import asyncio
from typing import Protocol, cast

from idsync.ports import SendError
from idsync.senders.fast.answer import AnswerReader
from idsync.senders.fast.exchange import Exchange


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

    __slots__ = ("_exchange", "_is_spoiled", "_owner", "_reader", "_transport", "origin")

    def __init__(self, owner: Owner, origin: str, body_bytes_max: int) -> None:
        self.origin = origin
        self._owner = owner
        self._reader = AnswerReader(body_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._is_spoiled = False

    def is_open(self) -> bool:
        """Whether a request can be written, as far as is known here."""
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, exchange: Exchange) -> None:
        """Write a request, and read the answer to it."""
        exchange.place = self
        transport = self._transport
        if transport is None or transport.is_closing():
            self._end(exchange, SendError.PROTOCOL if self._is_spoiled else SendError.READ)
            return
        self._exchange = exchange
        self._reader.begin()
        exchange.reader = self._reader
        transport.write(exchange.written)

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
        elif self._reader.feed(data):
            if self._may_be_kept():
                self._exchange = None
                response = exchange.respond()
                # First this, so that whoever asks again when told finds the connection free.
                self._owner.take_back(self)
                exchange.end(response)
            else:
                self._end(exchange, self._reader.error or SendError.READ)

    def eof_received(self) -> None:
        """The other side will say no more: then neither do we."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it was lost
        """Fail what was under way, unless its head came."""
        if self._exchange is None:
            self.cut_off()
        else:
            self._end(self._exchange, SendError.READ)

    def _may_be_kept(self) -> bool:
        transport = self._transport
        # An answer may come before the whole request was written; the rest would be read as the next request.
        return self._reader.may_follow() and transport is not None and transport.get_write_buffer_size() == 0

    def _end(self, exchange: Exchange, error: SendError) -> None:
        self.cut_off()
        exchange.finish(error)
