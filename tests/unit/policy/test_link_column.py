"""The `link` column: a peer that can name the first peer's id is told it, once it is known (DESIGN §9)."""

import msgspec

from idsync.model.entity import Action, Entity, Field, Link, LinkState, Shadow, Stamp
from idsync.model.mapping import Mapping, PeerView
from idsync.model.values import EntityId, ExternalId, Instant, PeerName
from idsync.policy.dispatch import Need, need_of

AUTH, APP = PeerName("auth"), PeerName("app")
VIEW = PeerView(reads=frozenset({"name"}), writes=frozenset({"name"}))
MAPPING = Mapping("user", {AUTH: VIEW, APP: msgspec.structs.replace(VIEW, has_link=True)})


def ada(first: LinkState, link_id: str | None) -> Entity:
    """Somebody who began at the application."""
    known = {"name": Shadow("Ada", "Ada", Instant(1))}
    return Entity(
        id=EntityId("e"),
        kind="user",
        version=1,
        fields={"name": Field("Ada", Stamp(Instant(1), 1, "x"), APP)},
        links={
            AUTH: Link(state=first, external_id=ExternalId("u_1"), shadow=known),
            APP: Link(
                state=LinkState.LIVE,
                external_id=ExternalId("7"),
                shadow=known,
                link_id=ExternalId(link_id) if link_id is not None else None,
            ),
        },
    )


def test_a_peer_with_an_empty_link_column_is_told_the_first_peers_id() -> None:
    """Nothing else of it has to change for that."""
    need = need_of(ada(LinkState.LIVE, None), APP, MAPPING)
    assert isinstance(need, Need)
    assert (need.action, need.fields) == (Action.UPDATE, {})


def test_a_filled_link_column_is_left_alone() -> None:
    """Equal state writes nothing (R19)."""
    assert need_of(ada(LinkState.LIVE, "u_1"), APP, MAPPING) is None


def test_the_link_column_waits_until_the_first_peer_has_the_identity() -> None:
    """An id that is not known yet is not made up."""
    assert need_of(ada(LinkState.PENDING, None), APP, MAPPING) is None


def test_a_peer_without_a_link_column_is_not_asked_for_it() -> None:
    """The first peer holds its own ids anyway."""
    assert need_of(ada(LinkState.LIVE, None), AUTH, MAPPING) is None
