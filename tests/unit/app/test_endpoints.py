"""Endpoints as living things: made, changed, disabled and removed while the line runs, on both stores."""

from itertools import pairwise

import msgspec
import pytest

from idsync.app import App
from idsync.app.endpoints import (
    Changed,
    DisabledReason,
    EndpointState,
    FilterSpan,
    Invalid,
    NotFound,
    Origin,
    Removed,
    Rotated,
    Taken,
)
from idsync.model.plan import REVISION
from idsync.model.values import Instant, PeerName
from idsync.pipeline.parts.health import EndpointHealth
from idsync.ports import DeliveryState, InboxEntry
from idsync.testing.sink import Answer, open_sink
from idsync.testing.wait import until
from tests.unit.app.conftest import Running, definition, event, is_signed, make, state_of

NOWHERE = "http://127.0.0.1:9/hook"


async def newest(app: App) -> InboxEntry:
    """The inbox row that came last."""
    return list(await app.store.recent(0, 1000))[-1]


async def test_new_endpoint_gets_the_next_event_signed_with_the_secret_that_was_shown(
    running: Running, store_url: str
) -> None:
    """Without a restart, and from the moment the answer came."""
    async with open_sink() as sink, running(store_url) as app:
        await app.submit([event(1)])
        made = await make(app, "audit", definition(sink.url))
        assert made.secret_text is not None
        assert made.state.origin is Origin.API
        await app.submit([event(2)])
        (request,) = await sink.received(1)
        assert request.header("webhook-id") == "evt_2"
        assert is_signed(request, made.secret_text)
        shown = await app.endpoints.list()
        assert [one.name for one in shown] == ["audit"]
        assert shown[0].settings.secret == ()


async def test_name_is_made_where_none_is_given_and_is_given_only_once(running: Running, store_url: str) -> None:
    """Two endpoints have two names; a name that is no name is refused."""
    async with running(store_url) as app:
        first = await make(app, None, definition(NOWHERE))
        second = await make(app, None, definition(NOWHERE))
        assert first.state.name != second.state.name
        assert await app.endpoints.create(first.state.name, definition(NOWHERE)) == Taken(first.state.name)
        assert isinstance(await app.endpoints.create("Not A Name", definition(NOWHERE)), Invalid)


async def test_changed_endpoint_is_delivered_to_as_it_is_now(running: Running, store_url: str) -> None:
    """The address and the filters of the next event are the new ones; what it is not to get any more, it does not."""
    async with open_sink() as old, open_sink() as new, running(store_url) as app:
        await make(app, "audit", definition(old.url))
        await app.submit([event(1)])
        await old.received(1)
        changed = await app.endpoints.change("audit", {"url": new.url, "events": ["*", "!order.lost"]})
        assert isinstance(changed, EndpointState)
        assert changed.rev == 2
        await app.submit([event(2, "order.lost"), event(3)])
        (request,) = await new.received(1)
        assert request.header("webhook-id") == "evt_3"
        assert len(old.requests) == 1


async def test_change_of_what_has_changed_meanwhile_writes_nothing(running: Running, store_url: str) -> None:
    """Whoever asks gets what is there now, and may ask again."""
    async with running(store_url) as app:
        await make(app, "audit", definition(NOWHERE))
        await app.endpoints.change("audit", {"description": "one"}, rev=1)
        refused = await app.endpoints.change("audit", {"description": "two"}, rev=1)
        assert isinstance(refused, Changed)
        assert (refused.state.rev, refused.state.settings.description) == (2, "one")
        assert isinstance(await app.endpoints.replace("audit", definition(NOWHERE), rev=1), Changed)
        assert isinstance(await app.endpoints.remove("audit", rev=1), Changed)
        assert (await state_of(app, "audit")).settings.description == "one"


