"""Faults of merge that were found by killing the service and reading the peers' journals."""

from typing import Any

import msgspec
import pytest

from idsync.model.entity import Action
from idsync.model.event import Op
from idsync.policy.dispatch import Need, Unknown, concerned_peers, need_of
from idsync.policy.merge import merge
from tests.unit.policy.words import APP, AUTH, CMS, MAPPING, after, announced, in_step, new, said, viewed, written


def test_echo_of_a_create_takes_back_no_ban_set_meanwhile() -> None:
    """The columns that a peer fills by itself, all empty, are no word on the ban that they are coupled to."""
    entity = after(new(), said(APP, Op.CREATED, version=1, email="a@x.io", name="Ada", banned=False))
    entity = announced(entity, AUTH)
    create = entity.link_at(AUTH).intents[-1]
    entity = after(entity, said(APP, version=2, at=10, email="a@x.io", name="Ada", banned=True))
    echo = said(AUTH, Op.CREATED, version=1, at=20, origin=create.id, banned=False, ban_reason=None, name="Ada")
    entity = after(entity, echo)
    assert entity.value_of("banned") is True


def test_row_that_replaces_itself_brings_back_nobody_whom_the_owner_deleted() -> None:
    """`INSERT OR REPLACE` of a row shows as a create, and is an edit: no delete of that row was ever seen."""
    entity = after(in_step(), said(AUTH, Op.DELETED, version=9, at=10))
    entity = after(entity, said(APP, Op.CREATED, version=9, at=20, email="a@x.io", email_verified=True, name="Saved"))
    assert entity.deleted is not None
    assert concerned_peers(entity, MAPPING) == (APP, CMS)


def test_edit_that_equals_a_write_that_was_lost_is_an_edit_all_the_same() -> None:
    """Where the peer's capture names our writes, what has no name is somebody's word: an old intent cannot claim it."""
    entity = after(new(), said(APP, Op.CREATED, version=1, email="a@x.io", name="Ada", banned=False))
    entity = announced(announced(entity, AUTH, epoch=1), AUTH, epoch=2)
    create = entity.link_at(AUTH).intents[-1]
    made = said(AUTH, Op.CREATED, version=1, at=1, origin=create.id, email="a@x.io", name="Ada", banned=False)
    entity = after(entity, made, said(APP, version=2, at=2, email="a@x.io", name="Ada", banned=True))
    entity = written(entity, AUTH, at=3)
    lifted = said(AUTH, version=9, at=4, email="a@x.io", name="Ada", banned=False)
    entity = after(entity, msgspec.structs.replace(lifted, names_writer=True))
    assert entity.value_of("banned") is False


def test_second_life_is_not_taken_for_the_echo_of_a_write_to_the_first() -> None:
    """A create that was announced twice leaves an intent open; what it said tells nothing of the next life's fields."""
    entity = after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", email_verified=True, name="Ada"))
    entity = announced(announced(entity, APP, epoch=1), APP, epoch=2)
    create = entity.link_at(APP).intents[-1]
    made = said(APP, Op.CREATED, version=1, at=1, origin=create.id, email="a@x.io", email_verified=True, name="Ada")
    entity = after(entity, made, said(AUTH, Op.DELETED, version=2, at=2), said(APP, Op.DELETED, version=2, at=3))
    entity = after(entity, said(APP, Op.CREATED, version=3, at=4, email="a@x.io", email_verified=True, name="Ada"))
    assert entity.deleted is None
    assert (entity.value_of("email"), entity.value_of("name")) == ("a@x.io", "Ada")


def test_own_create_that_lands_after_an_unlink_says_what_we_said_then() -> None:
    """The app deleted its row, and a request of a dead worker makes it again: old values that are nobody's edit."""
    entity = after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", email_verified=True, name="Ada"))
    entity = announced(entity, APP, epoch=1)
    first = entity.link_at(APP).intents[-1]
    entity = announced(entity, APP, epoch=2)
    late = entity.link_at(APP).intents[-1]
    fields: dict[str, Any] = {"email": "a@x.io", "email_verified": True, "name": "Ada"}
    entity = after(
        entity,
        said(APP, Op.CREATED, version=1, at=1, origin=first.id, **fields),
        said(APP, Op.DELETED, version=2, at=2),
        said(AUTH, version=2, at=3, **fields | {"name": "Ada Lovelace"}),
        said(APP, Op.CREATED, version=3, at=4, origin=late.id, **fields),
    )
    assert entity.value_of("name") == "Ada Lovelace"
    assert entity.link_at(APP).is_live
    assert need_of(entity, APP, MAPPING) == Need(Action.UPDATE, {"name": "Ada Lovelace"}, fields)


