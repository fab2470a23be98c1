"""The bare ceilings: the same server and the same client as the line's, with nothing between them.

`server` takes events in with uvicorn and our decoding, and answers 202. `line` also posts each through our Sender: the
line without a store. `sender` and `session` only post when they are asked, through our Sender or through plain aiohttp.
"""

import argparse
import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import uvicorn
import uvloop

from bench.load import CONCURRENCY, SECRET, Events
from idsync.app.clock import SystemClock
from idsync.ports import Request
from idsync.senders.fast import FastSender
from idsync.wire.address import parse_networks
from idsync.wire.dialects import DIALECTS
from idsync.wire.envelope import Incoming, parse_batch
from idsync.wire.signing import Secret, sign

TIMEOUT_S: Final = 30.0
EVENT_TYPE: Final = "user.updated"

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Post = Callable[[str, bytes], Awaitable[None]]
"""Sign and post one event: its id, its body."""


@asynccontextmanager
async def open_sender(url: str) -> AsyncIterator[Post]:
    """Post through our Sender, signed by our code."""
    clock = SystemClock()
    sender = FastSender(clock, parse_networks(("127.0.0.0/8",)))
    dialect = DIALECTS["standard"]
    secret = dialect.parse_secret(SECRET)
    if not isinstance(secret, Secret):
        raise SystemExit(secret.problem)

    async def post(event_id: str, body: bytes) -> None:
        signed = sign(
            dialect, (secret,), event_id=event_id, event_type=EVENT_TYPE, sent_at=clock.now(), body=body, url=url
        )
        headers = (("Content-Type", "application/json"), *signed)
        response = await sender.send(Request(url=url, headers=headers, body=body, timeout_s=TIMEOUT_S))
        if response.status != 200:
            raise SystemExit(f"the sink answered {response}")

    yield post
    await sender.close()


@asynccontextmanager
async def open_session(url: str) -> AsyncIterator[Post]:
    """Post as any program with aiohttp does, signed with three lines."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def post(event_id: str, body: bytes) -> None:
            timestamp = str(int(time.time()))
            digest = hmac.digest(key, f"{event_id}.{timestamp}.".encode() + body, "sha256")
            headers = {
                "content-type": "application/json",
                "webhook-id": event_id,
                "webhook-timestamp": timestamp,
                "webhook-signature": "v1," + base64.b64encode(digest).decode(),
            }
            async with session.post(url, data=body, headers=headers) as response:
                response.raise_for_status()
                await response.read()

        yield post


class Client:
    """A raw ASGI application that keeps `CONCURRENCY` requests under way for the seconds that a request's body says."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._events = Events()
        self._count = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request: answer how many were posted, and what that took."""
        if scope["path"] == "/readyz":
            await _answer(send, 200, b"{}")
            return
        for_s = float(await _read(receive))
        self._count = 0
        began, used = time.monotonic(), time.process_time()
        await asyncio.gather(*(self._post_until(began + for_s) for _ in range(CONCURRENCY)))
        done = {"events": self._count, "elapsed_s": time.monotonic() - began, "cpu_s": time.process_time() - used}
        await _answer(send, 200, json.dumps(done).encode())

    async def _post_until(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            event_id, body = self._events.take()
            await self._post(event_id.decode(), body)
            self._count += 1


class Server:
    """A raw ASGI application: takes one event or a list and answers 202; with `post`, single events are posted too."""

    def __init__(self, post: Post | None) -> None:
        self._post = post
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] == "/readyz":
            await _answer(send, 200, b"{}")
            return
        body = await _read(receive)
        found = parse_batch(body)
        events = [one for one in found if isinstance(one, Incoming)] if isinstance(found, list) else []
        receipts = [b'{"id":"%b","verdict":"applied"}' % (one.id or "").encode() for one in events]
        await _answer(send, 202, b"[%b]" % b",".join(receipts) if body.startswith(b"[") else receipts[0])
        if self._post is not None:
            self._queue.put_nowait((events[0].id or "", body))

    async def run_sender(self, post: Post) -> None:
        """Post what was taken in, for ever."""
        while True:
            await post(*await self._queue.get())


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message["body"])
        if not message.get("more_body"):
            return b"".join(chunks)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def serve(what: str, port: int, sink: str) -> None:
    """Serve one ceiling until SIGTERM."""
    match what:
        case "server":
            await _serve(Server(None), port)
        case "session":
            async with open_session(sink) as post:
                await _serve(Client(post), port)
        case "sender":
            async with open_sender(sink) as post:
                await _serve(Client(post), port)
        case _:
            async with open_sender(sink) as post:
                server = Server(post)
                senders = [asyncio.create_task(server.run_sender(post)) for _ in range(CONCURRENCY)]
                await _serve(server, port)
                for one in senders:
                    one.cancel()
                await asyncio.gather(*senders, return_exceptions=True)


async def _serve(app: Server | Client, port: int) -> None:
    config = uvicorn.Config(app, port=port, log_level="warning", lifespan="off", access_log=False)
    await uvicorn.Server(config).serve()


def main() -> None:
    """Run one ceiling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("server", "line", "sender", "session"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sink", default="", help="where all but `server` post to")
    chosen = parser.parse_args()
    uvloop.run(serve(chosen.what, chosen.port, chosen.sink))


if __name__ == "__main__":
    main()
