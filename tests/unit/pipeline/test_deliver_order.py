"""Delivering to an endpoint: everything arrives, once it is taken, in the order of its identity."""

import json
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idsync.model.plan import Committed, Plan
from idsync.pipeline.parts.feed import DeliverLimits
from idsync.pipeline.sending.endpoint import BatchPolicy
from idsync.policy.endpoint.breaker import BreakerPolicy
from idsync.policy.retry import RetryPolicy
from idsync.ports import Response, SendError
from tests.unit.pipeline.conftest import Door, open_door
from tests.unit.pipeline.posting import BAD, BUSY, NEVER_OPENS, PATIENT, Post, delivering, endpoint


class Endpoint:
    """A receiver of events: takes them, or not, as chance has it, and remembers whose it took in which order."""

    def __init__(self, chance: st.DataObject, poison: frozenset[str], *, is_choosy: bool = False) -> None:
        self._chance = chance
        self._ways = ["good", "good", "bad", "busy", "away", *(["some"] if is_choosy else [])]
        self._poison = poison
        self.taken: dict[str, list[str]] = defaultdict(list)

    def judge(self, post: Post, *, is_calm: bool) -> Response:
        """Answer a request; calm, it refuses nothing but poison."""
        bodies = json.loads(post.request.body)
        events = bodies if isinstance(bodies, list) else [bodies]
        how = "good" if is_calm else self._chance.draw(st.sampled_from(self._ways))
        if how in {"bad", "busy", "away"}:
            return {"bad": BAD, "busy": BUSY, "away": Response(error=SendError.CONNECT)}[how]
        if any(one["id"] in self._poison for one in events):
            return Response(status=422)
        failed = [one["id"] for one in events[1::2]] if how == "some" and len(events) > 1 else []
        for one in events:
            if one["id"] not in failed:
                self.taken[one["subject"]].append(one["id"])
        return Response(status=200, body=json.dumps({"failed": failed}).encode())


@settings(
    max_examples=20 + settings().max_examples // 10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    chance=st.data(),
    batch=st.sampled_from([None, BatchPolicy(events_max=4, linger_ms=0), BatchPolicy(events_max=16, linger_ms=50)]),
    concurrency=st.sampled_from([1, 3]),
    window_max=st.sampled_from([2, 100]),
    breaker=st.sampled_from([BreakerPolicy(failure_threshold=3, timeout_s=5.0), NEVER_OPENS]),
    is_choosy=st.booleans(),
)
async def test_everything_is_delivered_in_order_whatever_is_answered(
    chance: st.DataObject,
    batch: BatchPolicy | None,
    concurrency: int,
    window_max: int,
    breaker: BreakerPolicy,
    *,
    is_choosy: bool,
) -> None:
    """Failures, halved batches, a breaker, identities that spill and are read again: nothing is lost or overtaken."""
    to = endpoint(batch=batch, concurrency=concurrency, retry=PATIENT, breaker=breaker)
    receiver = Endpoint(chance, frozenset(), is_choosy=is_choosy)
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
    for subject, order in orders.items():
        # Only who takes a batch but for some of it is told the rest later.
        taken = sorted(receiver.taken[subject]) if is_choosy and batch is not None else receiver.taken[subject]
        assert taken == (sorted(order) if is_choosy and batch is not None else order)


