"""The endpoints of a storm, in one place: some fail, some are slow, some take ten events at once.

A request's path names the endpoint; what follows a hyphen only tells apart those that behave alike.
"""

import base64
import hmac
import random
import sqlite3
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import asyncpg
import msgspec

from proofs.webhooks_out.audience import GOOD, ILL, Body, Reply

PLAIN, FLAPPING, FAILING, BATCH, LIMITED = "plain", "flapping", "failing", "batch", "limited"
SLOW, BULK, FILTERED, SWITCHED, NEW = "slow", "bulk", "filtered", "switched", "new"
RATE: Final = 150
BURST: Final = 20
DEFINITIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    PLAIN: {},
    FLAPPING: {"breaker": {"timeout_s": 0.5}},
    FAILING: {"breaker": {"timeout_s": 0.5, "failure_threshold": 50}},
    BATCH: {"batch": {"events_max": 10, "linger_ms": 30}},
    LIMITED: {"rate": {"requests_per_second": RATE, "burst": BURST}},
    SLOW: {"ordering": "none", "concurrency": 8},
    BULK: {"priority": "bulk"},
    FILTERED: {},
    SWITCHED: {},
}
"""What is asked of each endpoint beside its name and URL."""
SLOW_S: Final = 0.05
WELL_S, ILL_S = 1.0, 0.7
FAILURES: Final = 0.15
"""How many requests of the failing one fail: half of them with a cut connection."""
WINDOWS_S: Final = (1, 2, 5, 10)
_KEY: Final = b"k" * 32
SECRET: Final = f"whsec_{base64.b64encode(_KEY).decode()}"


class Endpoints:
    """What came to each endpoint."""

    def __init__(self, seed: int) -> None:
        """Nothing came yet; what fails by chance is drawn from the seed."""
        self.taken: defaultdict[str, dict[str, str]] = defaultdict(dict)
        """Endpoint → event → its subject, in the order in which they were first answered with 2xx."""
        self.again: Counter[str] = Counter()
        """Events that were taken once more, by endpoint."""
        self.is_healed = False
        self.wrong_signatures = 0
        self.came_at = time.monotonic()
        """When the last request came."""
        self._random = random.Random(seed)
        self._decoder: msgspec.json.Decoder[list[Body] | Body] = msgspec.json.Decoder(list[Body] | Body)

    def take(self, endpoint: str, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        """Take one request."""
        self.came_at = time.monotonic()
        self.wrong_signatures += not _is_signed(headers, body)
        reply = self._reply(endpoint.partition("-")[0])
        if reply.answer == GOOD:
            found = self._decoder.decode(body)
            taken = self.taken[endpoint]
            for event in found if isinstance(found, list) else [found]:
                self.again[endpoint] += event.id in taken
                taken.setdefault(event.id, event.subject)
        return reply

    def count_misplaced(self) -> int:
        """Count the events first taken after a later one of their subject, where order counts; ids grow with it."""
        count = 0
        for endpoint, taken in self.taken.items():
            last: dict[str, str] = {}
            for event_id, subject in taken.items() if endpoint != SLOW else ():
                count += event_id < last.get(subject, "")
                last[subject] = max(last.get(subject, ""), event_id)
        return count

    def _reply(self, kind: str) -> Reply:
        if kind == SLOW:
            return Reply(GOOD, SLOW_S)
        if kind == FLAPPING and not self.is_healed and self.came_at % (WELL_S + ILL_S) >= WELL_S:
            return Reply(ILL)
        if kind == FAILING and not self.is_healed and self._random.random() < FAILURES:
            return Reply(self._random.choice((ILL, b"")))
        return Reply(GOOD)


async def read_tries(url: str) -> list[int]:
    """When the limited one was tried, in ms, ascending: as the store has it, for our own loop may stall."""
    statement = f"SELECT at FROM attempt WHERE destination = 'endpoint:{LIMITED}' ORDER BY at"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return [at for (at,) in file.execute(statement)]
    connection = await asyncpg.connect(url, server_settings={"search_path": "idsync"})
    try:
        return [row["at"] for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def measure_excess(times: Sequence[int]) -> int:
    """How many more tries than allowed the fullest window has; negative: how many less.

    Args:
        times: of the limited one's tries, in ms, ascending.
    """
    return max(
        number + 1 - bisect_left(times, at - window_s * 1000) - (BURST + RATE * window_s + 1)
        for window_s in WINDOWS_S
        for number, at in enumerate(times)
    )


def _is_signed(headers: Mapping[bytes, bytes], body: bytes) -> bool:
    """Whether one of the signatures is right, as Standard Webhooks writes them: `v1,` and base64 of an HMAC-SHA256."""
    signed = b"%b.%b.%b" % (headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b""), body)
    right = b"v1," + base64.b64encode(hmac.digest(_KEY, signed, "sha256"))
    return right in headers.get(b"webhook-signature", b"").split()
