"""The ordinary stack, fixed: what a good engineer writes in an afternoon to do the same work.

uvicorn and Starlette take an event in; a thread writes whatever waits with `executemany` and answers after the commit;
deliveries are claimed from their table and posted with aiohttp; results are written with the next commit. It promises
what the line promises of an event that is only passed on: 2xx means durable, a repeated id counts once, what a crash
cut off is sent again, a failure is tried again later. It keeps no order and merges nothing.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import os
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS event (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, subject TEXT NOT NULL, body BLOB NOT NULL, received_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
  id INTEGER PRIMARY KEY, event TEXT NOT NULL REFERENCES event (id), state TEXT NOT NULL DEFAULT 'queued',
  attempts INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (due_at) WHERE state = 'queued';
CREATE TABLE IF NOT EXISTS attempt (
  id INTEGER PRIMARY KEY, delivery INTEGER NOT NULL REFERENCES delivery (id), at REAL NOT NULL,
  status INTEGER, error TEXT, latency_ms REAL NOT NULL
);
UPDATE delivery SET state = 'queued' WHERE state = 'sending';
"""
INSERT_EVENT: Final = (
    "INSERT INTO event (id, type, subject, body, received_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
INSERT_DELIVERY: Final = "INSERT INTO delivery (event, due_at) VALUES (?, ?)"
KNOWN: Final = "SELECT id FROM event WHERE id IN (SELECT value FROM json_each(?))"
CLAIM: Final = """
UPDATE delivery SET state = 'sending', attempts = attempts + 1
WHERE id IN (SELECT id FROM delivery WHERE state = 'queued' AND due_at <= ? ORDER BY due_at LIMIT ?)
RETURNING id, event, attempts
"""
BODIES: Final = "SELECT id, body FROM event WHERE id IN (SELECT value FROM json_each(?))"
ACK: Final = "UPDATE delivery SET state = ?, due_at = ? WHERE id = ?"
INSERT_ATTEMPT: Final = "INSERT INTO attempt (delivery, at, status, error, latency_ms) VALUES (?, ?, ?, ?, ?)"

BATCH_MAX: Final = 1_000
CLAIM_MAX: Final = 500
CONCURRENCY: Final = 64
ATTEMPTS_MAX: Final = 10
TIMEOUT_S: Final = 30.0


@dataclass
class Insert:
    """Events to be stored with their deliveries; the answer is which of their ids are new."""

    rows: list[tuple[str, str, str, bytes, float]]
    answer: "asyncio.Future[set[str]]"


@dataclass
class Claim:
    """A question for deliveries that are due."""

    answer: "asyncio.Future[list[tuple[int, str, int, bytes]]]"


@dataclass
class Result:
    """What became of one attempt."""

    delivery: int
    state: str
    due_at: float
    attempt: tuple[int, float, int | None, str | None, float]


@dataclass
class Batch:
    """What one transaction writes."""

    inserts: list[Insert] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)


class Writer:
    """The only connection, in a thread: one transaction for whatever waits."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._path = path
        self._jobs: queue.SimpleQueue[Insert | Claim | Result | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def insert(self, rows: list[tuple[str, str, str, bytes, float]]) -> set[str]:
        """Store events durably; give the ids that are new."""
        answer: asyncio.Future[set[str]] = self._loop.create_future()
        self._jobs.put(Insert(rows, answer))
        return await answer

    async def claim(self) -> list[tuple[int, str, int, bytes]]:
        """Take deliveries that are due: id, event id, attempt, body."""
        answer: asyncio.Future[list[tuple[int, str, int, bytes]]] = self._loop.create_future()
        self._jobs.put(Claim(answer))
        return await answer

    def settle(self, result: Result) -> None:
        """Write a result with the next transaction."""
        self._jobs.put(result)

    def close(self) -> None:
        """Write what waits and end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.executescript(SCHEMA)
        while (job := self._jobs.get()) is not None:
            batch = Batch()
            _sort(batch, job)
            with suppress(queue.Empty):
                for _ in range(BATCH_MAX):
                    more = self._jobs.get_nowait()
                    if more is None:
                        self._jobs.put(None)
                        break
                    _sort(batch, more)
            answers = _write(connection, batch)
            self._loop.call_soon_threadsafe(_answer, answers)
        connection.close()


def _sort(batch: Batch, job: Insert | Claim | Result) -> None:
    match job:
        case Insert():
            batch.inserts.append(job)
        case Claim():
            batch.claims.append(job)
        case Result():
            batch.results.append(job)


