"""Delivering to an endpoint: everything arrives, once it is taken, in the order of its identity."""

import json
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from idsync.model.values import Instant
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.pipeline.sending.endpoint import BatchPolicy, DisablePolicy
from idsync.policy.endpoint.breaker import BreakerPolicy
from idsync.policy.endpoint.rate import RatePolicy
from idsync.policy.retry import RetryPolicy
from idsync.ports import DeliveryState, Response, SendError
from tests.unit.pipeline.conftest import Door, open_door
from tests.unit.pipeline.posting import GOOD, SECRET, Post, delivering, endpoint

BAD, BUSY, GONE = Response(status=500), Response(status=503), Response(status=410)
PATIENT = RetryPolicy(jitter=0.0, attempts_max=10_000, age_max_s=1e9)
NEVER_OPENS = BreakerPolicy(failure_threshold=10_000)

# --- Everything, in order, whatever happens


class Endpoint:
    """A receiver of events: takes them, or not, as chance has it, and remembers whose it took in which order."""

    def __init__(self, chance: st.DataObject, poison: frozenset[str]) -> None:
        self._chance = chance
        self._poison = poison
        self.taken: dict[str, list[str]] = defaultdict(list)

    def judge(self, post: Post, *, is_calm: bool) -> Response:
        """Answer a request; calm, it refuses nothing but poison."""
        bodies = json.loads(post.request.body)
        events = bodies if isinstance(bodies, list) else [bodies]
        how = "good" if is_calm else self._chance.draw(st.sampled_from(["good", "good", "some", "bad", "busy", "away"]))
        if how in {"bad", "busy", "away"}:
            return {"bad": BAD, "busy": BUSY, "away": Response(error=SendError.CONNECT)}[how]
        if any(one["id"] in self._poison for one in events):
            return Response(status=422)
        failed = [one["id"] for one in events[1::2]] if how == "some" and len(events) > 1 else []
        for one in events:
            if one["id"] not in failed:
                self.taken[one["subject"]].append(one["id"])
        return Response(status=200, body=json.dumps({"failed": failed}).encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    chance=st.data(),
    batch=st.sampled_from([None, BatchPolicy(events_max=4, linger_ms=0), BatchPolicy(events_max=16, linger_ms=50)]),
    concurrency=st.sampled_from([1, 3]),
    window_max=st.sampled_from([2, 100]),
    breaker=st.sampled_from([BreakerPolicy(failure_threshold=3, timeout_s=5.0), NEVER_OPENS]),
)
async def test_everything_is_delivered_in_order_whatever_is_answered(
    chance: st.DataObject,
    batch: BatchPolicy | None,
    concurrency: int,
    window_max: int,
    breaker: BreakerPolicy,
) -> None:
    """Failures, halved batches, a breaker, identities that spill and are read again: nothing is lost or overtaken."""
    to = endpoint(batch=batch, concurrency=concurrency, retry=PATIENT, breaker=breaker)
    receiver = Endpoint(chance, frozenset())
    orders: dict[str, list[str]] = defaultdict(list)
    async with open_door() as door, delivering(door, to, limits=DeliverLimits(window_max=window_max)) as rig:
        for number in range(chance.draw(st.integers(1, 25))):
            subject = f"order/{chance.draw(st.integers(1, 4))}"
            orders[subject].append(f"e{number}")
            await rig.take((f"e{number}", subject))
            for post in rig.open[: chance.draw(st.integers(0, 2))]:
                post.answer(receiver.judge(post, is_calm=False))
            if chance.draw(st.booleans()):
                await rig.pass_time(chance.draw(st.sampled_from([0.05, 2.0, 10.0])))
        for _ in range(120):
            for post in rig.open:
                post.answer(receiver.judge(post, is_calm=True))
            await rig.pass_time(61.0)
            if {one: len(set(found)) for one, found in receiver.taken.items()} == {
                one: len(found) for one, found in orders.items()
            }:
                break
        assert not await rig.parked()
        assert await rig.door.store.stats()
    for subject, order in orders.items():
        first = list(dict.fromkeys(receiver.taken[subject]))
        if batch is None:
            assert receiver.taken[subject] == order
        assert sorted(first) == sorted(order)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(poison=st.frozensets(st.integers(0, 19), max_size=4), seed=st.integers(0, 3))
