"""A process that dies while it changes an endpoint: the change is there whole, or not at all."""

import asyncio
import sys
from pathlib import Path

import pytest

from idsync.app.endpoints import Created, EndpointState, NotFound
from idsync.ports import DeliveryState
from idsync.testing.sink import Answer, open_sink
from idsync.testing.wait import until
from tests.unit.app.conftest import Running, definition, event

NOWHERE = "http://127.0.0.1:9/hook"
PROGRAM = """
import asyncio, sys
sys.path[:0] = [{root!r}]
from idsync.app.endpoints import book
from tests.unit.app.conftest import definition, run

book.LEASE_S = 1.0  # who comes next waits until its turn is over

async def main():
    async with run({url!r}) as app:
        {action}
        await asyncio.sleep(60)

asyncio.run(main())
"""
ROOT = str(Path(__file__).parents[3])


async def die(url: str, point: str, action: str) -> None:
    """Run a service of its own that does something, and is killed at a crash point."""
    program = PROGRAM.format(root=ROOT, url=url, action=action)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={"IDSYNC_CRASH": point, "PYTHONPATH": ":".join(sys.path)}
    )
    assert await asyncio.wait_for(process.wait(), 30) == -9


@pytest.mark.parametrize(("point", "is_there"), [("endpoint.before_commit", False), ("endpoint.after_commit", True)])
async def test_endpoint_is_made_whole_or_not_at_all(
    running: Running, store_url: str, point: str, *, is_there: bool
) -> None:
    """With its history and its announcement; whoever asks again makes it, or hears that it is there."""
    async with open_sink() as ops:
        async with running(store_url) as app:
            await app.endpoints.create("ops", definition(ops.url, operational=True))
        await die(store_url, point, f"await app.endpoints.create('audit', definition({NOWHERE!r}))")
        async with running(store_url) as app:
            state = await app.endpoints.get("audit")
            assert isinstance(state, EndpointState) is is_there
            assert len(await app.endpoints.filters("audit")) == int(is_there)
            again = await app.endpoints.create("audit", definition(NOWHERE))
            assert isinstance(again, Created) is not is_there
            (request,) = await ops.received(1)
            assert b'"endpoint.created"' in request.body
            told = [str(entry.row.subject) for entry in await app.store.recent(0, 10) if entry.row.peer == "idsync"]
            assert told.count("endpoint/audit") == 1


async def test_what_is_queued_for_a_removed_endpoint_is_skipped_by_whoever_comes_next(
    running: Running, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that removed it dies before it has settled anything."""
    monkeypatch.setattr("idsync.pipeline.skip.GRACE_MS", 500)
    async with open_sink(Answer(status=500)) as sink:
        async with running(store_url) as app:
            await app.endpoints.create("audit", definition(sink.url, retry={"first_s": 60, "cap_s": 60}))
            await app.submit([event(1)])
            await sink.received(1)
        await die(store_url, "skip.before_commit", "await app.endpoints.remove('audit')")
        async with running(store_url) as app:
            assert await app.endpoints.get("audit") == NotFound("audit")

            async def is_free() -> bool:
                return isinstance(await app.endpoints.create("audit", definition(NOWHERE)), Created)

            await until(is_free, within_s=30)
            (entry,) = [one for one in await app.store.recent(0, 10) if one.row.id == "evt_1"]
            (record,) = await app.store.deliveries(entry.seq)
            assert (record.state, record.reason) == (DeliveryState.SKIPPED, "disabled")
            assert len(sink.requests) == 1
