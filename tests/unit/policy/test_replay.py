"""Which events a replay is about: by the endpoint's dated filters, and by what became of each event there."""

import msgspec
import pytest

from idsync.model.replay import ReplayRequest, ReplayStatus, Span, Standing
from idsync.model.values import Instant
from idsync.policy.replay import SLACK_MS, Concern, concern_of, is_wanted, needs_standing

MADE, DISABLED, ENABLED, NARROWED = Instant(100_000), Instant(200_000), Instant(300_000), Instant(400_000)
PAST = (
    Span(since=MADE, until=DISABLED, events=("user.*",)),
    Span(since=DISABLED, until=ENABLED, events=("user.*",), is_enabled=False),
    Span(since=ENABLED, until=NARROWED, events=("user.*",)),
    Span(since=NARROWED, events=("user.deleted",)),
)
"""An endpoint for users that was disabled for a while, and takes only deletes since."""


def request(status: ReplayStatus, **others: object) -> ReplayRequest:
    """Ask for events of one status."""
    return msgspec.structs.replace(ReplayRequest(endpoint="audit", status=status), **others)


def concern(status: ReplayStatus, event_type: str, at: int, **others: object) -> Concern:
    """What the past above says."""
    return concern_of(request(status, **others), PAST, event_type, Instant(at))


@pytest.mark.parametrize(
    ("event_type", "at", "expected"),
    [
        ("user.created", 50_000, Concern.NONE),
        ("user.created", 150_000, Concern.QUEUED),
        ("order.paid", 150_000, Concern.NONE),
        ("user.created", 250_000, Concern.PERHAPS),
        ("order.paid", 250_000, Concern.NONE),
        ("user.created", 350_000, Concern.QUEUED),
        ("user.created", 450_000, Concern.NONE),
        ("user.deleted", 450_000, Concern.QUEUED),
    ],
)
def test_what_was_missed_is_told_by_the_filters_of_that_time(event_type: str, at: int, expected: Concern) -> None:
    """Neither today's filters nor a later life of the endpoint change what it was to get."""
    assert concern(ReplayStatus.MISSED, event_type, at) is expected
    assert concern(ReplayStatus.UNDELIVERED, event_type, at) is expected


@pytest.mark.parametrize("edge", [DISABLED, ENABLED])
@pytest.mark.parametrize("offset", [-SLACK_MS + 1, 0, SLACK_MS - 1])
def test_event_close_to_a_change_may_have_been_missed(edge: int, offset: int) -> None:
    """A process that had not heard of the change yet went by the filters before it."""
    assert concern(ReplayStatus.MISSED, "user.created", edge + offset) is Concern.PERHAPS


def test_event_right_after_the_endpoint_was_made_may_have_been_missed() -> None:
    """A process that had not heard of the endpoint yet queued nothing for it."""
    assert concern(ReplayStatus.MISSED, "user.created", MADE + 1) is Concern.PERHAPS
    assert concern(ReplayStatus.MISSED, "user.created", MADE + SLACK_MS) is Concern.QUEUED


@pytest.mark.parametrize("status", ReplayStatus)
def test_events_before_the_endpoint_was_made_are_meant_only_where_asked(status: ReplayStatus) -> None:
    """A new endpoint is not flooded with history that nobody asked for; asked, it gets what it would get now."""
    assert concern(status, "user.deleted", 1) is Concern.NONE
    assert concern(status, "user.deleted", 1, include_before_creation=True) is Concern.PERHAPS
    assert concern(status, "user.created", 1, include_before_creation=True) is Concern.NONE


def test_all_means_what_the_endpoint_takes_now() -> None:
    """Nothing is sent that it does not want any more, whatever it took then."""
    assert concern(ReplayStatus.ALL, "user.deleted", 150_000) is Concern.QUEUED
    assert concern(ReplayStatus.ALL, "user.created", 150_000) is Concern.NONE


def test_types_of_the_request_narrow_what_the_filters_let_through() -> None:
    """They never widen it."""
    assert concern(ReplayStatus.ALL, "user.deleted", 150_000, types=("user.created",)) is Concern.NONE
    assert concern(ReplayStatus.ALL, "order.paid", 150_000, types=("order.*",)) is Concern.NONE


def test_events_of_the_service_itself_are_for_operational_endpoints_alone() -> None:
    """And these get nothing else."""
    asked = request(ReplayStatus.ALL)
    operational = (Span(since=MADE, is_operational=True),)
    plain = (Span(since=MADE),)
    at = Instant(MADE + 1)
    assert concern_of(asked, plain, "endpoint.disabled", at, is_operational=True) is Concern.NONE
    assert concern_of(asked, operational, "endpoint.disabled", at, is_operational=True) is Concern.QUEUED
    assert concern_of(asked, operational, "user.created", at) is Concern.NONE


WANTED = {
    (ReplayStatus.FAILED, Concern.QUEUED): {Standing.DEAD},
    (ReplayStatus.FAILED, Concern.PERHAPS): {Standing.DEAD},
    (ReplayStatus.UNDELIVERED, Concern.QUEUED): {Standing.DEAD, Standing.SKIPPED},
    (ReplayStatus.UNDELIVERED, Concern.PERHAPS): {Standing.DEAD, Standing.SKIPPED, Standing.NONE},
    (ReplayStatus.MISSED, Concern.QUEUED): set(),
    (ReplayStatus.MISSED, Concern.PERHAPS): {Standing.NONE, Standing.SKIPPED},
    (ReplayStatus.ALL, Concern.QUEUED): set(Standing),
    (ReplayStatus.ALL, Concern.PERHAPS): set(Standing),
}
"""What is wanted of each: everything else is left alone."""


@pytest.mark.parametrize("status", ReplayStatus)
@pytest.mark.parametrize("judged", Concern)
@pytest.mark.parametrize("standing", Standing)
def test_what_comes_anyway_or_has_come_is_not_sent_again(
    status: ReplayStatus, judged: Concern, standing: Standing
) -> None:
    """Only `all` sends again what the endpoint has; what is forgotten was settled."""
    expected = WANTED.get((status, judged), set())
    assert is_wanted(request(status), judged, standing) is (standing in expected)


@pytest.mark.parametrize("status", ReplayStatus)
@pytest.mark.parametrize("judged", Concern)
def test_what_became_of_an_event_is_looked_up_wherever_it_decides(status: ReplayStatus, judged: Concern) -> None:
    """Where nobody looks, every answer would be the same."""
    answers = {is_wanted(request(status), judged, standing) for standing in Standing}
    assert needs_standing(request(status), judged) is (len(answers) > 1)
