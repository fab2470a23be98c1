"""How a store looks for events that went out: stretch by stretch, so that no statement looks at more than a few rows.

There is no index of what is asked for here: it would cost every accepted event, and only a replay asks. An event of an
entity's subject may also be published by hand, without the entity, so the index of entities alone would miss it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from idsync.ports import InboxEntry, PassedOn

STRETCH_ROWS: Final = 10_000
"""Inbox rows that one statement looks at."""

Look = Callable[[PassedOn, int], Awaitable[tuple[int | None, Sequence[InboxEntry]]]]
"""Looks at the next `STRETCH_ROWS` rows: the last of them, None if there were none; those of them that are wanted."""


async def collect(look: Look, wanted: PassedOn, limit: int) -> list[InboxEntry]:
    """Take stretch after stretch until there are enough, or no more rows."""
    found: list[InboxEntry] = []
    while len(found) < limit:
        last, entries = await look(wanted, limit - len(found))
        found += entries
        if last is None:
            break
        wanted = msgspec.structs.replace(wanted, after=last)
    return found
