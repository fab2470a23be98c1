"""Where deliveries go, and the lanes that carry them."""

from enum import StrEnum
from zlib import crc32

import msgspec

from idsync.model.values import Subject


class DestinationKind(StrEnum):
    """What stands at the end of a lane."""

    ENDPOINT = "endpoint"
    TARGET = "target"


class Level(StrEnum):
    """The lane sets of one destination (DESIGN §6, Priority)."""

    LIVE = "live"
    BULK = "bulk"
    ERASE = "erase"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One place that deliveries go to."""

    name: str
    """`endpoint:<name>` or `peer:<name>`: unique over all destinations."""
    kind: DestinationKind
    lanes: int
    """How many lanes each level has in this generation; 0: as many as there are."""
    events: tuple[str, ...] = ("*",)
    """An endpoint's filters; see `policy.filter`."""
    is_enabled: bool = True
    is_operational: bool = False
    """Whether an endpoint gets what happens to idsync itself, and only that."""
    needs_one_owner: bool = False
    """Whether one process must have all its lanes: what it limits or puts together would not add up in several."""
    level: Level = Level.LIVE
    """Which of its lane sets takes what is queued for it."""


class Lane(msgspec.Struct, frozen=True):
    """The ordered slice of one destination's deliveries that has one owner."""

    id: int
    destination: str
    generation: int
    level: Level
    number: int


def lane_number(subject: Subject, lanes: int) -> int:
    """Which of a destination's lanes carries a subject: stable over processes and releases."""
    return crc32(subject.encode()) % lanes
