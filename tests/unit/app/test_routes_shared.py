"""Several processes on one PostgreSQL: what is taken in after an endpoint was changed goes where the change says.

The other process never looks by itself here: only what ingest is told by the store brings it in line.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from idsync.app import App
from idsync.app.endpoints import Created, Endpoints
from idsync.errors import StoreBusy
from idsync.model.event import Arrival, Observation, Op
from idsync.model.plan import REVISION, CommitResult, Plan
from idsync.model.values import ExternalId, Instant, PeerName
from idsync.pipeline.parts.health import HEALTH_REVISION
from idsync.pipeline.parts.looks import arrival_of
from idsync.stores.postgres import PostgresStore
from tests.unit.app.conftest import Running, definition, event

NOWHERE = "http://127.0.0.1:9/hook"
ROUNDS = 10

Change = Callable[[App], Awaitable[object]]


@pytest.fixture(autouse=True)
def _nobody_looks_by_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rest(_: Endpoints) -> float:
        return 3_600.0

    monkeypatch.setattr(Endpoints, "tick", rest)


async def queued_for(app: App, arrival: Arrival) -> set[str]:
    """Take in an event and say whom it was queued for."""
    await app.submit([arrival])
    (seq,) = [one.seq for one in await app.store.recent(0, 1_000) if one.row.id == arrival.id]
    return {one.destination for one in await app.store.deliveries(seq)}


def seen(number: int) -> Arrival:
    """What a peer tells of a user: an event of an entity follows from it."""
    observation = Observation(
        peer=PeerName("auth"),
        kind="user",
        external_id=ExternalId(f"u{number}"),
        op=Op.CREATED,
        fields={"name": f"User {number}"},
        event_at=Instant(1),
        received_at=Instant(1),
        event_id=f"seen_{number}",
    )
    return arrival_of(observation)


STEPS: list[tuple[str, Change, bool]] = [
    ("another filter", lambda app: app.endpoints.change("audit", {"events": ["session.*"]}), False),
    ("the filter again", lambda app: app.endpoints.change("audit", {"events": ["order.*", "user.*"]}), True),
    ("disabled", lambda app: app.endpoints.disable("audit"), False),
    ("enabled", lambda app: app.endpoints.enable("audit"), True),
    ("another priority", lambda app: app.endpoints.change("audit", {"priority": "bulk"}), True),
    ("removed", lambda app: app.endpoints.remove("audit"), False),
]
"""What is done to an endpoint, and whether it gets an order's event after that."""


@pytest.mark.parametrize("has_duties", [True, False], ids=["up", "serve"])
async def test_event_taken_in_after_a_change_in_another_process_goes_where_it_says(
    running: Running, postgres_url: str, *, has_duties: bool
) -> None:
    """Made, another filter, disabled, enabled, removed: every time, from the answer on."""
    async with running(postgres_url) as one, running(postgres_url, has_duties=has_duties) as other:
        for turn in range(ROUNDS):
            name, expected = f"a{turn}", {f"endpoint:a{number}" for number in range(turn + 1)}
            assert isinstance(await one.endpoints.create(name, definition(NOWHERE)), Created)
            assert await queued_for(other, seen(turn) if turn % 2 else event(turn)) == expected
        number = ROUNDS
        for turn in range(ROUNDS):
            await one.endpoints.remove(f"a{turn}")
        await one.endpoints.create("audit", definition(NOWHERE))
        for what, change, is_queued in STEPS:
            number += 1
            await change(one)
            for take in (event, seen) if number % 2 else (seen, event):
                assert await queued_for(other, take(number)) == ({"endpoint:audit"} if is_queued else set()), what


async def test_without_the_comparison_the_event_goes_where_it_went_before(
    running: Running, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what the others say is not said in vain."""
    commit = PostgresStore.commit

    async def commit_blindly(store: PostgresStore, plan: Plan) -> CommitResult:
        return await commit(store, msgspec.structs.replace(plan, routes=None))

    monkeypatch.setattr(PostgresStore, "commit", commit_blindly)
    async with running(postgres_url) as one, running(postgres_url) as other:
        await one.endpoints.create("audit", definition(NOWHERE))
        assert await queued_for(other, event(1)) == set()


async def test_events_flow_while_endpoints_are_made_in_both_processes(running: Running, postgres_url: str) -> None:
    """However many changes follow one another, every event is taken in, and goes to whoever was there before it."""
    async with running(postgres_url) as one, running(postgres_url) as other:
        made, is_over, taken = set[str](), False, list[tuple[int, set[str]]]()

        async def make(app: App, side: str) -> None:
            for number in range(8):
                name = f"{side}{number}"
                assert isinstance(await app.endpoints.create(name, definition(NOWHERE)), Created)
                made.add(f"endpoint:{name}")

        async def publish(app: App, side: int) -> None:
            number = side
            while not is_over:
                number += 10
                expected = set(made)
                await app.submit([event(number)])
                taken.append((number, expected))

        publishing = [asyncio.ensure_future(publish(app, side)) for side, app in enumerate((one, other) * 2)]
        await asyncio.gather(make(one, "a"), make(other, "b"), make(other, "c"))
        is_over = True
        await asyncio.gather(*publishing)
        seqs = {entry.row.id: entry.seq for entry in await one.store.recent(0, 100_000)}
        for number, expected in taken:
            there = {record.destination for record in await one.store.deliveries(seqs[f"evt_{number}"])}
            assert there >= expected
    assert len(taken) > 20


async def test_health_of_an_endpoint_is_no_reason_to_look(
    running: Running, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often breakers open and close, what comes in goes where it went."""
    async with running(postgres_url) as app:
        await app.endpoints.create("audit", definition(NOWHERE))
        monkeypatch.setattr(app.ingest, "_catch_up", _look_in_vain)
        await app.store.put_setting(HEALTH_REVISION, b"moved")
        assert await queued_for(app, event(1)) == {"endpoint:audit"}


async def test_where_one_process_owns_the_store_nothing_is_compared(
    running: Running, tmp_path: Path, postgres_url: str
) -> None:
    """Nobody else changes an endpoint there; elsewhere what is compared is what was read with the endpoints."""
    async with running(f"sqlite:///{tmp_path}/idsync.db") as alone, running(postgres_url) as app:
        for one in (alone, app):
            await one.endpoints.create("audit", definition(NOWHERE))
        assert alone.ingest.routes.revision is None
        assert app.ingest.routes.revision == await app.store.setting(REVISION) is not None


async def _look_in_vain() -> None:
    raise AssertionError("nobody changed an endpoint")


async def test_process_that_cannot_follow_takes_nothing_in_until_it_can(
    running: Running, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than to lose an event for an endpoint, it lets the sender come again."""
    async with running(postgres_url) as one, running(postgres_url) as other:
        open_, is_away = other.store.open, True

        async def open_or_fail(*given: object) -> object:
            if is_away:
                raise StoreBusy("the store is away")
            return await open_(*given)  # type: ignore[arg-type]  # passed on as it is

        monkeypatch.setattr(other.store, "open", open_or_fail)
        await one.endpoints.create("audit", definition(NOWHERE))
        with pytest.raises(StoreBusy):
            await other.submit([event(1)])
        is_away = False
        assert await queued_for(other, event(1)) == {"endpoint:audit"}
