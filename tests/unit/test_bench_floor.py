"""The floor of the bench does what the line is measured for, and no less."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from standardwebhooks import Webhook

import bench
from bench.load import SECRET, Events, connect
from bench.programs import choose_cores
from bench.variants import Variants
from idsync.testing.sink import open_sink

ROWS = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM delivery), (SELECT count(*) FROM attempt)"
MARKS = "SELECT seq, delivery, (SELECT max(position) FROM lane) FROM registry"


def _read(file: Path, sql: str) -> tuple[int, ...]:
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return tuple(connection.execute(sql).get)


@pytest.mark.parametrize(("make_body", "count"), [(Events.one, 1), (Events.ten, 10)])
async def test_floor_keeps_three_rows_of_each_event_and_posts_it_signed(
    make_body: Callable[[Events], bytes], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leaner program than that would be no floor."""
    monkeypatch.chdir(Path(bench.__file__).parents[1])
    file, events = tmp_path / "floor.db", Events()
    variants = Variants(tmp_path, choose_cores().measured, {})
    async with open_sink() as sink:
        with variants.floor(sink.url) as floor:
            async with connect(floor.port, 1) as load:
                await load.closed_loop(lambda: make_body(events), requests_max=1)
            assert _read(file, ROWS)[:2] == (count, count), "it was answered before it was durable"
            received = await sink.received(count)
            all_written = (count, count, count)
            await asyncio.to_thread(
                floor.program.wait_until, lambda: _read(file, ROWS) == all_written, "every attempt was written"
            )
            assert _read(file, MARKS) == all_written
            assert len(received) == count
    ids = {Webhook(SECRET).verify(one.body, dict(one.headers))["id"] for one in received}
    assert ids == {f"bench-{number:010}" for number in range(1, count + 1)}
