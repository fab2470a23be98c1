"""kill -9 in the middle of a replay: whoever goes on begins where the store says."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path

import pytest

from idsync.model.replay import ReplayRequest, ReplayState, ReplayStatus
from idsync.pipeline.replay import PAGE_MAX
from tests.unit.pipeline.replaying import carry_out, open_rig

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


@pytest.mark.parametrize("point", KILLED_AT)
async def test_killed_replay_goes_on_and_queues_each_event_once(tmp_path: Path, point: str) -> None:
    """It is not lost on restart, as Svix's recovery is: deliveries and position stand or fall together."""
    path = tmp_path / "idsync.db"
    rig = await open_rig(str(path))
    await rig.accept(PAGE_MAX * 2 + 50)
    replay = await rig.begin(ReplayRequest(endpoint="audit", status=ReplayStatus.MISSED, rate_per_s=10_000))
    await rig.store.close()
    await be_killed(path, point)
    await carry_out(path)
    rig = await open_rig(str(path))
    try:
        assert Counter(await rig.queued()) == Counter(f"e{number}" for number in range(1, PAGE_MAX * 2 + 51))
        ended = await rig.show(replay)
        assert (ended.state, ended.progress.queued) == (ReplayState.DONE, PAGE_MAX * 2 + 50)
        assert len(await rig.announced()) == 1
    finally:
        await rig.store.close()


async def be_killed(path: Path, point: str) -> None:
    """Carry the jobs of a store out in a process of its own, which dies at a crash point."""
    environment = {**os.environ, "IDSYNC_CRASH": point, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = (sys.executable, "-m", "tests.unit.pipeline.replaying", str(path))
    done = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)
    _, err = await done.communicate()
    assert done.returncode == -signal.SIGKILL, err.decode()
