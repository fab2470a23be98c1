"""Merge, sentence by sentence of DESIGN §4.1 to §4.3 and §4.8."""

import msgspec
import pytest

from idsync.model.event import Op, Verdict
from idsync.model.values import Instant, Value
from idsync.policy.dispatch import need_of
from idsync.policy.merge import merge, settle_intent
from tests.unit.policy.words import (
    APP,
    AUTH,
    LIFE_MS,
    MAPPING,
    NOW,
    after,
    announced,
    in_step,
    new,
    said,
    told,
    truth,
    unreadable,
    viewed,
    written,
)

# --- 1. ours? -----------------------------------------------------------------------------------------


def test_field_equal_to_an_open_intent_is_our_own_echo() -> None:
    """A write that was announced moves the shadow when the peer shows it, and is no edit."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    outcome = merge(entity, said(APP, version=2, at=20, name="Bo"), MAPPING)
    assert outcome.verdict is Verdict.ECHO
    assert told(outcome).links[APP].shadow["name"].held == "Bo"
    assert need_of(told(outcome), APP, MAPPING) is None


def test_echo_of_a_truth_that_has_moved_on_is_no_edit() -> None:
    """What we sent before comes back after the next edit: it does not win over it, however late its time."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    entity = after(entity, said(AUTH, version=3, at=20, name="Cy"))
    outcome = merge(entity, said(APP, version=2, at=30, name="Bo"), MAPPING)
    assert (outcome.changed, told(outcome).value_of("name")) == ((), "Cy")
    assert need_of(told(outcome), APP, MAPPING) is not None


def test_intent_left_behind_does_not_swallow_an_edit_made_long_after_its_end() -> None:
    """A user sets back the very value that an unanswered write once carried: he means it (facts §6.15)."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    entity = written(after(entity, said(AUTH, version=3, at=20, name="Cy")), APP, at=30)
    assert entity.links[APP].intents != ()
    late = said(APP, version=9, at=LIFE_MS + MAPPING.skew_ms + 1, name="Bo")
    assert told(merge(entity, late, MAPPING)).value_of("name") == "Bo"


def test_echo_with_our_intents_id_confirms_what_was_sent_in_the_peers_own_form() -> None:
    """The confirmation sets `sent` from the intent and `held` from the response."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="BO ")), APP)
    intent = entity.links[APP].intents[0]
    settled = settle_intent(entity, said(APP, version=2, at=20, origin=intent.id, name="bo"))
    shadow = settled.links[APP].shadow["name"]
    assert (shadow.sent, shadow.held, shadow.seen_at) == ("BO ", "bo", intent.seen_at)
    assert settled.links[APP].intents == ()


def test_confirmation_sets_the_truth_of_the_intents_version_not_of_now() -> None:
    """A truth that moved while the write was under way is still due afterwards."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    intent = entity.links[APP].intents[0]
    entity = after(entity, said(AUTH, version=3, at=20, name="Cy"))
    entity = after(entity, said(APP, Op.SEEN, version=2, at=30, origin=intent.id, name="Bo"))
    assert entity.value_of("name") == "Cy"
    assert entity.links[APP].shadow["name"].sent == "Bo"
    assert need_of(entity, APP, MAPPING) is not None


def test_other_fields_of_a_confirmation_are_observations() -> None:
    """What the response shows beside our own fields is an edit that nobody reported."""
    entity = announced(after(in_step(picture="p1"), said(AUTH, version=2, at=10, name="Bo")), APP)
    intent = entity.links[APP].intents[0]
    outcome = merge(entity, said(APP, Op.SEEN, version=2, at=20, origin=intent.id, name="Bo", picture="p2"), MAPPING)
    assert outcome.changed == ("picture",)


def test_confirmation_may_come_from_target_and_outbox_in_any_order() -> None:
    """The row of our own write and the Target's answer lead to the same entity, whichever comes first."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="BO")), APP)
    intent = entity.links[APP].intents[0]
    row = said(APP, version=2, at=20, origin=intent.id, name="bo")
    answer = said(APP, Op.SEEN, version=2, at=20, origin=intent.id, name="bo")
    one, other = after(entity, row, answer), after(entity, answer, row)
    assert msgspec.structs.replace(one, rev=0) == msgspec.structs.replace(other, rev=0)
    assert need_of(one, APP, MAPPING) is None


