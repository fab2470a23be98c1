"""What an endpoint may say about when to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.model.values import Instant
from idsync.senders.retry_after import RETRY_AFTER_S_MAX, parse_retry_after

NOW = Instant(784_111_777_000)
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110."""


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("86401", RETRY_AFTER_S_MAX),
        ("9" * 5000, RETRY_AFTER_S_MAX),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_S_MAX),
    ],
)
def test_seconds_and_every_form_of_date_are_understood_within_bounds(text: str, expected_s: float) -> None:
    """Never less than nothing, never more than a day."""
    assert parse_retry_after(text, None, NOW) == expected_s


@pytest.mark.parametrize(
    "text", ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "one", "٣", "1,2", "Sun, 31 Feb 1994 08:49:37 GMT", "08:49:37"]
)
def test_anything_else_is_no_wish(text: str) -> None:
    """A wrong guess would be worse than our own delay."""
    assert parse_retry_after(text, None, NOW) is None


def test_date_is_counted_from_the_date_of_the_answer() -> None:
    """Two clocks that disagree by years still agree on ten seconds."""
    answered = "Sat, 01 Jan 2000 00:00:00 GMT"
    assert parse_retry_after("Sat, 01 Jan 2000 00:00:10 GMT", answered, NOW) == 10


@pytest.mark.parametrize("answered", ["", "yesterday"])
def test_date_is_counted_from_now_where_the_answer_has_none(answered: str) -> None:
    """Garbage in one header does not spoil the other."""
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", answered, NOW) == 10


@given(text=st.text(), answered=st.none() | st.text())
def test_no_text_breaks_it(text: str, answered: str | None) -> None:
    """The answer is always None or within bounds."""
    wait_s = parse_retry_after(text, answered, NOW)
    assert wait_s is None or 0 <= wait_s <= RETRY_AFTER_S_MAX


_PARTS = st.sampled_from(
    ["Sun,", "06", "0", "-1", "Nov", "1994", "99999", "08:49:37", "25:61:61", "GMT", "+9999", "-", ":"]
)


@given(st.lists(_PARTS).map(" ".join))
def test_nothing_like_a_date_breaks_it(text: str) -> None:
    """The library's parser knows many dialects and stumbles over some of them."""
    wait_s = parse_retry_after(text, text, NOW)
    assert wait_s is None or 0 <= wait_s <= RETRY_AFTER_S_MAX
