"""What people see of an answer: everything that is in it, and nothing that takes over their terminal."""

import io
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from idsync.api.explain import (
    ClaimStory,
    Explanation,
    FieldStory,
    IntentStory,
    LinkStory,
    NeedStory,
    ShadowStory,
    VersionStory,
)
from idsync.api.views import (
    AttemptView,
    ConflictView,
    DeliveryView,
    EntityView,
    HealthView,
    InboxView,
    LinkView,
    LoopView,
    PeerFailureView,
    PeerItem,
    PeerKindView,
    PhasesView,
    StatsView,
    TryView,
    WaitingView,
)
from idsync.cli.draw import (
    draw_deliveries,
    draw_entities,
    draw_event,
    draw_parked,
    draw_receipts,
    draw_status,
    draw_waiting,
    took_text,
    value_text,
)
from idsync.cli.story import draw_explanation
from idsync.cli.webhooks.draw import draw_attempts
from idsync.model.event import Receipt, Verdict
from idsync.model.values import EntityId, Value

AT = "2026-01-31T12:00:00.000Z"
ID = "018f0000-0000-7000-8000-000000000001"
HOSTILE = "\x1b]0;owned\x07[red]x[/red]\u202e\n:smile:"

TRY = TryView(number=1, at=AT, outcome="failed", status=500, error=None, latency_ms=12.4, phases=None, response="oh no")
DELIVERY = DeliveryView(
    id="17", destination="endpoint:audit", subject=f"user/{ID}", event=7, event_id="e_out", event_type="user.updated",
    state="dead", reason="attempts", attempts=30, retry_at=None, tries=[TRY],
)  # fmt: skip
EVENT = InboxView(
    seq=7, at=AT, peer="auth", id="e_1", type="user.updated", subject="user/u_1", verdict="applied", reason=None,
    entity=ID, event_id="e_out", event_type="user.updated", version=3, changed=["name", "email"], deliveries=[DELIVERY],
)  # fmt: skip
WAITING = WaitingView(
    seq=9, peer="app", id="e_2", type="user.created", subject="user/17", reason="link_undecided", waits_for=None,
    retry_at=None, attempts=0, parked_at=AT,
)  # fmt: skip
ENTITY = EntityView(
    id=ID, kind="user", version=3, incarnation=1, fields={"email": "ada@example.com", "name": "Ada"},
    links={"auth": LinkView(id="u_1", state="live"), "app": LinkView(id=None, state="pending")}, held=[],
    deleted_at=None, created_at=AT, updated_at=AT,
)  # fmt: skip
HEALTH = HealthView(status="ok", version="0.1.0", loops=[LoopView(name="ingest", is_alive=True, detail="")])
STATS = StatsView(
    entities=2, inbox=40, waiting=1, rereads=0, conflicts=3, size_bytes=2_500_000, queued={"endpoint:audit": 5},
    parked={"peer:app": 6}, dead={"endpoint:audit": 7}, verdicts={"applied": 30, "echo": 10},
    total_deliveries=3, successful_deliveries=2, failed_deliveries=1, avg_latency_ms=12.5, endpoints={},
)  # fmt: skip
PEER = PeerItem(
    name="auth", connector="better-auth", dialect=None, position=812,
    kinds=[PeerKindView(kind="user", reads=["name"], writes=["name"], may_create=True)],
)  # fmt: skip


def _field(name: str, value: Value, owner: str | None = None) -> FieldStory:
    rule = "owner" if owner else "newest"
    return FieldStory(
        field=name, value=value, owner=owner, rule=rule, group=None, held=False, set_by="auth", set_at=AT, event="e_1"
    )


def _link(peer: str, shadow: Mapping[str, tuple[Value, Value]], needs: NeedStory | None = None) -> LinkStory:
    return LinkStory(
        peer=peer, id=f"{peer}_1", former=[], state="live",
        version=VersionStory(capture=peer, generation="g", number=812), confirmed_at=AT, open_intents=[], needs=needs,
        fields=[ShadowStory(field=name, sent=sent, held=held) for name, (sent, held) in shadow.items()],
    )  # fmt: skip