def test_read_is_repeated_while_an_intent_is_open() -> None:
    """A look cannot tell our own effect in the peer's form from a user's edit."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    for look in (
        said(APP, Op.SEEN, version=2, at=20, rev=entity.links[APP].rev, name="bo"),
        said(APP, Op.SEEN, at=20, rev=entity.links[APP].rev, name="bo"),
    ):
        assert merge(entity, look, MAPPING).verdict is Verdict.REREAD


def test_read_during_which_the_shadow_moved_is_repeated() -> None:
    """What was seen before another word was merged may be older than that word."""
    entity = in_step()
    rev = entity.links[APP].rev
    moved = after(entity, said(APP, version=2, at=10, name="Bo"))
    assert merge(moved, said(APP, Op.SEEN, at=20, rev=rev, name="Ada"), MAPPING).verdict is Verdict.REREAD
    assert merge(entity, said(APP, Op.SEEN, at=20, rev=rev, name="Ada"), MAPPING).verdict is Verdict.ECHO


def test_read_begun_before_the_identity_was_known_is_repeated() -> None:
    """A look without a revision cannot be older than nothing, but than everything else."""
    look = said(APP, Op.SEEN, at=20, rev=None, name="Ada")
    assert merge(in_step(), look, MAPPING).verdict is Verdict.REREAD
    assert merge(new(), look, MAPPING).verdict is Verdict.APPLIED


def test_intent_of_a_lost_epoch_stays_open_until_a_read_after_its_end_settles_it() -> None:
    """No event closes it; the first look made when no request can be under way does."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    heard = after(entity, said(APP, version=2, at=20, picture="p2"))
    assert heard.links[APP].intents != ()
    looked = after(heard, said(APP, Op.SEEN, version=3, at=LIFE_MS + 1, name="Bo", picture="p2"))
    assert looked.links[APP].intents == ()
    assert need_of(looked, APP, MAPPING) is None


# --- 2. diff ------------------------------------------------------------------------------------------


def test_observation_equal_to_held_is_an_echo() -> None:
    """Nothing differs from what the peer is known to hold: nothing happens, whoever wrote it."""
    outcome = merge(in_step(), said(APP, version=2, at=10, name="Ada", email="a@x.io"), MAPPING)
    assert (outcome.verdict, outcome.changed, outcome.event_type) == (Verdict.ECHO, (), None)


def test_own_form_of_a_peer_is_an_echo_for_ever() -> None:
    """A peer that rewrites what it is given never makes its form the truth (facts §6.16)."""
    entity = written(after(in_step(), said(AUTH, version=2, at=10, name="ÉVA ")), APP, name="éva")
    heard = after(entity, said(APP, version=3, at=20, name="éva", picture="p"), said(APP, version=4, at=30, name="éva"))
    assert heard.value_of("name") == "ÉVA "
    assert need_of(heard, APP, MAPPING) is None