async def test_only_what_fails_alone_is_parked_of_a_batch(poison: frozenset[int], seed: int) -> None:
    """Every other event of it is delivered at once, and each identity keeps its order."""
    refused = frozenset(f"e{number}" for number in poison)
    to = endpoint(batch=BatchPolicy(events_max=20, linger_ms=0), retry=PATIENT, breaker=NEVER_OPENS)
    subjects = {f"e{number}": f"order/{(number * (seed + 1)) % 7}" for number in range(20)}
    async with open_door() as door, delivering(door, to) as rig:
        await rig.take(*subjects.items())
        receiver = Endpoint(st.data(), refused)  # type: ignore[arg-type]  # calm, it draws nothing
        for _ in range(60):
            for post in rig.open[:1]:
                post.answer(receiver.judge(post, is_calm=True))
            await rig.turn()
        rows = {one.event_id: one for one in await rig.parked()}
        tried = {id_ for id_, row in rows.items() if row.attempts}
        assert tried <= refused
        for subject in set(subjects.values()):
            order = [id_ for id_, of in subjects.items() if of == subject]
            clean = [id_ for id_ in order if id_ not in refused]
            before = next((number for number, id_ in enumerate(order) if id_ in refused), len(order))
            assert receiver.taken[subject] == order[:before]
            assert set(clean) - set(order[:before]) <= rows.keys()


# --- The breaker


async def fail_five(door: Door) -> None:
    """Open the breaker of the endpoint, and leave."""
    async with delivering(door) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(5)))
        await rig.answer(BAD)
        assert (await rig.health()).breaker == "open"


async def test_five_identities_that_fail_open_it_and_nothing_is_sent_or_tried_meanwhile(door: Door) -> None:
    """What comes in the meantime stays queued: no attempt is burnt, nothing is parked."""
    async with delivering(door) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(5)))
        await rig.answer(BAD)
        await rig.take(("late", "order/late"))
        await rig.pass_time(59.0)
        assert len(rig.sender.posts) == 5
        assert [one.state for one in await rig.standing("late")] == [DeliveryState.QUEUED]
        assert [one.type for one in rig.told] == ["breaker.opened"]
        await rig.pass_time(1.0)
        assert len(rig.open) == 3, "so many probes at once"


async def test_breaker_that_closes_begins_with_one_request_then_two_then_four(door: Door) -> None:
    """Whoever just recovered is not buried under what waited."""
    async with delivering(door, endpoint(concurrency=64)) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(40)))
        await rig.answer(BAD)
        await rig.pass_time(60.0)
        await rig.answer(count=2)
        assert [one.type for one in rig.told] == ["breaker.opened", "breaker.closed"]
        await rig.answer()
        widths = []
        while rig.open:
            widths.append(len(rig.open))
            await rig.answer()
        assert widths[:4] == [2, 4, 8, 16]
        assert len({one for post in rig.sender.posts for one in post.ids}) == 40


async def test_probe_that_fails_opens_it_again_for_as_long(door: Door) -> None:
    """From the moment of that failure on."""
    await fail_five(door)
    async with delivering(door) as rig:
        await rig.pass_time(60.0)
        await rig.answer(BAD, count=1)
        opened = await rig.health()
        assert (opened.breaker, opened.retry_at) == ("open", Instant(door.clock.now() + 60_000))
        sent = len(rig.sender.posts)
        await rig.pass_time(59.0)
        assert len(rig.sender.posts) == sent


async def test_open_breaker_is_known_to_whoever_takes_over(door: Door) -> None:
    """A restart does not send to it again at once."""
    await fail_five(door)
    async with delivering(door) as rig:
        await rig.take(("late", "order/late"))
        await rig.pass_time(55.0)
        assert rig.sender.posts == []
        await rig.pass_time(5.0)
        assert rig.sender.posts


async def test_nobody_but_who_has_every_lane_probes(door: Door) -> None:
    """Another process would send its own probes, and its own rate."""
    await fail_five(door)
    async with delivering(door, is_whole=False) as rig:
        await rig.pass_time(1_000.0)
        assert rig.sender.posts == []
    async with delivering(door, endpoint(rate=RatePolicy()), is_whole=False) as rig:
        await rig.pass_time(1_000.0)
        assert rig.sender.posts == []


async def test_process_that_hears_of_an_open_breaker_stops_and_goes_on_when_it_closed(door: Door) -> None:
    """One opened it for all; one closes it for all."""
    async with delivering(door, is_whole=False) as rig:
        health = await rig.health()
        rig.deliverer.adopt_health(type(health)(breaker="open", opened_at=door.clock.now()))
        await rig.take(("e1", "order/1"))
        await rig.pass_time(1_000.0)
        assert rig.sender.posts == []
        rig.deliverer.adopt_health(health)
        await rig.turn()
        assert rig.sent == ["e1"]


