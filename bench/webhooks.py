"""Webhooks out: what is delivered to one endpoint and to many, beside bare clients, the floor and the ordinary stack.

Every figure comes twice: the deliveries of a second, and those of a second of the CPU (*per core*). What is measured
has a core for itself, but load and sink share the other one with whatever else the machine does, and the sink is then
what the fastest ones wait for. The bounds are for what one core does, which no other program's work makes better.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final, NamedTuple

import msgspec

from bench.load import SPREAD, Load, connect
from bench.programs import Server
from bench.report import Row, compare
from bench.rounds import Bench, Sample, Trial, interleave, measure_latency, pass_through, run_client
from bench.sink import Sink, open_sinks
from bench.variants import Variants

PUBLISH_CONNECTIONS: Final = 64
"""Of those who publish ten events a request."""
MEMORY_MIB_MAX: Final = 400
QUEUED_MAX: Final = 1_000_000
"""Events that may wait in so much memory."""
QUEUED_FIRST: Final = 20_000
"""Events after which every buffer of a fixed size is full, so that what grows on grows with what waits."""
CONNECTIONS: Final = 8
SENDER: Final = "bare fast Sender"
AIOHTTP: Final = "bare aiohttp client"
ORDINARY: Final = "ordinary stack"
FLOOR: Final = "the floor, in SQLite"


class Bound(NamedTuple):
    """One line of the claim: what does at least so many times what another one does."""

    name: str
    what: str
    against: str
    beside: str
    least: float | None
    """None: it is given, and nothing is asked of it."""


BOUNDS: Final = (
    Bound("Sender alone, 1 endpoint", "sender", AIOHTTP, "session", 6.0),
    Bound("Sender alone, 200 endpoints", "sender 200", AIOHTTP, "session 200", None),
    Bound("publish -> deliver, 10 events a request", "ten", SENDER, "sender", 0.55),
    Bound("publish -> deliver, 10 events a request", "ten", FLOOR, "floor ten", None),
    Bound("the floor, 10 events a request", "floor ten", SENDER, "sender", None),
    Bound("publish -> deliver, 10 events a request", "ten", ORDINARY, "ordinary ten", 4.0),
    Bound("publish -> deliver, 1 event a request", "one", SENDER, "sender", 0.33),
    Bound("publish -> deliver, 1 event a request", "one", FLOOR, "floor one", None),
    Bound("the floor, 1 event a request", "floor one", SENDER, "sender", None),
    Bound("publish -> deliver, 1 event a request", "one", ORDINARY, "ordinary one", 3.0),
    Bound("publish -> deliver, 10 a request, spread over 200 endpoints", "ten 200", SENDER, "sender 200", None),
)


async def measure_webhooks(bench: Bench) -> list[Row]:
    """All of it."""
    async with open_sinks(SPREAD) as sink:
        with _open_line(bench.variants, sink) as servers:
            found = await interleave(bench.plan, _trials(bench, sink, servers))
            rate = statistics.median(one.rate for one in found["one"]) / 2
            bench.tell(f"latency at {rate:,.0f} events/s")
            latency = await measure_latency(bench, sink, rate, servers["line"], servers["no store"])
    bench.tell(f"memory with {bench.plan.queued:,} queued")
    return [*_rows(found, has_bounds=bench.store.has_webhook_bounds), *latency, await _measure_memory(bench)]


@contextmanager
def _open_line(variants: Variants, sink: Sink) -> Iterator[Mapping[str, Server]]:
    with (
        variants.line("webhooks", sink.url) as line,
        variants.spread("spread", sink.urls) as spread,
        variants.ordinary(sink.url) as ordinary,
        variants.floor(sink.url) as floor,
        variants.bare("line", sink.url) as no_store,
        variants.bare("sender", sink.url) as sender,
        variants.bare("session", sink.url) as session,
        variants.bare("sender", *sink.urls) as sender_200,
        variants.bare("session", *sink.urls) as session_200,
    ):
        yield {
            "line": line,
            "spread": spread,
            "ordinary": ordinary,
            "floor": floor,
            "no store": no_store,
            "sender": sender,
            "session": session,
            "sender 200": sender_200,
            "session 200": session_200,
        }


def _trials(bench: Bench, sink: Sink, servers: Mapping[str, Server]) -> dict[str, Trial]:
    events = bench.events

    def one(name: str) -> Trial:
        return lambda plan: pass_through(servers[name], sink, plan.closed_s, events.one)

    def ten(name: str, make_body: Callable[[], bytes]) -> Trial:
        return lambda plan: pass_through(
            servers[name], sink, plan.closed_s, make_body, size=10, connections=PUBLISH_CONNECTIONS
        )

    def alone(name: str) -> Trial:
        return lambda plan: run_client(servers[name], sink, plan)

    return {
        "one": one("line"),
        "ten": ten("line", events.ten),
        "ten 200": ten("spread", events.ten_spread),
        "ordinary one": one("ordinary"),
        "ordinary ten": ten("ordinary", events.ten),
        "floor one": one("floor"),
        "floor ten": ten("floor", events.ten),
        **{name: alone(name) for name in ("sender", "session", "sender 200", "session 200")},
    }


def _rows(found: Mapping[str, Sequence[Sample]], *, has_bounds: bool) -> list[Row]:
    rows = []
    for bound in BOUNDS:
        ours, other = found[bound.what], found[bound.beside]
        rows += [
            compare(
                f"{bound.name}, per core",
                "events/s",
                [1e6 / one.cpu_us for one in ours],
                bound.against,
                [1e6 / one.cpu_us for one in other],
                least=bound.least if has_bounds else None,
            ),
            compare(bound.name, "events/s", [one.rate for one in ours], bound.against, [one.rate for one in other]),
        ]
    return rows


async def _measure_memory(bench: Bench) -> Row:
    """Queue events for an endpoint that takes requests and never answers; give the most memory that is held then.

    Where fewer are queued than the bound is for, what was added since `QUEUED_FIRST` is taken as many times.
    """
    count = bench.plan.queued
    async with open_hole() as url:
        with bench.variants.line("backlog", url) as server:
            async with connect(server.port, CONNECTIONS) as load:
                empty = server.program.memory_mib()
                await _queue(load, bench, QUEUED_FIRST)
                first = server.program.memory_mib()
                await _queue(load, bench, count - QUEUED_FIRST)
            peak, last = server.program.peak_mib(), server.program.memory_mib()
    beyond = max(0.0, last - first) * (QUEUED_MAX - count) / (count - QUEUED_FIRST)
    name = f"peak memory with {count:,} queued" + (f", and as it grew, with {QUEUED_MAX:,}" if beyond else "")
    most = MEMORY_MIB_MAX / empty if bench.store.has_webhook_bounds else None
    row = compare(name, "MiB", [peak + beyond], "nothing queued", [empty], most=most)
    return row if most is None else msgspec.structs.replace(row, bound=f"<= {MEMORY_MIB_MAX} MiB")


async def _queue(load: Load, bench: Bench, count: int) -> None:
    await load.closed_loop(bench.events.hundred, requests_max=count // 100)


@asynccontextmanager
async def open_hole() -> AsyncIterator[str]:
    """Listen on a port of 127.0.0.1 and answer nothing, whatever comes."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