KNOWN = Explanation(
    entity=ENTITY,
    fields=[_field("email", "ada@example.com", "auth"), _field("name", "Ada")],
    claims=[],
    links=[
        _link("auth", {"email": ("ada@example.com", "ada@example.com"), "name": ("Ada", "Ada")}),
        _link("app", {"name": ("Eda", "eda")}, NeedStory(action="update", fields={"name": "Ada"})),
    ],
    conflicts=[
        ConflictView(
            entity=ID, field="name", rule="newest", at=AT, peer="app", refused="Eda", kept_peer="auth", kept="Ada",
            event="e_9",
        )
    ],
    timeline=[EVENT],
)  # fmt: skip


def draw(drawing: RenderableType) -> str:
    """Give what a colour terminal of 200 columns would get, less the colours."""
    out = io.StringIO()
    Console(file=out, width=200, highlight=False, markup=False, emoji=False, color_system=None).print(drawing)
    return out.getvalue()


def test_event_is_one_line_with_everything_but_values() -> None:
    """When, from whom, what, what became of it, whom it concerns and which fields changed."""
    assert draw(draw_event(EVENT)).split() == [
        "01-31", "12:00:00.000", "auth", "user.updated", "applied", "user/u_1", "name,", "email",
    ]  # fmt: skip


def test_event_shows_values_only_where_they_are_given() -> None:
    """With values, each changed field has its own; one that is gone is null."""
    assert draw(draw_event(EVENT, {"name": "Ada", "roles": ["x"]})).strip().endswith("name=Ada, email=null")


