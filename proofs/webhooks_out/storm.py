"""Claim 8: endpoints that fail and change under SIGKILL lose nothing, keep their order and their limits.

Events are published, endpoints made, changed and removed, and processes killed, all at once. What is not answered is
asked again, of whichever process lives. Then all is healed, and what each endpoint took is held against what was known:
an event belongs to a period of an endpoint if its publishing began after the period's first change was answered, and
was answered before the next change began. What lies across a change may arrive or not.
"""

import asyncio
import itertools
import math
import random
import sys
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Final, NamedTuple

import aiohttp

from idsync.testing.postgres import open_postgres
from proofs.claims import Row
from proofs.pair import scratch
from proofs.service import KEY, Service
from proofs.webhooks_out.audience import listen
from proofs.webhooks_out.failing import (
    BATCH,
    BURST,
    DEFINITIONS,
    FILTERED,
    NEW,
    PLAIN,
    RATE,
    SECRET,
    SWITCHED,
    Endpoints,
    measure_excess,
    read_tries,
)

SHORT_S, FULL_S = 20.0, 120.0
SHORT_SEED, FULL_SEED = 20_261_123, 20_261_124
PROCESSES: Final = {"PostgreSQL": 2, "SQLite": 1}
PUBLISHERS: Final = 3
SUBJECTS: Final = 30
"""Of each publisher."""
PAUSE_S: Final = 0.09
"""The longest pause of a publisher: what is published in the long form, the limited one can take in time."""
SETTLED_S: Final = 90.0
QUIET_S: Final = 1.0
"""How long nothing comes before what came is judged."""
ANSWERED_S: Final = 60.0
MISSING, CONFLICT = 404, 409
ALL: Final = ("storm.a", "storm.b")
FAILED_LOOP: Final = "a loop failed and goes on"

SETTINGS: Final = """
[store]
url = "{store}"
[server]
api_keys = ["{key}"]
[delivery]
allow_cidrs = ["127.0.0.0/8"]
lease_s = 5
[delivery.retry]
first_s = 0.1
cap_s = 0.5
attempts_max = 1000
"""


class Sent(NamedTuple):
    """One event, and the time in which it was published."""

    event_id: str
    kind: str
    began_at: float
    answered_at: float


class Period(NamedTuple):
    """A time in which it is certain which types an endpoint gets."""

    begins_at: float
    ends_at: float
    types: Sequence[str]