async def test_patch_merges_tables_and_null_is_the_default_again(running: Running, store_url: str) -> None:
    """JSON merge patch, RFC 7396; what cannot be is refused with every reason, and nothing of it is written."""
    async with running(store_url) as app:
        await make(app, "audit", definition(NOWHERE, rate={"burst": 5}, headers={"x-a": "1"}))
        await app.endpoints.change("audit", {"rate": {"requests_per_second": 2}, "headers": {"x-b": "2"}})
        settings = (await state_of(app, "audit")).settings
        assert settings.rate is not None
        assert (settings.rate.burst, settings.rate.requests_per_second) == (5, 2)
        assert set(settings.headers) == {"x-a", "x-b"}
        await app.endpoints.change("audit", {"rate": None})
        assert (await state_of(app, "audit")).settings.rate is None
        refused = await app.endpoints.change("audit", {"url": None, "timeout_s": -1, "secrets": "x"})
        assert isinstance(refused, Invalid)
        assert sorted(problem.partition(":")[0] for problem in refused.problems) == ["secrets", "timeout_s", "url"]
        assert (await state_of(app, "audit")).rev == 3


async def test_same_definition_again_is_no_change(running: Running, store_url: str) -> None:
    """Neither a rev nor a span of the history."""
    async with running(store_url) as app:
        await make(app, "audit", definition(NOWHERE))
        again = await app.endpoints.replace("audit", definition(NOWHERE))
        assert isinstance(again, EndpointState)
        assert again.rev == 1
        assert len(await app.endpoints.filters("audit")) == 1


async def test_disabled_endpoint_keeps_what_is_queued_and_gets_it_once_it_is_enabled(
    running: Running, store_url: str
) -> None:
    """What comes while it is disabled is not queued: it is in the history, and can be replayed."""
    failed = Answer(status=500)
    async with open_sink(failed) as sink, running(store_url) as app:
        await make(app, "audit", definition(sink.url, retry={"first_s": 0.5, "cap_s": 0.5}))
        await app.submit([event(1)])
        await sink.received(1)
        disabled = await app.endpoints.disable("audit")
        assert isinstance(disabled, EndpointState)
        assert (disabled.is_enabled, disabled.disabled_reason) == (False, DisabledReason.OPERATOR)
        assert disabled.disabled_at is not None
        await until(lambda: "endpoint:audit" not in app.deliverers)
        await app.submit([event(2)])
        enabled = await app.endpoints.enable("audit")
        assert isinstance(enabled, EndpointState)
        assert (enabled.is_enabled, enabled.disabled_at) == (True, None)
        await app.submit([event(3)])
        requests = await sink.received(3)
        assert {one.header("webhook-id") for one in requests} == {"evt_1", "evt_3"}