def _write(connection: sqlite3.Connection, batch: Batch) -> list[tuple["asyncio.Future[Any]", Any]]:
    answers: list[tuple[asyncio.Future[Any], Any]] = []
    connection.execute("BEGIN IMMEDIATE")
    if batch.inserts:
        rows = {row[0]: row for one in batch.inserts for row in one.rows}
        known = {id_ for (id_,) in connection.execute(KNOWN, (orjson.dumps(list(rows)).decode(),))}
        new = [row for id_, row in rows.items() if id_ not in known]
        connection.executemany(INSERT_EVENT, new)
        connection.executemany(INSERT_DELIVERY, [(row[0], row[4]) for row in new])
        answers += [(one.answer, {row[0] for row in one.rows} - known) for one in batch.inserts]
    if batch.results:
        connection.executemany(ACK, [(one.state, one.due_at, one.delivery) for one in batch.results])
        connection.executemany(INSERT_ATTEMPT, [one.attempt for one in batch.results])
    for one in batch.claims:
        claimed = connection.execute(CLAIM, (time.time(), CLAIM_MAX)).fetchall()
        wanted = orjson.dumps([event for _, event, _ in claimed]).decode()
        bodies = dict(connection.execute(BODIES, (wanted,)))
        answers.append((one.answer, [(*row, bodies[row[1]]) for row in claimed]))
    connection.execute("COMMIT")
    return answers


def _answer(answers: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, value in answers:
        if not future.done():
            future.set_result(value)


class Hub:
    """Takes events in and sends them on."""

    def __init__(self, writer: Writer, url: str, secret: str, key: str) -> None:
        self._writer = writer
        self._url = url
        self._secret = base64.b64decode(secret.removeprefix("whsec_"))
        self._authorization = f"Bearer {key}"
        self._wake = asyncio.Event()
        self._claimed: asyncio.Queue[tuple[int, str, int, bytes]] = asyncio.Queue(CLAIM_MAX)

    async def publish(self, request: Request) -> Response:
        """`POST /v1/events`: one event or a list."""
        if not hmac.compare_digest(request.headers.get("authorization", ""), self._authorization):
            return JSONResponse({"error": "an API key is needed"}, 401)
        try:
            body = orjson.loads(await request.body())
            events = body if isinstance(body, list) else [body]
            now = time.time()
            rows = [(str(one["id"]), str(one["type"]), str(one["subject"]), orjson.dumps(one), now) for one in events]
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": "send one event or a list of events"}, 400)
        new = await self._writer.insert(rows)
        self._wake.set()
        receipts = [{"id": row[0], "verdict": "applied" if row[0] in new else "duplicate"} for row in rows]
        return JSONResponse(receipts if isinstance(body, list) else receipts[0], 202)

    async def claim_for_ever(self) -> None:
        """Keep the senders fed."""
        while True:
            self._wake.clear()
            found = await self._writer.claim()
            for one in found:
                await self._claimed.put(one)
            if not found:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), 1.0)

    async def send_for_ever(self, session: aiohttp.ClientSession) -> None:
        """Post one delivery after the other."""
        while True:
            delivery, event_id, attempt, body = await self._claimed.get()
            began, status, error = time.time(), None, None
            try:
                headers = self._sign(event_id, body)
                async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                    await response.read()
                    status = response.status
            except (aiohttp.ClientError, TimeoutError) as raised:
                error = type(raised).__name__
            ended = time.time()
            is_good = status is not None and 200 <= status < 300
            state = "delivered" if is_good else "queued" if attempt < ATTEMPTS_MAX else "dead"
            due_at = ended + min(2.0**attempt, 3_600.0)
            tried = (delivery, began, status, error, (ended - began) * 1000)
            self._writer.settle(Result(delivery, state, due_at, tried))

    def _sign(self, event_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        digest = hmac.digest(self._secret, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256)
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        }


async def is_ready(_request: Request) -> Response:
    """`GET /readyz`."""
    return JSONResponse({})


async def serve(chosen: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    writer = Writer(chosen.file, asyncio.get_running_loop())
    hub = Hub(writer, chosen.sink, os.environ["BENCH_SECRET"], os.environ["BENCH_KEY"])

    @asynccontextmanager
    async def work(_app: Starlette) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=CONCURRENCY)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            tasks = [asyncio.create_task(hub.claim_for_ever())]
            tasks += [asyncio.create_task(hub.send_for_ever(session)) for _ in range(CONCURRENCY)]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()

    routes = [Route("/v1/events", hub.publish, methods=["POST"]), Route("/readyz", is_ready)]
    app = Starlette(routes=routes, lifespan=work)
    await uvicorn.Server(uvicorn.Config(app, port=chosen.port, log_level="warning", access_log=False)).serve()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", required=True)
    parser.add_argument("--sink", required=True)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
