"""Faults of other delivery engines in what surrounds a delivery, each by its name (docs/peers-bugs.md)."""

from collections.abc import Iterator

import pytest

from idsync.app import App
from idsync.errors import StoreError
from idsync.model.values import Instant
from idsync.pipeline.parts.announce import announcement
from idsync.ports import DeliveryState
from idsync.testing.postgres import PostgresServer, Shutdown, open_postgres
from idsync.testing.sink import Answer, open_sink
from idsync.testing.wait import until
from tests.faults.peers_bugs.conftest import living, reached
from tests.unit.api.conftest import Line
from tests.unit.app.conftest import definition, event


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of our own, which may be harmed."""
    with open_postgres() as started:
        yield started


async def accept(app: App, number: int) -> None:
    """Publish until it is accepted."""

    async def is_accepted() -> bool:
        try:
            await app.submit([event(number)])
        except StoreError:
            return False
        return True

    await until(is_accepted)


async def test_service_goes_on_by_itself_after_its_database_was_away(server: PostgresServer) -> None:
    """Svix #1844, Outpost #999, #881: after a restart of the queue's server, workers hung until they were restarted."""
    async with open_sink() as sink, living(await server.new_database()) as app:
        await app.endpoints.create("audit", definition(sink.url))
        await accept(app, 1)
        for number in (2, 3):
            await server.restart(Shutdown.IMMEDIATE)
            await accept(app, number)
            await reached(app, f"evt_{number}", DeliveryState.DELIVERED, 1)


async def test_operational_events_of_two_endpoints_are_two() -> None:
    """Outpost #967: alerts of several tenants had one key, and only the first was told."""
    ids = {
        announcement(kind, f"endpoint/{name}", {"rev": rev}, Instant(1)).id
        for kind in ("endpoint.disabled", "endpoint.enabled")
        for name in ("audit", "billing")
        for rev in (1, 2)
    }
    assert len(ids) == 8


async def test_operators_endpoint_may_not_lead_inside_either(store_url: str) -> None:
    """Convoy #2706: the address that notifications went to was not guarded as the webhooks' were."""
    async with open_sink() as inside, living(store_url, allowed="[]") as app:
        await app.endpoints.create("ops", definition(_by_name(inside.url), operational=True))
        await app.endpoints.create("audit", definition("https://receiver.example/"))

        async def is_blocked() -> bool:
            told = [one for one in await app.store.recent(0, 10) if one.row.type.startswith("endpoint.")]
            found = [await app.store.deliveries(one.seq) for one in told]
            return any(one.reason == "blocked" for records in found for one in records)

        await until(is_blocked)
        assert inside.connections == 0


async def test_test_event_may_not_lead_inside_either(store_url: str) -> None:
    """Logto #9501: the button that tests a webhook posted to addresses inside, and showed what they answered."""
    async with open_sink(Answer(body=b"inside")) as inside, living(store_url, allowed="[]") as app:
        async with Line(app).client() as client:
            refused = await client.post("/v1/endpoints", json={"name": "shop", "url": inside.url})
            assert (refused.status_code, "delivery.allow_cidrs" in refused.text) == (422, True)
            made = await client.post("/v1/endpoints", json={"name": "shop", "url": _by_name(inside.url)})
            assert made.status_code == 201, made.text
            told = (await client.post("/v1/endpoints/shop/test")).json()
        assert (told["is_delivered"], told["error"], told["response"]) == (False, "blocked", "")
        assert inside.connections == 0


def _by_name(url: str) -> str:
    """A number that leads inside is refused where it enters; where a name leads is known only at sending."""
    return url.replace("127.0.0.1", "localhost")
