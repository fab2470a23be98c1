"""What lists have in common: cursors, limits, and the parameters that several take."""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from idsync.api.events import PUBLISHER
from idsync.api.http import Problem, ProblemType
from idsync.api.service import Service
from idsync.config.names import FILTER_PATTERN
from idsync.model.values import Instant, parse_instant
from idsync.pipeline.parts.routes import OPERATIONAL
from idsync.ports import InboxEntry, Store
from idsync.ports.store import PassedOn

Row = TypeVar("Row")
SEQ_MAX: Final = 2**63 - 1
SCAN_MAX: Final = 5_000
SCAN_STEP: Final = 500
NEAR_MS: Final = 60_000
"""How far from the time in its id an event of ours may have been received: clocks of several processes disagree."""
UUID_VERSION: Final = 7
Limit = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1; `limits.page_items_max` caps it")]
Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX, description="the `next` of the page before")]
Id = Annotated[int, Meta(ge=1, le=SEQ_MAX, description="a delivery's id or an arrival's seq, as text or number")]
EventId = Annotated[str, Meta(pattern=r"^[!-~]{1,256}$(?!\n)")]
TypeFilter = Annotated[
    str,
    Meta(pattern=FILTER_PATTERN, max_length=200, description="a type, `user.*`, `*`, or with a `!` what is left out"),
]
Time = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$(?!\n)",
        description="a time as 2026-01-31T12:00:00Z (RFC 3339)",
    ),
]
DestinationName = Annotated[str, Meta(pattern=r"^(endpoint|peer):[a-z][a-z0-9_-]{0,62}$(?!\n)")]
Destination = Annotated[DestinationName | None, Meta(description="`endpoint:<name>` or `peer:<name>`")]


class PageQuery(msgspec.Struct, frozen=True):
    """Which page."""

    after: Seq = 0
    limit: Limit = 50


def limit_of(service: Service, asked: int) -> int:
    """How many rows a page has at most."""
    return min(asked, service.settings.limits.page_items_max)


def next_of(rows: Sequence[Row], limit: int, cursor: Callable[[Row], str]) -> str | None:
    """Where the next page begins; None: this was the last."""
    return cursor(rows[-1]) if len(rows) == limit else None


async def newest_seq(store: Store) -> int:
    """Find the newest sequence by halving: the store reads forwards only, and an index look-up is cheap."""
    high = 1
    while high < SEQ_MAX and await store.recent(high, 1):
        high = min(2 * high, SEQ_MAX)
    low = high // 2
    while low < high:
        middle = (low + high) // 2
        if await store.recent(middle, 1):
            low = middle + 1
        else:
            high = middle
    return high


async def find_event(service: Service, text: str) -> InboxEntry | None:
    """Find an event that went out by its inbox sequence or its id; None: there is none, or it is too far back.

    An id that a publisher or a peer gave is the key of its row; one of our making tells its time. Only what was passed
    on for a peer that signs no ids is looked for among the newest events.
    """
    store = service.store
    if text.isdigit() and int(text) <= SEQ_MAX:
        found = await store.passed_on(PassedOn(after=int(text) - 1, until=int(text)), 1)
        return found[0] if found else None
    keys = [(peer, text) for peer in (PUBLISHER, OPERATIONAL, *service.peers)]
    accepted = [one for one in await store.accepted(keys) if one.row.event_id == text]
    if accepted:
        return accepted[-1]
    made_at = _time_of(text)
    if made_at is not None:
        near = PassedOn(received_from=Instant(made_at - NEAR_MS), received_before=Instant(made_at + NEAR_MS))
        if (one := await _scan(store, near, text)) is not None:
            return one
    return await _scan(store, PassedOn(after=max(0, await newest_seq(store) - SCAN_MAX)), text)


def _time_of(text: str) -> Instant | None:
    """When a UUIDv7 was made (RFC 9562 §5.7); None: it is none."""
    try:
        number = UUID(text)
    except ValueError:
        return None
    return Instant(number.int >> 80) if number.version == UUID_VERSION else None


async def _scan(store: Store, wanted: PassedOn, event_id: str) -> InboxEntry | None:
    """Look through at most `SCAN_MAX` events."""
    for _ in range(SCAN_MAX // SCAN_STEP):
        rows = await store.passed_on(wanted, SCAN_STEP)
        for one in rows:
            if one.row.event_id == event_id:
                return one
        if len(rows) < SCAN_STEP:
            return None
        wanted = msgspec.structs.replace(wanted, after=rows[-1].seq)
    return None


def read_time(text: str | None) -> Instant | Problem | None:
    """Read a time as an operation takes it; None stays None."""
    if text is None:
        return None
    at = parse_instant(text)
    return Problem(ProblemType.BAD_PARAMETER, "There is no such time between 1970 and 9999.") if at is None else at


async def find_seq(service: Service, text: str) -> int | None:
    """Read a sequence, or find that of the event that went out under an id."""
    if text.isdigit() and int(text) <= SEQ_MAX:
        return int(text)
    found = await find_event(service, text)
    return found.seq if found is not None else None
