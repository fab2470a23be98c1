"""Which events a replay is about, by an endpoint's dated filters and by what became of each event there. Pure."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, assert_never

from idsync.model.replay import ReplayRequest, ReplayStatus, Span, Standing
from idsync.model.values import Instant
from idsync.policy.filter import matches

SLACK_MS: Final = 2_000
"""How long a change of an endpoint may take to reach every process, clocks that disagree included.

An event that came in so close to a change may have been queued by the filters before it or by those after it.
"""


class Concern(StrEnum):
    """What an endpoint's past says of one event."""

    NONE = "none"
    """The replay is not about it."""
    QUEUED = "queued"
    """It was queued when it came in: where nothing is known of that, it was settled and is forgotten."""
    PERHAPS = "perhaps"
    """It was not queued, or may not have been: where nothing is known of it, the endpoint has missed it."""


def concern_of(
    request: ReplayRequest, past: Sequence[Span], event_type: str, at: Instant, *, is_operational: bool = False
) -> Concern:
    """Say whether a replay may be about an event, before anybody looks up what became of it.

    Args:
        request: what is asked for.
        past: the endpoint's spans, oldest first; the last one says what it gets now. Never empty.
        event_type: the type it went out with.
        at: when it was received.
        is_operational: whether it speaks of the service itself: only operational endpoints get such, and nothing else.
    """
    if not matches(request.types, event_type):
        return Concern.NONE
    is_wanted_now = _names(past[-1], event_type, is_operational=is_operational)
    if at < past[0].since:
        return Concern.PERHAPS if request.include_before_creation and is_wanted_now else Concern.NONE
    if request.status is ReplayStatus.ALL:
        return Concern.QUEUED if is_wanted_now else Concern.NONE
    near = [one for one in past if one.since <= at + SLACK_MS and (one.until is None or one.until > at - SLACK_MS)]
    naming = [one for one in near if _names(one, event_type, is_operational=is_operational)]
    if not naming:
        return Concern.NONE
    was_queued = naming == near and all(one.is_enabled for one in near) and at - SLACK_MS >= past[0].since
    return Concern.QUEUED if was_queued else Concern.PERHAPS


def _names(span: Span, event_type: str, *, is_operational: bool) -> bool:
    return span.is_operational == is_operational and matches(span.events, event_type)


def needs_standing(request: ReplayRequest, concern: Concern) -> bool:
    """Whether it must be known what became of the event before `is_wanted` can say anything."""
    match request.status:
        case ReplayStatus.ALL:
            return False
        case ReplayStatus.MISSED:
            return concern is Concern.PERHAPS
        case ReplayStatus.FAILED | ReplayStatus.UNDELIVERED:
            return concern is not Concern.NONE
        case unknown:
            assert_never(unknown)


def is_wanted(request: ReplayRequest, concern: Concern, standing: Standing) -> bool:
    """Whether a replay queues an event.

    What is under way is left alone by all but `all`: a second delivery would only double the one that comes anyway.
    """
    if concern is Concern.NONE:
        return False
    is_missed = concern is Concern.PERHAPS and standing is Standing.NONE
    match request.status:
        case ReplayStatus.ALL:
            return True
        case ReplayStatus.FAILED:
            return standing is Standing.DEAD
        case ReplayStatus.UNDELIVERED:
            return is_missed or standing in {Standing.DEAD, Standing.SKIPPED}
        case ReplayStatus.MISSED:
            return is_missed or (concern is Concern.PERHAPS and standing is Standing.SKIPPED)
        case unknown:
            assert_never(unknown)
