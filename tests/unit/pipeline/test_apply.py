"""Deliver to a peer: whatever changes our writes back again and again is written a few times, then left to rest."""

import io
from dataclasses import dataclass, field

import orjson
import pytest

from idsync.model.delivery import Parked, ParkedState
from idsync.model.entity import Action, Intent
from idsync.model.event import Op
from idsync.model.plan import Position
from idsync.model.values import EntityId, ExternalId, Instant, Value
from idsync.pipeline.apply import TargetDeliverer
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.beats import FLAPPING, Beats
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.pipeline.parts.looks import arrival_of
from idsync.pipeline.parts.settle import Settler
from idsync.pipeline.parts.tenure import Tenure
from idsync.policy.oscillation import OscillationPolicy
from idsync.policy.retry import RetryPolicy
from idsync.ports import ParkedFilter
from idsync.telemetry import Counters, Log
from idsync.testing.halves import FakeTarget
from idsync.testing.peer import FakePeer, Form, Habits
from tests.unit.pipeline.conftest import APP, AUTH, DESTINATIONS, FIELDS, MAPPING, Door

POLICY = OscillationPolicy(same_max=4, all_max=20, window_ms=60_000)
TURNS_MAX = 50
"""More than any line that comes to rest needs."""


@dataclass
class Desk:
    """The application's deliverer, its peer, and the way from one to the other and back, driven by hand."""

    door: Door
    peer: FakePeer
    deliverer: TargetDeliverer
    settler: Settler
    counters: Counters
    lines: io.StringIO
    lanes: frozenset[int]
    read: int = 0
    """How much of what the peer has to tell was taken in."""
    insistent: dict[ExternalId, dict[str, Value]] = field(default_factory=dict)
    """What the peer's own users put back whenever they find something else."""

    async def tell(self, identity: str, **fields: Value) -> None:
        """The identity provider says something of one person."""
        op = Op.CREATED if "email_verified" in fields else Op.UPDATED
        await self.door.take(self.door.seen(AUTH, identity, op, fields))

    async def run(self) -> None:
        """Write, and take in what the peer says of it, until nothing happens any more."""
        for _ in range(TURNS_MAX):
            for delivery in self.door.queued:
                if delivery.lane in self.lanes:
                    self.deliverer.offer(delivery)
            self.door.queued.clear()
            before = len(self.peer.journal)
            await self.deliverer.tick()
            await self.settler.flush()
            self._put_back()
            heard = [(number, seen) for number, seen in self.peer.log if number > self.read]
            if heard:
                self.read = heard[-1][0]
                arrivals = [arrival_of(seen) for _, seen in heard]
                await self.door.submit(Submission(arrivals=arrivals, peer=APP, position=Position("1", self.read, "")))
            elif len(self.peer.journal) == before and not self.door.queued:
                return
        raise AssertionError(f"still writing after {TURNS_MAX} turns")

    def _put_back(self) -> None:
        for external_id, fields in self.insistent.items():
            held = self.peer.holds("user", external_id) or {}
            if held != held | fields:
                self.peer.edit("user", external_id, fields)

    async def parked(self) -> list[Parked]:
        """What operators see waiting for the peer."""
        return list(await self.door.store.parked(ParkedFilter(destination="peer:app"), 100))

    def writes(self, external_id: ExternalId) -> int:
        """How often idsync has changed one identity at the peer."""
        return sum(one.writer == "idsync" and one.external_id == external_id for one in self.peer.journal)

    def find(self, email: str) -> ExternalId:
        """The identity that the peer holds with an e-mail."""
        (found,) = [external_id for (_, external_id), row in self.peer.rows.items() if row.fields["email"] == email]
        return found


async def desk_of(door: Door, peer: FakePeer | None = None, retry: RetryPolicy | None = None) -> Desk:
    """Put a deliverer and its peer behind a door."""
    peer = peer if peer is not None else FakePeer("app", door.clock.now, Habits(fields=FIELDS))
    counters, lines = Counters(), io.StringIO()
    opened = [(lane, number) for lane, number in await door.store.open(DESTINATIONS) if lane.destination == "peer:app"]
    settler = Settler(door.store, door.clock, 1)
    deliverer = TargetDeliverer(
        APP,
        FakeTarget(peer),
        {"user": MAPPING},
        opened,
        tenure=Tenure(door.clock),
        store=door.store,
        submit=door.submit,
        settler=settler,
        clock=door.clock,
        counters=counters,
        log=Log(lines),
        epoch=1,
        limits=DeliverLimits(),
        retry=retry if retry is not None else RetryPolicy(),
        oscillation=POLICY,
    )
    await deliverer.start()
    return Desk(door, peer, deliverer, settler, counters, lines, frozenset(lane.id for lane, _ in opened))


