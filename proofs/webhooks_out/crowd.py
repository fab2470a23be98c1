"""Claim 3: a crowd of endpoints, four of them bad: the others do not notice, and whoever set a limit gets no more.

Two lines run side by side on one PostgreSQL, two processes each: one serves the whole crowd, one only those that are
well. They are loaded in turns, at one rate of events for those that are well; what else the crowd gets comes on top.
"""

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from zlib import crc32

import aiohttp

from idsync.testing.postgres import PostgresServer, open_postgres
from proofs.claims import Row
from proofs.pair import scratch
from proofs.service import KEY, Service
from proofs.webhooks_out.audience import BAD, FAST, FLAPPING, LIMITED, SILENT, SLOW, Audience, Came, open_audience

SEED: Final = 20_261_122
PAIRS: Final = 5
PROCESSES: Final = 2
RATE: Final = 10.0
BURST: Final = 20
WINDOW_S: Final = 1.0
"""The shortest window in which the limited one's requests are counted."""
SUBJECTS: Final = 50
"""Of each endpoint."""
TICK_S: Final = 0.01
REQUEST_MAX: Final = 500
SLOWER_MAX: Final = 2.0
FLOOR_MS: Final = 20.0
"""What is faster than this is fast enough, whatever it is beside."""
SETTLED_S: Final = 180.0
OTHERS: Final = {SLOW: 0.02, FLAPPING: 0.02}
"""How many of a turn's events these get, for each of the others'."""

SETTINGS: Final = """
[store]
url = "{store}"
[server]
api_keys = ["{key}"]
[delivery]
allow_cidrs = ["127.0.0.0/8"]
lease_s = 5
[delivery.retry]
first_s = 0.2
cap_s = 1
attempts_max = 1000
"""
ENDPOINT: Final = """
[endpoints.{name}]
url = "{url}/{name}"
events = ["crowd.{name}"]
timeout_s = 2
{more}
"""
MORE: Final = {
    LIMITED: f"rate = {{ requests_per_second = {RATE}, burst = {BURST} }}",
    SILENT: "breaker = { timeout_s = 5 }",
    FLAPPING: "breaker = { timeout_s = 1 }",
}


class Size(NamedTuple):
    """How much is sent in one turn."""

    events: int
    per_s: int
    matched: int
    """Events of the limited one, and of the silent one, in all turns together."""


