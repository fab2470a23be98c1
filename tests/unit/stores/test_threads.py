"""Group commit: what waits is written together, answered each for itself, and bounded."""

import asyncio

import apsw
import pytest

from idsync.errors import DataRefused, StoreBusy, StoreError
from idsync.model.plan import Committed, Plan
from idsync.stores.sqlite import SqliteStore
from idsync.stores.sqlite.db import Db
from idsync.stores.sqlite.threads import JOBS_MAX, ROWS_MAX
from idsync.testing.store_suite.samples import AT, begin, row, tried


def count_commits(store: SqliteStore) -> list[None]:
    """Keep one entry for each transaction from now on."""
    commits: list[None] = []

    def note() -> bool:
        commits.append(None)
        return False

    store._connections.writing.connection.set_commit_hook(note)
    return commits


async def test_plans_that_wait_share_one_transaction(store: SqliteStore) -> None:
    """Two hundred at once take two: the first goes alone, the others gather behind it."""
    line = await begin(store)
    commits = count_commits(store)
    plans = [Plan(epoch=line.epoch, inbox=(row(f"e{number}"),), at=AT) for number in range(200)]
    results = await asyncio.gather(*(store.commit(plan) for plan in plans))
    assert all(isinstance(result, Committed) for result in results)
    assert len(commits) == 2


async def test_transaction_is_bounded_by_its_rows(store: SqliteStore) -> None:
    """Whoever waits in it waits for about as many rows as the bound says; one large job still goes."""
    await begin(store)
    commits = count_commits(store)
    sizes = (1, ROWS_MAX - 1, 1, ROWS_MAX * 3, 5)
    await asyncio.gather(*(store._writer.write(lambda db: db.write("put_setting", "a", b""), size) for size in sizes))
    assert len(commits) == 4


async def test_queue_is_bounded(store: SqliteStore) -> None:
    """Beyond it the caller is told at once, and what was taken is still written."""

    async def put(number: int) -> None:
        await store.put_setting(f"s{number}", b"")

    writes = [asyncio.ensure_future(put(number)) for number in range(JOBS_MAX + 1)]
    await asyncio.sleep(0)
    with pytest.raises(StoreBusy, match="try again"):
        await put(-1)
    await asyncio.gather(*writes)
    assert await store.setting(f"s{JOBS_MAX}") == b""


async def test_full_disk_is_a_fault_of_the_store_not_of_the_rows(store: SqliteStore) -> None:
    """Everyone in the transaction is told; nothing of it is there; with room again the store goes on."""
    line = await begin(store)
    connection = store._connections.writing.connection
    connection.pragma("max_page_count", connection.pragma("page_count"))
    plans = [Plan(epoch=line.epoch, inbox=(row(f"e{number}", body=b"x" * 50_000),), at=AT) for number in range(4)]
    results = await asyncio.gather(*(store.commit(plan) for plan in plans), return_exceptions=True)
    for result in results:
        assert isinstance(result, StoreError)
        assert not isinstance(result, DataRefused)
        assert "the disk is full" in str(result)
    assert not await store.recent(0, 10)
    connection.pragma("max_page_count", 1_000_000)
    assert isinstance(await store.commit(plans[0]), Committed)


async def test_commit_that_fails_answers_everyone_and_leaves_no_transaction_open(store: SqliteStore) -> None:
    """The disk may fail at the last moment too."""
    line = await begin(store)
    connection = store._connections.writing.connection
    connection.set_commit_hook(lambda: True)
    with pytest.raises(StoreError):
        await line.accept(row("e1"))
    connection.set_commit_hook(None)
    await line.accept(row("e2"))
    assert [entry.row.id for entry in await store.recent(0, 10)] == ["e2"]


async def test_fault_of_our_own_reaches_everyone_in_the_transaction(store: SqliteStore) -> None:
    """No caller waits for ever, nothing is half written, and the next transaction is not harmed."""
    await begin(store)

    def fail(_: Db) -> None:
        raise ZeroDivisionError

    loop_faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_faults.append(context["exception"]))
    writes = [store.put_setting("first", b""), store.put_setting("a", b""), store._writer.write(fail, 1)]
    first, *failed = await asyncio.gather(*writes, return_exceptions=True)
    assert first is True
    assert [type(one) for one in failed] == [StoreError, StoreError]
    assert [type(one) for one in loop_faults] == [ZeroDivisionError]
    assert await store.setting("a") is None
    await store.put_setting("b", b"")
    assert await store.setting("b") == b""


async def test_fault_of_sqlite_becomes_an_error_of_ours(store: SqliteStore) -> None:
    """Callers never meet an error of apsw, whether they read or write."""
    line = await begin(store)
    store._connections.writing.connection.execute("DROP TABLE wait; DROP TABLE attempt")
    for verb in (store.attempts(1), line.commit(Plan(epoch=0, attempts=(tried(1, 1),)))):
        with pytest.raises(StoreError, match=r"idsync\.db failed: SQLError") as raised:
            await verb
        assert isinstance(raised.value.__cause__, apsw.Error)
