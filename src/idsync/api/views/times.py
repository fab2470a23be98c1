"""How times stand in answers."""

from idsync.model.values import Instant, instant_text


def time_text(at: Instant | None) -> str | None:
    """Write an instant; None where it never came."""
    return instant_text(at) if at else None
