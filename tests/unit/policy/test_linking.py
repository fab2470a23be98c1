"""Linking, sentence by sentence of DESIGN §4.7 and §5: whom an observation speaks of (MISSION R16, S11)."""

import msgspec
import pytest

from idsync.model.entity import Entity
from idsync.model.event import Observation, Op
from idsync.model.mapping import Mapping, Match, PeerView
from idsync.model.values import EntityId, Value
from idsync.policy.dispatch import announce, need_of
from idsync.policy.linking import Known, Linked, New, Resolution, Undecided, resolve
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
    viewed,
)

E1, E2 = EntityId("e1"), EntityId("e2")


def at_auth(*, is_verified: bool = True, name: str = "e1") -> Entity:
    """Make an entity that only auth has, and that app is due."""
    return after(new(name), said(AUTH, Op.CREATED, version=1, email="a@x.io", email_verified=is_verified, name="Ada"))


def found(observation: Observation, *entities: Entity, mapping: Mapping = MAPPING) -> Resolution:
    """Resolve against a directory of these entities."""
    known = Known(links={}, emails={}, entities={one.id: one for one in entities})
    for one in entities:
        for peer, link in one.links.items():
            for external_id in (link.external_id, *link.former):
                if external_id is not None:
                    known.links[peer, one.kind, external_id] = one.id
            for intent in link.intents:
                known.creates[peer, one.kind, str(intent.fields.get("email"))] = one.id
        email = one.value_of("email")
        if one.deleted is None and isinstance(email, str):
            known.emails.setdefault((one.kind, email), one.id)
    return resolve(observation, known, mapping)


def sign_up(*, is_verified: bool = True, at: int = 0, name: str | None = None) -> Observation:
    """Make the word of somebody new at app, with the e-mail of e1."""
    fields: dict[str, Value] = {"email": "a@x.io", "email_verified": is_verified, "name": name}
    return msgspec.structs.replace(said(APP, Op.CREATED, version=7, at=at, id="app-9"), fields=fields)


def test_known_id_is_found_whatever_else_it_says() -> None:
    """The id comes first: nobody linked is ever linked anew by his e-mail."""
    other = msgspec.structs.replace(at_auth(), id=E2, links={})
    assert found(said(APP, version=2, email="b@x.io"), in_step(), other) == Linked(E1)


def test_dead_id_is_known_for_ever() -> None:
    """What was once linked leads to its entity, so that its tombstone is found."""
    grave = after(in_step(), said(AUTH, Op.DELETED, version=2))
    assert found(said(AUTH, Op.CREATED, version=1, email="a@x.io"), grave) == Linked(E1)


def test_email_verified_on_both_sides_links() -> None:
    """An existing e-mail updates instead of making a second person."""
    assert found(sign_up(), at_auth()) == Linked(E1)


@pytest.mark.parametrize(("there", "here"), [(False, True), (True, False), (False, False)])
def test_email_unverified_on_either_side_waits_for_a_decision(*, there: bool, here: bool) -> None:
    """Nobody takes over an account by knowing its e-mail (MISSION S11, facts §6.17)."""
    assert found(sign_up(is_verified=there), at_auth(is_verified=here)) == Undecided(
        "link_undecided", "email:user:a@x.io"
    )


def test_peer_may_be_declared_to_verify_always() -> None:
    """Where only operators set e-mails they count as verified."""

    def always(view: PeerView) -> PeerView:
        return msgspec.structs.replace(view, is_email_verified=True)

    mapping = viewed(MAPPING, APP, always)
    assert found(sign_up(is_verified=False), at_auth(), mapping=mapping) == Linked(E1)
    assert isinstance(found(sign_up(), at_auth(is_verified=False), mapping=mapping), Undecided)


@pytest.mark.parametrize(
    ("match", "result"), [(Match.NEVER, New()), (Match.EMAIL_UNVERIFIED, Linked(E1))], ids=["never", "unverified"]
)
def test_operator_may_choose_to_link_without_proof_or_never(match: Match, result: Resolution) -> None:
    """Both are explicit choices of the configuration."""
    mapping = msgspec.structs.replace(MAPPING, match=match)
    assert found(sign_up(is_verified=False), at_auth(), mapping=mapping) == result


