"""A process that dies while it gives up what nobody understands: whoever comes next ends it."""

import pytest

from idsync.model.event import Verdict
from idsync.model.plan import CommandName
from idsync.pipeline.operate import Commander
from idsync.testing.wait import until
from tests.unit.app.conftest import Running
from tests.unit.app.test_discard import is_done, unreadable, waiting
from tests.unit.app.test_endpoints_killed import die

KILLED_AT = (
    "store.in_transaction",
    "store.after_commit",
    "command.before_commit",
    "settle.before_commit",
    "settle.after_commit",
)
"""Of the next process: in the commit that gives it up, right after it, and around the one that ends the command."""


@pytest.mark.parametrize("point", KILLED_AT)
async def test_discard_that_is_killed_is_ended_by_whoever_comes_next(
    running: Running, store_url: str, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arrival is gone, its id stays known, what else waits is left alone, and nothing is left to be done."""
    with monkeypatch.context() as patched:
        patched.setattr(Commander, "tick", leave_alone)
        async with running(store_url) as app:
            await app.submit([unreadable(app, 1), unreadable(app, 2)])
            given_up, kept = await waiting(app)
            await app.ask(CommandName.DISCARD, waiting=[given_up])
    await die(store_url, point, "pass")
    async with running(store_url) as app:
        await until(lambda: is_done(app))
        assert await waiting(app) == [kept]
        rows = [entry.row for entry in await app.store.recent(0, 10)]
        assert [(row.verdict, row.reason) for row in rows if row.id == "g:1:refused"] == [
            (Verdict.REFUSED, "discarded")
        ]
        assert (await app.submit([unreadable(app, 1)]))[0].verdict is Verdict.DUPLICATE


async def leave_alone(commander: Commander) -> float:
    """Carry nothing out, so that the next process does."""
    commander._wake.clear()
    return 1.0
