"""One answer after another, from bytes: httptools parses, the bounds are ours. Nothing here knows of a network.

Bounded are the head, its fields, the body, and what else may surround them: interim answers, extensions of chunks,
trailers. A reader never raises, whatever it is fed.
"""

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from idsync.ports import SendError
from idsync.senders.limits import HEAD_BYTES_MAX

FIELDS_MAX: Final = 128
"""Header lines up to there."""
LAST_BYTES_MAX: Final = 1_024
"""An answer that is no longer and came in one piece is remembered: most endpoints answer the same each time."""
FRAME_FACTOR: Final = 8
"""How many times the body's bound all that follows a head may take: chunks of one byte each still fit."""
SWITCHING_PROTOCOLS: Final = 101
FINAL_MIN: Final = 200
_RETRY_AFTER: Final = b"retry-after"
_DATE: Final = b"date"


class AnswerReader:
    """The answers of one connection. `status` tells whether the head is complete, `error` why it never will be."""

    __slots__ = (
        "_body_bytes_max",
        "_bytes_left",
        "_field_count",
        "_is_complete",
        "_is_cut",
        "_last",
        "_may_follow",
        "_parser",
        "body",
        "date",
        "error",
        "retry_after",
        "status",
    )

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._parser = HttpResponseParser(self)
        # As lenient as the reference: a good answer that ends its lines carelessly is still a good answer, and
        # nothing that we read is passed on to anybody who might read it differently.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._last: bytes | None = None
        self._expect()

    def begin(self, chunk: bytes) -> bool:
        """Read the start of the next answer as `feed` does. Only after one that `may_follow`.

        The parser is then between two answers, so the same bytes mean the same, and what they mean is still here:
        comparing them takes 0.1 µs, reading them 1.4.
        """
        if chunk == self._last:
            return True
        self._expect()
        is_end = self.feed(chunk)
        self._last = chunk if is_end and self.may_follow() and len(chunk) <= LAST_BYTES_MAX else None
        return is_end

    def _expect(self) -> None:
        """Forget the answer before."""
        self.status: int | None = None
        self.error: SendError | None = None
        self.retry_after: bytes | None = None
        self.date: bytes | None = None
        self.body = bytearray()
        self._bytes_left = HEAD_BYTES_MAX
        self._field_count = 0
        self._is_complete = False
        self._is_cut = False
        self._may_follow = False

    def feed(self, chunk: bytes) -> bool:
        """Read on; whether that was all that will be read of this answer."""
        beyond = b""
        if len(chunk) > self._bytes_left:
            chunk, beyond = chunk[: self._bytes_left], chunk[self._bytes_left :]
        self._bytes_left -= len(chunk)
        try:
            self._parser.feed_data(chunk)
        except HttpParserUpgrade:
            self._is_cut = True
        except HttpParserError:
            self._cut(SendError.PROTOCOL)
        if self._is_complete or self._is_cut or (self.status and len(self.body) >= self._body_bytes_max):
            self._is_cut = self._is_cut or bool(beyond)
            return True
        if beyond and self._bytes_left:  # the head ended, which left room for what follows it
            return self.feed(beyond)
        if beyond:
            self._cut(SendError.TOO_LARGE)
        return self._is_cut

    def may_follow(self) -> bool:
        """Whether the answer ended as it should, with nothing after it, and the connection stays open for another."""
        return self._may_follow and not self._is_cut

    def on_message_begin(self) -> None:
        """A message begins: a second answer to one request is none of ours."""
        if self._is_complete:
            self._is_cut = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those of a trailer are passed over."""
        if self.status is not None:
            return
        self._field_count += 1
        if self._field_count > FIELDS_MAX or b"\0" in value:
            self._cut(SendError.PROTOCOL)
        elif len(name) == len(_RETRY_AFTER) and self.retry_after is None and name.lower() == _RETRY_AFTER:
            self.retry_after = value
        elif len(name) == len(_DATE) and self.date is None and name.lower() == _DATE:
            self.date = value

    def on_headers_complete(self) -> None:
        """Take the status, unless this is only an interim answer, whose fields mean nothing."""
        if self.status is not None or self.error is not None:
            return
        status = self._parser.get_status_code()
        if status < FINAL_MIN and status != SWITCHING_PROTOCOLS:
            self.retry_after = self.date = None
        else:
            self.status = status
            self._bytes_left += FRAME_FACTOR * self._body_bytes_max

    def on_body(self, chunk: bytes) -> None:
        """Take a part of the body, up to the bound."""
        if self.status is None or self._is_complete:
            return
        room = self._body_bytes_max - len(self.body)
        self.body += chunk[:room]
        if len(chunk) > room:
            self._is_cut = True

    def on_message_complete(self) -> None:
        """The answer is whole, or was an interim one."""
        if self.status is not None:
            self._is_complete = True
            self._may_follow = self._parser.should_keep_alive()  # known just now: then the parser forgets

    def _cut(self, error: SendError) -> None:
        """Read no further. The head is the answer: what breaks after it only shortens the body."""
        self._is_cut = True
        if self.status is None and self.error is None:
            self.error = error
