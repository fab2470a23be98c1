"""Who decides: sentence by sentence of DESIGN §4.4 and §4.5."""

import msgspec
import pytest

from idsync.model.entity import Entity
from idsync.model.event import Op, Verdict
from idsync.model.mapping import FieldRule
from idsync.policy.dispatch import need_of
from idsync.policy.merge import merge
from tests.unit.policy.words import (
    APP,
    AUTH,
    CMS,
    FILL,
    MANUAL,
    MAPPING,
    NOW,
    after,
    in_step,
    new,
    owned_by,
    ruled,
    said,
    told,
    truth,
    written,
)

# --- 4. concurrent? -----------------------------------------------------------------------------------


def test_change_by_a_peer_that_had_seen_the_truth_is_taken_whatever_its_clock_says() -> None:
    """No clock is asked; the stamp is later than the field's all the same."""
    entity = in_step()
    before = entity.fields["name"].stamp.at
    changed = after(entity, said(APP, version=2, at=-86_400_000, received=10, name="Bo"))
    assert changed.value_of("name") == "Bo"
    assert changed.fields["name"].stamp.at == before + 1


def test_stamp_is_later_than_the_truth_that_came_back_to_what_the_peer_holds() -> None:
    """A→B→A elsewhere, never written to this peer: its later edit is plain, its earlier one is the loser of a race."""
    entity = after(in_step(), said(AUTH, version=2, at=100, name="Bo"), said(AUTH, version=3, at=300, name="Ada"))
    later = merge(entity, said(APP, version=2, at=310, name="Cy"), MAPPING)
    assert (later.changed, later.conflicts) == (("name",), ())
    earlier = merge(entity, said(APP, version=2, at=290, received=400, name="Cy"), MAPPING)
    assert earlier.changed == ()
    assert [(one.refused, one.kept) for one in earlier.conflicts] == [("Cy", "Ada")]


def test_edit_is_later_than_what_its_peer_had_seen_whatever_its_clock_says() -> None:
    """Two slow clocks after the same truth: neither edit is older than it, and the order of peers decides."""
    entity = after(in_step(), said(AUTH, version=2, at=100, name="Bo"))
    for peer in (APP, CMS):
        entity = written(entity, peer, at=200)
    slow = [said(peer, version=9, at=-9_999, received=300, name=name) for peer, name in ((CMS, "Di"), (APP, "Cy"))]
    assert truth(after(entity, *slow))["name"] == "Cy"
    assert truth(after(entity, *reversed(slow)))["name"] == "Cy"


def test_owner_rules_hold_even_where_the_peer_had_seen_the_truth() -> None:
    """Having seen it gives nobody the right to change it."""
    outcome = merge(in_step(), said(APP, version=2, at=10, roles=["admin"]), MAPPING)
    assert outcome.changed == ()
    assert told(outcome).value_of("roles") == []


def test_loser_of_a_conflict_is_logged_with_both_values() -> None:
    """Whoever loses, both values and both peers are kept (MISSION R15)."""
    entity = after(in_step(), said(AUTH, version=2, at=20, name="Bo"))
    (lost,) = merge(entity, said(APP, version=2, at=10, name="Cy"), MAPPING).conflicts
    assert (lost.peer, lost.refused, lost.kept_peer, lost.kept, lost.rule) == (APP, "Cy", AUTH, "Bo", "newest")
    (lost,) = merge(entity, said(APP, version=2, at=30, name="Cy"), MAPPING).conflicts
    assert (lost.peer, lost.refused, lost.kept_peer, lost.kept) == (AUTH, "Bo", APP, "Cy")


def test_change_on_one_side_only_is_no_conflict() -> None:
    """A conflict is logged if and only if both sides changed."""
    assert merge(in_step(), said(APP, version=2, at=10, name="Bo"), MAPPING).conflicts == ()
    agreed = after(in_step(), said(AUTH, version=2, at=10, name="Bo"))
    assert merge(agreed, said(APP, version=2, at=20, name="Bo"), MAPPING).conflicts == ()


