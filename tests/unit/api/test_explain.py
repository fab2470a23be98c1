"""Explain: what one page says of an identity that much has happened to."""

from idsync.api.explain import explain
from idsync.model.entity import Action, Entity, Field, Hold, Intent, Link, LinkState, Shadow, Stamp, Tombstone
from idsync.model.event import Version
from idsync.model.mapping import FieldRule, Mapping, PeerView, Rule
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Value
from idsync.ports import ParkedFilter
from idsync.testing.wait import until
from tests.unit.api.conftest import Line, OpenLine

CRM, SHOP, OLD = PeerName("crm"), PeerName("shop"), PeerName("old")
HELD = frozenset({"email", "name", "roles", "banned"})
MAPPING = Mapping(
    kind="user",
    peers={CRM: PeerView(reads=HELD, writes=HELD), SHOP: PeerView(reads=HELD, writes=HELD)},
    rules={
        "email": FieldRule(Rule.OWNER, CRM, "mail"),
        "name": FieldRule(Rule.MANUAL),
        "roles": FieldRule(Rule.FILL),
    },
)
MAPPINGS = {"user": MAPPING}


def field(value: Value, at: int, peer: PeerName = CRM) -> Field:
    """Give a field that an event of its own set."""
    return Field(value, Stamp(Instant(at), 1, f"evt_{at}"), peer)


def entity(**parts: object) -> Entity:
    """Give a user with some parts of a test's own."""
    fields = {
        "email": field("a@example.com", 1_000),
        "name": field("Ada", 2_000, SHOP),
        "banned": field(value=True, at=3),
    }
    given: dict[str, object] = {"fields": fields, **parts}
    return Entity(id=EntityId("018f0000-0000-7000-8000-000000000000"), kind="user", **given)  # type: ignore[arg-type]


async def test_each_field_says_who_decides_it_and_who_set_it_when_by_which_event(line: Line) -> None:
    """Owner, rule and group come from the configuration; the rest from the field's stamp."""
    told = await explain(line.app.store, MAPPINGS, entity(), 10)
    email, name = (next(one for one in told.fields if one.field == wanted) for wanted in ("email", "name"))
    assert (email.value, email.owner, email.rule, email.group) == ("a@example.com", "crm", "owner", "mail")
    assert (email.set_by, email.set_at, email.event) == ("crm", "1970-01-01T00:00:01.000Z", "evt_1000")
    assert (name.owner, name.rule, name.group, name.set_by) == (None, "manual", None, "shop")


async def test_ban_fields_are_one_group_without_being_configured(line: Line) -> None:
    """A field nobody wrote a rule for follows the newest; the ban fields still move together."""
    told = await explain(line.app.store, MAPPINGS, entity(), 10)
    banned = next(one for one in told.fields if one.field == "banned")
    assert (banned.rule, banned.group) == ("newest", "ban")


async def test_kind_that_is_not_synced_is_explained_too(line: Line) -> None:
    """Nobody decides its fields, and nobody lacks them."""
    told = await explain(line.app.store, {}, entity(links={OLD: Link(state=LinkState.LIVE)}), 10)
    assert {one.rule for one in told.fields} == {"newest"}
    assert [(one.peer, one.needs) for one in told.links] == [("old", None)]


async def test_field_that_waits_for_an_operator_shows_what_each_peer_says(line: Line) -> None:
    """The held field is marked, and every claim stands beside it."""
    claims = {CRM: {"name": field("Ada", 5_000)}, SHOP: {"name": field("Adam", 6_000, SHOP)}}
    told = await explain(line.app.store, MAPPINGS, entity(holds={"name": Hold(Instant(7_000), claims)}), 10)
    assert [one.field for one in told.fields if one.held] == ["name"]
    assert [(one.peer, one.field, one.value) for one in told.claims] == [
        ("crm", "name", "Ada"),
        ("shop", "name", "Adam"),
    ]
    assert told.entity.held == ["name"]