async def flapping(door: Door, retry: RetryPolicy | None = None) -> tuple[Desk, ExternalId]:
    """Make a desk with one identity whose users at the peer have just won a rest."""
    desk = await desk_of(door, retry=retry)
    await desk.tell("a1", email="ada@example.com", email_verified=True, name="Ada")
    await desk.run()
    ada = desk.find("ada@example.com")
    desk.insistent[ada] = {"email": "mine@example.com"}
    await desk.run()
    return desk, ada


async def test_peer_that_puts_its_own_value_back_for_ever_comes_to_rest(door: Door) -> None:
    """It is written as often as the limit says, then parked until the first of these writes is a window old."""
    began_at = door.clock.now()
    desk, ada = await flapping(door)
    assert desk.writes(ada) == 1 + POLICY.same_max
    (row,) = await desk.parked()
    assert (row.reason, row.state, row.attempts) == (FLAPPING, ParkedState.PARKED, 0)
    assert row.retry_at == began_at + POLICY.window_ms
    assert desk.counters.counts["idsync_flapping_total", APP] == 1


async def test_rest_is_logged_once_and_names_nobody(door: Door) -> None:
    """The line leads to the entity, and shows nothing of the person."""
    desk, _ = await flapping(door)
    (entity,) = await door.store.find("ada@example.com")
    (line,) = [orjson.loads(one) for one in desk.lines.getvalue().splitlines()]
    assert (line["level"], line["peer"], line["entity"], line["retry_in_s"]) == ("warning", APP, entity.id, 60.0)
    assert "example.com" not in desk.lines.getvalue()


async def test_others_of_the_same_peer_go_on_while_one_rests(door: Door) -> None:
    """A rest belongs to one link."""
    desk, ada = await flapping(door)
    before = desk.writes(ada)
    await desk.tell("b1", email="bo@example.com", email_verified=True, name="Bo")
    await desk.run()
    await desk.tell("b1", email="bo@example.org")
    await desk.run()
    assert desk.writes(desk.find("bo@example.org")) == 2
    assert desk.writes(ada) == before


async def test_after_the_window_it_is_written_once_more(door: Door) -> None:
    """Users who gave up meanwhile get the truth, and nothing stays parked."""
    desk, ada = await flapping(door)
    before = desk.writes(ada)
    desk.insistent.clear()
    await door.clock.advance(59.9)
    await desk.run()
    assert desk.writes(ada) == before
    await door.clock.advance(0.1)
    await desk.run()
    assert desk.writes(ada) == before + 1
    assert desk.peer.holds("user", ada) == {"email": "ada@example.com", "email_verified": True, "name": "Ada"}
    assert await desk.parked() == []


async def test_new_truth_is_written_though_the_old_one_rests(door: Door) -> None:
    """Somebody outside has said something else: what was parked is written with it."""
    desk, ada = await flapping(door)
    desk.insistent.clear()
    await desk.tell("a1", email="ada@example.org")
    await desk.run()
    assert (desk.peer.holds("user", ada) or {})["email"] == "ada@example.org"
    assert await desk.parked() == []


async def test_bell_that_rings_during_a_rest_neither_ends_nor_prolongs_it(door: Door) -> None:
    """It is the same rest: neither counted nor logged again, and parked as one row."""
    desk, ada = await flapping(door)
    (before,) = await desk.parked()
    desk.insistent.clear()
    await door.clock.advance(10)
    desk.peer.edit("user", ada, {"email": "other@example.com"})
    await desk.run()
    (after,) = await desk.parked()
    assert (after.retry_at, after.parked_at, after.reason) == (before.retry_at, before.parked_at, FLAPPING)
    assert after.id > before.id
    assert desk.counters.counts["idsync_flapping_total", APP] == 1
    assert len(desk.lines.getvalue().splitlines()) == 1