async def test_one_identity_that_always_fails_opens_nothing(door: Door) -> None:
    """It is that event's fault."""
    async with delivering(door, endpoint(retry=PATIENT)) as rig:
        await rig.take(("bad", "order/bad"))
        for _ in range(10):
            await rig.answer(BAD)
            await rig.pass_time(10_000.0)
        await rig.take(("good", "order/good"))
        assert rig.open[-1].ids == ["good"]


# --- Asked to wait, gone, failing


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_endpoint_that_asks_to_wait_is_left_alone_as_a_whole(door: Door, status: int) -> None:
    """Not only the identity whose event it was; and then it begins with one request."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(4)))
        await rig.answer(Response(status=status, retry_after_s=30.0))
        await rig.pass_time(29.0)
        assert len(rig.sender.posts) == 1
        assert len(await rig.parked()) == 1
        await rig.pass_time(1.1)
        assert len(rig.open) == 1
        while rig.open:
            await rig.answer()
        assert sorted(set(rig.sent)) == ["e0", "e1", "e2", "e3"]


async def test_too_many_requests_is_no_failure_of_the_endpoint(door: Door) -> None:
    """It answers, and asks for less: the breaker stays closed."""
    async with delivering(door) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(9)))
        await rig.answer(Response(status=429, retry_after_s=1.0))
        assert (await rig.health()).breaker == "closed"


async def test_gone_endpoint_is_to_be_disabled_and_its_other_deliveries_stay(door: Door) -> None:
    """The one that was answered is dead; nothing more is sent; whoever starts again says so again."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"))
        await rig.answer(GONE)
        assert rig.disabled == [("audit", "gone")]
        assert [(one.type, json.loads(bytes(one.event.data))["reason"]) for one in rig.told if one.event] == [
            ("delivery.dead", "gone")
        ]
        assert [(one.state, one.reason) for one in await rig.standing("e1")] == [(DeliveryState.DEAD, "gone")]
        assert [one.state for one in await rig.standing("e2")] == [DeliveryState.QUEUED]
    async with delivering(door) as rig:
        await rig.pass_time(100_000.0)
        assert rig.sender.posts == []
        assert rig.disabled == [("audit", "gone")]


