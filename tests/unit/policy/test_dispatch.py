"""Dispatch and what surrounds a write, sentence by sentence of DESIGN §5."""

import msgspec

from idsync.model.entity import Action, Intent, LinkState
from idsync.model.event import Op, Verdict
from idsync.model.mapping import PeerView
from idsync.model.values import ExternalId, Instant, Value
from idsync.policy.dispatch import (
    INTENTS_MAX,
    Need,
    Unknown,
    announce,
    chosen_id,
    concerned_peers,
    need_of,
    newest_stamp,
    withdraw,
)
from idsync.policy.merge import merge
from tests.unit.policy.words import (
    APP,
    AUTH,
    CMS,
    LIFE_MS,
    MAPPING,
    NOW,
    after,
    announced,
    in_step,
    new,
    said,
    told,
    viewed,
    written,
)

HELD: dict[str, Value] = {"email": "a@x.io", "email_verified": True, "name": "Ada", "picture": None, "roles": []}
"""What every peer holds once `in_step` has brought it there."""


def test_every_linked_peer_whose_sent_differs_is_concerned() -> None:
    """The source of a change has it already."""
    entity = after(in_step(), said(APP, version=2, at=10, name="Bo"))
    assert concerned_peers(entity, MAPPING) == (AUTH, CMS)
    assert concerned_peers(in_step(), MAPPING) == ()


def test_source_is_concerned_where_its_word_was_not_taken() -> None:
    """A peer that does not own a field gets the truth back, in its own form too."""
    entity = after(in_step(), said(APP, version=2, at=10, email="evil@x.io"))
    assert concerned_peers(entity, MAPPING) == (APP,)
    assert concerned_peers(written(entity, APP, email="A@X.IO"), MAPPING) == ()


def test_peer_that_has_the_identity_not_yet_is_due_a_create() -> None:
    """With whatever says something; nothing is created to say nothing."""
    entity = after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io", name="", picture=None))
    assert need_of(entity, APP, MAPPING) == Need(Action.CREATE, {"email": "a@x.io"})
    empty = after(new(), said(AUTH, Op.CREATED, version=1, name=""))
    assert need_of(empty, APP, MAPPING) is None


def test_only_what_differs_is_written_and_only_where_it_may_be() -> None:
    """A write carries changed fields that the peer has, and no others (MISSION R19)."""

    def nameless(view: PeerView) -> PeerView:
        return msgspec.structs.replace(view, writes=view.writes - {"name"})

    entity = after(in_step(), said(AUTH, version=2, at=10, name="Bo", picture="p1"))
    assert need_of(entity, APP, MAPPING) == Need(Action.UPDATE, {"name": "Bo", "picture": "p1"}, HELD)
    need = need_of(entity, APP, viewed(MAPPING, APP, nameless))
    assert getattr(need, "fields", {}) == {"picture": "p1"}


def test_write_expects_all_that_is_known_though_it_carries_what_changed() -> None:
    """Else it could mix two writers' words, and its answer show edits without their time (decision 0009)."""
    entity = after(in_step(), said(AUTH, version=2, at=10, email="b@x.io", email_verified=True))
    assert need_of(entity, APP, MAPPING) == Need(Action.UPDATE, {"email": "b@x.io"}, HELD)


def test_field_without_a_shadow_is_unknown_and_read_first() -> None:
    """Nothing is written over what nobody has seen (DESIGN §1.3)."""
    entity = after(in_step(), said(AUTH, version=2, at=10, ban_reason="spam"))
    assert need_of(entity, APP, MAPPING) == Unknown(("ban_reason",))


def test_field_that_a_look_does_not_show_is_not_there() -> None:
    """A look is whole: it never leaves a field unknown, or we would look for ever."""
    entity = after(in_step(), said(AUTH, version=2, at=10, ban_reason="spam"))
    entity = after(entity, said(APP, Op.SEEN, version=1, at=20, name="Ada"))
    need = need_of(entity, APP, MAPPING)
    assert need == Need(Action.UPDATE, {"ban_reason": "spam"}, {**HELD, "banned": None, "ban_reason": None})


def test_field_that_can_be_written_but_never_read_is_written_once() -> None:
    """Its shadow is what we sent."""

    def blind(view: PeerView) -> PeerView:
        return msgspec.structs.replace(view, reads=view.reads - {"ban_reason"})

    mapping = viewed(MAPPING, APP, blind)
    entity = after(in_step(mapping), said(AUTH, version=2, at=10, ban_reason="spam"), mapping=mapping)
    assert need_of(entity, APP, mapping) == Need(Action.UPDATE, {"ban_reason": "spam"}, HELD)
    assert need_of(written(entity, APP, mapping), APP, mapping) is None