SHORT: Final = Size(events=3_000, per_s=400, matched=150)
FULL: Final = Size(events=20_000, per_s=500, matched=500)


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Load both lines in turns; give the rows."""
    size = FULL if full else SHORT
    with open_postgres() as server, scratch("crowd") as folder:
        async with (
            open_audience() as crowd,
            open_audience() as well,
            Line(folder / "crowd", server, crowd, (*FAST, *BAD)) as bad,
            Line(folder / "well", server, well, FAST) as free,
        ):
            pairs = [await _pair(bad, free, size) for _ in range(PAIRS + 1)][1:]
            reasons = await bad.reasons(SILENT)
            crowd.is_healed = True
            await bad.until_settled()
            return [_speed(pairs), _limit(crowd), *_fate(bad, reasons)]


class Line:
    """Two processes, and what was sent through them."""

    def __init__(self, folder: Path, server: PostgresServer, audience: Audience, endpoints: Sequence[str]) -> None:
        """Nothing runs yet."""
        self.audience = audience
        self.sent: dict[str, list[str]] = {name: [] for name in endpoints}
        self._server = server
        self._folder = folder
        self._services = [Service(folder, log=f"service-{number}.log") for number in range(PROCESSES)]
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._numbers = itertools.count()
        self._waiting: list[deque[dict[str, Any]]] = [deque() for _ in self._services]
        self._publishers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start the processes."""
        self._folder.mkdir()
        settings = SETTINGS.format(store=await self._server.new_database(), key=KEY)
        for name in self.sent:
            settings += ENDPOINT.format(name=name, url=self.audience.url, more=MORE.get(name, ""))
        (self._folder / "idsync.toml").write_text(settings)
        for service in self._services:
            await service.start()
            self._stack.push_async_callback(service.stop)
            assert await service.is_ready(), "a process did not start: see its log"
        headers = {"authorization": f"Bearer {KEY}"}
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(headers=headers, raise_for_status=True)
        )
        self._publishers = [asyncio.create_task(self._publish(number)) for number in range(PROCESSES)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop them."""
        for publisher in self._publishers:
            publisher.cancel()
        await asyncio.gather(*self._publishers, return_exceptions=True)
        await self._stack.aclose()

    async def load(self, names: Sequence[str], per_s: int) -> list[float]:
        """Publish one event for each name, so many a second; give how long each took to a fast one, in ms."""
        began = time.monotonic()
        sent_at: dict[str, float] = {}
        done = 0
        while done < len(names):
            due = min(len(names), int((time.monotonic() - began) * per_s) + 1)
            for name in names[done:due]:
                event = self._event(name)
                self._waiting[crc32(name.encode()) % PROCESSES].append(event)
                if name in FAST:
                    sent_at[event["id"]] = time.monotonic()
            done = due
            await asyncio.gather(*(publisher for publisher in self._publishers if publisher.done()))
            await asyncio.sleep(TICK_S)
        return await self._latencies(sent_at)

    async def until_settled(self) -> None:
        """Wait until all has arrived; what the silent one was to get only if it answers."""
        is_healed = self.audience.is_healed
        expected = {name: set(sent) for name, sent in self.sent.items() if name != SILENT or is_healed}
        deadline = time.monotonic() + SETTLED_S
        while any(self.audience.taken[name] < sent for name, sent in expected.items()):
            if time.monotonic() > deadline:
                lacking = {name: len(sent - self.audience.taken[name]) for name, sent in expected.items()}
                raise TimeoutError(
                    f"after {SETTLED_S:.0f} s these lack events: { {k: v for k, v in lacking.items() if v} }"
                )
            await asyncio.sleep(0.1)

    def _event(self, name: str) -> dict[str, Any]:
        number = next(self._numbers)
        event_id = f"{name}-{number:07}"
        self.sent.setdefault(name, []).append(event_id)
        return {
            "id": event_id,
            "type": f"crowd.{name}",
            "subject": f"{name}/{number % SUBJECTS}",
            "data": {"n": number},
        }

    async def _publish(self, through: int) -> None:
        """Publish what waits, one request after the other: so its order is known."""
        assert self._session is not None
        waiting = self._waiting[through]
        while True:
            if not waiting:
                await asyncio.sleep(TICK_S / 2)
                continue
            events = [waiting.popleft() for _ in range(min(len(waiting), REQUEST_MAX))]
            async with self._session.post(f"{self._services[through].url}/v1/events", json=events) as answer:
                await answer.read()

    async def _latencies(self, sent_at: Mapping[str, float]) -> list[float]:
        """Wait until all of them arrived."""
        deadline = time.monotonic() + SETTLED_S
        while True:
            came = {one.event_id: one.at for name in FAST for one in reversed(self.audience.came[name])}
            if sent_at.keys() <= came.keys():
                return [(came[event_id] - at) * 1000 for event_id, at in sent_at.items()]
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(sent_at.keys() - came.keys())} events did not arrive")
            await asyncio.sleep(0.05)

    async def reasons(self, name: str) -> dict[str, int]:
        """Why parked deliveries of an endpoint wait, and how many for each reason."""
        found: Counter[str] = Counter()
        after: object = 0
        while after is not None:
            query = f"destination=endpoint:{name}&limit=200&after={after}"
            page = await self._services[0].get(f"/v1/deliveries?{query}")
            found.update(one["reason"] for one in page["items"])
            after = page.get("next")
        return dict(found)


class Pair(NamedTuple):
    """How late the slowest of a hundred was, in ms: beside bad ones, and without."""

    beside: float
    without: float


async def _pair(bad: Line, free: Line, size: Size) -> Pair:
    """Load both, in any order; what is still under way is over before the other begins."""
    found: dict[str, float] = {}
    for name in random.Random(f"{SEED} {len(bad.sent[SILENT])}").sample(["beside", "without"], 2):  # an order
        names = [FAST[number % len(FAST)] for number in range(size.events)]
        if name == "beside":
            names = _mix(names, size)
        found[name] = statistics.quantiles(
            await (bad if name == "beside" else free).load(names, size.per_s * len(names) // size.events), n=100
        )[98]
        await (bad if name == "beside" else free).until_settled()
    return Pair(**found)


def _mix(names: Sequence[str], size: Size) -> list[str]:
    """Put the bad ones' events among the others."""
    more = [name for name, share in OTHERS.items() for _ in range(int(size.events * share))]
    more += [name for name in (SILENT, LIMITED) for _ in range(size.matched // PAIRS)]
    mixed = [*names, *more]
    random.Random(SEED).shuffle(mixed)  # an order
    return mixed


def _speed(pairs: Sequence[Pair]) -> Row:
    ratio = statistics.median(one.beside / one.without for one in pairs)
    beside, without = (statistics.median(times) for times in zip(*pairs, strict=True))
    figure = f"p99 {beside:.1f} ms beside {without:.1f} ms, ratio {ratio:.2f}, {len(pairs)} pairs"
    is_fast = ratio <= SLOWER_MAX or beside <= FLOOR_MS
    return Row(
        "16 fast endpoints beside four bad ones", figure, f"ratio <= {SLOWER_MAX:.0f}, or {FLOOR_MS:.0f} ms", is_fast
    )


def _limit(crowd: Audience) -> Row:
    times = sorted(one.at for one in crowd.came[LIMITED])
    excess = max(
        last - first + 1 - (BURST + RATE * max(WINDOW_S, times[last] - times[first]) + 1)
        for first in range(len(times))
        for last in range(first, len(times))
    )
    took_s = times[-1] - times[0]
    figure = f"{len(times)} requests in {took_s:.0f} s; the fullest window {-excess:.1f} below its bound"
    return Row(
        "one limited to 10/s, burst 20, by two processes", figure, "every window <= burst + rate·t + 1", excess <= 0
    )


def _fate(line: Line, reasons: Mapping[str, int]) -> list[Row]:
    sent = sum(len(events) for events in line.sent.values())
    lost = sum(len(set(events) - line.audience.taken[name]) for name, events in line.sent.items())
    misplaced = sum(_misplaced(came) for came in line.audience.came.values())
    waited = ", ".join(f"{count} parked as {reason}" for reason, count in sorted(reasons.items()))
    silent = f"of the silent one's {len(line.sent[SILENT])} {waited or 'none parked'}, others in their lanes"
    return [
        Row(
            "every event delivered",
            f"{lost} of {sent:,} lost; {silent}",
            "0, each parked one with its reason",
            lost == 0,
        ),
        Row("in order per identity", f"{misplaced} of {sent:,} misplaced", "0", misplaced == 0),
    ]


def _misplaced(came: Sequence[Came]) -> int:
    """Count the events that were taken after a later one of their subject."""
    last: dict[str, str] = defaultdict(str)
    count = 0
    for one in came:
        if one.is_taken:
            count += one.event_id < last[one.subject]
            last[one.subject] = max(last[one.subject], one.event_id)
    return count
