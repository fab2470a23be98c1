"""The dated history of an endpoint's filters, and the pure changes of its definition."""

from typing import Any

import msgspec
import pytest

from idsync.app.endpoints import DisabledReason, FilterSpan, Origin, edits
from idsync.app.endpoints.documents import Document, KeptSecret, read_document, write_document
from idsync.app.endpoints.history import SPANS_MAX, extend, is_over, read_history, write_history
from idsync.errors import StoreError
from idsync.model.values import Instant
from tests.unit.app.conftest import definition

URL = "https://example.com/hook"
ALWAYS = Instant(0)


def made(at: int = 1_000, **fields: object) -> Document:
    """A new endpoint."""
    return edits.made("audit", definition(URL, **fields), Origin.API, ["whsec_QUFB"], Instant(at))


def test_history_has_one_span_after_the_other() -> None:
    """The end of one is the beginning of the next."""
    first = made(events=["user.*"])
    spans = extend([], first, Instant(1_000), oldest=ALWAYS)
    same = edits.redefined(first, definition(URL, events=["user.*"], timeout_s=3), Instant(2_000))
    assert extend(spans, same, Instant(2_000), oldest=ALWAYS) is spans
    other = edits.redefined(same, definition(URL), Instant(3_000))
    spans = extend(spans, other, Instant(3_000), oldest=ALWAYS)
    gone = edits.disabled(other, DisabledReason.GONE, Instant(4_000))
    spans = extend(spans, gone, Instant(4_000), oldest=ALWAYS)
    spans = extend(spans, edits.removed(gone, Instant(5_000)), Instant(5_000), oldest=ALWAYS)
    assert [(one.since, one.until, one.events, one.reason) for one in spans] == [
        (1_000, 3_000, ("user.*",), None),
        (3_000, 4_000, ("*",), None),
        (4_000, 5_000, ("*",), DisabledReason.GONE),
    ]
    again = extend(spans, made(9_000), Instant(9_000), oldest=ALWAYS)
    assert again[-1] == FilterSpan(since=Instant(9_000), events=("*",))
    assert read_history("audit", write_history(again)) == tuple(again)


def test_clock_that_goes_back_makes_no_span_end_before_it_began() -> None:
    """Nor two that begin at once: what held for no time at all is left out."""
    first = made()
    spans = extend([], first, Instant(1_000), oldest=ALWAYS)
    gone = edits.disabled(first, DisabledReason.GONE, Instant(500))
    spans = extend(spans, gone, Instant(500), oldest=ALWAYS)
    assert spans == [FilterSpan(since=Instant(1_000), events=("*",), is_enabled=False, reason=DisabledReason.GONE)]


def test_history_is_bounded_and_forgets_what_ended_before_every_event() -> None:
    """What no event that is kept can ask about is of no use."""
    document = made()
    spans = extend([], document, Instant(0), oldest=ALWAYS)
    for number in range(1, SPANS_MAX + 50):
        document = edits.redefined(document, definition(URL, events=[f"order.n{number}"]), Instant(number))
        spans = extend(spans, document, Instant(number), oldest=ALWAYS)
    assert len(spans) == SPANS_MAX
    document = edits.redefined(document, definition(URL), Instant(5_000))
    spans = extend(spans, document, Instant(5_000), oldest=Instant(1_040))
    assert [one.since for one in spans] == [*range(1_039, SPANS_MAX + 50), 5_000]


def test_history_of_an_endpoint_that_is_gone_is_over_when_its_events_are() -> None:
    """And never while there is an endpoint."""
    document = made()
    spans = extend([], document, Instant(1_000), oldest=ALWAYS)
    assert not is_over(spans, Instant(10**12))
    spans = extend(spans, edits.removed(document, Instant(2_000)), Instant(2_000), oldest=ALWAYS)
    assert not is_over(spans, Instant(2_000))
    assert is_over(spans, Instant(2_001))


def test_kept_history_that_cannot_be_read_is_named() -> None:
    """With what it is of, and never with what it holds."""
    with pytest.raises(StoreError, match="history of endpoint audit"):
        read_history("audit", b"[1]")
    with pytest.raises(StoreError, match="endpoint audit"):
        read_document("audit", b"{}")


def test_document_is_read_as_it_was_written() -> None:
    """Every field of a definition, its secrets in full."""
    document = made(
        retry={"attempts_max": 5},
        breaker={"failure_threshold": 7},
        rate={"burst": 3},
        batch={"events_max": 9},
        disable={"after_s": 60},
        headers={"x-token": "t"},
        timeout_s=5,
        concurrency=3,
        ordering="none",
        priority="bulk",
        operational=True,
        description="for the ledger",
        enabled=False,
    )
    document = edits.rotated(document, "whsec_QkJC", 60, Instant(2_000))
    assert read_document("audit", write_document(document)) == document
    assert "whsec_QkJC" not in repr(document.settings)


def test_rotation_keeps_ten_old_secrets_at_most_and_none_that_is_over() -> None:
    """The newest first; none signs longer than it was to."""
    document = made()
    for number in range(15):
        document = edits.rotated(document, f"whsec_{number}", 60, Instant(1_000 + number))
    assert len(document.secrets) == 11
    assert document.secrets[0] == KeptSecret("whsec_14")
    assert document.secrets[1] == KeptSecret("whsec_13", Instant(61_014))
    assert document.texts_at(Instant(61_014)) == ("whsec_14",)
    assert document.expires_at(Instant(1_014)) == min(one.until for one in document.secrets if one.until is not None)
    ended = edits.rotated(document, "whsec_last", 0, Instant(1_020))
    assert ended.secrets == (KeptSecret("whsec_last"),)


def test_first_reason_to_be_disabled_stands_until_it_is_lifted() -> None:
    """And when it began; only the configuration's word is stronger."""
    gone = edits.disabled(made(), DisabledReason.GONE, Instant(2_000))
    assert edits.disabled(gone, DisabledReason.FAILING, Instant(3_000)) is gone
    assert edits.disabled(gone, DisabledReason.OPERATOR, Instant(3_000)) is gone
    removed = edits.disabled(gone, DisabledReason.REMOVED, Instant(3_000))
    assert (removed.disabled_reason, removed.disabled_at) == (DisabledReason.REMOVED, 2_000)
    assert edits.enabled(gone, Instant(4_000)).disabled_at is None
    lifted = edits.redefined(gone, definition("https://example.com/other"), Instant(4_000))
    assert lifted.is_enabled
    paused = edits.disabled(made(), DisabledReason.OPERATOR, Instant(2_000))
    assert (paused.settings.enabled, paused.disabled_reason) == (False, DisabledReason.OPERATOR)


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_as_its_specification_lists(
    target: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]
) -> None:
    """The objects of RFC 7396, appendix A."""
    before = msgspec.json.encode(target)
    assert edits.merge_patch(target, patch) == merged
    assert msgspec.json.encode(target) == before
