"""Replays: what they queue, how fast, and what a crash, a disabled endpoint or an impatient operator changes."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from idsync.app.replays import (
    RUNNING_MAX,
    Count,
    NoSuchEndpoint,
    NoSuchReplay,
    Replay,
    TooMany,
    Unusable,
)
from idsync.errors import LeaseLost
from idsync.model.delivery import Outcome
from idsync.model.replay import ReplayRequest, ReplayState, ReplayStatus, Span
from idsync.model.values import Instant, Subject
from idsync.pipeline.replay import KEPT_MAX, PAGE_MAX, Replayer
from idsync.policy.replay import SLACK_MS
from idsync.testing.clock import START, FakeClock
from tests.unit.pipeline.replaying import ALWAYS, DISABLED, Rig, open_rig

MISSED = ReplayRequest(endpoint="audit", status=ReplayStatus.MISSED, rate_per_s=10_000)
ALL = ReplayRequest(endpoint="audit", status=ReplayStatus.ALL, rate_per_s=10_000)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A store without events, and an endpoint that was disabled until now."""
    opened = await open_rig()
    yield opened
    await opened.store.close()


def clock_of(rig: Rig) -> FakeClock:
    """The clock that a test moves."""
    assert isinstance(rig.clock, FakeClock)
    return rig.clock


async def run(rig: Rig, replayer: Replayer | None = None, ticks: int = 50) -> None:
    """Let time pass, a tenth of a second for each tick."""
    replayer = replayer or rig.replayer()
    await replayer.tick()
    for _ in range(ticks):
        await clock_of(rig).advance(0.1)
        await replayer.tick()


async def test_what_was_missed_while_disabled_is_queued_in_order(rig: Rig) -> None:
    """Events of a disabled endpoint are never gone (Outpost #611): each comes once, oldest first, over every page."""
    await rig.accept(PAGE_MAX + 50)
    replay = await rig.begin(MISSED)
    await run(rig)
    assert await rig.queued() == [f"e{number}" for number in range(1, PAGE_MAX + 51)]
    assert [(one.event, one.event_id, one.body) for one in rig.offered[:2]] == [
        (1, "e1", b'{"n":1}'),
        (2, "e2", b'{"n":2}'),
    ]
    ended = await rig.show(replay)
    assert (ended.state, ended.progress.queued, ended.progress.looked_at) == (ReplayState.DONE, 250, 250)


async def test_dry_run_counts_and_writes_nothing(rig: Rig) -> None:
    """What it says is what the replay then queues."""
    await rig.accept(PAGE_MAX + 50)
    count = await rig.replays.plan(MISSED)
    assert isinstance(count, Count)
    assert (count.events, count.is_complete, count.looked_at) == (250, True, 250)
    assert (count.oldest_at, count.newest_at) == (START - 60_000, START - 60_000 + 249)
    assert (await rig.replays.list(), await rig.queued()) == ([], [])


async def test_dry_run_of_nothing_has_no_oldest(rig: Rig) -> None:
    """An empty window is no fault."""
    assert await rig.replays.plan(MISSED) == Count()


async def test_event_that_was_queued_close_to_the_change_is_not_sent_twice(rig: Rig) -> None:
    """Around the moment of enabling, what became of the event decides, not the clock."""
    queued, missed = await rig.accept(2, at=START - 100)
    await rig.deliver(queued, Outcome.DELIVERED)
    await rig.begin(MISSED)
    await run(rig)
    assert await rig.queued() == [f"e{missed}"]


async def test_event_a_slow_process_did_not_queue_right_after_enabling_is_missed(rig: Rig) -> None:
    """It came in after the replay was asked for, at a process that had not heard that the endpoint is enabled."""
    await rig.begin(MISSED)
    await rig.accept(1, at=START + SLACK_MS // 2)
    await run(rig)
    assert await rig.queued() == ["e1"]


async def test_second_replay_of_what_was_missed_finds_nothing_more(rig: Rig) -> None:
    """What the first has queued is under way or delivered."""
    await rig.accept(3)
    await rig.begin(MISSED)
    await run(rig)
    second = await rig.begin(MISSED)
    await run(rig)
    assert await rig.queued() == ["e1", "e2", "e3"]
    assert (await rig.show(second)).progress.under_way == 3


async def test_second_replay_of_all_queues_each_once_more(rig: Rig) -> None:
    """An operator who asks again is not silently ignored (Outpost #670)."""
    rig.past["audit"] = ALWAYS
    await rig.accept(3)
    for _ in range(2):
        await rig.begin(ALL)
        await run(rig)
    assert await rig.queued() == ["e1", "e2", "e3"] * 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ReplayStatus.ALL, ["e1", "e2", "e3", "e4", "e5"]),
        (ReplayStatus.FAILED, ["e2"]),
        (ReplayStatus.UNDELIVERED, ["e2", "e4"]),
        (ReplayStatus.MISSED, []),
    ],
)
async def test_status_chooses_by_what_became_of_each_event(rig: Rig, status: ReplayStatus, expected: list[str]) -> None:
    """Nothing that comes anyway is doubled, as Svix doubles what is still within its schedule of retries."""
    rig.past["audit"] = ALWAYS
    delivered, dead, queued, skipped, _forgotten = await rig.accept(5)
    await rig.deliver(delivered, Outcome.DELIVERED)
    await rig.deliver(dead, Outcome.FAILED)
    await rig.deliver(skipped, Outcome.SKIPPED)
    await rig.deliver(queued, None)
    replay = await rig.begin(msgspec.structs.replace(ALL, status=status))
    await run(rig)
    assert await rig.queued() == expected
    looked_up = status in {ReplayStatus.FAILED, ReplayStatus.UNDELIVERED}
    assert (await rig.show(replay)).progress.under_way == (1 if looked_up else 0)


