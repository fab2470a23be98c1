"""What nobody understands is given up, on both stores, once, however often and by however many it is carried out."""

import pytest

from idsync.app import App
from idsync.model.delivery import ParkedState
from idsync.model.event import Arrival, Verdict
from idsync.model.plan import CommandName
from idsync.model.values import PeerName, Subject
from idsync.ports import ParkedFilter
from idsync.testing.wait import until
from tests.unit.app.conftest import Running, definition, event, make


def unreadable(app: App, number: int) -> Arrival:
    """A row of an outbox that is damaged."""
    return Arrival(
        peer=PeerName("crm"),
        id=f"g:{number}:refused",
        type="capture.unreadable",
        subject=Subject(f"crm/g:{number}:refused"),
        received_at=app.clock.now(),
        refusal="unreadable: user: it is no JSON object",
        body=b'{"name": "Ada',
    )


async def waiting(app: App) -> list[int]:
    """The sequences of what waits."""
    return [one.seq for one in await app.store.waits(0, 10)]


async def test_discard_that_a_crash_interrupts_is_carried_out_again_and_changes_nothing(
    running: Running, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arrival is given up, then the process dies before the command is done: the next one finds it given up."""
    async with running(store_url) as app:
        await app.submit([unreadable(app, 1), unreadable(app, 2)])
        given_up, kept = await waiting(app)
        carried_out: list[int] = []
        monkeypatch.setattr(app.settler, "finish", carried_out.append)
        command = await app.ask(CommandName.DISCARD, waiting=[given_up])
        await until(lambda: carried_out == [command])
    async with running(store_url) as app:
        await until(lambda: is_done(app))
        assert await waiting(app) == [kept]
        first, other = await app.store.recent(given_up - 1, 2)
        assert (first.row.verdict, first.row.reason, first.row.body) == (Verdict.REFUSED, "discarded", b"")
        assert (other.row.verdict, other.row.body != b"") == (Verdict.PARKED, True)
        assert (await app.submit([unreadable(app, 1)]))[0].verdict is Verdict.DUPLICATE


async def test_two_processes_that_both_carry_it_out_give_it_up_once(running: Running, postgres_url: str) -> None:
    """Every process looks at every command; the commits of all but one find nothing that waits.

    It is done at once, though a delivery is dead, of which nothing was asked.
    """
    async with running(postgres_url) as one, running(postgres_url) as other:
        await make(one, "audit", definition("http://127.0.0.1:9/hook", retry={"attempts_max": 1}))
        await one.submit([event(1)])
        await until(lambda: has_dead(one))
        await one.submit([unreadable(one, number) for number in range(8)])
        seqs = await waiting(one)
        assert len(seqs) == 8
        await one.ask(CommandName.DISCARD, waiting=seqs)
        await other.ask(CommandName.DISCARD, waiting=seqs)
        other.commander.ring()
        await until(lambda: is_done(one))
        assert await waiting(other) == []
        rows = [entry.row for entry in await one.store.recent(seqs[0] - 1, 8)]
        assert {(row.verdict, row.reason) for row in rows} == {(Verdict.REFUSED, "discarded")}


async def has_dead(app: App) -> bool:
    """Whether a delivery was given up."""
    return bool(await app.store.parked(ParkedFilter(state=ParkedState.DEAD), 1))


async def is_done(app: App) -> bool:
    """Whether no command is left."""
    return not await app.store.commands(10)
