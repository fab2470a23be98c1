"""Several processes on one PostgreSQL: each sees what the others change, and none loses another's change."""

import asyncio

import pytest

from idsync.app import App
from idsync.app.endpoints import Changed, Created, DisabledReason, EndpointState, Removed
from idsync.app.endpoints.service import LOOK_S
from idsync.errors import StoreError
from idsync.testing.sink import open_sink
from idsync.testing.wait import until
from tests.unit.app.conftest import Running, definition, event

NOWHERE = "http://127.0.0.1:9/hook"


def routes_to(app: App, type_: str = "order.paid") -> set[str]:
    """Whom a process would queue a type for."""
    return set(app.ingest.routes.endpoints_for(type_))


async def test_other_process_follows_every_change_within_a_second(running: Running, postgres_url: str) -> None:
    """Made, changed, disabled, enabled, removed: at its next look, what it takes in goes where it is to go."""
    assert LOOK_S <= 0.5
    async with running(postgres_url) as one, running(postgres_url) as other:

        async def follows(expected: set[str]) -> None:
            await until(lambda: routes_to(other) == expected)

        assert isinstance(await one.endpoints.create("audit", definition(NOWHERE)), Created)
        await follows({"endpoint:audit"})
        await one.endpoints.change("audit", {"events": ["user.*"]})
        await follows(set())
        await one.endpoints.change("audit", {"events": ["order.*"]})
        await follows({"endpoint:audit"})
        await one.endpoints.disable("audit", DisabledReason.FAILING)
        await follows(set())
        await one.endpoints.enable("audit")
        await follows({"endpoint:audit"})
        assert await one.endpoints.remove("audit") == Removed("audit")
        await follows(set())
        assert await other.endpoints.list() == []


async def test_change_that_could_not_be_followed_is_followed_at_the_next_look(
    running: Running, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away just when the lanes of an endpoint that another process made are to be opened."""
    async with running(postgres_url) as one, running(postgres_url) as other:
        follow, failures = other.endpoints._on_change, list[frozenset[str]]()

        async def follow_or_fail(changed: frozenset[str]) -> None:
            if not failures:
                failures.append(changed)
                raise StoreError("the store is away")
            await follow(changed)

        monkeypatch.setattr(other.endpoints, "_on_change", follow_or_fail)
        await one.endpoints.create("audit", definition(NOWHERE))
        await until(lambda: routes_to(other) == {"endpoint:audit"})
    assert failures == [frozenset({"audit"})]


async def test_endpoint_made_in_one_process_is_delivered_to_by_another(running: Running, postgres_url: str) -> None:
    """One that only takes requests makes it; one that only works sends, though it was started before."""
    async with (
        open_sink() as sink,
        open_sink() as moved,
        running(postgres_url) as worker,
        running(postgres_url, has_duties=False) as server,
    ):
        await server.endpoints.create("audit", definition(sink.url))
        await server.submit([event(1)])
        await sink.received(1)
        await server.endpoints.change("audit", {"url": moved.url})
        await until(lambda: worker.endpoints.wired("audit").url == moved.url)  # type: ignore[union-attr]  # it is there
        await server.submit([event(2)])
        await moved.received(1)
        await server.endpoints.disable("audit")
        await until(lambda: not worker.deliverers)
        await server.endpoints.enable("audit")
        await server.submit([event(3)])
        await moved.received(2)


async def test_no_process_loses_the_change_of_another(running: Running, postgres_url: str) -> None:
    """Two change different fields at once, many times: every change is there, and each has a rev of its own."""
    async with running(postgres_url) as one, running(postgres_url) as other:
        await one.endpoints.create("audit", definition(NOWHERE))

        async def change(app: App, side: str) -> None:
            for number in range(20):
                after = await app.endpoints.change("audit", {"headers": {f"x-{side}-{number}": "1"}})
                assert isinstance(after, EndpointState)

        await asyncio.gather(change(one, "a"), change(other, "b"))
        state = await one.endpoints.get("audit")
        assert isinstance(state, EndpointState)
        assert (state.rev, len(state.settings.headers)) == (41, 40)


async def test_of_two_that_have_read_the_same_only_one_changes_it(running: Running, postgres_url: str) -> None:
    """The other is told what is there now."""
    async with running(postgres_url) as one, running(postgres_url) as other:
        await one.endpoints.create("audit", definition(NOWHERE))
        answers = await asyncio.gather(
            one.endpoints.change("audit", {"timeout_s": 3}, rev=1),
            other.endpoints.change("audit", {"timeout_s": 4}, rev=1),
        )
        assert {type(answer) for answer in answers} == {Changed, EndpointState}


async def test_process_that_was_held_up_while_it_changed_something_writes_nothing(
    running: Running, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn is over: another one has changed the endpoint since, and that change stands."""
    async with running(postgres_url) as one, running(postgres_url) as other:
        await one.endpoints.create("audit", definition(NOWHERE))
        submit = one.ingest.submit
        held_up, go_on = asyncio.Event(), asyncio.Event()

        async def submit_late(submission: object) -> object:
            held_up.set()
            await go_on.wait()
            return await submit(submission)  # type: ignore[arg-type]  # passed on as it is

        monkeypatch.setattr("idsync.app.endpoints.book.LEASE_S", 0.2)
        monkeypatch.setattr(one.endpoints, "_submit", submit_late)
        late = asyncio.create_task(one.endpoints.change("audit", {"description": "late"}))
        await held_up.wait()
        after = await other.endpoints.change("audit", {"description": "in time"})
        go_on.set()
        with pytest.raises(Exception, match="another process changes endpoints"):
            await late
        assert isinstance(after, EndpointState)
        assert await one.endpoints.get("audit") == after


async def test_many_endpoints_are_made_by_both_at_once(running: Running, postgres_url: str) -> None:
    """And both know all of them in the end."""
    async with running(postgres_url) as one, running(postgres_url) as other:
        both = (one, other)
        await asyncio.gather(*(app.endpoints.create(None, definition(NOWHERE)) for app in both * 10))
        await until(lambda: [len(routes_to(app)) for app in both] == [20, 20])