async def test_removed_endpoint_gets_nothing_more_and_what_was_queued_is_skipped(
    running: Running, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is free once all of that is settled, and whoever has it then gets only what comes from then on."""
    monkeypatch.setattr("idsync.pipeline.skip.GRACE_MS", 500)
    async with open_sink(*[Answer(status=500)] * 3) as sink, open_sink() as other, running(store_url) as app:
        await make(app, "audit", definition(sink.url, retry={"first_s": 60, "cap_s": 60}))
        await app.submit([event(number) for number in (1, 2, 3)])
        await sink.received(3)
        await app.endpoints.disable("audit")
        assert await app.endpoints.remove("audit") == Removed("audit")
        assert await app.endpoints.get("audit") == NotFound("audit")
        assert await app.endpoints.list() == []
        assert await app.endpoints.remove("audit") == NotFound("audit")

        async def is_free() -> bool:
            made = await app.endpoints.create("audit", definition(other.url))
            return made != Taken("audit", is_ending=True)

        await until(is_free)
        for entry in await app.store.recent(0, 10):
            (record,) = await app.store.deliveries(entry.seq)
            assert (record.state, record.reason) == (DeliveryState.SKIPPED, "disabled")
        await app.submit([event(4)])
        (request,) = await other.received(1)
        assert request.header("webhook-id") == "evt_4"
        assert len(sink.requests) == 3


async def test_both_secrets_sign_until_the_overlap_is_over(running: Running, store_url: str) -> None:
    """Then the old one signs no more, and nobody had to do anything."""
    async with open_sink() as sink, running(store_url) as app:
        made = await make(app, "audit", definition(sink.url))
        rotated = await app.endpoints.rotate("audit", overlap_s=1.0)
        assert isinstance(rotated, Rotated)
        assert (rotated.state.secrets, made.secret_text is not None) == (2, True)
        old, new = str(made.secret_text), str(rotated.secret_text)
        await app.submit([event(1)])
        (first,) = await sink.received(1)
        assert is_signed(first, old)
        assert is_signed(first, new)
        wired = app.endpoints.wired("audit")
        assert wired is not None
        await until(lambda: len(app.deliverers["endpoint:audit"].endpoint.secrets) == 1)  # type: ignore[union-attr]  # is one of an endpoint
        await app.submit([event(2)])
        _, second = await sink.received(2)
        assert not is_signed(second, old)
        assert is_signed(second, new)
        assert (await state_of(app, "audit")).secrets == 1


async def test_secret_that_does_not_fit_is_refused_and_never_shown(running: Running, store_url: str) -> None:
    """Of the API, of a rotation, and by a dialect that reads others."""
    public = "whpk_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
    async with running(store_url) as app:
        await make(app, "audit", definition(NOWHERE))
        for refused in (
            await app.endpoints.create("other", definition(NOWHERE, secret="whsec_!!!")),
            await app.endpoints.create("other", definition(NOWHERE, secret=public)),
            await app.endpoints.rotate("audit", "whsec_!!!"),
            await app.endpoints.rotate("audit", overlap_s=-1),
            await app.endpoints.rotate("audit", overlap_s=float("nan")),
        ):
            assert isinstance(refused, Invalid)
            assert refused.problems
            assert "!!!" not in str(refused)
        assert (await state_of(app, "audit")).rev == 1


async def test_history_tells_over_restarts_what_an_endpoint_was_to_get(running: Running, store_url: str) -> None:
    """One span after the other without a gap, but where there was no endpoint."""
    async with running(store_url) as app:
        await make(app, "audit", definition(NOWHERE, events=["user.*"]))
        await app.endpoints.change("audit", {"timeout_s": 3})
        await app.endpoints.change("audit", {"events": ["order.*"]})
    async with running(store_url) as app:
        await app.endpoints.disable("audit", DisabledReason.GONE)
    async with running(store_url) as app:
        await app.endpoints.enable("audit")
        await app.endpoints.remove("audit")
        spans = await app.endpoints.filters("audit")
    assert [(one.events, one.is_enabled, one.reason) for one in spans] == [
        (("user.*",), True, None),
        (("order.*",), True, None),
        (("order.*",), False, DisabledReason.GONE),
        (("order.*",), True, None),
    ]
    for one, following in pairwise(spans):
        assert one.since < following.since == one.until
    assert spans[-1].until is not None


async def test_operational_endpoint_hears_of_the_others_and_of_nothing_else(running: Running, store_url: str) -> None:
    """In order, once each; ordinary endpoints never hear of that, whatever they asked for."""
    async with open_sink() as sink, open_sink() as ordinary, running(store_url) as app:
        await make(app, "ops", definition(sink.url, operational=True))
        await make(app, "audit", definition(ordinary.url))
        await app.endpoints.change("audit", {"description": "x"})
        await app.endpoints.disable("audit", DisabledReason.FAILING)
        await app.endpoints.enable("audit")
        await app.submit([event(1), event(2, "endpoint.created")])
        requests = await ordinary.received(2)
        assert {one.header("webhook-id") for one in requests} == {"evt_1", "evt_2"}
        await app.endpoints.remove("audit")
        told = [msgspec.json.decode(one.body) for one in await sink.received(5)]
        mine = [one for one in told if one["data"]["endpoint"] == "audit"]
        kinds = ["created", "updated", "disabled", "enabled", "deleted"]
        assert [one["type"] for one in mine] == [f"endpoint.{kind}" for kind in kinds]
        assert {one["source"] for one in told} == {"idsync"}
        assert mine[2]["data"] == mine[2]["data"] | {"enabled": False, "reason": "failing", "rev": 3}
        assert len(ordinary.requests) == 2
        row = (await newest(app)).row
        assert (row.peer, row.type) == (PeerName("idsync"), "endpoint.deleted")


async def test_operational_endpoint_hears_of_itself_what_is_announced_while_it_is_enabled(
    running: Running, store_url: str
) -> None:
    """Neither that it was made nor that it was enabled: whoever did that knows. Of its other changes it hears."""
    async with open_sink() as sink, running(store_url) as app:
        await make(app, "ops", definition(sink.url, operational=True))
        await app.endpoints.change("ops", {"description": "x"})
        await sink.received(1)
        await app.endpoints.disable("ops", DisabledReason.OPERATOR)
        await app.endpoints.enable("ops")
        await app.endpoints.change("ops", {"description": "y"})
        told = [msgspec.json.decode(one.body) for one in await sink.received(3)]
        assert [one["type"] for one in told] == ["endpoint.updated", "endpoint.disabled", "endpoint.updated"]
        assert [one["data"]["rev"] for one in told] == [2, 3, 5]


async def test_what_is_announced_twice_counts_once(running: Running, store_url: str) -> None:
    """Its id is made of what it says; without anybody to hear of it nothing is ingested."""
    async with open_sink() as sink, running(store_url) as app:
        await app.announce("breaker.opened", "endpoint/audit", {"endpoint": "audit", "opened_at": 1})
        assert await app.store.recent(0, 10) == []
        await make(app, "ops", definition(sink.url, operational=True, events=["breaker.*"]))
        for opened_at in (7, 7, 8):
            await app.announce("breaker.opened", "endpoint/audit", {"endpoint": "audit", "opened_at": opened_at})
        told = [msgspec.json.decode(one.body)["data"]["opened_at"] for one in await sink.received(2)]
        assert told == [7, 8]


async def test_however_much_is_queued_for_a_removed_endpoint_all_of_it_is_skipped(
    running: Running, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several pages of several lanes, at its own level, queued while it was disabled for a moment of the line."""
    monkeypatch.setattr("idsync.pipeline.skip.GRACE_MS", 500)
    monkeypatch.setattr("idsync.pipeline.skip.PAGE", 100)
    async with open_sink(*[Answer(raw=b"")] * 10) as sink, running(store_url) as app:
        await make(app, "audit", definition(sink.url, priority="bulk", concurrency=4))
        for start in range(0, 1_200, 400):
            await app.submit([event(number) for number in range(start, start + 400)])
        await sink.received(4)
        await app.endpoints.remove("audit")

        async def is_empty() -> bool:
            stats = await app.store.stats()
            return not stats.queued and not stats.parked

        await until(is_empty)
        entries = await app.store.recent(0, 2_000)
        for entry in entries[::100]:
            (record,) = await app.store.deliveries(entry.seq)
            assert (record.state, record.reason) == (DeliveryState.SKIPPED, "disabled")
        assert len(entries) == 1_200
        assert len(sink.requests) == 4
        await until(lambda: not app.endpoints.ending())


async def test_history_that_no_event_needs_is_forgotten(running: Running, store_url: str) -> None:
    """Names that come and go leave nothing behind for ever; that of a living endpoint stays."""
    async with running(store_url) as app:
        old = FilterSpan(since=Instant(1), until=Instant(2), events=("*",))
        await app.store.put_setting("filters:long-gone", msgspec.json.encode([old]))
        await make(app, "audit", definition(NOWHERE))
        await app.endpoints.finish("audit")
        assert len(await app.endpoints.filters("audit")) == 1
        await app.endpoints.remove("audit")
        await app.endpoints.finish("audit")
        assert await app.endpoints.filters("long-gone") == ()
        assert len(await app.endpoints.filters("audit")) == 1


async def test_health_that_another_process_wrote_is_seen_at_the_next_look(running: Running, store_url: str) -> None:
    """Damaged, it begins anew; and it begins anew wherever the endpoint does."""
    async with running(store_url) as app:
        await make(app, "audit", definition(NOWHERE))
        body = msgspec.json.encode(EndpointHealth(failures=3, failing_since=Instant(1)))
        for stored, failures in ((body, 3), (b"nonsense", 0), (body, 3)):
            await app.store.put_setting("health:audit", stored)
            await app.store.put_setting(REVISION, stored)
            await until(lambda failures=failures: app.endpoints.health("audit").failures == failures)
            await app.store.put_setting(REVISION, b"moved")
        assert (await state_of(app, "audit")).health.failures == 3
        await app.endpoints.disable("audit", DisabledReason.FAILING)
        enabled = await app.endpoints.enable("audit")
        assert isinstance(enabled, EndpointState)
        assert enabled.health == EndpointHealth()
        assert await app.store.setting("health:audit") is None