async def test_event_that_was_dead_and_then_delivered_is_not_failed(rig: Rig) -> None:
    """All deliveries of an event at the endpoint count together; those at others do not."""
    rig.past["audit"] = ALWAYS
    (seq,) = await rig.accept(1)
    await rig.deliver(seq, Outcome.FAILED, destination="endpoint:other")
    await rig.begin(msgspec.structs.replace(ALL, status=ReplayStatus.FAILED))
    await run(rig)
    assert await rig.queued() == []
    await rig.deliver(seq, Outcome.FAILED)
    await rig.deliver(seq, Outcome.DELIVERED)
    await rig.begin(msgspec.structs.replace(ALL, status=ReplayStatus.FAILED))
    await run(rig)
    assert await rig.queued() == []


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({"since": Instant(START - 60_000 + 3)}, ["e4", "e5"]),
        ({"until": Instant(START - 60_000 + 2)}, ["e1", "e2"]),
        ({"after": 3}, ["e4", "e5"]),
        ({"through": 2}, ["e1", "e2"]),
        ({"subject": Subject("user/3")}, ["e3"]),
        ({"types": ("order.*",)}, []),
        ({"types": ("order.*", "user.updated")}, ["e1", "e2", "e3", "e4", "e5"]),
    ],
)
async def test_window_type_and_subject_narrow(rig: Rig, narrowed: dict[str, object], expected: list[str]) -> None:
    """The first instant and the last sequence belong to the window, the last instant and the first sequence do not."""
    await rig.accept(5)
    request = msgspec.structs.replace(MISSED, **narrowed)
    count = await rig.replays.plan(request)
    assert isinstance(count, Count)
    assert count.events == len(expected)
    await rig.begin(request)
    await run(rig)
    assert await rig.queued() == expected


async def test_new_endpoint_gets_the_history_where_that_is_asked(rig: Rig) -> None:
    """Also what was never queued for anybody can be sent (Convoy #660)."""
    rig.past["audit"] = (Span(since=START),)
    await rig.accept(3)
    assert await rig.replays.plan(ALL) == Count(looked_at=3)
    await rig.begin(msgspec.structs.replace(ALL, include_before_creation=True))
    await run(rig)
    assert await rig.queued() == ["e1", "e2", "e3"]


async def test_events_that_come_in_meanwhile_are_not_of_the_window(rig: Rig) -> None:
    """They are delivered as they come: a replay has an end."""
    rig.past["audit"] = ALWAYS
    await rig.accept(1)
    replay = await rig.begin(ALL)
    await rig.accept(1, first=2, at=START + 1)
    await run(rig)
    assert await rig.queued() == ["e1"]
    assert (await rig.show(replay)).state is ReplayState.DONE


async def test_rate_bounds_what_is_queued_in_any_second(rig: Rig) -> None:
    """Empty at the beginning and one second's worth at most: no take-over or pause makes a burst."""
    await rig.accept(300)
    await rig.begin(msgspec.structs.replace(MISSED, rate_per_s=50))
    replayer = rig.replayer()
    counts = [0]
    for _ in range(80):
        await replayer.tick()
        await clock_of(rig).advance(0.1)
        counts.append(len(rig.offered))
    assert counts[1] == 0
    assert max(later - earlier for earlier, later in zip(counts, counts[10:], strict=False)) <= 50 + 1
    assert counts[40] >= 150
    await clock_of(rig).advance(60)
    await replayer.tick()
    assert len(rig.offered) == 300
    assert len(set(await rig.queued())) == 300


async def test_replay_waits_while_its_endpoint_is_disabled(rig: Rig) -> None:
    """It says so, and goes on when the endpoint is enabled."""
    await rig.accept(3)
    rig.past["audit"] = (Span(since=Instant(0), is_enabled=False),)
    replay = await rig.begin(MISSED)
    await run(rig)
    assert (await rig.show(replay)).state is ReplayState.PAUSED
    assert await rig.queued() == []
    rig.past["audit"] = DISABLED
    await run(rig)
    assert (await rig.show(replay)).state is ReplayState.DONE
    assert await rig.queued() == ["e1", "e2", "e3"]


