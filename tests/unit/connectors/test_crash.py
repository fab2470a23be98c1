"""Killed anywhere, the application's file is as if we had done all of it or nothing, and going on makes it whole."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from idsync.connectors.sql_table import CaptureState, Pace, SqlitePeer
from idsync.model.delivery import Effect
from idsync.model.values import Kind, PeerName
from idsync.ports import Rewound, SourceBatch
from idsync.testing.clock import FakeClock
from idsync.testing.sqlite_app import SqliteApp
from idsync.testing.target_suite import create_of, update_of
from tests.unit.connectors.people import USERS, MakePeer, look, observed, write

Act = Callable[[SqlitePeer], Awaitable[object]]


async def install(peer: SqlitePeer) -> None:
    """Put the triggers in."""
    await peer.install()


async def start_over(peer: SqlitePeer) -> None:
    """Begin a new generation."""
    await peer.source.start_over()


async def trim(peer: SqlitePeer) -> None:
    """Delete what was read."""
    batch = await peer.source.read(None, 1000)
    assert isinstance(batch, SourceBatch)
    await peer.source.trim(batch.position)


async def create_three(peer: SqlitePeer) -> None:
    """Make three users in one transaction."""
    await peer.target.write([create_of(number) for number in (1, 2, 3)])


async def rename(peer: SqlitePeer) -> None:
    """Change one user."""
    await peer.target.write([update_of(await look(peer, "1"), {"name": "Renamed"})])


ACTS: dict[str, Act] = {act.__name__: act for act in (install, start_over, trim, create_three, rename)}


def act_and_die(path: Path, act: Act, point: str) -> None:
    """Do something in a process of its own that is killed at a point."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.unit.connectors.test_crash", str(path), act.__name__],
        env={**os.environ, "IDSYNC_CRASH": point},
        cwd=Path(__file__).resolve().parents[3],
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, "the point was not passed"


@pytest.fixture(autouse=True)
def two_users(app: SqliteApp) -> None:
    """Every test begins with two users, of an application that runs while we die."""
    app.run("INSERT INTO users (id, email, name) VALUES (1, 'a@example.com', 'Ada'), (2, 'b@example.com', 'Bob')")


def assert_sound(app: SqliteApp) -> None:
    """The application goes on as if nothing had happened; its own changes are its own."""
    assert app.run("PRAGMA integrity_check") == [["ok"]]
    app.run("UPDATE users SET name = name || '!' WHERE id = 2")
    assert app.run("SELECT origin FROM idsync_outbox ORDER BY seq DESC LIMIT 1") == [[None]]


async def test_a_killed_install_leaves_nothing(app: SqliteApp, path: Path, make_peer: MakePeer) -> None:
    """And the next one is whole."""
    act_and_die(path, install, "capture.in_transaction")
    assert app.run("SELECT name FROM sqlite_master WHERE name LIKE 'idsync%'") == []
    status = await make_peer().install()
    assert (status.state, status.waiting) == (CaptureState.INSTALLED, 2)
    assert_sound(app)


async def test_ringing_goes_on_where_it_was_interrupted(app: SqliteApp, peer: SqlitePeer) -> None:
    """Nobody is rung for twice, nobody is left out."""
    app.run("INSERT INTO idsync_rings (kind, after) VALUES ('user', 1)")
    assert (await peer.status()).ringing == (Kind.USER,)
    status = await peer.install()
    assert (status.waiting, status.ringing) == (3, ())
    assert app.run("SELECT id FROM idsync_outbox ORDER BY seq") == [[1], [2], [2]]


async def test_a_killed_new_beginning_changes_nothing(app: SqliteApp, path: Path, peer: SqlitePeer) -> None:
    """The old generation is still the one that is read."""
    before = await peer.source.read(None, 10)
    assert isinstance(before, SourceBatch)
    act_and_die(path, start_over, "rewind.in_transaction")
    assert await peer.source.read(before.position, 10) == SourceBatch(position=before.position)
    await peer.source.start_over()
    assert isinstance(await peer.source.read(before.position, 10), Rewound)
    assert_sound(app)


@pytest.mark.parametrize("point", ["target.in_transaction", "target.in_transaction:3", "target.before_commit"])
async def test_a_transaction_that_was_killed_has_written_nothing(
    app: SqliteApp, path: Path, peer: SqlitePeer, point: str
) -> None:
    """Neither rows nor receipts nor outbox; the same writes are then done once."""
    act_and_die(path, create_three, point)
    assert app.run("SELECT count(*) FROM users") == [[2]]
    assert app.run("SELECT (SELECT count(*) FROM idsync_receipts), (SELECT count(*) FROM idsync_writer)") == [[0, 0]]
    assert await observed(peer) == []
    results = await write(peer, *(create_of(number) for number in (1, 2, 3)))
    assert [result.effect for result in results] == [Effect.WRITTEN] * 3
    assert_sound(app)


async def test_what_was_committed_before_the_kill_is_not_done_again(
    app: SqliteApp, path: Path, peer: SqlitePeer
) -> None:
    """The answer was lost, the receipts were not; the outbox tells whose writes they were."""
    act_and_die(path, create_three, "target.written")
    act_and_die(path, rename, "target.written")
    assert app.run("SELECT count(*) FROM users") == [[5]]
    again = [create_of(number) for number in (1, 2, 3)]
    assert [result.effect for result in await write(peer, *again)] == [Effect.UNCHANGED] * 3
    assert app.run("SELECT count(*) FROM users") == [[5]]
    assert [one.origin for one in await observed(peer)] == [*(one.intent for one in again), "entity-1:update"]
    assert_sound(app)


@pytest.mark.parametrize("point", ["source.before_trim", "source.after_trim"])
async def test_a_killed_trim_loses_no_position(app: SqliteApp, path: Path, peer: SqlitePeer, point: str) -> None:
    """The row at the position is there before and after."""
    batch = await peer.source.read(None, 10)
    assert isinstance(batch, SourceBatch)
    act_and_die(path, trim, point)
    assert app.run("SELECT count(*) FROM idsync_outbox") == [[2 if point == "source.before_trim" else 1]]
    assert await peer.source.read(batch.position, 10) == SourceBatch(position=batch.position)
    assert_sound(app)


async def _act(path: Path, act: Act) -> None:
    # Long enough for all writes to be one transaction, however busy the machine is.
    peer = SqlitePeer(PeerName("app"), path, [USERS], FakeClock(), Pace(transaction_s=60))
    await act(peer)
    await peer.close()


if __name__ == "__main__":
    asyncio.run(_act(Path(sys.argv[1]), ACTS[sys.argv[2]]))
