"""The service as a coroutine: how it ends, and what it leaves behind."""

import asyncio
import io
import os
import signal
import socket
from pathlib import Path

import pytest

from idsync.app import open_app
from idsync.cli.client import ServiceReady
from idsync.cli.service import run_service
from idsync.config import Settings, parse_settings
from idsync.errors import ConfigError, StoreFenced, StoreLocked
from idsync.telemetry import Log
from idsync.testing.postgres import free_port
from idsync.worker import Worker


def _settings(listen: str = "127.0.0.1:0") -> Settings:
    return parse_settings("", flags={"server.listen": listen, "server.shutdown_s": 1})


def _has_store() -> bool:
    return Path("idsync.db").exists()


def _stop_at_once(_: ServiceReady) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_a_good_end_and_leaves_nothing_behind(number: signal.Signals) -> None:
    """The handlers are as before, and the store can be opened again."""
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    for _ in range(2):
        assert await run_service(_settings(), on_ready=lambda _: os.kill(os.getpid(), number)) == 0
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before


async def test_ready_means_that_requests_are_answered() -> None:
    """Whoever is told may ask at once."""
    answers: list[bytes] = []

    async def look(url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answers.append(await reader.read())
        writer.close()
        await writer.wait_closed()
        os.kill(os.getpid(), signal.SIGTERM)

    looks: list[asyncio.Task[None]] = []
    assert (
        await run_service(_settings(), on_ready=lambda ready: looks.append(asyncio.create_task(look(ready.url)))) == 0
    )
    assert looks[0].done()
    assert answers[0].startswith(b"HTTP/1.1 200")


async def test_a_process_that_lost_its_store_ends_with_a_clear_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process took over: the exit code says that something is wrong, the log says what."""

    async def lose(_: Worker) -> None:
        raise StoreFenced

    monkeypatch.setattr(Worker, "watch", lose)
    out = io.StringIO()
    assert await run_service(_settings(), on_ready=lambda _: None, log=Log(out)) == 1
    assert "another process took over this store" in out.getvalue()


async def test_a_part_that_ends_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is gone is not lived without: whoever watches the process starts it again."""

    async def end(_: Worker) -> None:
        return

    monkeypatch.setattr(Worker, "watch", end)
    out = io.StringIO()
    assert await run_service(_settings(), on_ready=lambda _: None, log=Log(out)) == 1
    assert "ended that must not" in out.getvalue()


async def test_a_taken_address_is_told_before_the_store_is_touched() -> None:
    """Nothing was made."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match=r"server\.listen"):
        await run_service(_settings(f"127.0.0.1:{taken.getsockname()[1]}"), on_ready=_stop_at_once)
    assert not _has_store()


async def test_a_store_that_cannot_be_opened_gives_the_address_back() -> None:
    """A second service on one store fails, and its port is free again."""
    settings = _settings(f"127.0.0.1:{free_port()}")
    owner = await open_app(settings)
    with pytest.raises(StoreLocked):
        await run_service(settings, on_ready=_stop_at_once)
    await owner.close()
    socket.create_server((settings.server.host, settings.server.port)).close()


async def test_watching_tells_only_what_comes_after_the_start() -> None:
    """The rows that were there are history, which `idsync tail` shows."""
    told: list[bytes] = []
    assert await run_service(_settings(), on_ready=_stop_at_once, on_event=told.append) == 0
    assert told == []
