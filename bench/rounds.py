"""The measurements: every figure and its baselines in the same round, in shuffled order, several rounds.

What is measured has one core, load and sink have the other; all of it is the same for every variant.
"""

import asyncio
import os
import random
import statistics
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Final, NamedTuple

import msgspec

from bench.load import Events, connect
from bench.peers import Pair
from bench.programs import BenchError, Cores, Server
from bench.report import Row, compare
from bench.sink import Sink
from bench.stores import SIZE_FULL, SIZES, Measured, Urls
from bench.variants import Variants

NO_STORE: Final = "server + Sender, no store"
DRAIN_S: Final = 60.0
P99_MS_MAX: Final = 50.0
P99_RATIO_MAX: Final = 3.0


class Plan(NamedTuple):
    """How long everything takes. Many short rounds: what else the machine does then hits both sides of a pair alike."""

    rounds: int = 15
    closed_s: float = 0.6
    """One closed loop, or one bare client."""
    backlog: int = 2_000
    """Events that wait before deliveries alone are measured; a multiple of 100."""
    open_rounds: int = 7
    open_s: float = 2.0
    """One open loop."""
    edit_rounds: int = 5
    edits_s: float = 3.0
    edits_per_s: float = 50.0
    shared_rounds: int = 9
    """Of several processes on one store."""
    growth_rounds: int = 25
    """Of the cost of an event as more are stored: the bound is close to what is so, and CPU times swing by a tenth."""
    queued: int = 100_000
    """Events that wait while the memory is measured."""
    sizes: Sequence[int] = SIZES
    """Stored events at which the cost of one more is measured."""


BRIEF: Final = Plan(rounds=5, closed_s=0.5, open_rounds=2, open_s=1.0, sizes=(SIZES[0], SIZES[-1]))
"""What a proof takes."""
SHORT: Final = Plan()
FULL: Final = Plan(
    rounds=50,
    closed_s=2.0,
    backlog=10_000,
    open_rounds=20,
    open_s=10.0,
    edit_rounds=20,
    edits_s=10.0,
    shared_rounds=20,
    queued=1_000_000,
    sizes=(*SIZES, SIZE_FULL),
)

Tell = Callable[[str], None]
"""Told what is being measured."""


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run on one core for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Bench(NamedTuple):
    """One run: what every measurement needs."""

    plan: Plan
    variants: Variants
    events: Events
    tell: Tell
    store: Measured
    urls: Urls
    cores: Cores


class Sample(NamedTuple):
    """One closed trial."""

    rate: float
    """Events a second."""
    cpu_us: float
    """CPU time of the measured program for each event."""


class Latency(NamedTuple):
    """One open trial."""

    p50_ms: float
    p99_ms: float


Trial = Callable[[Plan], Awaitable[Sample]]


async def interleave(plan: Plan, trials: Mapping[str, Trial]) -> dict[str, list[Sample]]:
    """Run every trial once in every round, each round in another order."""
    samples: dict[str, list[Sample]] = {name: [] for name in trials}
    for _ in range(1 + plan.rounds):
        for name in random.sample(list(trials), len(trials)):
            samples[name].append(await trials[name](plan))
    # The first round is not counted: whatever is slow only once was done in it.
    return {name: found[1:] for name, found in samples.items()}


async def measure_ingest(bench: Bench) -> list[Row]:
    """What is taken in a second, durably, while nothing has to be delivered."""

    def one(server: Server) -> Trial:
        return lambda plan: _publish(server, plan, bench.events.one, connections=64, size=1)

    def hundred(server: Server) -> Trial:
        return lambda plan: _publish(server, plan, bench.events.hundred, connections=8, size=100)

    with bench.variants.line("ingest") as line, bench.variants.bare("server") as bare:
        trials = {"one": one(line), "bare one": one(bare), "hundred": hundred(line), "bare hundred": hundred(bare)}
        found = await interleave(bench.plan, trials)
    server = "same server, no store"
    return [
        _compare_rates("ingest, 1 event a request, 64 connections", found["one"], server, found["bare one"]),
        _compare_rates("ingest, 100 events a request, 8 connections", found["hundred"], server, found["bare hundred"]),
    ]


