"""Faults of merge that were found by killing the service and reading the peers' journals."""

from idsync.model.event import Op
from idsync.policy.dispatch import concerned_peers
from tests.unit.policy.words import APP, AUTH, CMS, MAPPING, after, announced, in_step, new, said


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
