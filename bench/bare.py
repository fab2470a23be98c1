"""The bare ceilings: the same server and the same client as the line's, with nothing between them.

`server` takes events in with uvicorn and our decoding, and answers 202. `line` also posts each through our Sender: the
line without a store. `sender` and `session` only post when they are asked, through our Sender or through plain aiohttp.
"""

import argparse
import asyncio
import base64
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import uvicorn
import uvloop

from bench.load import CONCURRENCY, SECRET, Events
from idsync.app.clock import SystemClock
from idsync.ports import Request, Response
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
Repeat = Callable[[Events, float], Awaitable[int]]
"""Keep `CONCURRENCY` posts under way until a moment of the monotonic clock; give how many were answered."""


class Poster:
    """Posts through our Sender, signed by our code, to one address after the other; on callbacks, as the line does."""

    def __init__(self, sender: FastSender, clock: SystemClock, urls: Sequence[str]) -> None:
        self._sender = sender
        self._clock = clock
        self._urls = itertools.cycle(urls)
        self._dialect = DIALECTS["standard"]
        secret = self._dialect.parse_secret(SECRET)
        if not isinstance(secret, Secret):
            raise SystemExit(secret.problem)
        self._secrets = (secret,)

    def begin(self, event_id: str, body: bytes, on_done: Callable[[Response], None]) -> None:
        """Sign and post one event."""
        url = next(self._urls)
        signed = sign(
            self._dialect,
            self._secrets,
            event_id=event_id,
            event_type=EVENT_TYPE,
            sent_at=self._clock.now(),
            body=body,
            url=url,
        )
        headers = (("Content-Type", "application/json"), *signed)
        self._sender.post(Request(url=url, headers=headers, body=body, timeout_s=TIMEOUT_S), on_done)

    async def post(self, event_id: str, body: bytes) -> None:
        """Post one event and wait for its answer."""
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.begin(event_id, body, answered.set_result)
        check(await answered)

    async def repeat(self, events: Events, deadline: float) -> int:
        """Post as `Repeat` says."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        count, under_way = 0, CONCURRENCY

        def go_on(response: Response) -> None:
            nonlocal count, under_way
            check(response)
            count += 1
            if time.monotonic() < deadline:
                begin()
                return
            under_way -= 1
            if not under_way:
                ended.set_result(None)

        def begin() -> None:
            event_id, body = events.take()
            self.begin(event_id.decode(), body, go_on)

        for _ in range(CONCURRENCY):
            begin()
        await ended
        return count


def check(response: Response) -> None:
    """End the program if the sink did not take an event: what is measured then is worth nothing."""
    if response.status != 200:
        raise SystemExit(f"the sink answered {response}")


@asynccontextmanager
async def open_poster(urls: Sequence[str]) -> AsyncIterator[Poster]:
    """Open our Sender."""
    clock = SystemClock()
    sender = FastSender(clock, parse_networks(("127.0.0.0/8",)))
    yield Poster(sender, clock, urls)
    await sender.close()


@asynccontextmanager
async def open_session(urls: Sequence[str]) -> AsyncIterator[Repeat]:
    """Post as any program with aiohttp does, signed with three lines."""
    next_url = itertools.cycle(urls)
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
            async with session.post(next(next_url), data=body, headers=headers) as response:
                response.raise_for_status()
                await response.read()

        async def repeat_one(events: Events, deadline: float) -> int:
            count = 0
            while time.monotonic() < deadline:
                event_id, body = events.take()
                await post(event_id.decode(), body)
                count += 1
            return count

        async def repeat(events: Events, deadline: float) -> int:
            return sum(await asyncio.gather(*(repeat_one(events, deadline) for _ in range(CONCURRENCY))))

        yield repeat


class Client:
    """A raw ASGI application that keeps `CONCURRENCY` requests under way for the seconds that a request's body says."""

    def __init__(self, repeat: Repeat) -> None:
        self._repeat = repeat
        self._events = Events()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request: answer how many were posted, and what that took."""
        if scope["path"] == "/readyz":
            await _answer(send, 200, b"{}")
            return
        for_s = float(await _read(receive))
        began, used = time.monotonic(), time.process_time()
        count = await self._repeat(self._events, began + for_s)
        done = {"events": count, "elapsed_s": time.monotonic() - began, "cpu_s": time.process_time() - used}
        await _answer(send, 200, json.dumps(done).encode())


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


async def serve(what: str, port: int, sinks: Sequence[str]) -> None:
    """Serve one ceiling until SIGTERM."""
    match what:
        case "server":
            await _serve(Server(None), port)
        case "session":
            async with open_session(sinks) as repeat:
                await _serve(Client(repeat), port)
        case "sender":
            async with open_poster(sinks) as poster:
                await _serve(Client(poster.repeat), port)
        case _:
            async with open_poster(sinks) as poster:
                server = Server(poster.post)
                senders = [asyncio.create_task(server.run_sender(poster.post)) for _ in range(CONCURRENCY)]
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
    parser.add_argument("--sink", nargs="*", default=(), help="where all but `server` post to, one after the other")
    chosen = parser.parse_args()
    uvloop.run(serve(chosen.what, chosen.port, chosen.sink))


if __name__ == "__main__":
    main()