def test_event_shows_the_reason_of_its_verdict() -> None:
    """A verdict that needs a reason has it beside it."""
    parked = msgspec.structs.replace(EVENT, verdict="parked", reason="mass_delete", changed=[])
    assert "parked (mass_delete)  user/u_1" in draw(draw_event(parked))
    conflict = msgspec.structs.replace(EVENT, verdict="conflict", reason="email, name", changed=[])
    assert "conflict (email, name)  user/u_1" in draw(draw_event(conflict))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ("", '""'),
        (True, "true"),
        (0, "0"),
        (["a", "b"], '["a","b"]'),
        ("Ada", "Ada"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_values_that_differ_look_different(value: Value, text: str) -> None:
    """Nothing, an empty text and a missing value cannot be taken for each other, and a long one stays readable."""
    assert value_text(value) == text


def test_status_shows_loops_peers_and_what_waits_where() -> None:
    """Everything that an operator looks for first is on one page."""
    page = draw(draw_status(HEALTH, STATS, [PEER]))
    lines = [line.split() for line in page.splitlines()]
    assert ["idsync", "0.1.0", "ok"] in lines
    assert ["loops", "all", "1", "run"] in lines
    assert ["auth", "better-auth", "user", "—", "812"] in lines
    assert ["endpoint:audit", "5", "0", "7"] in lines
    assert ["peer:app", "0", "6", "0"] in lines
    assert "30 applied, 10 echo" in page


def test_status_names_the_loop_that_is_dead() -> None:
    """A dead loop is named with what is known of it."""
    dead = msgspec.structs.replace(
        HEALTH, status="failing", loops=[LoopView(name="ingest", is_alive=False, detail="stopped")]
    )
    assert "ingest: stopped" in draw(draw_status(dead, STATS, []))


def test_status_names_the_peer_that_cannot_be_reached_since_when_and_why() -> None:
    """Though every loop runs, it is not said to be ok."""
    away = msgspec.structs.replace(
        PEER,
        unread=PeerFailureView(since=AT, error="ConnectionRefusedError"),
        unwritten=PeerFailureView(since=AT, error="TimeoutError"),
    )
    page = draw(draw_status(HEALTH, STATS, [away]))
    assert "idsync 0.1.0  a peer cannot be reached" in page
    assert "auth cannot be read since 2026-01-31 12:00:00.000: ConnectionRefusedError" in page
    assert "auth cannot be written since 2026-01-31 12:00:00.000: TimeoutError" in page


def test_dead_deliveries_and_waiting_arrivals_show_what_requeue_needs() -> None:
    """The ids that `dead requeue` and `dead show` take stand in the lists."""
    assert draw(draw_parked([DELIVERY], "Deliveries: dead")).splitlines()[2].split() == [
        "17", "endpoint:audit", "7", "user.updated", f"user/{ID}", "attempts", "30", "—",
    ]  # fmt: skip
    assert draw(draw_waiting([WAITING])).splitlines()[2].split() == [
        "9", "2026-01-31", "12:00:00.000", "app", "user.created", "user/17", "link_undecided", "an", "operator", "—",
    ]  # fmt: skip


def test_deliveries_of_an_event_show_each_try_and_its_answer() -> None:
    """An operator sees why a delivery failed."""
    page = draw(draw_deliveries([DELIVERY]))
    assert "endpoint:audit  dead  delivery 17" in page
    assert ["1", "2026-01-31", "12:00:00.000", "failed", "500", "12", "ms", "oh", "no"] in [
        line.split() for line in page.splitlines()
    ]


def test_receipts_keep_their_order() -> None:
    """Each published event finds its verdict at its own place."""
    receipts = [Receipt("a", Verdict.APPLIED, None, EntityId(ID)), Receipt("b", Verdict.REFUSED, "too_large")]
    lines = [line.split() for line in draw(draw_receipts(receipts)).splitlines()]
    assert lines[1:] == [["applied", "a", ID], ["refused", "b", "—", "too_large"]]


def test_entities_that_may_be_meant_are_told_apart() -> None:
    """Id, e-mail, name and the ids at the peers help to choose."""
    line = draw(draw_entities([ENTITY])).splitlines()[1]
    assert line.split() == [ID, "user", "ada@example.com", "Ada", "auth:u_1,", "app:pending", "—"]


def test_explanation_shows_every_field_with_its_owner_setter_and_time() -> None:
    """The value, who decides it, who set it, when and by which event stand in one line."""
    lines = [line.split() for line in draw(draw_explanation(KNOWN)).splitlines()]
    assert ["email", "ada@example.com", "auth", "(owner)", "auth", "2026-01-31", "12:00:00.000", "e_1"] in lines
    assert ["name", "Ada", "newest", "auth", "2026-01-31", "12:00:00.000", "e_1"] in lines


def test_explanation_shows_what_each_peer_holds_beside_the_truth() -> None:
    """Equal, unknown, behind, and in the peer's own form look different."""
    lines = [" ".join(line.split()) for line in draw(draw_explanation(KNOWN)).splitlines()]
    assert "email = ·" in lines
    assert "name = eda (was sent Eda)" in lines
    own_form = msgspec.structs.replace(KNOWN, links=[_link("app", {"name": ("Ada", "ADA")})])
    assert "name ADA (its own form of it)" in [
        " ".join(line.split()) for line in draw(draw_explanation(own_form)).splitlines()
    ]


def test_explanation_shows_what_a_peer_still_lacks_and_what_is_on_its_way() -> None:
    """A peer that is behind says in what, and an announced write is seen."""
    intent = IntentStory(id="i", action="update", version=3, fields={"name": "Ada"}, expires_at=AT)
    links = [msgspec.structs.replace(KNOWN.links[1], open_intents=[intent])]
    page = draw(draw_explanation(msgspec.structs.replace(KNOWN, links=links)))
    assert "update name  update name" in page
    assert "nothing" in draw(draw_explanation(KNOWN))


def test_explanation_shows_conflicts_with_both_values() -> None:
    """Nobody's edit disappears without a trace."""
    lines = [line.split() for line in draw(draw_explanation(KNOWN)).splitlines()]
    assert ["2026-01-31", "12:00:00.000", "name", "newest", "Ada", "(auth)", "Eda", "(app)", "e_9"] in lines


def test_explanation_shows_the_timeline_with_its_deliveries() -> None:
    """What happened, and where it went, with the last answer of what failed."""
    page = draw(draw_explanation(KNOWN))
    assert "→ endpoint:audit  dead  attempts: 30  attempts  last answer 500" in page


def test_explanation_shows_what_an_operator_must_decide() -> None:
    """A held field stands there with what each peer says of it."""
    claim = ClaimStory(group="name", field="name", peer="app", value="Eda", at=AT)
    held = msgspec.structs.replace(KNOWN, claims=[claim], entity=msgspec.structs.replace(ENTITY, held=["name"]))
    page = draw(draw_explanation(held))
    assert "name: an operator decides" in page
    assert ["name", "name", "app", "Eda", "2026-01-31", "12:00:00.000"] in [line.split() for line in page.splitlines()]


def test_explanation_of_a_deleted_identity_says_when() -> None:
    """A tombstone cannot be overlooked."""
    entity = msgspec.structs.replace(ENTITY, deleted_at="2026-02-01T00:00:00.000Z")
    assert "deleted  2026-02-01 00:00:00.000" in draw(draw_explanation(msgspec.structs.replace(KNOWN, entity=entity)))


def _poison(value: Any) -> Any:  # noqa: ANN401  # whatever stands in a view
    """Put the hostile text in the place of every text."""
    match value:
        case msgspec.Struct():
            names = value.__struct_fields__
            return msgspec.structs.replace(value, **{name: _poison(getattr(value, name)) for name in names})
        case str():
            return HOSTILE
        case list():
            return [_poison(one) for one in value]
        case dict():
            return {f"{HOSTILE}{number}": _poison(one) for number, one in enumerate(value.values())}
        case _:
            return value


@pytest.mark.parametrize(
    "drawing",
    [
        draw_event(_poison(EVENT)),
        draw_event(_poison(EVENT), {HOSTILE: HOSTILE}),
        draw_status(_poison(HEALTH), _poison(STATS), [_poison(PEER)]),
        draw_status(
            _poison(msgspec.structs.replace(HEALTH, loops=[LoopView(name="x", is_alive=False, detail="x")])), STATS, []
        ),
        draw_status(
            HEALTH, STATS, [msgspec.structs.replace(PEER, unread=_poison(PeerFailureView(since="x", error="x")))]
        ),
        draw_parked([_poison(DELIVERY)], "Dead"),
        draw_waiting([_poison(WAITING)]),
        draw_deliveries([_poison(DELIVERY)]),
        draw_receipts([_poison(Receipt("a", Verdict.REFUSED, "x", EntityId(ID)))]),
        draw_entities([_poison(ENTITY)]),
        draw_explanation(_poison(KNOWN)),
    ],
)
def test_no_text_from_outside_reaches_the_terminal_as_a_command(drawing: RenderableType) -> None:
    """Escape sequences, markup, emoji names and reversed text are shown as what they are."""
    page = draw(drawing)
    assert not {"\x1b", "\x07", "\u202e"} & set(page)
    assert "[red]x[/red]" in page


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(0.0, "0.0"), (0.004, "<0.1"), (0.1, "0.1"), (0.44, "0.4"), (9.94, "9.9"), (9.96, "10"), (3e4, "30000")],
)
def test_short_duration_is_shown_with_a_decimal(ms: float, shown: str) -> None:
    """Less than a millisecond is not nothing."""
    assert took_text(ms) == shown


def test_phase_of_a_fraction_of_a_millisecond_is_not_shown_as_nothing() -> None:
    """On one's own machine every phase is one; only what did not happen is left out."""
    phases = PhasesView(dns_ms=0.0, connect_ms=0.32, tls_ms=0.0, wait_ms=0.07, read_ms=14.6)
    one = AttemptView(
        event=7, destination="endpoint:audit", delivery="17", subject="order/1", number=1, at=AT, outcome="delivered",
        status=200, error=None, latency_ms=0.4, phases=phases, response="",
    )  # fmt: skip
    told = draw(draw_attempts([one], "destination"))
    assert "0.4 ms" in told
    assert "connect 0.3, wait <0.1, read 15" in told
