"""How long rows are kept."""

from typing import Final

import msgspec

from idsync.errors import ConfigError

HOUR_S: Final = 3_600
YEARS_10_S: Final = 10 * 365 * 24 * HOUR_S


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows are kept, in seconds, each from one hour to ten years.

    Raises:
        ConfigError: a time is outside these bounds.
    """

    inbox_s: int = 30 * 24 * HOUR_S
    """Accepted events: longer than the longest retry, or a late repeat of one would be taken for new."""
    attempts_s: int = 14 * 24 * HOUR_S
    conflicts_s: int = 365 * 24 * HOUR_S

    def __post_init__(self) -> None:
        wrong = [
            f"retention.{name} is {value} s: it must be from {HOUR_S} s (an hour) to {YEARS_10_S} s (ten years)"
            for name, value in msgspec.structs.asdict(self).items()
            if not HOUR_S <= value <= YEARS_10_S
        ]
        if wrong:
            raise ConfigError(*wrong)
