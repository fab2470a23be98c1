"""kill -9 in the middle of a replay: whoever goes on begins where the store says."""

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from idsync.model.replay import ReplayRequest, ReplayState, ReplayStatus
from idsync.pipeline.replay import PAGE_MAX
from tests.unit.pipeline.replaying import open_rig

EVENTS = PAGE_MAX * 2 + 50
KILLED_AT = (
    "replay.before_commit:1",
    "replay.before_commit:3",
    "replay.after_commit:1",
    "replay.after_commit:3",
    "replay.before_end",
    "ingest.before_commit",
    "ingest.after_commit",
    "store.in_transaction:2",
    "store.after_commit:2",
)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh store of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "idsync.db")
    return cast("str", request.getfixturevalue("postgres_url"))


@pytest.mark.parametrize("point", KILLED_AT)
async def test_killed_replay_goes_on_and_queues_each_event_once(where: str, point: str) -> None:
    """It is not lost on restart, as Svix's recovery is: deliveries and position stand or fall together."""
    rig = await open_rig(where)
    await rig.accept(EVENTS)
    replay = await rig.begin(ReplayRequest(endpoint="audit", status=ReplayStatus.MISSED, rate_per_s=10_000))
    await rig.store.close()
    assert await carry_out_apart(where, point) == -signal.SIGKILL
    assert await carry_out_apart(where) == 0
    rig = await open_rig(where)
    try:
        assert Counter(await rig.queued()) == Counter(f"e{number}" for number in range(1, EVENTS + 1))
        ended = await rig.show(replay)
        assert (ended.state, ended.progress.queued) == (ReplayState.DONE, EVENTS)
        assert len(await rig.announced()) == 1
    finally:
        await rig.store.close()


async def carry_out_apart(where: str, point: str = "") -> int:
    """Carry the jobs of a store out in a process of its own, which dies at a crash point; give how it ended."""
    environment = {**os.environ, "IDSYNC_CRASH": point, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = (sys.executable, "-m", "tests.unit.pipeline.replaying", where)
    running = await asyncio.create_subprocess_exec(*command, env=environment)
    return await asyncio.wait_for(running.wait(), 30)