def test_peer_that_takes_nothing_is_never_concerned() -> None:
    """A Source alone, or a peer that this kind does not sync."""

    def deaf(view: PeerView) -> PeerView:
        return msgspec.structs.replace(view, writes=frozenset())

    entity = after(in_step(), said(AUTH, version=2, at=10, name="Bo"))
    assert need_of(entity, APP, viewed(MAPPING, APP, deaf)) is None
    assert need_of(entity, CMS, msgspec.structs.replace(MAPPING, peers={AUTH: MAPPING.peers[AUTH]})) is None


def test_intent_is_on_the_link_before_anything_leaves() -> None:
    """Announcing moves both revisions: a read across it is repeated, a commit beside it is redone."""
    entity = after(in_step(), said(AUTH, version=2, at=10, name="Bo"))
    opened = announced(entity, APP)
    assert opened.links[APP].intents[-1].fields == {"name": "Bo"}
    assert (opened.rev, opened.links[APP].rev) == (entity.rev + 1, entity.links[APP].rev + 1)


def test_only_so_many_intents_stay_open() -> None:
    """The oldest of many lost epochs say nothing new."""
    entity = after(in_step(), said(AUTH, version=2, at=10, name="Bo"))
    for epoch in range(INTENTS_MAX + 3):
        entity = announced(entity, APP, epoch=epoch)
    assert [one.epoch for one in entity.links[APP].intents] == list(range(3, INTENTS_MAX + 3))


def test_intent_of_a_write_that_never_happened_is_withdrawn() -> None:
    """The peer refused, or held something else: the intent must not swallow a later edit to the same value."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    closed = withdraw(entity, APP, entity.links[APP].intents[-1].id)
    assert closed.links[APP].intents == ()
    assert closed.rev == entity.rev + 1
    assert withdraw(closed, APP, "e1:1:unknown") is closed


def test_what_a_look_found_instead_is_merged_before_anything_is_planned() -> None:
    """A diverged peer's image is an edit, once its own intent is withdrawn (MISSION R19)."""
    entity = announced(after(in_step(), said(AUTH, version=2, at=10, name="Bo")), APP)
    found = said(APP, Op.SEEN, version=2, at=20, name="Cy", picture="p2")
    assert merge(entity, found, MAPPING).verdict is Verdict.REREAD
    withdrawn = withdraw(entity, APP, entity.links[APP].intents[-1].id)
    unversioned = msgspec.structs.replace(found, version=None, rev=withdrawn.links[APP].rev)
    for look in (found, unversioned):
        assert told(merge(withdrawn, look, MAPPING)).value_of("name") == "Cy"


def test_second_create_asks_for_the_id_that_the_first_asked_for() -> None:
    """A crash between create and answer never makes a second identity (MISSION R20)."""
    entity = after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io"))
    assert chosen_id(entity, APP) is None
    intent = _create(ExternalId("app-9"))
    opened = announce(entity, APP, intent)
    assert chosen_id(opened, APP) == "app-9"
    assert opened.links[APP].state is LinkState.PENDING
    assert chosen_id(in_step(), APP) is None


def test_second_create_without_an_id_says_what_the_first_said() -> None:
    """Only its own fields can tell whether it was carried out: changes since are written when that is known."""
    entity = announce(after(new(), said(AUTH, Op.CREATED, version=1, email="a@x.io")), APP, _create(None))
    entity = after(entity, said(AUTH, version=2, at=10, email="b@x.io"))
    assert need_of(entity, APP, MAPPING) == Need(Action.CREATE, {"email": "a@x.io"})


def _create(external_id: ExternalId | None) -> Intent:
    return Intent(
        id="e1:1:x",
        action=Action.CREATE,
        epoch=1,
        version=1,
        fields={"email": "a@x.io"},
        external_id=external_id,
        seen_at=NOW,
        expires_at=Instant(NOW + LIFE_MS),
    )


def test_newest_stamp_is_what_a_peer_will_have_seen() -> None:
    """Of the fields that are written, and of no others."""
    entity = after(in_step(), said(AUTH, version=2, at=500, name="Bo"))
    assert newest_stamp(entity, {"name": "Bo", "email": "a@x.io"}) == NOW + 500
    assert newest_stamp(entity, {"email": "a@x.io"}) < NOW + 500
    assert newest_stamp(entity, {}) == -1
