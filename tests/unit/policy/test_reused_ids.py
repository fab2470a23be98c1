"""A table without AUTOINCREMENT gives the id of a deleted row to the next one: it is somebody else's then."""

from idsync.model.entity import Action as Asked
from idsync.model.entity import Entity, Field, Intent, Link, LinkState, Stamp
from idsync.model.event import Observation, Op, Version
from idsync.model.mapping import Mapping, PeerView
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Value
from idsync.policy.existence import forget
from idsync.policy.linking import Known, Linked, New, resolve

APP = PeerName("app")
KEY = (APP, "user", ExternalId("1"))
VIEW = PeerView(reads=frozenset({"email"}), writes=frozenset({"email"}))
MAPPING = Mapping("user", {PeerName("auth"): VIEW, APP: VIEW})


def ada(state: LinkState) -> Entity:
    """Ada had the id 1 at the application."""
    return Entity(
        id=EntityId("ada"),
        kind="user",
        version=3,
        fields={"email": Field("ada@example.com", Stamp(Instant(1), 1, "x"), APP)},
        links={APP: Link(state=state, external_id=ExternalId("1"), version=Version("app", "g", 5))},
    )


def seen(op: Op, number: int, email: Value, origin: str | None = None) -> Observation:
    """What the application says of its id 1 now."""
    return Observation(
        peer=APP,
        kind="user",
        external_id=ExternalId("1"),
        op=op,
        fields={"email": email},
        version=Version("app", "g", number),
        event_at=Instant(9),
        received_at=Instant(9),
        event_id=f"g:{number}",
        origin=origin,
    )


def known(*entities: Entity) -> Known:
    """Ada holds the id as far as the directory knows."""
    return Known(links={KEY: EntityId("ada")}, emails={}, entities={one.id: one for one in entities})


def test_a_dead_id_that_comes_again_with_another_email_is_a_new_identity() -> None:
    """Eve is not linked to Ada's other accounts because she was given Ada's old number."""
    assert resolve(seen(Op.CREATED, 6, "eve@example.com"), known(ada(LinkState.UNLINKED)), MAPPING) == New()


def test_a_dead_id_that_comes_again_with_its_email_is_the_same_identity() -> None:
    """A real re-create comes back to where it was (R12)."""
    found = resolve(seen(Op.CREATED, 6, "ada@example.com"), known(ada(LinkState.GONE)), MAPPING)
    assert found == Linked(EntityId("ada"))


def test_a_late_word_on_a_dead_id_stays_with_the_dead() -> None:
    """An older create and any update change nobody's links."""
    for late in (seen(Op.CREATED, 4, "eve@example.com"), seen(Op.UPDATED, 6, "eve@example.com")):
        assert resolve(late, known(ada(LinkState.GONE)), MAPPING) == Linked(EntityId("ada"))


def test_an_id_that_our_own_create_was_given_belongs_to_whom_it_was_made_for() -> None:
    """The peer recorded our intent with the row."""
    made = Intent(id="bob:1:x", action=Asked.CREATE, epoch=1, version=1, seen_at=Instant(1), expires_at=Instant(99))
    bob = Entity(id=EntityId("bob"), kind="user", version=1, links={APP: Link(intents=(made,))})
    found = resolve(seen(Op.SEEN, 7, "bob@example.com", "bob:1:x"), known(ada(LinkState.GONE), bob), MAPPING)
    assert found == Linked(EntityId("bob"))


def test_a_dead_holder_gives_the_id_up_and_a_living_one_keeps_it() -> None:
    """One id at one peer belongs to one entity."""
    assert forget(ada(LinkState.GONE), APP, ExternalId("1")).link_at(APP).external_id is None
    assert forget(ada(LinkState.LIVE), APP, ExternalId("1")) == ada(LinkState.LIVE)