async def _publish(
    server: Server, plan: Plan, make_body: Callable[[], bytes], *, connections: int, size: int
) -> Sample:
    async with connect(server.port, connections) as load:
        used = server.program.cpu_s()
        run = await load.closed_loop(make_body, for_s=plan.closed_s)
        used = server.program.cpu_s() - used
    count = run.requests * size
    return Sample(count / run.elapsed_s, used / count * 1e6)


async def measure_line(bench: Bench, sink: Sink) -> list[Row]:
    """What is delivered a second, and how long it takes at half of that."""

    def through(server: Server) -> Trial:
        return lambda plan: pass_through(server, sink, plan.closed_s, bench.events.one)

    def alone(client: Server) -> Trial:
        return lambda plan: run_client(client, sink, plan)

    variants = bench.variants
    with (
        variants.line("line", sink.url) as line,
        variants.bare("line", sink.url) as bare,
        variants.ordinary(sink.url) as ordinary,
        variants.bare("session", sink.url) as session,
        variants.bare("sender", sink.url) as sender,
    ):
        bench.tell("ingest and deliver")
        trials: dict[str, Trial] = {
            "line": through(line),
            "no store": through(bare),
            "ordinary": through(ordinary),
            "backlog": lambda plan: _drain_backlog(line, sink, plan, bench.events),
            "session": alone(session),
            "sender": alone(sender),
        }
        found = await interleave(bench.plan, trials)
        rate = statistics.median(sample.rate for sample in found["line"]) / 2
        bench.tell(f"latency at {rate:,.0f} events/s")
        latency = await measure_latency(bench, sink, rate, line, bare)
        peaks = [line.program.peak_mib()], [bare.program.peak_mib()]
    memory = compare("peak memory of all that", "MiB", peaks[0], NO_STORE, peaks[1])
    return [*_rows_of_line(found, bench.store), *latency, memory]


def _rows_of_line(found: Mapping[str, list[Sample]], store: Measured) -> list[Row]:
    session, sender, ordinary = "bare aiohttp client", "our Sender, no store", "ordinary stack"
    both, cpu = "ingest + deliver, 256 connections", "CPU of one event, ingest + deliver"
    return [
        _compare_rates("deliver, from a backlog", found["backlog"], sender, found["sender"]),
        _compare_rates("deliver, from a backlog", found["backlog"], session, found["session"]),
        _compare_rates(both, found["line"], NO_STORE, found["no store"]),
        _compare_rates(both, found["line"], session, found["session"], least=store.least_of_client),
        _compare_rates(both, found["line"], ordinary, found["ordinary"], least=store.least_of_ordinary),
        _compare_cpu(cpu, found["line"], NO_STORE, found["no store"]),
        _compare_cpu(cpu, found["line"], session, found["session"]),
        _compare_cpu(cpu, found["line"], ordinary, found["ordinary"]),
    ]


async def pass_through(
    server: Server, sink: Sink, for_s: float, make_body: Callable[[], bytes], *, size: int = 1, connections: int = 256
) -> Sample:
    """Publish for a while, and count until the last event arrived: what is only accepted does not count."""
    sink.clear()
    async with connect(server.port, connections) as load:
        used = server.program.cpu_s()
        run = await load.closed_loop(make_body, for_s=for_s)
        count = run.requests * size
        await sink.wait_for(count, DRAIN_S)
        used = server.program.cpu_s() - used
    return Sample(count / (sink.last_at - run.began_at), used / count * 1e6)


