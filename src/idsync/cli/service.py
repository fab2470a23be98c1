"""The service as one coroutine: opened, running, stopped in order. What `idsync up` and the examples run."""

import asyncio
import gc
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

import msgspec

from idsync.api.asgi import HotDoors, build_asgi, build_probes
from idsync.api.http import Answer, Asgi, Message, Receive, Send
from idsync.api.keys import ensure_keys
from idsync.api.listener import Listener, open_listener
from idsync.api.operations.inbox import InboxQuery, list_inbox
from idsync.api.service import Call
from idsync.app import App, open_app
from idsync.cli.client import InboxRows, ServiceReady
from idsync.cli.terminal import Exit
from idsync.config import Settings
from idsync.errors import ConfigError, StoreFenced, StoreVersion
from idsync.telemetry import Log
from idsync.worker import Worker

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
GC_THRESHOLDS: Final = (20_000, 50, 100)
"""Collections are rare: what the line makes for an event is freed by counting. Saves 15 µs an event, costs 10 MiB."""
WATCH_ROWS_MAX: Final = 100
WATCH_WAIT_S: Final = 30.0


class Role(StrEnum):
    """What a process does of the service."""

    UP = "up"
    """All of it."""
    SERVE = "serve"
    """Takes requests in; others carry out what follows from them."""
    WORKER = "worker"
    """Takes no requests: reads peers, delivers, retries."""


async def run_service(
    settings: Settings,
    *,
    role: Role = Role.UP,
    on_ready: Callable[[ServiceReady], None],
    on_event: Callable[[bytes], None] | None = None,
    log: Log | None = None,
) -> int:
    """Run until SIGTERM, SIGINT or the end of a part that must not end; return the exit status.

    The address is bound before anything else, so that nothing is begun, and no key made, where it is taken; requests
    that come meanwhile wait. The first signal stops in order: HTTP, the loops, what is being sent, the store. A second
    one ends the process at once; that loses nothing either.

    Args:
        role: what this process does of it.
        on_ready: called once, when requests are answered.
        on_event: called with the JSON of each inbox row since the start, as `/v1/inbox` gives it.
        log: where the service's own life is written; as the settings say if None.

    Raises:
        ConfigError: the address is taken, one process has the store for itself and this one is to do half of the
            work, or the settings name what this version has not.
        StoreError: the store cannot be opened.
        PeerError: a peer's database does not fit its configuration.
    """
    if role is not Role.UP and settings.store.url.scheme == "sqlite":
        told = f"store.url: one process has a SQLite file for itself, so `idsync {role}` cannot share it"
        raise ConfigError(f"{told}; run `idsync up`, which does everything, or use postgresql://host/database")
    _raise_file_limit()
    line: asyncio.Future[Asgi] = asyncio.get_running_loop().create_future()

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        await (await line)(scope, receive, send)

    listener = open_listener(answer, settings.server)
    serving = asyncio.create_task(listener.run(), name="http")
    try:
        with _stop_on_signals() as stop:
            app = await open_app(settings, log=log)
            worker = Worker(app, has_duties=role is not Role.SERVE)
            try:
                newest = await _read_inbox(app, InboxQuery(limit=1))
                on_ready(await _start(app, worker, line, listener, role))
                parts = [worker.watch(), asyncio.shield(serving)]
                if on_event is not None:
                    parts.append(_tell(app, on_event, int(newest.next)))
                return await _wait_for_end(app, stop, parts)
            finally:
                app.is_ready = False
                listener.stop()
                await serving
                await worker.stop(settings.server.shutdown_s)
    finally:
        line.cancel()
        listener.stop()
        await serving


def _raise_file_limit() -> None:
    """Take as many open files as the system allows: every connection, in and out, is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _start(app: App, worker: Worker, line: asyncio.Future[Asgi], listener: Listener, role: Role) -> ServiceReady:
    """Start the loops, let the waiting requests in, and gather what must be said."""
    keys, generated_key = await ensure_keys(app.store, app.settings, app.clock.now())
    await worker.start()
    app.is_ready = True
    if role is Role.WORKER:
        line.set_result(build_probes(app, keys))
    else:
        line.set_result(build_asgi(app, keys))
        listener.doors = HotDoors(app, keys)
    gc.collect()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()  # what was made so far lives as long as the process: no collection need look at it again
    return ServiceReady(
        ready=True,
        url=listener.url,
        generated_key=generated_key,
        generated_secrets=app.generated_secrets,
        endpoints=tuple(one.name for one in await app.endpoints.list()),
        worker=worker.ownership.worker if role is Role.WORKER else None,
        notes=app.settings.notes,
    )


async def _wait_for_end(app: App, stop: asyncio.Event, parts: Sequence[Awaitable[None]]) -> int:
    """Wait for a signal, which is a good end, or for a part to end, which is not."""
    stopping = asyncio.create_task(stop.wait())
    running = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            return Exit.OK
        for part in running:
            if part.done():
                part.result()
        app.log.write("error", "a part of the service ended that must not; start it again", {})
    except (StoreFenced, StoreVersion) as error:
        app.log.write("error", str(error), {})
    finally:
        stopping.cancel()
        for part in running:
            part.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return Exit.FAILED


async def _tell(app: App, on_event: Callable[[bytes], None], after: int) -> None:
    """Tell what happens after an inbox sequence, as the API would."""
    while True:
        page = await _read_inbox(app, InboxQuery(after=after, limit=WATCH_ROWS_MAX, wait_s=WATCH_WAIT_S))
        for row in page.items:
            on_event(bytes(row))
        after = int(page.next)


async def _read_inbox(app: App, query: InboxQuery) -> InboxRows:
    answer = await list_inbox(app, Call({}, query, None, _stay))
    return msgspec.json.decode(answer.body if isinstance(answer, Answer) else b"", type=InboxRows)


async def _stay() -> Message:
    """Wait for ever: what a client that never goes away sends."""
    await asyncio.Event().wait()
    return {}


@contextmanager
def _stop_on_signals() -> Iterator[asyncio.Event]:
    """Set an event at the first signal; leave the next one to the system, which ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    before = {one: signal.getsignal(one) for one in SIGNALS}

    def begin() -> None:
        stop.set()
        for one in SIGNALS:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)

    for one in SIGNALS:
        loop.add_signal_handler(one, begin)
    try:
        yield stop
    finally:
        for one, handler in before.items():
            loop.remove_signal_handler(one)
            signal.signal(one, handler)
