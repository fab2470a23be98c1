"""Existence, sentence by sentence of DESIGN §4.6: deletes, tombstones, and who may come back."""

import msgspec
import pytest

from idsync.model.entity import Action, Entity, LinkState
from idsync.model.event import Op, Verdict
from idsync.model.mapping import Mapping, Others
from idsync.model.values import ExternalId
from idsync.policy.dispatch import Need, concerned_peers, need_of
from idsync.policy.existence import forget
from idsync.policy.merge import merge
from tests.unit.policy.words import (
    APP,
    AUTH,
    CMS,
    LIFE_MS,
    MAPPING,
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


def ending(others: Others, *, is_owned: bool = True) -> Mapping:
    """Make the usual mapping with another meaning of a delete that is not the owner's, or without an owner."""
    return msgspec.structs.replace(MAPPING, others=others, lifecycle_owner=AUTH if is_owned else None)


def buried() -> Entity:
    """Make an entity that the owner deleted and that is gone everywhere."""
    entity = after(in_step(), said(AUTH, Op.DELETED, version=9, at=10))
    for peer in (APP, CMS):
        entity = written(entity, peer, at=20)
    assert all(link.state is LinkState.GONE for link in entity.links.values())
    return entity


# --- whose delete counts ------------------------------------------------------------------------------


def test_delete_by_the_owner_buries_the_entity_and_is_due_everywhere() -> None:
    """One tombstone, one event, and a removal for every peer that still has it."""
    outcome = merge(in_step(), said(AUTH, Op.DELETED, version=2, at=10), MAPPING)
    entity = told(outcome)
    assert (outcome.verdict, outcome.event_type) == (Verdict.APPLIED, "user.deleted")
    assert entity.deleted is not None
    assert concerned_peers(entity, MAPPING) == (APP, CMS)
    assert need_of(entity, APP, MAPPING) == Need(Action.REMOVE)


def test_edit_unseen_by_the_deleting_owner_is_logged_and_lost() -> None:
    """The delete wins, but what it cost is written down."""
    entity = after(in_step(), said(APP, version=2, at=10, name="Bo"))
    (lost,) = merge(entity, said(AUTH, Op.DELETED, version=2, at=5), MAPPING).conflicts
    assert (lost.rule, lost.peer, lost.refused, lost.kept) == ("lifecycle", APP, "Bo", None)


def test_edit_that_was_refused_is_no_unseen_edit() -> None:
    """A peer whose own word was not taken has seen everything: its delete costs nobody anything."""
    entity = after(in_step(), said(APP, version=2, at=10, roles=["admin"]))
    mapping = ending(Others.UNLINK, is_owned=False)
    assert merge(entity, said(APP, Op.DELETED, version=3, at=20), mapping).verdict is Verdict.APPLIED


def test_delete_elsewhere_unlinks_that_peer_only() -> None:
    """`unlink`: the identity lives on, and nothing is written to that peer any more."""
    entity = after(in_step(), said(APP, Op.DELETED, version=2, at=10))
    assert entity.deleted is None
    assert entity.links[APP].state is LinkState.UNLINKED
    moved = after(entity, said(AUTH, version=2, at=20, name="Bo"))
    assert concerned_peers(moved, MAPPING) == (CMS,)


def test_delete_elsewhere_may_be_restored() -> None:
    """`restore`: the peer is due a new identity; the dead id stays dead."""
    mapping = ending(Others.RESTORE)
    before = in_step()
    entity = after(before, said(APP, Op.DELETED, version=2, at=10), mapping=mapping)
    assert entity.version > before.version
    need = need_of(entity, APP, mapping)
    assert isinstance(need, Need)
    assert need.action is Action.CREATE
    assert entity.links[APP].former == ("app-1",)


def test_delete_elsewhere_may_count_for_all() -> None:
    """`propagate`: whoever deletes, deletes everywhere."""
    assert after(in_step(), said(CMS, Op.DELETED, version=2), mapping=ending(Others.PROPAGATE)).deleted is not None


def test_without_an_owner_a_delete_against_a_concurrent_edit_parks() -> None:
    """Nobody's word weighs more: an operator decides; without an edit in the way it counts."""
    mapping = ending(Others.UNLINK, is_owned=False)
    edited = after(in_step(), said(APP, version=2, at=10, name="Bo"))
    outcome = merge(edited, said(CMS, Op.DELETED, version=2, at=20), mapping)
    assert (outcome.verdict, outcome.reason) == (Verdict.PARKED, "delete_conflict")
    assert after(in_step(), said(CMS, Op.DELETED, version=2, at=20), mapping=mapping).deleted is not None


def test_second_delete_changes_nothing() -> None:
    """Neither the state of a link nor anything else moves when the same end is told again."""
    unlinked = after(in_step(), said(APP, Op.DELETED, version=2))
    for entity, peer in ((buried(), AUTH), (unlinked, APP)):
        again = merge(entity, said(peer, Op.ABSENT, at=99, rev=entity.links[peer].rev), MAPPING)
        assert (again.verdict, told(again).links[peer].state) == (Verdict.ECHO, entity.links[peer].state)


# --- who may come back --------------------------------------------------------------------------------


def test_late_update_does_not_resurrect() -> None:
    """Updates of the dead are stale, however new their numbers look (MISSION R12, facts §6.13)."""
    entity = after(in_step(), said(AUTH, Op.DELETED, version=9, at=10))
    for late in (said(AUTH, version=8, at=99, name="Bo"), said(APP, version=2, at=99, name="Bo")):
        outcome = merge(entity, late, MAPPING)
        assert (outcome.verdict, outcome.entity) == (Verdict.STALE, None)


def test_update_newer_than_the_delete_is_looked_up_not_believed() -> None:
    """It overtook a create, or it lies: only a look can tell."""
    assert merge(buried(), said(AUTH, version=10, at=99, name="Bo"), MAPPING).verdict is Verdict.REREAD
    blind = viewed(MAPPING, AUTH, unreadable)
    assert merge(buried(), said(AUTH, version=10, at=99, name="Bo"), blind).verdict is Verdict.STALE


@pytest.mark.parametrize("op", [Op.CREATED, Op.SEEN])
def test_create_with_a_higher_version_reopens_the_same_id(op: Op) -> None:
    """A real re-create is a new incarnation without anything of the old one; a look that finds it says the same."""
    outcome = merge(buried(), said(AUTH, op, version=10, at=99, email="b@x.io", name="Back"), MAPPING)
    entity = told(outcome)
    assert (outcome.event_type, entity.incarnation, entity.deleted) == ("user.created", 2, None)
    assert truth(entity) == {"email": "b@x.io", "name": "Back"}
    assert concerned_peers(entity, MAPPING) == (APP, CMS)


def test_peer_that_may_bring_nobody_new_cannot_bring_back_the_dead_either() -> None:
    """Its create waits for an operator, as a stranger's would."""
    mapping = viewed(MAPPING, APP, lambda view: msgspec.structs.replace(view, may_create=False))
    outcome = merge(buried(), said(APP, Op.CREATED, version=99, at=99, name="Back"), mapping)
    assert (outcome.verdict, outcome.reason) == (Verdict.PARKED, "create_denied")


def test_create_without_a_higher_version_does_not_reopen() -> None:
    """The create of the first life, told again or late, changes nothing."""
    for late in (said(AUTH, Op.CREATED, version=1, at=99), said(AUTH, Op.CREATED, version=9, at=99)):
        assert merge(buried(), late, MAPPING).verdict in {Verdict.STALE, Verdict.REREAD}
    blind = viewed(MAPPING, AUTH, unreadable)
    assert merge(buried(), said(AUTH, Op.CREATED, at=99, name="Bo"), blind).verdict is Verdict.STALE


def test_delete_of_the_unknown_leaves_a_tombstone_that_a_late_create_respects() -> None:
    """Out of order, the delete still wins (MISSION S10)."""
    grave = after(new(), said(AUTH, Op.DELETED, version=5, at=10))
    assert grave.deleted is not None
    assert merge(grave, said(AUTH, Op.CREATED, version=4, at=5, name="Ada"), MAPPING).verdict is Verdict.STALE
    blind = viewed(MAPPING, AUTH, unreadable)
    grave = after(new(), said(AUTH, Op.DELETED, at=10), mapping=blind)
    assert merge(grave, said(AUTH, Op.CREATED, at=5, name="Ada"), blind).verdict is Verdict.STALE


def test_new_life_takes_the_place_of_an_old_one_that_was_not_removed_yet() -> None:
    """What a peer still holds of the old life is written over and cleared, instead of made a second time."""
    entity = after(in_step(roles=["admin"], picture="p1"), said(AUTH, Op.DELETED, version=9, at=10))
    entity = written(entity, CMS, at=20)
    entity = after(entity, said(AUTH, Op.CREATED, version=10, at=30, email="a@x.io", email_verified=True, name="Back"))
    assert getattr(need_of(entity, APP, MAPPING), "fields", {}) == {"name": "Back", "roles": None, "picture": None}
    assert getattr(need_of(entity, CMS, MAPPING), "action", None) is Action.CREATE


def test_removal_that_lands_after_the_rebirth_is_ours_and_made_good() -> None:
    """Our own removal of the old life is no delete by the peer's users: the new life is created there again."""
    entity = announced(after(in_step(), said(AUTH, Op.DELETED, version=9, at=10)), APP, at=20)
    removal = entity.links[APP].intents[-1]
    entity = after(entity, said(AUTH, Op.CREATED, version=10, at=30, email="a@x.io", name="Back"))
    entity = after(entity, said(APP, Op.DELETED, version=2, at=25, received=40, origin=removal.id))
    assert entity.deleted is None
    assert getattr(need_of(entity, APP, MAPPING), "action", None) is Action.CREATE


def test_word_about_a_dead_id_does_not_end_the_living_one() -> None:
    """The late end of a former identity is not the end of its successor."""
    mapping = ending(Others.RESTORE)
    entity = after(in_step(), said(APP, Op.DELETED, version=2, at=10), mapping=mapping)
    entity = announced(entity, APP, mapping, at=20)
    create = entity.links[APP].intents[-1]
    entity = after(
        entity, said(APP, Op.SEEN, version=3, at=30, id="app-2", origin=create.id, name="Ada"), mapping=mapping
    )
    late = merge(entity, said(APP, Op.DELETED, version=2, at=10, received=99), mapping)
    assert (late.verdict, late.entity) == (Verdict.STALE, None)
    assert entity.links[APP].is_live


def test_versions_of_a_dead_id_are_not_held_against_its_successor() -> None:
    """The new identity's row may count from one again."""
    mapping = ending(Others.RESTORE)
    entity = after(in_step(), said(APP, Op.DELETED, version=50, at=10), mapping=mapping)
    entity = announced(entity, APP, mapping, at=20)
    create = entity.links[APP].intents[-1]
    answer = said(APP, Op.SEEN, version=1, at=30, id="app-2", origin=create.id, name="Ada")
    entity = after(entity, answer, said(APP, version=2, at=40, id="app-2", name="Bo"), mapping=mapping)
    assert entity.value_of("name") == "Bo"


def test_second_living_identity_of_one_peer_is_parked() -> None:
    """An entity is linked to one identity of a peer; another one waits for an operator."""
    entity = in_step()
    stray = said(APP, Op.SEEN, version=7, at=10, id="app-2", rev=entity.links[APP].rev, name="Ada")
    outcome = merge(entity, stray, MAPPING)
    assert (outcome.verdict, outcome.reason, outcome.entity) == (Verdict.PARKED, "link_duplicate", None)


def test_link_that_gave_its_dead_id_up_takes_a_new_one() -> None:
    """Once the peer has given the id to somebody else, neither it nor its version stands in the way of the next."""
    unlinked = after(in_step(), said(APP, Op.DELETED, version=50))
    freed = forget(unlinked, APP, ExternalId("app-1"))
    back = merge(freed, said(APP, Op.CREATED, version=1, id="app-2", email="a@x.io", name="Ada"), MAPPING)
    assert told(back).links[APP].external_id == "app-2"
    assert told(back).links[APP].is_live


def test_create_that_lands_after_the_burial_is_removed() -> None:
    """What our own create made of somebody deleted meanwhile is known for ours and taken away again."""
    entity = announced(after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", name="Ada")), APP)
    create = entity.links[APP].intents[-1]
    buried_first = after(entity, said(AUTH, Op.DELETED, version=2, at=10))
    for origin in (create.id, None):
        entity = after(buried_first, said(APP, Op.CREATED, version=1, at=20, origin=origin, name="Ada"))
        assert entity.version > buried_first.version
        assert need_of(entity, APP, MAPPING) == Need(Action.REMOVE)


def test_own_create_that_lands_on_a_dead_id_brings_nobody_back() -> None:
    """A request of a dead worker makes the very id again that its user has deleted: it is ours, so it is removed."""
    entity = announced(after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", name="Ada")), APP)
    create = entity.links[APP].intents[-1]
    entity = after(entity, said(APP, Op.CREATED, version=1, at=10, email="a@x.io", name="Ada"))
    entity = after(entity, said(APP, Op.DELETED, version=2, at=20), said(AUTH, Op.DELETED, version=2, at=30))
    entity = after(entity, said(APP, Op.CREATED, version=3, at=40, origin=create.id, email="a@x.io", name="Ada"))
    assert entity.deleted is not None
    assert need_of(entity, APP, MAPPING) == Need(Action.REMOVE)


def test_answer_of_a_create_does_not_revive_what_was_deleted_since() -> None:
    """The peer's user was faster than the answer: the identity is gone, and the link with it."""
    entity = announced(after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", name="Ada")), APP)
    create = entity.links[APP].intents[-1]
    claimed = msgspec.structs.replace(entity.links[APP], external_id=ExternalId("app-1"))
    entity = msgspec.structs.replace(entity, links={**entity.links, APP: claimed})
    entity = after(entity, said(APP, Op.DELETED, version=2, at=20))
    assert entity.links[APP].intents == (create,), "what it may still make must be known for ours"
    late = merge(entity, said(APP, Op.SEEN, version=1, at=10, received=30, origin=create.id, name="Ada"), MAPPING)
    assert told(late).links[APP].state is LinkState.UNLINKED


def test_event_times_of_a_dead_id_are_not_held_against_its_successor() -> None:
    """A peer without versions and without a Reader: the newcomer may have been made before the other was deleted."""
    mapping = viewed(MAPPING, APP, unreadable)
    entity = after(in_step(mapping), said(APP, Op.DELETED, at=500), mapping=mapping)
    entity = after(entity, said(APP, Op.CREATED, at=100, id="app-2", email="a@x.io", name="Ada"), mapping=mapping)
    assert entity.links[APP].external_id == "app-2"


def test_identity_that_is_not_there_yet_cannot_be_missing() -> None:
    """A look for the id that a create asked for finds nothing before it lands: nobody was deleted."""
    entity = after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", name="Ada"))
    entity = announced(entity, APP)
    link = msgspec.structs.replace(entity.links[APP], external_id="app-1")
    entity = msgspec.structs.replace(entity, links={**entity.links, APP: link})
    mapping = ending(Others.PROPAGATE)
    outcome = merge(entity, said(APP, Op.ABSENT, at=LIFE_MS + 1, rev=link.rev), mapping)
    assert (outcome.verdict, told(outcome).deleted, told(outcome).links[APP].intents) == (Verdict.ECHO, None, ())
    assert getattr(need_of(told(outcome), APP, mapping), "action", None) is Action.CREATE