async def test_rest_never_brings_a_delivery_nearer_to_its_death(door: Door) -> None:
    """Where one failure is one too many, it still rests and is written, window after window."""
    desk, ada = await flapping(door, RetryPolicy(attempts_max=2, age_max_s=1))
    for number in range(2, 6):
        await door.clock.advance(60)
        await desk.run()
        assert desk.writes(ada) == 1 + number * POLICY.same_max
        (row,) = await desk.parked()
        assert (row.reason, row.state, row.attempts) == (FLAPPING, ParkedState.PARKED, 0)


async def test_first_failure_after_a_rest_counts_as_the_first(door: Door) -> None:
    """Neither the tries nor the age before and during the rest are held against it."""
    desk, ada = await flapping(door, RetryPolicy(attempts_max=2, age_max_s=1))
    desk.insistent.clear()
    desk.peer.habits = Habits(fields=FIELDS, is_email_unique=True)
    desk.peer.create("user", {"email": "ada@example.com"}, "squatter")
    desk.peer.log.clear()
    await door.clock.advance(60)
    await desk.run()
    (row,) = await desk.parked()
    assert (row.reason, row.state, row.attempts) == ("unique", ParkedState.PARKED, 1)
    assert row.first_at == door.clock.now()
    desk.peer.delete("user", "squatter")
    desk.peer.log.clear()
    await door.clock.advance(2)
    await desk.run()
    assert (desk.peer.holds("user", ada) or {})["email"] == "ada@example.com"


async def test_restart_forgets_the_count_and_keeps_the_rest(door: Door) -> None:
    """What is parked is tried at its time, by a deliverer that knows of no write."""
    first, ada = await flapping(door)
    await door.clock.advance(60)
    second = await desk_of(door, first.peer)
    second.read = first.read
    await second.run()
    assert (first.peer.holds("user", ada) or {})["email"] == "ada@example.com"
    assert await second.parked() == []


@pytest.mark.parametrize("form", list(Form))
async def test_peer_that_only_rewrites_values_never_rests(door: Door, form: Form) -> None:
    """What it makes of a value is its own affair: one write for each word from outside, however many there are."""
    habits = Habits(fields=FIELDS, forms=(form,), text_length_max=16)
    desk = await desk_of(door, FakePeer("app", door.clock.now, habits))
    await desk.tell("a1", email="ada@example.com", email_verified=True, name=" Ada Lovelacé the First ")
    await desk.run()
    (ada,) = [external_id for _, external_id in desk.peer.rows]
    for number in range(POLICY.same_max * 2):
        await desk.tell("a1", name=f" Ada Lovelacé the {number}. ")
        await desk.run()
    assert desk.writes(ada) == 1 + POLICY.same_max * 2
    assert desk.counters.counts.get(("idsync_flapping_total", APP)) is None
    assert await desk.parked() == []


async def test_user_who_changes_his_mind_faster_than_anybody_rests_too(door: Door) -> None:
    """Peers that answer each other say something new each time: their number gives them away, and the rest is late."""
    desk = await desk_of(door)
    await desk.tell("a1", email="ada@example.com", email_verified=True, name="Ada")
    await desk.run()
    for number in range(POLICY.all_max):
        await desk.tell("a1", name=f"Ada {number}")
        await desk.run()
    ada = desk.find("ada@example.com")
    assert desk.writes(ada) == POLICY.all_max
    assert [row.reason for row in await desk.parked()] == [FLAPPING]
    await door.clock.advance(60)
    await desk.run()
    assert (desk.peer.holds("user", ada) or {})["name"] == f"Ada {POLICY.all_max - 1}"


def test_memory_holds_so_many_writes_and_no_more() -> None:
    """Beyond its bound the links that are quiet for longest are forgotten; after the window, all."""

    def write(number: int) -> tuple[EntityId, Intent]:
        fields: dict[str, Value] = {"name": "Ada"}
        entity = EntityId(f"e{number}")
        return entity, Intent(
            id=f"{entity}:1:x",
            action=Action.UPDATE,
            epoch=1,
            version=1,
            fields=fields,
            seen_at=Instant(0),
            expires_at=Instant(0),
        )

    now = Instant(1_000_000)
    beats = Beats(OscillationPolicy(same_max=1), writes_max=10)
    beats.remember([write(number) for number in (0, *range(10), 0)], now)
    assert beats.size <= 10
    assert beats.rests_until(*write(0), now) is not None
    assert beats.rests_until(*write(1), now) is None
    beats.remember([], Instant(now + 60_000))
    assert beats.size == 0