@pytest.mark.parametrize("past", [(), (Span(since=Instant(START + 1)),)])
async def test_replay_stops_where_its_endpoint_is_removed(rig: Rig, past: tuple[Span, ...]) -> None:
    """Also where another one was made under its name."""
    await rig.accept(3)
    replay = await rig.begin(MISSED)
    rig.past["audit"] = past
    await run(rig, ticks=1)
    assert (await rig.show(replay)).state is ReplayState.STOPPED
    assert await rig.queued() == []


async def test_cancelled_replay_queues_nothing_more(rig: Rig) -> None:
    """What it had queued stays; cancelling again changes nothing."""
    await rig.accept(PAGE_MAX * 2)
    replay = await rig.begin(MISSED)
    replayer = rig.replayer()
    await replayer.tick()
    await clock_of(rig).advance(1.0)
    await replayer.tick()
    cancelled = await rig.replays.cancel(replay.job.id)
    assert isinstance(cancelled, Replay)
    assert (cancelled.state, cancelled.progress.queued) == (ReplayState.CANCELLED, PAGE_MAX)
    await run(rig, replayer)
    assert len(await rig.queued()) == PAGE_MAX
    again = await rig.replays.cancel(replay.job.id)
    assert isinstance(again, Replay)
    assert (again.state, again.job) == (ReplayState.CANCELLED, cancelled.job)


async def test_end_of_a_replay_is_announced_once(rig: Rig) -> None:
    """An operator's endpoint hears how it ended."""
    await rig.accept(3)
    replay = await rig.begin(MISSED)
    await run(rig)
    (event,) = await rig.announced()
    assert (event.type, event.subject) == ("replay.finished", f"replay/{replay.job.id}")
    assert msgspec.json.decode(event.data) == {
        "replay": replay.job.id,
        "endpoint": "audit",
        "status": "missed",
        "state": "done",
        "queued": 3,
        "looked_at": 3,
    }


async def test_several_replays_take_turns(rig: Rig) -> None:
    """A long one does not keep a short one waiting."""
    rig.past["audit"] = ALWAYS
    await rig.accept(PAGE_MAX * 3)
    await rig.begin(ALL)
    short = await rig.begin(msgspec.structs.replace(ALL, through=2))
    replayer = rig.replayer()
    await replayer.tick()
    await clock_of(rig).advance(1.0)
    await replayer.tick()
    assert (await rig.show(short)).progress.queued == 2
    assert len(rig.offered) == PAGE_MAX + 2


async def test_body_of_an_erased_identity_is_not_sent_again(rig: Rig) -> None:
    """There is nothing left to send."""
    await rig.accept(1, body=b"")
    assert await rig.replays.plan(MISSED) == Count(looked_at=1)


async def test_only_the_newest_of_the_ended_replays_are_kept(rig: Rig) -> None:
    """Their documents are few and small."""
    ids = []
    for _ in range(KEPT_MAX // RUNNING_MAX + 1):
        ids += [(await rig.begin(MISSED)).job.id for _ in range(RUNNING_MAX)]
        await run(rig)
    kept = [one.job.id for one in await rig.replays.list()]
    assert kept == ids[: -KEPT_MAX - 1 : -1]
    assert await rig.replays.get(ids[0]) == NoSuchReplay(ids[0])
    assert await rig.replays.cancel(ids[0]) == NoSuchReplay(ids[0])


async def test_more_than_so_many_at_a_time_are_refused(rig: Rig) -> None:
    """The duty has a bounded round."""
    for _ in range(RUNNING_MAX):
        await rig.begin(MISSED)
    assert await rig.replays.start(MISSED) == TooMany(RUNNING_MAX)


async def test_replay_of_no_endpoint_is_refused(rig: Rig) -> None:
    """Both as a dry run and in earnest."""
    request = msgspec.structs.replace(MISSED, endpoint="nobody")
    assert await rig.replays.plan(request) == NoSuchEndpoint("nobody")
    assert await rig.replays.start(request) == NoSuchEndpoint("nobody")


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"types": ()}, "types"),
        ({"rate_per_s": 0.0}, "rate_per_s"),
        ({"rate_per_s": float("nan")}, "rate_per_s"),
        ({"rate_per_s": 1e9}, "rate_per_s"),
        ({"since": Instant(5), "until": Instant(5)}, "until"),
        ({"after": 5, "through": 5}, "through"),
    ],
)
async def test_unusable_request_is_refused_with_its_field(rig: Rig, broken: dict[str, object], field: str) -> None:
    """Both as a dry run and in earnest."""
    request = msgspec.structs.replace(MISSED, **broken)
    refused = await rig.replays.start(request)
    assert isinstance(refused, Unusable)
    assert [one.partition(":")[0] for one in refused.problems] == [field]
    assert await rig.replays.plan(request) == refused


async def test_replay_of_a_lost_lease_writes_nothing(rig: Rig) -> None:
    """A process that stood still while another took the duty over queues nothing twice."""
    await rig.accept(3)
    await rig.begin(MISSED)
    replayer = rig.replayer()
    await replayer.tick()
    await clock_of(rig).advance(1.0)
    replayer._tenure.fences["replay"] = 7
    with pytest.raises(LeaseLost):
        await replayer.tick()
    assert await rig.queued() == []
