"""The floor: the leanest program of the line's own libraries that keeps what the line must keep, and does nothing else.

Of each event it writes the line's three rows, into the line's own tables with the line's own statements: the inbox row
and the delivery before it answers 202, the attempt once the one endpoint answered. Each request is parsed by hand in
front of uvloop, each event is signed and posted through our Sender. What is beneath it nothing can save that keeps
these rows in SQLite; what the line takes beyond it is the line's own.

So it leaves out whatever can be left out: it checks nothing, neither events nor keys nor answers' bodies, asks for no
API key, keeps no order, tries nothing again, limits nothing, and takes nothing up after a crash. What needs thought in
the line (verdict, version, changed fields, phases) is a constant here, of the size that it has there.
"""

import argparse
import asyncio
import gc
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, cast

import httptools
import msgspec
import uvloop

from bench.bare import Poster, check, open_poster
from bench.load import CONCURRENCY
from idsync.app.clock import SystemClock
from idsync.cli.service import GC_THRESHOLDS
from idsync.config.limits import DeliverySettings
from idsync.model.destination import Destination, DestinationKind, Level
from idsync.ports import Response
from idsync.stores.common.rows import Row
from idsync.stores.sqlite import open_store
from idsync.stores.sqlite.db import Db, to_json
from idsync.stores.sqlite.file import open_file

DESTINATION: Final = "endpoint:sink"
PEER: Final = "@api"
VERSION: Final = 7
CHANGED: Final = '["name","preferred_username"]'
PHASES: Final = "[0.0,0.0,0.0,2.7013660001102835,0.0]"
SETTINGS: Final = DeliverySettings()
READY: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"

Answer = Callable[[bytes], None]
"""Answers one request with receipts."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """What the floor must know of an event."""

    id: str
    type: str
    subject: str


decode: Final = msgspec.json.Decoder(Event).decode
split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Delivery(NamedTuple):
    """One that is posted after the commit; it has its event's number."""

    seq: int
    lane: int
    subject: str
    event_id: str
    body: bytes


class _Batch:
    """What the next commit makes durable, and who waits for it."""

    def __init__(self) -> None:
        self.inbox: list[Row] = []
        self.deliveries: list[_Delivery] = []
        self.attempts: list[Row] = []
        self.places: dict[int, int] = {}
        """Lane → the newest of its deliveries that was answered."""
        self.answers: list[Callable[[], None]] = []


class Floor:
    """Everything between a request's body and the attempt. While one commit is on its way the next one gathers."""

    def __init__(self, db: Db, lanes: list[int], poster: Poster) -> None:
        """Take over a writing connection."""
        self._db = db
        self._lanes = lanes
        self._poster = poster
        self._clock = SystemClock()
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "floor-writer")
        self._seq = 0
        self._next = _Batch()
        self._queue: deque[_Delivery] = deque()
        self._room = CONCURRENCY
        self._is_writing = False

    def take(self, body: bytes, answer: Answer) -> None:
        """Take in the events of one request."""
        is_list = body.startswith(b"[")
        bodies = [bytes(one) for one in split(body)] if is_list else [body]
        receipts = ",".join([f'{{"id":"{self._add(one)}","verdict":"applied"}}' for one in bodies])
        self._next.answers.append(partial(answer, (f"[{receipts}]" if is_list else receipts).encode()))
        self.write()

    def _add(self, body: bytes) -> str:
        """Take one event in; give its id."""
        self._seq = seq = self._seq + 1
        event = decode(body)
        what, at = (event.id, event.type, event.subject), self._clock.now()
        row = (seq, PEER, *what, at, "applied", None, None, *what, VERSION, CHANGED, body, None, None)
        self._next.inbox.append(row)
        lane = self._lanes[seq % len(self._lanes)]
        self._next.deliveries.append(_Delivery(seq, lane, event.subject, event.id, body))
        return event.id

    def write(self) -> None:
        """Write what waits, with whatever else comes in this turn of the loop, unless a commit is under way."""
        if not self._is_writing and (self._next.inbox or self._next.attempts):
            self._is_writing = True
            self._loop.call_soon(self._run_statements)

    def _run_statements(self) -> None:
        """Run them here, as the store does, and leave the thread only what waits for the disk."""
        batch, self._next = self._next, _Batch()
        db, now = self._db, self._clock.now()
        db.begin()
        if batch.inbox:
            rows = [(one.lane, one.seq, one.subject, VERSION, one.seq, now) for one in batch.deliveries]
            db.write_many("insert_inbox", batch.inbox)
            db.write_many("insert_delivery", rows)
            db.write("save_marks", self._seq, self._seq)
        if batch.attempts:
            db.write_many("insert_attempt", batch.attempts)
            db.write("advance_lanes", to_json(list(batch.places.items())))
        committed = self._loop.run_in_executor(self._thread, db.commit)
        committed.add_done_callback(partial(self._go_on, batch))

    def _go_on(self, batch: _Batch, committed: asyncio.Future[None]) -> None:
        """Answer, post, and write what came meanwhile."""
        committed.result()
        self._is_writing = False
        for answer in batch.answers:
            answer()
        self._queue += batch.deliveries
        while self._room and self._queue:
            self._room -= 1
            self._post(self._queue.popleft())
        if self._next.inbox:
            self.write()

    def _post(self, one: _Delivery) -> None:
        self._poster.begin(one.event_id, one.body, partial(self._settle, one))

    def _settle(self, one: _Delivery, response: Response) -> None:
        """Keep the attempt for the next commit, and post the next one."""
        check(response)
        result = ("delivered", response.status, None, response.latency_s * 1000, response.body)
        row = (one.seq, one.seq, DESTINATION, one.subject, 1, self._clock.now(), *result, None, None, PHASES)
        self._next.attempts.append(row)
        self._next.places[one.lane] = max(one.seq, self._next.places.get(one.lane, 0))
        if self._queue:
            self._post(self._queue.popleft())
        else:
            self._room += 1


class Door(asyncio.Protocol):
    """One connection that requests come in by."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Take the request; a GET asks whether we are ready."""
        body, self._body = self._body, b""
        if self._parser.get_method() == b"GET":
            self._write(READY)
        else:
            self._floor.take(body, self._accept)

    def _accept(self, receipts: bytes) -> None:
        self._write(ACCEPTED % (len(receipts), receipts))

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def serve(port: int, file: str, sink: str) -> None:
    """Serve a new file until the process ends."""
    lanes = await make_lanes(file)
    async with open_poster([sink]) as poster:
        floor = Floor(open_file(file).writing, lanes, poster)
        server = await asyncio.get_running_loop().create_server(lambda: Door(floor), "127.0.0.1", port)
        gc.collect()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.freeze()
        async with server:
            while True:
                await asyncio.sleep(SETTINGS.flush_ms / 1000)
                floor.write()


async def make_lanes(file: str) -> list[int]:
    """Make the file as the line does, with lanes for the one endpoint; give their ids."""
    store = await open_store(file)
    await store.start()
    endpoint = Destination(name=DESTINATION, kind=DestinationKind.ENDPOINT, lanes=SETTINGS.lanes_endpoint)
    lanes = [lane.id for lane, _ in await store.open([endpoint]) if lane.level is Level.LIVE]
    await store.close()
    return lanes


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", required=True)
    parser.add_argument("--sink", required=True)
    chosen = parser.parse_args()
    uvloop.run(serve(chosen.port, chosen.file, chosen.sink))


if __name__ == "__main__":
    main()