def test_linked_entity_is_never_linked_to_a_second_identity_of_the_peer() -> None:
    """An e-mail that came into use again is another person, or an operator's matter (facts §6.17)."""
    assert isinstance(found(sign_up(), in_step()), Undecided)


def test_new_id_comes_back_to_an_entity_that_was_unlinked() -> None:
    """A new peer id re-opens the link that a delete there has ended."""
    unlinked = after(in_step(), said(APP, Op.DELETED, version=2))
    assert found(sign_up(), unlinked) == Linked(E1)
    back = after(unlinked, sign_up())
    assert (back.links[APP].external_id, back.links[APP].former) == ("app-9", ("app-1",))


def test_tombstone_frees_its_email() -> None:
    """Whoever comes with it afterwards is somebody new."""
    grave = after(at_auth(), said(AUTH, Op.DELETED, version=2))
    assert found(sign_up(), grave) == New()


def test_swapped_emails_do_not_swap_people() -> None:
    """Two linked people who exchange their e-mails stay who they are: ids come first (facts §6.17)."""
    one, other = in_step(), after(new("e2"), said(AUTH, Op.CREATED, version=1, id="auth-2", email="b@x.io"))
    assert found(said(AUTH, version=2, email="b@x.io"), one, other) == Linked(E1)
    assert found(said(AUTH, version=2, id="auth-2", email="a@x.io"), one, other) == Linked(E2)


def test_unknown_identity_without_a_known_email_is_new() -> None:
    """Also where it has no e-mail at all."""
    for stranger in (said(APP, Op.CREATED, email="z@x.io"), said(APP, Op.CREATED), said(APP, Op.CREATED, email="")):
        assert found(stranger, at_auth()) == New()


def test_peer_that_may_bring_nobody_new_waits() -> None:
    """`create`: others' people park."""

    def barren(view: PeerView) -> PeerView:
        return msgspec.structs.replace(view, may_create=False)

    mapping = viewed(MAPPING, APP, barren)
    assert found(sign_up(), mapping=mapping) == Undecided("create_denied", "id:app:user:app-9")
    assert found(sign_up(), at_auth(), mapping=mapping) == Linked(E1)


def test_end_of_somebody_unknown_is_new_to_be_buried() -> None:
    """It becomes a tombstone, whatever the peer may create."""
    assert found(said(APP, Op.DELETED, id="app-9"), at_auth()) == New()


# --- the link column ----------------------------------------------------------------------------------


def test_link_column_names_the_id_at_the_first_peer() -> None:
    """It links without any e-mail; who is not known there yet is waited for."""
    assert found(said(APP, Op.CREATED, id="app-9", link="auth-1"), at_auth()) == Linked(E1)
    assert found(said(APP, Op.CREATED, id="app-9", link="auth-2"), at_auth()) == Undecided(
        "link_unknown", "id:auth:user:auth-2"
    )


def test_link_column_makes_no_second_link() -> None:
    """Two rows that name the same person are an operator's matter."""
    assert found(said(APP, Op.CREATED, id="app-9", link="auth-1"), in_step()) == Undecided(
        "link_duplicate", "id:app:user:app-1"
    )


def test_link_column_that_names_somebody_dead_waits() -> None:
    """The row is neither a new person nor silently forgotten."""
    grave = after(at_auth(), said(AUTH, Op.DELETED, version=2))
    assert found(said(APP, Op.CREATED, id="app-9", link="auth-1"), grave) == Undecided("link_dead", "id:app:user:app-9")


# --- our own creates ----------------------------------------------------------------------------------


def creating(entity: Entity, external_id: str | None = None, *, epoch: int = 1) -> Entity:
    """Announce the create at app, asking for an id or not."""
    opened = announced(entity, APP, epoch=epoch)
    intent = msgspec.structs.replace(opened.links[APP].intents[-1], external_id=external_id)
    assert need_of(entity, APP, MAPPING) is not None
    return announce(entity, APP, intent)