def test_edit_back_to_an_old_value_is_an_edit() -> None:
    """A→B→A is two edits, not an echo of the first A (facts §6.15)."""
    entity = written(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    outcome = merge(entity, said(APP, version=3, at=20, name="Ada"), MAPPING)
    assert outcome.changed == ("name",)
    assert told(outcome).value_of("name") == "Ada"


def test_edit_right_after_our_write_is_an_edit() -> None:
    """No window of time hides what a user does while our echo is still on its way (facts §6.15)."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    outcome = merge(entity, said(APP, version=3, at=11, name="Bobby"), MAPPING)
    assert told(outcome).value_of("name") == "Bobby"


def test_late_echo_does_not_undo_a_newer_edit() -> None:
    """Our echo arrives after the user's next edit: the edit stays, and the peer is read once more (facts §6.15)."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    intent = entity.links[APP].intents[0]
    entity = after(entity, said(APP, version=3, at=30, name="Ada"))
    late = merge(entity, said(APP, Op.SEEN, version=2, at=20, received=40, origin=intent.id, name="Bo"), MAPPING)
    assert late.verdict is Verdict.REREAD
    look = said(APP, Op.SEEN, version=3, at=30, received=50, name="Ada", email="a@x.io")
    assert after(told(late), look).value_of("name") == "Ada"


def test_missing_null_and_empty_are_three_things() -> None:
    """A field that is not spoken of stays; null and the empty text are values of their own (facts §6.11)."""
    entity = in_step(picture="p1")
    assert truth(after(entity, said(APP, version=2, at=10, name="Bo")))["picture"] == "p1"
    cleared = after(entity, said(APP, version=2, at=10, picture=None))
    emptied = after(entity, said(APP, version=2, at=10, picture=""))
    assert (cleared.value_of("picture"), emptied.value_of("picture")) == (None, "")
    assert "picture" in cleared.fields
    assert merge(cleared, said(APP, version=3, at=20, picture=""), MAPPING).changed == ("picture",)


def test_old_row_does_not_carry_unchanged_fields_over_newer_ones() -> None:
    """A full row brings only what differs from what its peer is known to hold (MISSION S7)."""
    entity = after(in_step(picture="p1"), said(AUTH, version=2, at=10, picture="p2"))
    entity = after(entity, said(APP, version=2, at=20, name="Bo", picture="p1", email="a@x.io", email_verified=True))
    assert (entity.value_of("name"), entity.value_of("picture")) == ("Bo", "p2")


# --- 3. order -----------------------------------------------------------------------------------------


def test_lower_version_is_stale() -> None:
    """Only a version that cannot go back makes an observation stale (facts §1.5)."""
    entity = after(in_step(), said(APP, version=5, at=10, name="Bo"))
    outcome = merge(entity, said(APP, version=4, at=99, name="Cy"), MAPPING)
    assert (outcome.verdict, outcome.entity) == (Verdict.STALE, None)


@pytest.mark.parametrize("other", [{"capture": "hook"}, {"generation": "2"}])
def test_versions_of_different_spaces_do_not_compare(other: dict[str, str]) -> None:
    """A lower number of another capture or generation is not stale; the peer is read."""
    entity = after(in_step(), said(APP, version=5, at=10, name="Bo"))
    strange = said(APP, version=1, at=20, name="Cy", capture=other.get("capture", "trigger"))
    strange = (
        said(APP, version=1, at=20, name="Cy", generation=other["generation"]) if "generation" in other else strange
    )
    assert merge(entity, strange, MAPPING).verdict is Verdict.REREAD


def test_equal_version_with_another_body_is_read_again() -> None:
    """Two bodies under one version cannot be ordered."""
    entity = after(in_step(), said(APP, version=5, at=10, name="Bo"))
    assert merge(entity, said(APP, version=5, at=10, name="Cy"), MAPPING).verdict is Verdict.REREAD
    assert merge(entity, said(APP, version=5, at=10, name="Bo"), MAPPING).verdict is Verdict.ECHO


def test_event_without_version_is_a_doorbell() -> None:
    """Its body is looked up, not believed."""
    outcome = merge(in_step(), said(APP, at=10, name="Bo"), MAPPING)
    assert (outcome.verdict, outcome.entity) == (Verdict.REREAD, None)


def test_read_is_never_repeated_for_lack_of_a_version() -> None:
    """A peer without versions is believed when we look."""
    entity = in_step()
    look = said(APP, Op.SEEN, at=10, rev=entity.links[APP].rev, name="Bo")
    assert merge(entity, look, MAPPING).verdict is Verdict.APPLIED


def test_body_of_a_peer_that_cannot_be_read_is_ordered_by_event_time_then_arrival() -> None:
    """Its word is all there is: an earlier time is stale, an equal one is taken as it arrives."""
    mapping = viewed(MAPPING, APP, unreadable)
    entity = after(in_step(), said(APP, at=10, name="Bo"), mapping=mapping)
    assert entity.value_of("name") == "Bo"
    assert merge(entity, said(APP, at=9, name="Cy"), mapping).verdict is Verdict.STALE
    assert told(merge(entity, said(APP, at=10, name="Cy"), mapping)).value_of("name") == "Cy"


# --- 8. result ----------------------------------------------------------------------------------------


def test_change_moves_version_and_rev_and_names_what_changed() -> None:
    """The entity is one version on, and the event says which fields."""
    before = in_step()
    outcome = merge(before, said(APP, version=2, at=10, name="Bo", picture="p"), MAPPING)
    entity = told(outcome)
    assert (outcome.changed, outcome.event_type) == (("name", "picture"), "user.updated")
    assert (entity.version, entity.rev) == (before.version + 1, before.rev + 1)
    assert entity.updated_at == Instant(NOW + 10)


@pytest.mark.parametrize(
    ("was", "now", "name"), [(False, True, "banned"), (True, False, "unbanned"), (True, True, "updated")]
)
def test_ban_is_named_for_what_it_is(name: str, *, was: Value, now: Value) -> None:
    """One event for one observation, and a ban is its name (MISSION R10)."""
    entity = in_step(banned=was, ban_reason="spam")
    outcome = merge(entity, said(APP, version=2, at=10, banned=now, ban_reason="other"), MAPPING)
    assert outcome.event_type == f"user.{name}"


def test_same_observation_twice_changes_nothing() -> None:
    """Merge is idempotent, whatever the first time did."""
    for heard in (said(APP, version=2, at=10, name="Bo"), said(APP, version=2, at=10, email="evil@x.io")):
        entity = after(in_step(), heard)
        again = merge(entity, heard, MAPPING)
        assert (again.entity, again.changed, again.conflicts) == (None, (), ())