async def test_link_shows_its_shadow_its_open_intents_and_what_the_peer_lacks(line: Line) -> None:
    """`sent` and `held` differ where the peer made something else of what it was given."""
    intent = Intent(
        id="i1",
        action=Action.UPDATE,
        epoch=1,
        version=4,
        fields={"name": "Ada"},
        seen_at=Instant(1),
        expires_at=Instant(9_000),
    )
    shadow = {
        "email": Shadow("a@example.com", "A@EXAMPLE.COM", Instant(1)),
        "name": Shadow("Old", "Old", Instant(1)),
        "banned": Shadow(sent=True, held=True, seen_at=Instant(1)),
    }
    link = Link(
        state=LinkState.LIVE,
        external_id=ExternalId("u1"),
        version=Version("c", "g", 12),
        shadow=shadow,
        intents=(intent,),
        former=(ExternalId("u0"),),
        confirmed_at=Instant(8_000),
    )
    told = await explain(line.app.store, MAPPINGS, entity(links={CRM: link}), 10)
    crm = told.links[0]
    assert (crm.peer, crm.id, crm.former, crm.state) == ("crm", "u1", ["u0"], "live")
    assert crm.version is not None
    assert (crm.version.capture, crm.version.generation, crm.version.number) == ("c", "g", 12)
    assert crm.confirmed_at == "1970-01-01T00:00:08.000Z"
    assert [(one.field, one.sent, one.held) for one in crm.fields][1] == ("email", "a@example.com", "A@EXAMPLE.COM")
    assert [(one.id, one.action, one.version, one.fields) for one in crm.open_intents] == [
        ("i1", "update", 4, {"name": "Ada"})
    ]
    assert crm.needs is not None
    assert (crm.needs.action, crm.needs.fields) == ("update", {"name": "Ada"})


async def test_peer_without_the_identity_needs_a_create_and_one_never_looked_at_a_read(line: Line) -> None:
    """Every peer of the kind stands there, also one that was never heard of."""
    told = await explain(line.app.store, MAPPINGS, entity(links={CRM: Link(state=LinkState.LIVE)}), 10)
    crm, shop = told.links
    assert crm.needs is not None
    assert shop.needs is not None
    assert (crm.needs.action, crm.needs.fields) == ("read", {"banned": None, "email": None, "name": None})
    assert (shop.state, shop.needs.action) == ("pending", "create")


async def test_deleted_entity_is_to_be_removed_where_it_still_is(line: Line) -> None:
    """A tombstone is explained like everything else."""
    links = {CRM: Link(state=LinkState.GONE), SHOP: Link(state=LinkState.LIVE, external_id=ExternalId("s1"))}
    dead = entity(deleted=Tombstone(Instant(4_000), CRM, "evt_4"), links=links)
    told = await explain(line.app.store, MAPPINGS, dead, 10)
    assert told.entity.deleted_at == "1970-01-01T00:00:04.000Z"
    assert [one.needs.action if one.needs else None for one in told.links] == [None, "remove"]


async def test_timeline_is_newest_first_with_the_deliveries_of_each_event(open_line: OpenLine) -> None:
    """What came in, what went out, and where that stands."""
    line = await open_line(endpoints__audit__events=["user.*"], delivery__retry__attempts_max=30)
    receipt = (await line.person(1, name="Ada")).json()
    await line.publish(
        id="evt_2",
        type="user.updated",
        source="crm",
        timestamp="2030-01-01T00:00:00Z",
        data={"id": "u1", "name": "Eva"},
    )
    found = await line.app.store.get(receipt["entity"])
    assert found is not None
    told = await explain(line.app.store, line.app.mappings, found, 10)
    assert [(one.type, one.verdict, one.changed) for one in told.timeline] == [
        ("user.updated", "applied", ["name"]),
        ("user.created", "applied", ["email", "name"]),
    ]
    assert [one.destination for entry in told.timeline for one in entry.deliveries or ()] == ["endpoint:audit"] * 2


async def test_failed_delivery_in_the_timeline_shows_its_newest_try(open_line: OpenLine) -> None:
    """Nobody listens there: the reason of the newest try says so."""
    line = await open_line(endpoints__audit__events=["user.*"])
    receipt = (await line.person(1)).json()
    found = await line.app.store.get(receipt["entity"])
    assert found is not None

    async def is_dead() -> bool:
        return bool(await line.app.store.parked(ParkedFilter(), 1))

    await until(is_dead)
    told = await explain(line.app.store, line.app.mappings, found, 10)
    (delivery,) = told.timeline[0].deliveries or []
    assert (delivery.state, delivery.attempts) == ("dead", 1)
    assert [one.error for one in delivery.tries or ()] == ["connect"]