class Seen(NamedTuple):
    """What a storm over one store came to."""

    store: str
    load: str
    expected: int
    missing: int
    excluded: int
    """How many takings would have been wrong."""
    unwanted: int
    taken: int
    misplaced: int
    requests: int
    excess: int
    """How far the fullest window of the limited one is over its bound; negative: below."""
    wrong_signatures: int
    failed_loops: int
    again: int


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Let a storm pass over each store; give the rows."""
    for_s, seed = (FULL_S, FULL_SEED) if full else (SHORT_S, SHORT_SEED)
    return _rows([await _weather(store, for_s, seed) for store in PROCESSES])


async def _weather(store: str, for_s: float, seed: int) -> Seen:
    """Let one storm pass over one store, and judge what it left."""
    with ExitStack() as stack, scratch("storm") as folder:
        url = f"sqlite:///{folder}/storm.db"
        if store == "PostgreSQL":
            url = await stack.enter_context(open_postgres()).new_database()
        (folder / "idsync.toml").write_text(SETTINGS.format(store=url, key=KEY))
        services = [Service(folder, log=f"service-{number}.log") for number in range(PROCESSES[store])]
        endpoints = Endpoints(seed)
        async with AsyncExitStack() as running:
            sink = await running.enter_async_context(listen(endpoints.take))
            for service in services:
                await service.start()
                running.push_async_callback(service.stop)
                assert await service.is_ready(), "a process did not start: see its log"
            headers = {"authorization": f"Bearer {KEY}"}
            timeout = aiohttp.ClientTimeout(total=8)
            session = await running.enter_async_context(aiohttp.ClientSession(headers=headers, timeout=timeout))
            storm = Storm(services, session, sink, seed)
            await storm.blow(for_s)
            endpoints.is_healed = True
            expected, excluded = storm.fates()
            settled_s = await _until_settled(endpoints, expected)
        logs = "".join((folder / f"service-{number}.log").read_text() for number in range(len(services)))
        times = await read_tries(url)
        seen = Seen(
            store=store,
            load=f"{len(storm.sent):,} events, {storm.kills} kills, {storm.edits} edits, settled in {settled_s:.0f} s",
            expected=sum(map(len, expected.values())),
            missing=sum(len(events - endpoints.taken[name].keys()) for name, events in expected.items()),
            excluded=sum(map(len, excluded.values())),
            unwanted=sum(len(events & endpoints.taken[name].keys()) for name, events in excluded.items()),
            taken=sum(map(len, endpoints.taken.values())),
            misplaced=endpoints.count_misplaced(),
            requests=len(times),
            excess=measure_excess(times),
            wrong_signatures=endpoints.wrong_signatures,
            failed_loops=logs.count(FAILED_LOOP),
            again=endpoints.again.total(),
        )
        if not all(row.holds for row in _rows([seen])):
            (folder / "keep").touch()
            print(f"what {store} left is in {folder}", file=sys.stderr)
        return seen


class Storm:
    """Everything that happens at once, and what is known of it."""

    def __init__(self, services: Sequence[Service], session: aiohttp.ClientSession, sink: str, seed: int) -> None:
        """Nothing happens yet.

        Args:
            services: all of them run.
            session: asks the API, and gives up soon.
            sink: the URL under which the endpoints are.
            seed: of all that is left to chance.
        """
        self.sent: list[Sent] = []
        self.kills = self.edits = 0
        self._services = services
        self._session = session
        self._sink = sink
        self._seed = seed
        self._numbers = itertools.count()
        self._periods: defaultdict[str, list[Period]] = defaultdict(list)
        self._order = self._chance(0)
        self._is_over = False

    async def blow(self, for_s: float) -> None:
        """Publish, change and kill for so long; at the end every process lives."""
        for name in DEFINITIONS:
            await self._define(name)
        for name in DEFINITIONS.keys() - {FILTERED, SWITCHED}:
            self._keep(name, time.monotonic())
        acts = (self._filter, self._switch, self._make, self._edit, self._kill)
        async with asyncio.TaskGroup() as tasks:
            for number in range(PUBLISHERS):
                tasks.create_task(self._publish(number, self._chance(number + 1)))
            for number, act in enumerate(acts, PUBLISHERS + 1):
                tasks.create_task(act(self._chance(number)))
            await asyncio.sleep(for_s)
            self._is_over = True

    def fates(self) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """By endpoint, the events that it must get, and those that it must not."""
        expected: dict[str, set[str]] = {}
        excluded: dict[str, set[str]] = {}
        for name, periods in self._periods.items():
            begins = [period.begins_at for period in periods]
            expected[name], excluded[name] = set(), set()
            for sent in self.sent:
                at = bisect_right(begins, sent.began_at) - 1
                if at >= 0 and sent.answered_at <= periods[at].ends_at:
                    (expected if sent.kind in periods[at].types else excluded)[name].add(sent.event_id)
        return expected, excluded

    async def _publish(self, number: int, chance: random.Random) -> None:
        """Publish one request after the other, so that the order of each subject is known."""
        while not self._is_over:
            events = [
                {
                    "id": f"{next(self._numbers):07}",
                    "type": chance.choice(ALL),
                    "subject": f"{number}/{chance.randrange(SUBJECTS)}",
                    "data": {"n": count},
                }
                for count in range(chance.choice((1, 1, 3, 10)))
            ]
            began_at = time.monotonic()
            assert await self._ask("POST", "/v1/events", events) < 300
            answered_at = time.monotonic()
            self.sent += [Sent(str(one["id"]), str(one["type"]), began_at, answered_at) for one in events]
            await asyncio.sleep(chance.uniform(0, PAUSE_S))

    async def _kill(self, chance: random.Random) -> None:
        """End a process wherever it is, and start it again."""
        while not self._is_over:
            await asyncio.sleep(chance.uniform(1, 3.5))
            service = chance.choice(self._services)
            service.url = ""
            await service.kill()
            self.kills += 1
            await asyncio.sleep(chance.uniform(0, 0.5))
            await service.start()
            assert await service.is_ready(), "a process did not start again: see its log"

    async def _filter(self, chance: random.Random) -> None:
        """Narrow and widen one endpoint's filter."""
        since = time.monotonic()
        types: Sequence[str] = ALL
        while not self._is_over:
            await asyncio.sleep(chance.uniform(0.2, 1.2))
            self._keep(FILTERED, since, time.monotonic(), types)
            types = ALL if types != ALL else ALL[:1]
            await self._change("PATCH", FILTERED, events=list(types))
            since = time.monotonic()
        self._keep(FILTERED, since, types=types)

    async def _switch(self, chance: random.Random) -> None:
        """Disable and enable one endpoint."""
        since = time.monotonic()
        while not self._is_over:
            await asyncio.sleep(chance.uniform(0.4, 2.4))
            self._keep(SWITCHED, since, time.monotonic())
            await self._change("POST", f"{SWITCHED}/disable")
            since = time.monotonic()
            await asyncio.sleep(chance.uniform(0, 1))
            self._keep(SWITCHED, since, time.monotonic(), ())
            await self._change("POST", f"{SWITCHED}/enable")
            since = time.monotonic()
        self._keep(SWITCHED, since)

    async def _make(self, chance: random.Random) -> None:
        """Make endpoints; every third is removed, with what waits for it."""
        for number in itertools.count():
            if self._is_over:
                return
            name = f"{NEW}-{number}"
            await self._define(name)
            since = time.monotonic()
            await asyncio.sleep(chance.uniform(0.5, 2))
            if number % 3:
                self._keep(name, since)
            else:
                await self._change("DELETE", name)
            await asyncio.sleep(chance.uniform(0, 1))

    async def _edit(self, chance: random.Random) -> None:
        """Change what leaves nothing else to be done."""
        while not self._is_over:
            await asyncio.sleep(chance.uniform(1, 2))
            await self._change("PATCH", PLAIN, description=f"edited {chance.randrange(10**9)}")
            await self._change("PATCH", BATCH, batch={"events_max": chance.choice((5, 10, 20))})

    async def _define(self, name: str) -> None:
        """Make an endpoint; where a killed process left its key open, look, and ask under another."""
        definition: dict[str, object] = {"name": name, "url": f"{self._sink}/{name}", "secret": SECRET}
        definition |= {"events": ["storm.*"], **DEFINITIONS.get(name, {})}
        for number in itertools.count():
            if await self._ask("POST", "/v1/endpoints", definition, key=f"define-{name}-{number}") != CONFLICT:
                return
            if await self._ask("GET", f"/v1/endpoints/{name}") != MISSING:
                return

    async def _change(self, method: str, path: str, **body: object) -> None:
        status = await self._ask(method, f"/v1/endpoints/{path}", body or None)
        # Removed before, and the answer was lost.
        assert status < 300 or (method, status) == ("DELETE", MISSING), f"{method} {path}: {status}"
        self.edits += 1

    async def _ask(self, method: str, path: str, body: object = None, key: str = "") -> int:
        """Ask whichever process lives, until one answers; give the status.

        Raises:
            TimeoutError: none did.
        """
        deadline = time.monotonic() + ANSWERED_S
        headers = {"idempotency-key": key} if key else {}
        answer = "nobody answered"
        while time.monotonic() < deadline:
            for url in self._living():
                try:
                    async with self._session.request(method, url + path, json=body, headers=headers) as answered:
                        status, answer = answered.status, await answered.text()
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    answer = repr(error)
                    continue
                if status < 300 or status in {CONFLICT, MISSING}:
                    return status
                assert status >= 500 or status == 429, f"{method} {path}: {status} {answer}"
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{method} {path} was not answered within {ANSWERED_S:.0f} s: {answer}")

    def _living(self) -> list[str]:
        """Give the URLs of the processes that are not known to be dead, in any order."""
        urls = [service.url for service in self._services if service.url]
        return self._order.sample(urls, len(urls))

    def _chance(self, number: int) -> random.Random:
        return random.Random(f"{self._seed} {number}")

    def _keep(self, name: str, begins_at: float, ends_at: float = math.inf, types: Sequence[str] = ALL) -> None:
        self._periods[name].append(Period(begins_at, ends_at, types))