@settings(max_examples=20 + settings().max_examples // 10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(poison=st.frozensets(st.integers(0, 19), max_size=4), seed=st.integers(0, 3))
async def test_only_what_fails_alone_is_parked_of_a_batch(poison: frozenset[int], seed: int) -> None:
    """Every other event of it is delivered at once, and each identity keeps its order."""
    refused = frozenset(f"e{number}" for number in poison)
    to = endpoint(batch=BatchPolicy(events_max=20, linger_ms=0), retry=PATIENT, breaker=NEVER_OPENS)
    subjects = {f"e{number}": f"order/{(number * (seed + 1)) % 7}" for number in range(20)}
    async with open_door() as door, delivering(door, to) as rig:
        await rig.take(*subjects.items())
        receiver = Endpoint(st.data(), refused)  # type: ignore[arg-type]  # calm, it draws nothing
        while rig.open:
            rig.open[0].answer(receiver.judge(rig.open[0], is_calm=True))
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


async def test_what_was_done_ahead_of_a_slow_one_is_not_done_again_by_the_next_owner(door: Door) -> None:
    """A lane's place stands before the slow one: what was delivered, parked or given up beyond it keeps its fate."""
    brief = endpoint(retry=RetryPolicy(jitter=0.0, attempts_max=2, age_max_s=1e9), breaker=NEVER_OPENS)
    async with delivering(door, brief) as rig:
        await rig.take(("slow", "order/0"), ("a1", "order/1"), ("a2", "order/1"), ("b1", "order/2"), ("c1", "order/3"))
        rig.post_of("b1").answer()
        rig.post_of("c1").answer(BAD)
        await rig.turn()
        await rig.pass_time(1)
        rig.post_of("c1").answer(BAD)
        rig.post_of("a1").answer(BAD)
        await rig.turn()
    async with delivering(door, brief) as rig:
        assert rig.sent == ["slow"]
        await rig.answer()
        await rig.pass_time(1)
        assert rig.sent == ["slow", "a1"]
        await rig.answer()
        await rig.answer()
        assert rig.sent == ["slow", "a1", "a2"]
        assert [one.number for one in await rig.attempts("a1")] == [1, 2]
        assert [one.event_id for one in await rig.parked()] == ["c1"]
    async with delivering(door, brief) as rig:
        assert rig.sent == []


async def test_what_comes_while_a_key_is_read_back_is_not_overtaken(door: Door) -> None:
    """The rows that it waited for are gone, ended by somebody else; those parked since are not written yet."""
    async with delivering(door, endpoint(retry=PATIENT, breaker=NEVER_OPENS)) as rig:
        await rig.take(("a1", "order/1"), ("a2", "order/1"))
        await rig.answer(BAD)
        (_, behind) = await rig.parked()
        ended = Plan(epoch=door.epoch, unparked=(behind.id,))
        assert isinstance(await door.store.commit(ended), Committed)
        await door.clock.advance(1)
        while await rig.deliverer.tick() == 0:
            await door.clock.settle()
        await door.clock.settle()
        rig.open[0].answer()
        await door.clock.settle()
        await rig.settler.flush()
        await door.take(door.event("a3", "order/1"))
        rig.deliverer.offer(door.queued[-1])
        await rig.deliverer.tick()
        await door.take(door.event("a4", "order/1"))
        rig.deliverer.offer(door.queued[-1])
        rig.offered = len(door.queued)
        await rig.turn()
        await rig.answer()
        await rig.answer()
        assert rig.sent == ["a1", "a1", "a3", "a4"]


async def test_live_is_sent_next_however_much_bulk_waits_at_a_slow_endpoint(door: Door) -> None:
    """Bulk fills its part of the memory and no more, so that what is live needs nobody's answer to come in."""
    names = [f"e{number}" for number in range(12)]
    async with delivering(door) as rig:
        await rig.take(*((name, f"order/{name}") for name in names))
        await rig.answer()
        await rig.answer()
    limits = DeliverLimits(memory_max=8, page_max=1)
    async with delivering(door, endpoint(concurrency=5), limits=limits) as rig:
        await rig.take_bulk(*names)
        bulk = rig.sent
        assert len(bulk) == 4
        await rig.take(("live", "order/live"), ("next", "order/next"))
        assert rig.sent == [*bulk, "live"]
        await rig.answer(count=1)
        assert rig.sent == [*bulk, "live", "next"]
        while rig.open:
            await rig.answer()
        assert sorted(rig.sent) == sorted([*names, "live", "next"])
