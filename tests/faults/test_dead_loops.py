"""A loop that is dead or stuck: `/healthz` of every kind of process says so, so that somebody starts it again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from idsync import worker as worker_module
from idsync.api.asgi import build_asgi, build_probes
from idsync.api.keys import ApiKeys
from idsync.app import open_app
from idsync.config import parse_settings
from idsync.testing.wait import until
from idsync.worker import Worker

CONFIGURATION = """
[store]
url = "{url}"
[endpoints.audit]
url = "https://example.com/hook"
secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""
ROLES = {"up": (True, build_asgi), "serve": (False, build_asgi), "worker": (True, build_probes)}

Run = Callable[[str], AbstractAsyncContextManager[tuple[Worker, httpx.AsyncClient]]]


@pytest.fixture
def run(postgres_url: str) -> Run:
    """Run a process of some role; give its worker, and a client of its page."""

    @asynccontextmanager
    async def start(role: str) -> AsyncIterator[tuple[Worker, httpx.AsyncClient]]:
        has_duties, build = ROLES[role]
        app = await open_app(parse_settings(CONFIGURATION.format(url=postgres_url)))
        worker = Worker(app, has_duties=has_duties)
        await worker.start()
        transport = httpx.ASGITransport(app=build(app, ApiKeys([])))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                yield worker, client
        finally:
            await worker.stop(0.0)

    return start


@pytest.mark.parametrize(
    ("role", "loop"),
    [
        *(("up", loop) for loop in ("ingest", "ownership", "tick", "deliver endpoint:audit")),
        *(("worker", loop) for loop in ("settle", "handover", "retention", "deliver endpoint:audit")),
        *(("serve", loop) for loop in ("ingest", "settle", "commands", "news")),
    ],
)
async def test_dead_loop_is_told(run: Run, role: str, loop: str) -> None:
    """Its task is gone, and nothing has begun it again."""
    async with run(role) as (_, client):

        async def is_alive() -> bool:
            return (await client.get("/healthz")).status_code == 200

        await until(is_alive)
        (task, *_) = [one for one in asyncio.all_tasks() if one.get_name() == loop and _is_loop(one)]
        task.cancel()
        await asyncio.wait([task])
        answer = await client.get("/healthz")
        assert answer.status_code == 503
        assert [one["name"] for one in answer.json()["loops"] if not one["is_alive"]] == [loop]


@pytest.mark.parametrize("role", ROLES)
async def test_stuck_loop_is_told(run: Run, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives, and never comes to an end."""
    monkeypatch.setattr(worker_module, "STUCK_AFTER_S", 0.2)
    async with run(role) as (worker, client):

        async def stay() -> float:
            await asyncio.Event().wait()
            return 0.0

        worker.app.commander.tick = stay  # type: ignore[method-assign]  # what hangs is our own

        async def is_told() -> bool:
            loops = (await client.get("/healthz")).json()["loops"]
            return [one["name"] for one in loops if not one["is_alive"]] == ["commands"]

        await until(is_told)


def _is_loop(task: "asyncio.Task[object]") -> bool:
    return getattr(task.get_coro(), "__qualname__", "") == "Loop.run"