async def _until_settled(endpoints: Endpoints, expected: Mapping[str, set[str]]) -> float:
    """Wait until all arrived and no more comes; give the seconds until then. What is missing in the end is judged."""
    began = time.monotonic()
    while time.monotonic() - began < SETTLED_S:
        is_quiet = time.monotonic() - endpoints.came_at > QUIET_S
        if is_quiet and all(events <= endpoints.taken[name].keys() for name, events in expected.items()):
            break
        await asyncio.sleep(0.2)
    return time.monotonic() - began


def _rows(found: Sequence[Seen]) -> list[Row]:
    def row(claim: str, bound: str, figures: Sequence[str], *, holds: bool) -> Row:
        return Row(
            claim, "; ".join(f"{one.store}: {what}" for one, what in zip(found, figures, strict=True)), bound, holds
        )

    return [
        row(
            "every event that an endpoint was to get reached it",
            "0 missing",
            [f"{one.missing} of {one.expected:,} missing ({one.load})" for one in found],
            holds=all(one.expected and not one.missing for one in found),
        ),
        row(
            "none that its filter excluded or that came while it was disabled",
            "0",
            [f"{one.unwanted} of {one.excluded:,}" for one in found],
            holds=all(one.excluded and not one.unwanted for one in found),
        ),
        row(
            "in order per subject, but where none was asked for",
            "0 misplaced",
            [f"{one.misplaced} of {one.taken:,} misplaced, {one.again:,} taken again" for one in found],
            holds=not any(one.misplaced for one in found),
        ),
        row(
            f"one limited to {RATE}/s, burst {BURST}",
            "every window <= burst + rate·t + 1",
            [f"{one.requests:,} tries, the fullest window {-one.excess} below its bound" for one in found],
            holds=all(one.excess <= 0 for one in found),
        ),
        row(
            "signatures",
            "0 wrong",
            [f"{one.wrong_signatures} wrong" for one in found],
            holds=not any(one.wrong_signatures for one in found),
        ),
        row(
            "loops of the service that failed and went on",
            "0",
            [str(one.failed_loops) for one in found],
            holds=not any(one.failed_loops for one in found),
        ),
    ]
