"""Capture: bring a peer's outbox to the door, in order; its position commits with its rows (DESIGN §6)."""

from collections.abc import Awaitable, Callable

from idsync import crash
from idsync.errors import PeerError
from idsync.model.event import Arrival, Observation, Receipt
from idsync.model.plan import Position, Reread
from idsync.model.values import ExternalId, PeerName, Subject, subject_of
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.tenure import Tenure
from idsync.pipeline.reach import Half, Reach
from idsync.ports import Clock, Registry, Rewound, Source, SourceBatch
from idsync.telemetry import Counters, Log

TRIM_EVERY = 2_000
"""Rows read after which the outbox is trimmed, however much waits."""
TRIM_AFTER_S = 2.0
"""Seconds after which an outbox that is read to its end is trimmed: what we took in need not lie there any longer."""
RETRY_MAX_S = 30.0
READ_TAKES_S = 5.0
"""Longer than a look at an outbox takes where all is well."""
TENURE_PAUSE_S = 0.05


class Relay:
    """Reads one peer's outbox for ever. `tick` reads one batch and returns once it is durable with us."""

    def __init__(  # noqa: PLR0913  # the composition root names each part once
        self,
        peer: PeerName,
        source: Source,
        *,
        tenure: Tenure,
        registry: Registry,
        submit: Callable[[Submission], Awaitable[list[Receipt]]],
        clock: Clock,
        counters: Counters,
        log: Log,
        rows_max: int = 200,
    ) -> None:
        """Wire it; `start` finds where reading goes on."""
        self.peer = peer
        self._source = source
        self._tenure = tenure
        self._registry = registry
        self._submit = submit
        self._clock = clock
        self._counters = counters
        self._log = log
        self._rows_max = rows_max
        self._position: Position | None = None
        self._untrimmed = 0
        self._trimmed_at = 0.0
        self._failures = 0
        self._reach = Reach(Half.READ, peer, registry=registry, submit=submit, tenure=tenure, clock=clock)

    async def start(self) -> None:
        """Go on where the last committed batch ended."""
        self._position = await self._registry.position(self.peer)
        await self._reach.start()

    async def tick(self) -> float:
        """Read and ingest one batch; return 0 if more waits, else how long a wait may last."""
        if not self._tenure.allows(READ_TAKES_S):
            return TENURE_PAUSE_S
        try:
            found = await self._source.read(self._position, self._rows_max)
            if isinstance(found, Rewound):
                return await self._start_over(found)
            await self._ingest(found)
            await self._trim(is_at_end=not found.has_more)
        except PeerError as error:
            self._failures += 1
            delay_s = min(RETRY_MAX_S, 0.25 * 2 ** min(self._failures, 16))
            self._log.warn("peer cannot be read; trying again", peer=self.peer, retry_in_s=delay_s, why=str(error))
            await self._reach.lose(error)
            await self._clock.sleep(delay_s)
            return 0.0
        self._failures = 0
        await self._reach.regain()
        return 0.0 if found.has_more else 1.0

    async def wait(self, timeout_s: float) -> None:
        """Return when the peer may have something new."""
        if timeout_s <= 0:
            return
        try:
            await self._source.wait(timeout_s)
        except PeerError:
            await self._clock.sleep(timeout_s)

    async def _ingest(self, batch: SourceBatch) -> None:
        if batch.position == self._position:
            return
        crash.point("source.read")
        now = self._clock.now()
        arrivals = [self._arrival(one) for one in batch.observations]
        arrivals += [
            Arrival(
                peer=self.peer,
                id=row,
                type="capture.unreadable",
                subject=Subject(f"{self.peer}/{row}"),
                received_at=now,
                refusal=f"unreadable: {why}",
                body=raw,
            )
            for row, raw, why in batch.refused
        ]
        rereads = [
            Reread(peer=self.peer, kind=kind, external_id=external_id, asked_at=now, retry_at=now)
            for kind, external_id in batch.rings
        ]
        await self._submit(
            Submission(
                arrivals=arrivals,
                peer=self.peer,
                position=batch.position,
                rereads=rereads,
                fences=self._tenure.fences,
            )
        )
        self._position = batch.position
        self._untrimmed += len(arrivals) + len(rereads)
        self._counters.add("idsync_captured_total", self.peer, len(arrivals) + len(rereads))

    def _arrival(self, seen: Observation) -> Arrival:
        return Arrival(
            peer=self.peer,
            id=seen.event_id,
            type=f"{seen.kind}.{seen.op}",
            subject=subject_of(seen.kind, ExternalId(seen.external_id)),
            received_at=seen.received_at,
            observation=seen,
        )

    async def _trim(self, *, is_at_end: bool) -> None:
        is_time = is_at_end and self._untrimmed > 0 and self._clock.monotonic() - self._trimmed_at >= TRIM_AFTER_S
        if self._position is None or not (is_time or self._untrimmed >= TRIM_EVERY):
            return
        await self._source.trim(self._position)
        self._untrimmed, self._trimmed_at = 0, self._clock.monotonic()

    async def _start_over(self, found: Rewound) -> float:
        """The outbox is another one than we read: sound the alarm, and take every identity in anew."""
        position = await self._registry.position(self.peer)
        if position != self._position or not self._tenure.allows(READ_TAKES_S):
            # Another process has read on since, and trimmed what it read.
            self._position = position
            return TENURE_PAUSE_S
        self._counters.add("idsync_rewinds_total", self.peer)
        self._log.error("capture was rewound; reading every identity again", peer=self.peer, found=found.found)
        await self._source.start_over()
        self._position = None
        return 0.0
