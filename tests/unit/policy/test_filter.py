"""Which event types an endpoint hears of (MISSION R21)."""

import pytest

from idsync.policy.filter import matches


@pytest.mark.parametrize(
    ("filters", "event_type", "is_matched"),
    [
        (("*",), "user.created", True),
        (("*",), "anything at all", True),
        (("user.*",), "user.created", True),
        (("user.*",), "user.x.y", True),
        (("user.*",), "user", False),
        (("user.*",), "users.created", False),
        (("user.created",), "user.created", True),
        (("user.created",), "user.created.twice", False),
        (("session.*", "user.deleted"), "user.deleted", True),
        (("session.*", "user.deleted"), "user.created", False),
        ((), "user.created", False),
        (("*", "!user.deleted"), "user.created", True),
        (("*", "!user.deleted"), "user.deleted", False),
        (("!user.*", "user.created", "session.*"), "user.created", False),
        (("!user.*", "session.*"), "session.revoked", True),
        (("!user.*",), "session.revoked", True),
        (("!user.*", "!session.revoked"), "session.revoked", False),
        (("!user.*", "user.created"), "session.revoked", False),
        (("*", "!*"), "user.created", False),
    ],
)
def test_filter_names_everything_a_prefix_or_one_type(
    filters: tuple[str, ...], event_type: str, *, is_matched: bool
) -> None:
    """`*` is all, `user.*` is what begins with `user.`, all else is itself; `!` leaves out; none is nothing."""
    assert matches(filters, event_type) is is_matched