async def test_endpoint_that_was_enabled_again_is_sent_to_again(door: Door) -> None:
    """Also where the process that stopped still has its lanes."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"))
        health = await rig.health()
        await rig.answer(GONE)
        rig.deliverer.adopt_health(health)
        await rig.turn()
        assert rig.open[0].ids == ["e2"]


async def test_endpoint_is_disabled_only_when_it_failed_long_and_often(door: Door) -> None:
    """Neither alone is enough, and a success begins anew."""
    limits = DisablePolicy(after_s=100.0, failures_min=6)
    retry = RetryPolicy(first_s=1.0, factor=1.0, jitter=0.0, attempts_max=1_000)
    async with delivering(door, endpoint(retry=retry, disable=limits, breaker=NEVER_OPENS)) as rig:
        await rig.take(("e1", "order/1"))
        for _ in range(10):
            await rig.answer(BAD)
            await rig.pass_time(1.0)
        assert rig.disabled == [], "often, but not long"
        await rig.answer()
        await rig.take(("e2", "order/2"))
        for _ in range(3):
            await rig.answer(BAD)
            await rig.pass_time(200.0)
        assert rig.disabled == [], "long, but not often"
        for _ in range(3):
            await rig.answer(BAD)
            await rig.pass_time(1.0)
        assert rig.disabled == [("audit", "failing")]


async def test_success_at_the_last_moment_disables_nothing(door: Door) -> None:
    """Whatever came before it."""
    limits = DisablePolicy(after_s=1.0, failures_min=2)
    retry = RetryPolicy(first_s=1.0, factor=1.0, jitter=0.0)
    async with delivering(door, endpoint(retry=retry, disable=limits)) as rig:
        await rig.take(("e1", "order/1"))
        await rig.answer(BAD)
        await rig.pass_time(100.0)
        await rig.answer(GOOD)
        await rig.pass_time(100.0)
        assert rig.disabled == []
        assert (await rig.health()).failures == 0


@pytest.mark.parametrize(("status", "error"), [(301, "redirect"), (308, "redirect"), (404, "http_404")])
async def test_redirect_is_a_failure_of_its_own_name(door: Door, status: int, error: str) -> None:
    """It is followed nowhere."""
    async with delivering(door) as rig:
        await rig.take(("e1", "order/1"))
        await rig.answer(Response(status=status))
        assert [one.error for one in await rig.attempts("e1")] == [error]


async def test_nothing_is_told_of_an_operational_endpoint(door: Door) -> None:
    """Or what is told would be told of again, for ever."""
    async with delivering(door, endpoint(is_operational=True, retry=RetryPolicy(attempts_max=1))) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(5)))
        await rig.answer(BAD)
        assert len(await rig.parked()) == 5
        assert rig.told == []


# --- A time, a rate, a level, no order


async def test_delivery_waits_until_its_time_and_what_follows_waits_behind_it(door: Door) -> None:
    """It is parked without an attempt; others are not held up."""
    async with delivering(door) as rig:
        at = Instant(door.clock.now() + 60_000)
        await rig.take(("e1", "order/1"), not_before=at)
        await rig.take(("e2", "order/1"), ("e3", "order/2"))
        assert rig.sent == ["e3"]
        rows = {one.event_id: (one.reason, one.retry_at, one.attempts) for one in await rig.parked()}
        assert rows == {"e1": ("not_before", at, 0), "e2": ("behind", None, 0)}
    async with delivering(door) as rig:
        await rig.pass_time(60.0)
        assert rig.sent == ["e3", "e1"]
        await rig.answer()
        assert rig.sent == ["e3", "e1", "e2"]


async def test_time_of_a_delivery_is_kept_while_it_is_behind_another(door: Door) -> None:
    """It was parked for that, and comes back before its own time."""
    async with delivering(door) as rig:
        at = Instant(door.clock.now() + 60_000)
        await rig.take(("e1", "order/1"))
        await rig.take(("e2", "order/1"), not_before=at)
        await rig.answer(BAD)
        await rig.pass_time(2.0)
        await rig.answer()
        await rig.pass_time(10.0)
        assert rig.sent == ["e1", "e1"]
        await rig.pass_time(60.0)
        assert rig.sent == ["e1", "e1", "e2"]


async def test_limited_endpoint_gets_no_more_than_its_rate(door: Door) -> None:
    """From an empty bucket on, so that a take-over grants nothing twice."""
    async with delivering(door, endpoint(rate=RatePolicy(requests_per_second=10.0, burst=2))) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(50)))
        counts = []
        for _ in range(10):
            await rig.pass_time(0.1)
            counts.append(len(rig.sender.posts))
            await rig.answer()
        assert counts == list(range(1, 11))
        await rig.pass_time(60.0)
        assert len(rig.sender.posts) == 12


async def test_without_order_one_that_fails_holds_up_nobody(door: Door) -> None:
    """Each delivery is by itself, also after a restart."""
    async with delivering(door, endpoint(is_ordered=False)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/1"), ("e3", "order/1"))
        assert len(rig.open) == 3
        await rig.answer(BAD, count=1)
        await rig.answer()
        assert [one.event_id for one in await rig.parked()] == ["e1"]
    async with delivering(door, endpoint(is_ordered=False)) as rig:
        await rig.pass_time(2.0)
        assert rig.sent == ["e1"]
        await rig.answer()
        assert await rig.parked() == []


async def test_what_is_live_goes_first_and_one_in_eight_is_bulk(door: Door) -> None:
    """Whatever is queued first."""
    async with delivering(door, endpoint(concurrency=1)) as rig:
        old = [f"old{number}" for number in range(4)]
        await rig.take(*((one, f"order/{one}") for one in old))
        for _ in old:
            await rig.answer()
        await rig.take(("first", "order/first"))
        await rig.take_bulk(*old)
        await rig.take(*((f"new{number}", f"order/new{number}") for number in range(20)))
        begin = len(rig.sent)
        while rig.open:
            await rig.answer()
        levels = ["old" if one.startswith("old") else "new" for one in rig.sent[begin:]]
        assert levels.count("old") == 4
        assert [number for number, one in enumerate(levels) if one == "old"][:2] == [7, 15]


async def test_identity_is_serial_across_levels(door: Door) -> None:
    """What is sent again waits for what is under way of it."""
    async with delivering(door) as rig:
        await rig.take(("e1", "order/1"))
        await rig.take_bulk("e1")
        assert len(rig.open) == 1
        await rig.answer()
        assert [one.ids for one in rig.open] == [["e1"]]


# --- Batches

BATCH = BatchPolicy(events_max=3, linger_ms=100)


async def test_batch_is_an_array_signed_as_the_official_library_signs(door: Door) -> None:
    """Signed like one body, under an id that is the same when it is sent again."""
    async with delivering(door, endpoint(batch=BATCH)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"), ("e3", "order/1"))
        (post,) = rig.open
        signed_at = datetime.fromtimestamp(int(post.header("webhook-timestamp")), tz=UTC)
        signature = Webhook(SECRET).sign(post.header("webhook-id"), signed_at, post.request.body.decode())
        assert post.header("webhook-signature") == signature
        assert sorted(post.ids) == ["e1", "e2", "e3"]
        await rig.answer(Response(error=SendError.TIMEOUT))
        await rig.pass_time(2.0)
        (again,) = rig.open
        assert again.header("webhook-id") == post.header("webhook-id")
        await rig.answer()
        assert [one.outcome for one in await rig.attempts("e2")] == ["delivered"]


async def test_batch_that_is_not_full_waits_a_little(door: Door) -> None:
    """And goes when it is full."""
    async with delivering(door, endpoint(batch=BATCH)) as rig:
        await rig.take(("e1", "order/1"))
        await rig.take(("e2", "order/2"))
        assert rig.open == []
        await rig.pass_time(0.1)
        assert [sorted(one.ids) for one in rig.open] == [["e1", "e2"]]
        await rig.take(*((f"f{number}", f"order/f{number}") for number in range(3)))
        assert len(rig.open) == 2


async def test_batch_is_no_larger_than_its_bounds(door: Door) -> None:
    """Neither in events nor in bytes; one event that is larger goes alone."""
    policy = BatchPolicy(events_max=4, bytes_max=1_024, linger_ms=0)
    async with delivering(door, endpoint(batch=policy)) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(40)))
        assert all(len(one.request.body) <= 1_024 and len(one.ids) <= 4 for one in rig.sender.posts)
        while rig.open:
            await rig.answer()
            await rig.pass_time(0.1)
        assert len(set(rig.sent)) == len(rig.sent) == 40


async def test_answer_that_names_events_settles_the_others(door: Door) -> None:
    """Those that it names are tried again, and what follows them of their identity waits."""
    async with delivering(door, endpoint(batch=BatchPolicy(events_max=4, linger_ms=0))) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"), ("e3", "order/2"), ("e4", "order/3"))
        await rig.answer(Response(status=207, body=b'{"failed": ["e2", "unknown"]}'))
        assert [one.event_id for one in await rig.parked()] == ["e2"]
        assert [(one.outcome, one.error) for one in await rig.attempts("e2")] == [("failed", "failed_in_batch")]
        assert [one.outcome for one in await rig.attempts("e3")] == ["delivered"]
        await rig.pass_time(2.0)
        assert [one.ids for one in rig.open] == [["e2"]]


@pytest.mark.parametrize(
    ("status", "body", "is_taken"),
    [
        (200, b"", True),
        (200, b"thanks", True),
        (200, b'{"failed": []}', True),
        (200, b'{"failed": 0}', True),
        (207, b'{"ok": true}', True),
        (200, b'{"failed": ["e1", "e', False),
        (207, b"<multistatus/>", False),
        (200, b'{"failed": 3}', False),
    ],
)
async def test_answer_that_cannot_be_read_takes_nothing(
    door: Door, status: int, body: bytes, *, is_taken: bool
) -> None:
    """A list that was cut off might name any of them."""
    async with delivering(door, endpoint(batch=BATCH)) as rig:
        await rig.take(("e1", "order/1"), ("e2", "order/2"), ("e3", "order/3"))
        await rig.answer(Response(status=status, body=body))
        assert (rig.open == []) is is_taken


async def test_dead_endpoint_is_not_sent_halves(door: Door) -> None:
    """Where nobody judged the events, the same batch is sent again, and its events stay queued."""
    async with delivering(door, endpoint(batch=BatchPolicy(events_max=8, linger_ms=0))) as rig:
        await rig.take(*((f"e{number}", f"order/{number}") for number in range(8)))
        for _ in range(4):
            await rig.answer(BUSY)
            await rig.pass_time(61.0)
        assert {len(one.ids) for one in rig.sender.posts} == {8}
        assert await rig.parked() == []
        assert [one.type for one in rig.told] == ["breaker.opened"]


async def test_deliverer_says_when_it_must_be_begun_anew(door: Door) -> None:
    """Its keys do not fit another order; anything else it follows at once."""
    async with delivering(door) as rig:
        rig.deliverer.adopt(endpoint(concurrency=1, url="https://elsewhere.example/"))
        await rig.take(("e1", "order/1"), ("e2", "order/2"))
        assert [one.request.url for one in rig.open] == ["https://elsewhere.example/"]
        assert not rig.deliverer.is_outdated
        rig.deliverer.adopt(endpoint(is_ordered=False))
        assert rig.deliverer.is_outdated