async def _drain_backlog(server: Server, sink: Sink, plan: Plan, events: Events) -> Sample:
    """Publish faster than anything is delivered, then count what arrives after that."""
    sink.clear()
    async with connect(server.port, 4) as load:
        run = await load.closed_loop(events.hundred, requests_max=plan.backlog // 100)
        left, used = plan.backlog - len(sink.arrivals), server.program.cpu_s()
        await sink.wait_for(plan.backlog, DRAIN_S)
        used = server.program.cpu_s() - used
    if not left:
        raise BenchError("the backlog was delivered while it was published; nothing was left to measure")
    return Sample(left / (sink.last_at - run.ended_at), used / left * 1e6)


async def run_client(client: Server, sink: Sink, plan: Plan) -> Sample:
    """Let a bare client post for a while."""
    sink.clear()
    done = await asyncio.to_thread(_ask_client, client.port, plan.closed_s)
    return Sample(done.events / done.elapsed_s, done.cpu_s / done.events * 1e6)


class ClientRun(msgspec.Struct, frozen=True):
    """What a bare client says it did."""

    events: int
    elapsed_s: float
    cpu_s: float


def _ask_client(port: int, for_s: float) -> ClientRun:
    connection = HTTPConnection("127.0.0.1", port, timeout=for_s + DRAIN_S)
    try:
        connection.request("POST", "/", body=str(for_s))
        return msgspec.json.decode(connection.getresponse().read(), type=ClientRun)
    except (OSError, HTTPException, msgspec.DecodeError) as error:
        raise BenchError(f"a bare client did not answer what it did: {error}") from error
    finally:
        connection.close()


async def measure_latency(bench: Bench, sink: Sink, rate: float, line: Server, bare: Server) -> list[Row]:
    """From when an event was due to be published until it arrived."""
    found: dict[Server, list[Latency]] = {line: [], bare: []}
    for _ in range(bench.plan.open_rounds):
        for server in random.sample([line, bare], 2):
            found[server].append(await _time_arrivals(server, sink, bench, rate))
    name, has_bound = "publish -> arrival at half load", bench.store.has_latency_bound
    return _rows_of_latency(name, found[line], NO_STORE, found[bare], has_bound=has_bound)


async def _time_arrivals(server: Server, sink: Sink, bench: Bench, rate: float) -> Latency:
    sink.clear()
    async with connect(server.port, 256) as load:
        due = await load.open_loop(bench.events, rate, bench.plan.open_s)
        await sink.wait_for(len(due), DRAIN_S)
    return _latency_of([sink.arrivals[event_id] - at for event_id, at in due.items()])


async def measure_peers(bench: Bench) -> list[Row]:
    """From an edit in one peer's database until it is seen in the other's."""
    plan = bench.plan
    async with bench.variants.peers() as line:
        with bench.variants.copier() as copier:
            found: dict[Pair, list[Latency]] = {line: [], copier: []}
            for _ in range(plan.edit_rounds):
                for pair in random.sample([line, copier], 2):
                    found[pair].append(_latency_of(pair.edit(plan.edits_per_s, plan.edits_s)))
    name = f"edit -> other peer, {plan.edits_per_s:.0f}/s"
    return _rows_of_latency(name, found[line], "bare copier", found[copier])


def _latency_of(latencies_s: Sequence[float]) -> Latency:
    points = statistics.quantiles(latencies_s, n=100)
    return Latency(points[49] * 1000, points[98] * 1000)


def _compare_rates(
    name: str, found: Sequence[Sample], against: str, bare: Sequence[Sample], *, least: float | None = None
) -> Row:
    return compare(name, "events/s", [one.rate for one in found], against, [one.rate for one in bare], least=least)


def _compare_cpu(name: str, found: Sequence[Sample], against: str, bare: Sequence[Sample]) -> Row:
    return compare(name, "us", [one.cpu_us for one in found], against, [one.cpu_us for one in bare])


def _rows_of_latency(
    name: str, found: Sequence[Latency], against: str, bare: Sequence[Latency], *, has_bound: bool = False
) -> list[Row]:
    p50 = compare(f"{name}, p50", "ms", [one.p50_ms for one in found], against, [one.p50_ms for one in bare])
    p99 = compare(f"{name}, p99", "ms", [one.p99_ms for one in found], against, [one.p99_ms for one in bare])
    if has_bound:
        most = max(P99_MS_MAX, P99_RATIO_MAX * p99.baseline)
        p99 = msgspec.structs.replace(p99, bound=f"<= {most:.0f} ms", holds=p99.figure <= most)
    return [p50, p99]