def test_ban_that_is_older_than_its_lifting_stays_lifted_though_it_comes_later() -> None:
    """Both sides ban, one lifts it: the other's ban comes last, and equals nothing that anybody could compare."""
    entity = in_step(banned=False)
    held: dict[str, Any] = {name: one.held for name, one in entity.links[APP].shadow.items()}
    entity = after(entity, said(AUTH, version=2, at=10, banned=True), said(AUTH, version=3, at=30, banned=False))
    late = merge(entity, said(APP, version=2, at=20, banned=True), MAPPING)
    assert late.changed == ()
    assert [(one.refused, one.kept) for one in late.conflicts] == [(True, False)]
    assert late.entity is not None
    assert need_of(late.entity, APP, MAPPING) == Need(Action.UPDATE, {"banned": False}, held | {"banned": True})
    assert need_of(late.entity, CMS, MAPPING) == Unknown(("banned",))


def test_look_after_the_truth_came_back_makes_the_next_edit_a_later_one() -> None:
    """However slow the clock of its peer: what it held when nobody else had anything new to say it has seen."""
    entity = after(in_step(), said(AUTH, version=2, at=10, name="Bo"), said(AUTH, version=3, at=30, name="Ada"))
    assert need_of(entity, APP, MAPPING) == Unknown(("name",))
    seen = said(APP, Op.SEEN, version=1, at=40, name="Ada")
    stale = msgspec.structs.replace(seen, truth=(entity.id, entity.version - 1))
    assert need_of(after(entity, stale), APP, MAPPING) == Unknown(("name",))
    looked = after(entity, msgspec.structs.replace(seen, truth=(entity.id, entity.version)))
    assert need_of(looked, APP, MAPPING) is None
    assert after(looked, said(APP, version=2, at=-9_999, received=50, name="Cy")).value_of("name") == "Cy"


@pytest.mark.parametrize("first", [0, 1])
def test_lifting_that_two_said_is_as_new_as_the_later_of_them(first: int) -> None:
    """Whichever of the two comes in first: a ban from between them, set by one who knew only the earlier, stays off."""
    lifted = [said(APP, version=2, at=10, banned=False), said(AUTH, version=2, at=200, banned=False)]
    entity = after(in_step(banned=True), lifted[first], lifted[1 - first])
    late = merge(entity, said(APP, version=3, at=150, received=210, banned=True), MAPPING)
    assert late.changed == ()
    assert [(one.refused, one.kept) for one in late.conflicts] == [(True, False)]


def test_write_whose_answer_was_lost_is_not_made_again_over_an_edit_that_took_it_back() -> None:
    """The row looks as it did before: only the events that are still to come can tell that it was written since."""
    named = viewed(MAPPING, AUTH, lambda view: msgspec.structs.replace(view, names_writers=True))
    entity = after(in_step(banned=False), said(APP, version=2, at=10, banned=True))
    announced_once = announced(entity, AUTH, named)
    lost = announced_once.link_at(AUTH).intents[-1]
    assert isinstance(need_of(announced_once, AUTH, named), Unknown)
    seen = msgspec.structs.replace(said(AUTH, Op.SEEN, version=2, at=20, banned=False), names_writer=True)
    missed = after(announced_once, msgspec.structs.replace(seen, rev=announced_once.link_at(AUTH).rev), mapping=named)
    need = need_of(missed, AUTH, named)
    assert isinstance(need, Need)
    assert (need.action, need.fields) == (Action.UPDATE, {"banned": True})
    lifted = after(
        announced_once,
        said(AUTH, version=2, at=20, origin=lost.id, banned=True),
        said(AUTH, version=3, at=30, banned=False),
        mapping=named,
    )
    assert lifted.value_of("banned") is False
    assert need_of(lifted, AUTH, named) is None