# --- 5. authority -------------------------------------------------------------------------------------


def test_edit_of_an_owned_field_by_another_is_recorded_and_put_back() -> None:
    """It is logged, not taken, and its peer is due the truth again (MISSION R14)."""
    before = in_step()
    outcome = merge(before, said(APP, version=2, at=99, email="evil@x.io"), MAPPING)
    entity = told(outcome)
    assert (outcome.verdict, entity.value_of("email")) == (Verdict.CONFLICT, "a@x.io")
    assert outcome.reason == "email"
    assert entity.version > before.version, "a doorbell must not be taken for one that is settled already"
    need = need_of(entity, APP, MAPPING)
    assert need is not None
    assert getattr(need, "fields", {}) == {"email": "a@x.io"}


def test_later_stamp_wins_under_newest() -> None:
    """Two edits that did not know of each other: the later one is the truth, in whatever order they arrive."""
    early, late = said(AUTH, version=2, at=10, name="Bo"), said(APP, version=2, at=20, name="Cy")
    assert truth(after(in_step(), early, late))["name"] == "Cy"
    assert truth(after(in_step(), late, early))["name"] == "Cy"


def test_equal_stamps_are_decided_by_precedence_then_event_id() -> None:
    """A total order: both orders of arrival end in the same value, and nothing is swapped (facts §6.14)."""
    one, other = said(AUTH, version=2, at=10, name="Bo"), said(APP, version=2, at=10, name="Cy")
    assert truth(after(in_step(), one, other))["name"] == "Bo"
    assert truth(after(in_step(), other, one))["name"] == "Bo"


def test_stamp_from_the_future_is_cut_to_what_the_skew_allows() -> None:
    """A clock that runs ahead by an hour wins for seconds, not for an hour; it is cut from above only."""
    ahead = after(in_step(), said(APP, version=2, at=3_600_000, received=0, name="Cy"))
    assert ahead.fields["name"].stamp.at == NOW + MAPPING.skew_ms
    assert truth(after(ahead, said(CMS, version=2, at=MAPPING.skew_ms + 1, name="Bo")))["name"] == "Bo"


def test_filled_field_is_not_filled_again() -> None:
    """`fill` takes a value only while the truth is empty."""
    mapping = ruled(picture=FILL)
    filled = after(in_step(mapping, picture=None), said(APP, version=2, at=10, picture="p1"), mapping=mapping)
    assert filled.value_of("picture") == "p1"
    assert after(filled, said(CMS, version=2, at=20, picture="p2"), mapping=mapping).value_of("picture") == "p1"


def _held() -> Entity:
    entity = after(in_step(MAPPING_MANUAL), said(AUTH, version=2, at=10, name="Bo"), mapping=MAPPING_MANUAL)
    return after(entity, said(APP, version=2, at=20, name="Cy"), mapping=MAPPING_MANUAL)


MAPPING_MANUAL = ruled(name=MANUAL)


def test_manual_holds_the_field_with_every_sides_word() -> None:
    """Two edits that did not know of each other wait for an operator, both kept."""
    held = _held()
    assert held.value_of("name") == "Bo"
    assert {peer: claim["name"].value for peer, claim in held.holds["name"].claims.items()} == {AUTH: "Bo", APP: "Cy"}


def test_held_field_is_written_to_no_peer_and_other_fields_flow() -> None:
    """Nobody is told of the held one; everything else goes on."""
    held = after(_held(), said(AUTH, version=3, at=30, picture="p9"), mapping=MAPPING_MANUAL)
    for peer in (APP, CMS):
        assert getattr(need_of(held, peer, MAPPING_MANUAL), "fields", None) == {"picture": "p9"}


def test_later_word_on_a_held_field_waits_too() -> None:
    """It joins the claims; the truth stands still."""
    held = after(_held(), said(CMS, version=2, at=40, name="Di"), mapping=MAPPING_MANUAL)
    assert held.value_of("name") == "Bo"
    assert held.holds["name"].claims[CMS]["name"].value == "Di"


