"""One process owns the file: what an older one planned or leased is over once the next has started."""

from idsync.model.plan import Fenced, Plan
from idsync.stores.sqlite import SqliteStore
from idsync.testing.store_suite.samples import begin, row


async def test_plan_of_an_older_process_is_fenced(store: SqliteStore) -> None:
    """A process that was replaced writes nothing any more; the new one does."""
    line = await begin(store)
    await store.start()
    assert await line.try_commit(Plan(epoch=0, inbox=(row("e1"),))) == Fenced()
    assert not await line.is_known(row("e1"))
    line = await begin(store)
    await line.accept(row("e1"))
    assert await line.is_known(row("e1"))


async def test_plan_of_an_epoch_that_never_began_is_fenced(store: SqliteStore) -> None:
    """An epoch is given by the store alone."""
    line = await begin(store)
    assert await store.commit(Plan(epoch=line.epoch + 1, inbox=(row("e1"),))) == Fenced()
    assert not await line.is_known(row("e1"))


async def test_leases_draw_from_the_same_epochs_and_fence_no_process(store: SqliteStore) -> None:
    """A lease's epoch is higher than its process's, and the process goes on under its own."""
    line = await begin(store)
    leased = await store.lease("a", ["lane:1"], 60.0)
    assert leased["lane:1"] > line.epoch
    await line.accept(row("e1"))
    assert await store.start() > leased["lane:1"]


async def test_start_ends_every_lease(store: SqliteStore) -> None:
    """Their holders ended with the process that had the file before."""
    line = await begin(store)
    old = await store.lease("a", ["lane:1"], 60.0)
    line = await begin(store)
    assert await store.holders("") == {}
    assert await line.try_commit(Plan(epoch=0, fences=old)) == Fenced(frozenset({"lane:1"}))
    assert (await store.lease("b", ["lane:1"], 60.0)).keys() == {"lane:1"}


async def test_nothing_waits_for_a_tick(store: SqliteStore) -> None:
    """With one writer the order of ids is the order of commits."""
    line = await begin(store)
    await line.accept(row("e1"))
    assert await store.tick(1) is False
    assert store.has_one_writer
