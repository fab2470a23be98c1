"""Bugs of others in what becomes of a delivery: lost, doubled, stuck, or sent in a wrong way."""

import asyncio
from collections.abc import Sequence
from typing import cast

from idsync.app import App
from idsync.app.endpoints import EndpointState
from idsync.config import EndpointSettings, parse_endpoint
from idsync.connectors.webhook import fan_out_arrival
from idsync.model.event import Arrival
from idsync.model.values import Instant, PeerName
from idsync.ports import DeliveryRecord, DeliveryState
from idsync.testing.sink import Answer, Sink, open_sink
from idsync.testing.wait import until
from idsync.wire.envelope import Incoming, parse_batch
from tests.faults.peers_bugs.conftest import LEASE_S, living

FAILED = Answer(status=500)
SOON: dict[str, object] = {"first_s": 0.05, "cap_s": 0.05}
"""When a failed delivery is tried again."""


async def make(app: App, name: str, url: str, **fields: object) -> None:
    """Make an endpoint, to which is sent at once."""
    settings = parse_endpoint({"url": url, "retry": SOON, **fields})
    assert isinstance(settings, EndpointSettings), settings
    await app.endpoints.create(name, settings)


def event(number: int, subject: str = "") -> Arrival:
    """An event that is only passed on."""
    body = b'{"id":"evt_%d","type":"order.paid","source":"shop","subject":"order/%b","data":{}}'
    (one,) = cast("list[Incoming]", parse_batch(body % (number, (subject or str(number)).encode())))
    arrival = fan_out_arrival(one, PeerName("@api"), lambda: f"evt_{number}", Instant(1))
    assert isinstance(arrival, Arrival)
    return arrival


def ids(sink: Sink) -> list[str | None]:
    """The events that came, in order."""
    return [request.header("webhook-id") for request in sink.requests]


async def deliveries(app: App) -> Sequence[DeliveryRecord]:
    """What became of the event that came last."""
    (*_, newest) = await app.store.recent(0, 1000)
    return await app.store.deliveries(newest.seq)


async def is_delivered(app: App) -> bool:
    """Whether the last event was delivered wherever it goes, and that is on record."""
    found = await deliveries(app)
    return bool(found) and {one.state for one in found} == {DeliveryState.DELIVERED}


async def test_deliveries_of_a_removed_endpoint_block_nobody(store_url: str) -> None:
    """Svix 1511: what waited for a removed endpoint failed again and again, and held up the queue."""
    async with open_sink(*[FAILED] * 50) as bad, open_sink() as good, living(store_url) as app:
        await make(app, "bad", bad.url)
        await make(app, "good", good.url)
        await app.submit([event(number, "one") for number in range(10)])
        await bad.received(1)
        await app.endpoints.remove("bad")
        await until(lambda: "endpoint:bad" not in app.deliverers)
        tried = len(bad.requests)
        await app.submit([event(number, "one") for number in range(10, 20)])
        await until(lambda: len(good.requests) == 20)
        assert ids(good) == [f"evt_{number}" for number in range(20)]
        assert len(bad.requests) == tried


async def test_request_that_takes_longer_than_a_lease_is_sent_once(store_url: str) -> None:
    """Svix 2181: a slow answer outlived the lease, and another worker sent the same again."""
    came: list[bytes] = []

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(LEASE_S + 0.5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer_late, "127.0.0.1", 0)
    async with server, living(store_url) as app:
        await make(app, "slow", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await app.submit([event(1)])
        await until(lambda: is_delivered(app))
    assert len(came) == 1


async def test_event_published_by_many_at_once_is_delivered_once(store_url: str) -> None:
    """Convoy 2747: two who published the same both found it new, and both were delivered."""
    async with open_sink() as sink, living(store_url) as app:
        await make(app, "audit", sink.url)
        await asyncio.gather(*(app.submit([event(1)]) for _ in range(30)))
        await app.submit([event(2)])
        await until(lambda: "evt_2" in ids(sink))
        assert sorted(str(one) for one in ids(sink)) == ["evt_1", "evt_2"]


async def test_delivered_event_is_not_sent_again_after_a_restart(store_url: str) -> None:
    """Outpost 276: the record of a success could not be written, and the event was sent for ever."""
    async with open_sink() as sink:
        async with living(store_url) as app:
            await make(app, "audit", sink.url)
            await app.submit([event(1)])
            await app.submit([event(1)])
            await until(lambda: is_delivered(app))
        async with living(store_url) as app:
            await app.submit([event(2)])
            await until(lambda: is_delivered(app))
        assert ids(sink) == ["evt_1", "evt_2"]


async def test_identity_that_fails_holds_up_only_itself_and_keeps_its_order(store_url: str) -> None:
    """Convoy 1525: no order at all; here the events of one identity wait for each other, and for nobody else's."""
    async with open_sink(FAILED, FAILED) as sink, living(store_url) as app:
        await make(app, "audit", sink.url, concurrency=1)
        await app.submit([event(1, "one"), event(2, "one"), event(3, "one"), event(4, "other")])
        await until(lambda: {"evt_3", "evt_4"} <= set(ids(sink)))
        of_one = [one for one in ids(sink) if one != "evt_4"]
        assert of_one == sorted(of_one, key=str)


async def test_deliveries_in_a_row_go_over_one_connection(store_url: str) -> None:
    """Outpost 1017 and 1021: nearly every delivery made a connection of its own, until there were no ports left."""
    async with open_sink() as sink, living(store_url) as app:
        await make(app, "audit", sink.url, concurrency=1)
        await app.submit([event(number) for number in range(100)])
        await until(lambda: len(sink.requests) == 100)
        assert sink.connections == 1


async def test_endpoint_that_only_fails_is_disabled(store_url: str) -> None:
    """Outpost 596: an endpoint that was to be disabled was not."""
    async with open_sink(*[FAILED] * 50) as sink, living(store_url) as app:
        await make(
            app, "audit", sink.url, disable={"after_s": 1, "failures_min": 2}, retry={"first_s": 0.6, "cap_s": 0.6}
        )
        await app.submit([event(1)])

        async def is_disabled() -> bool:
            found = await app.endpoints.get("audit")
            return isinstance(found, EndpointState) and not found.is_enabled

        await until(is_disabled)
        assert len(sink.requests) >= 2