def test_held_field_does_not_move_even_for_the_peer_whose_value_stands() -> None:
    """It had seen the truth, for the truth is its own; it waits all the same."""
    held = after(_held(), said(AUTH, version=3, at=40, name="Bobby"), mapping=MAPPING_MANUAL)
    assert held.value_of("name") == "Bo"
    assert held.holds["name"].claims[AUTH]["name"].value == "Bobby"


@pytest.mark.parametrize(
    ("known", "heard", "taken"),
    [("", "Cy", True), ("Bo", "", False), ("Bo", "Cy", False), ("Bo", "Bo", False)],
)
def test_unknown_shadow_goes_to_the_fuller_then_to_the_first_peer(known: str, heard: str, *, taken: bool) -> None:
    """At first contact nobody knows who changed what."""
    entity = after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", name=known))
    outcome = merge(entity, said(APP, Op.SEEN, version=1, at=99, name=heard), MAPPING)
    assert (told(outcome).value_of("name") == heard) is (taken or known == heard)


def test_unknown_shadow_goes_to_the_owner_first() -> None:
    """The owner's word counts even when others spoke before, however full theirs is."""
    mapping = ruled(name=owned_by(AUTH))
    entity = after(new(), said(APP, Op.CREATED, version=1, name="Cy"), mapping=mapping)
    assert after(entity, said(AUTH, Op.SEEN, version=1, at=-9, name="Bo"), mapping=mapping).value_of("name") == "Bo"


def test_coupled_fields_come_from_one_writer() -> None:
    """An e-mail and its verification move as one: no pair is ever built of two writers' halves."""
    entity = after(in_step(), said(AUTH, version=2, at=10, email="b@x.io", email_verified=False))
    writers = {(entity.fields[name].peer, entity.fields[name].stamp) for name in ("email", "email_verified")}
    assert len(writers) == 1
    need = need_of(entity, APP, MAPPING)
    assert getattr(need, "fields", {}) == {"email": "b@x.io", "email_verified": False}


CARD = ruled(name=FieldRule(group="card"), picture=FieldRule(group="card"))


def test_edit_of_one_coupled_field_keeps_the_others_truth_not_the_peers_form_of_it() -> None:
    """A row shows both; what the peer has only rewritten is no part of the edit, and stays known for its form."""
    entity = written(
        after(in_step(CARD), said(AUTH, version=2, at=10, name="ADA"), mapping=CARD), APP, CARD, name="ada"
    )
    entity = after(entity, said(APP, version=9, at=20, name="ada", picture="p2"), mapping=CARD)
    assert (entity.value_of("name"), entity.value_of("picture")) == ("ADA", "p2")
    assert (entity.links[APP].shadow["name"].sent, entity.links[APP].shadow["name"].held) == ("ADA", "ada")


def test_word_on_one_coupled_field_alone_keeps_the_other() -> None:
    """What is not spoken of is what the peer is known to hold: missing is not null in a group either."""
    entity = after(in_step(CARD), said(APP, version=2, at=10, picture="p2"), mapping=CARD)
    assert (entity.value_of("name"), entity.value_of("picture")) == ("Ada", "p2")


def test_email_of_a_peer_that_speaks_of_no_verification_is_not_verified() -> None:
    """A changed e-mail does not inherit the verification of the old one."""
    mapping = ruled(**dict.fromkeys(("email", "email_verified"), msgspec.structs.replace(owned_by(APP), group="mail")))
    entity = after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", email_verified=True), mapping=mapping)
    entity = after(entity, said(APP, Op.CREATED, version=1, email="b@x.io"), mapping=mapping)
    assert (entity.value_of("email"), entity.value_of("email_verified")) == ("b@x.io", False)


def test_stranger_may_name_a_person_but_not_raise_him() -> None:
    """What a peer that does not own roles or verification brings with a new person gives no power."""
    born = after(new(), said(APP, Op.CREATED, version=1, email="a@x.io", email_verified=True, roles=["admin"]))
    assert (born.value_of("email"), born.value_of("email_verified"), born.value_of("roles")) == ("a@x.io", False, [])