def test_echo_that_carries_our_intents_id_is_ours() -> None:
    """Whatever its e-mail, and whether or not anybody verified it."""
    entity = creating(at_auth(is_verified=False))
    create = entity.links[APP].intents[-1]
    assert found(said(APP, Op.CREATED, id="app-9", email="other@x.io", origin=create.id), entity) == Linked(E1)


def test_id_that_a_create_asked_for_is_ours_whatever_its_user_made_of_it_since() -> None:
    """The id is claimed when the create is announced."""
    entity = creating(at_auth(is_verified=False), "app-9")
    assert found(said(APP, version=8, id="app-9", email="other@x.io"), entity) == Linked(E1)


def test_create_without_an_id_is_known_by_time_and_equal_fields() -> None:
    """Both must fit: an account that somebody has prepared earlier is not ours, however alike (MISSION S11)."""
    entity = creating(at_auth(is_verified=False))
    assert found(sign_up(is_verified=False, name="Ada"), entity) == Linked(E1)
    for other in (sign_up(is_verified=False, name="Eve"), sign_up(is_verified=False, at=-600_000, name="Ada")):
        assert found(other, entity) == Undecided("link_undecided", "email:user:a@x.io")


def test_nobody_is_linked_by_email_while_a_create_is_under_way() -> None:
    """The proof would do, but then the create might make a second identity."""
    entity = creating(at_auth())
    assert isinstance(found(sign_up(name="Eve"), entity), Undecided)
    late = msgspec.structs.replace(sign_up(name="Eve"), received_at=NOW + LIFE_MS)
    assert found(late, entity) == Linked(E1)


def test_own_create_is_known_even_where_emails_never_link() -> None:
    """Its echo arrives before its answer: it is no stranger."""
    mapping = msgspec.structs.replace(MAPPING, match=Match.NEVER)
    entity = creating(at_auth())
    assert found(sign_up(name="Ada"), entity, mapping=mapping) == Linked(E1)
    assert isinstance(found(sign_up(name="ada"), entity, mapping=mapping), Undecided)


def test_own_create_of_somebody_dead_is_nobody_new() -> None:
    """It does not come back as a stranger with the same e-mail."""
    grave = after(creating(at_auth()), said(AUTH, Op.DELETED, version=2))
    assert found(sign_up(name="Ada"), grave) == Linked(E1)
    assert isinstance(found(sign_up(name="ada"), grave), Undecided)


def test_what_we_made_for_one_is_never_anothers() -> None:
    """An answer whose id another entity has by now is an operator's matter, not a merge of two people."""
    entity = creating(at_auth())
    other = after(new("e2"), said(APP, Op.CREATED, version=3, id="app-9", email="b@x.io"))
    answer = said(APP, Op.SEEN, version=3, id="app-9", origin=entity.links[APP].intents[-1].id)
    assert found(answer, entity, other) == Undecided("link_duplicate", "id:app:user:app-9")


def test_answer_that_comes_after_the_delete_claims_the_grave_of_nobody_known() -> None:
    """The peer's user was faster: his delete came first, of an id that meant nobody yet. Now it means somebody."""
    entity = creating(at_auth())
    grave = after(new("e2"), said(APP, Op.DELETED, version=4, id="app-9"))
    answer = said(APP, Op.SEEN, version=3, id="app-9", origin=entity.links[APP].intents[-1].id)
    assert found(answer, entity, grave) == Linked(E1)
    somebody = after(after(new("e2"), sign_up()), said(APP, Op.DELETED, version=9, id="app-9"))
    assert found(answer, entity, somebody) == Linked(E2)


def test_what_we_made_and_no_longer_expect_is_nobody_new() -> None:
    """Its entity has another identity there by now."""
    assert found(said(APP, Op.CREATED, id="app-9", origin="e1:1:gone"), in_step()) == Undecided(
        "link_duplicate", "id:app:user:app-9"
    )


def test_origin_that_names_nobody_of_ours_proves_nothing() -> None:
    """Anybody can write one; it is as if there were none."""
    assert found(said(APP, Op.CREATED, id="app-9", origin="e7:1:x", email="z@x.io"), at_auth()) == New()
