"""kill -9 at the store's crash points: what was answered is there, what was not is there whole or not at all."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from idsync.model.delivery import FIRST_PLACE
from idsync.model.plan import LaneCursor
from idsync.stores.sqlite import open_store
from idsync.testing.store_suite.samples import begin

WRITER = """
import asyncio, sys
from idsync.model.plan import Committed, EntityWrite, LaneRow, Plan
from idsync.stores.sqlite import open_store
from idsync.testing.store_suite.samples import begin, person, row

async def main():
    line = await begin(await open_store(sys.argv[1]))

    async def write(number):
        entity = person(number)
        one = row(f"e{number}", entity=entity, body=b"body")
        plan = Plan(
            epoch=0,
            inbox=(one,),
            entities=(EntityWrite(entity, None),),
            deliveries=(LaneRow(line.audit[0].id, one.subject, 1, row=0),),
        )
        await line.commit(plan)
        print(number, flush=True)

    for start in range(0, 100, 5):
        await asyncio.gather(*(write(number) for number in range(start, start + 5)))

asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["store.in_transaction", "store.after_commit"])
@pytest.mark.parametrize("pass_", [1, 3, 4, 9, 20])
async def test_killed_store_kept_what_it_answered_and_nothing_half(path: Path, point: str, pass_: int) -> None:
    """An event, its entity and its delivery stand or fall together."""
    environment = {**os.environ, "IDSYNC_CRASH": f"{point}:{pass_}"}
    command = (sys.executable, "-c", WRITER, str(path))
    killed = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)
    out, err = await killed.communicate()
    assert killed.returncode == -signal.SIGKILL, err.decode()
    answered = {f"e{number}" for number in out.decode().split()}
    store = await open_store(path)
    try:
        entries = await store.recent(0, 1_000)
        kept = {entry.row.id for entry in entries}
        assert answered <= kept
        assert {one.id for one in await store.page(None, None, 1_000)} == {entry.row.entity for entry in entries}
        lanes = (await begin(store)).audit
        queued = (await store.read([LaneCursor(lane.id, FIRST_PLACE) for lane in lanes], 1_000)).deliveries
        assert {(one.event_id, one.body) for one in queued} == {(f"event-{one}", b"body") for one in kept}
        assert store._connections.viewing.connection.pragma("integrity_check") == "ok"
    finally:
        await store.close()
