"""Every value has one canonical form, or is said to have none."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.model.values import Kind, Value
from idsync.policy.canonical import Unfit, canonical_fields, canonical_value

FIELDS = (
    "id",
    "email",
    "email_verified",
    "name",
    "picture",
    "preferred_username",
    "roles",
    "active",
    "banned",
    "ban_reason",
    "ban_expires_at",
    "created_at",
    "something_else",
)
KINDS = (Kind.USER, Kind.SESSION, "a-kind-of-tomorrow")
RAW = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(),
    st.lists(st.text(st.characters())),
    st.dictionaries(st.text(), st.integers()),
    st.sampled_from(["true", "FALSE", "0", "1", "a, b,,a", '["b", "a"]', "[1]", "[", "2026-01-31 12:00:00", "1e999"]),
)


@given(st.sampled_from(KINDS), st.sampled_from(FIELDS), RAW)
def test_forming_a_value_twice_changes_nothing(kind: str, field: str, raw: object) -> None:
    """A value that has a canonical form is its own canonical form, and can be written as UTF-8; nothing ever raises."""
    formed = canonical_value(kind, field, raw)
    if isinstance(formed, Unfit):
        assert formed.field == field
        return
    assert canonical_value(kind, field, formed) == formed
    repr(formed).encode()


@given(st.sampled_from(FIELDS), st.text(st.characters(), min_size=4))
def test_the_reason_never_shows_the_value(field: str, raw: str) -> None:
    """What is unfit may be somebody's secret."""
    formed = canonical_value(Kind.USER, field, f"<{raw}>")
    assert not isinstance(formed, Unfit) or f"<{raw}>" not in formed.why


@given(st.text())
def test_canonically_equal_emails_are_one(email: str) -> None:
    """However its characters are composed and cased, an e-mail has one form."""
    formed = canonical_value(Kind.USER, "email", email)
    assert canonical_value(Kind.USER, "email", unicodedata.normalize("NFD", email)) == formed


@pytest.mark.parametrize(
    ("field", "raw", "formed"),
    [
        ("email", "Ada.Lovelace+x@EXAMPLE.com", "ada.lovelace+x@example.com"),
        ("email", "ADE\u0301@example.com", "ad\u00e9@example.com"),
        ("email", " a@example.com", " a@example.com"),
        ("email", "", ""),
        ("email", None, None),
        ("name", " Ade\u0301 ", " Ade\u0301 "),
        ("id", 17, "17"),
        ("id", "017", "017"),
        ("email_verified", 1, True),
        ("email_verified", 0.0, False),
        ("email_verified", "True", True),
        ("email_verified", None, False),
        ("banned", None, False),
        ("active", None, None),
        ("roles", "b, a,,b", ["a", "b"]),
        ("roles", '["b", "a"]', ["a", "b"]),
        ("roles", ["b", "a", "b"], ["a", "b"]),
        ("roles", "", []),
        ("roles", None, []),
        ("ban_expires_at", 1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
        ("ban_expires_at", 1_767_225_600, "2026-01-01T00:00:00.000Z"),
        ("ban_expires_at", 1_767_225_600.5, "2026-01-01T00:00:00.500Z"),
        ("ban_expires_at", "1767225600000", "2026-01-01T00:00:00.000Z"),
        ("ban_expires_at", "2026-01-01 00:00:00", "2026-01-01T00:00:00.000Z"),
        ("ban_expires_at", "2026-01-01T01:00:00.25+01:00", "2026-01-01T00:00:00.250Z"),
        ("ban_expires_at", None, None),
    ],
    ids=repr,
)
def test_user_fields_have_their_own_forms(field: str, raw: object, formed: Value) -> None:
    """The examples of the design, one a line."""
    assert canonical_value(Kind.USER, field, raw) == formed


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("email", 1),
        ("email", "half \ud800 a character"),
        ("name", 5),
        ("name", b"bytes"),
        ("id", True),
        ("email_verified", "maybe"),
        ("email_verified", 2),
        ("roles", "[1, 2]"),
        ("roles", "[broken"),
        ("roles", {"a": 1}),
        ("ban_expires_at", "tomorrow"),
        ("ban_expires_at", ""),
        ("ban_expires_at", -1),
        ("ban_expires_at", 10**18),
        ("ban_expires_at", float("inf")),
        ("ban_expires_at", True),
        ("anything", float("nan")),
        ("anything", 2**64),
    ],
)
def test_what_has_no_form_is_named_and_not_guessed(field: str, raw: object) -> None:
    """The answer says which field and why."""
    formed = canonical_value(Kind.USER, field, raw)
    assert isinstance(formed, Unfit)
    assert formed.field == field
    assert formed.why


def test_other_kinds_pass_but_for_instants() -> None:
    """A session's e-mail is no identity; its expiry is an instant everywhere."""
    assert canonical_value(Kind.SESSION, "email", "A@b") == "A@b"
    assert canonical_value(Kind.SESSION, "expires_at", 1_767_225_600) == "2026-01-01T00:00:00.000Z"
    assert canonical_value(Kind.SESSION, "weight", 0.1 + 0.2) == 0.3


def test_unfit_fields_leave_the_others_alone() -> None:
    """Each field is formed by itself."""
    fields, unfit = canonical_fields(Kind.USER, {"email": "A@B", "name": 5})
    assert fields == {"email": "a@b"}
    assert [one.field for one in unfit] == ["name"]
