"""Group commit, and who waits for the disk: threads, not the event loop.

The writer runs what waits in one transaction and answers it together. While one transaction is on its way to the disk
the next one gathers, so batches grow with the load and nothing ever lingers. Its statements run in the event loop and
only the COMMIT in a thread: beside a busy loop, a thread that runs statements waits for the interpreter's lock at each
of them (measured: its commits took twice as long, and now and then seconds). What the statements touch was read by
`load` a moment ago, so they find it in memory; a plan of 1,000 events holds the loop for 7 ms, with entities for 50 ms.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar, cast

from idsync import crash
from idsync.errors import DataRefused, StoreBusy, StoreError
from idsync.stores.sqlite.db import DATA_FAULTS, Db, named_faults, refusal

P = ParamSpec("P")
T = TypeVar("T")
Job = Callable[[Db], object]
"""A piece of a transaction. If it raises DataRefused or one of `DATA_FAULTS`, its own writes are undone, no others."""

ROWS_MAX: Final = 1_000
"""Rows of one transaction, beyond which the next job waits for the next one: what bounds the wait of those in it."""
JOBS_MAX: Final = 1_024
"""Jobs that may wait."""


class _Waiting(NamedTuple):
    job: Job
    rows: int
    answer: "asyncio.Future[object]"


class Reader:
    """A reading connection with its thread: reads of one connection come one after the other."""

    def __init__(self, db: Db, path: str) -> None:
        """Take over a connection; nobody else uses it from now on."""
        self._db = db
        self._path = path
        self._thread = ThreadPoolExecutor(1, "idsync-store-reader")
        self._is_closed = False

    async def read(self, view: Callable[Concatenate[Db, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a view in the thread and give what it found; everything committed before is seen.

        Raises:
            StoreError: the store failed or is closed.
            DataRefused: what is searched for is no text that can be stored.
        """
        if self._is_closed:
            raise _closed(self._path)

        def run() -> T:
            with named_faults(self._path):
                return view(self._db, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def close(self) -> None:
        """Take nothing more, and let what is being read finish."""
        self._is_closed = True
        await asyncio.to_thread(self._thread.shutdown)


def _closed(path: str) -> StoreError:
    return StoreError(f"the store {path} is closed; open it again")


class Writer:
    """The writing connection. Every method but `_commit` runs in the event loop that made it."""

    def __init__(self, db: Db, path: str) -> None:
        """Take over a connection; nobody else uses it from now on."""
        self._db = db
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "idsync-store-writer")
        self._waiting: deque[_Waiting] = deque()
        self._is_committing = False
        self._is_closed = False

    async def write(self, job: Callable[[Db], T], rows: int) -> T:
        """Run a job in a transaction with whatever else waits; give what it returned, once that is durable.

        A caller that stops waiting does not stop the job.

        Args:
            job: what to write.
            rows: about how many rows that is.

        Raises:
            DataRefused: the job's rows cannot be written; those of other jobs were.
            StoreBusy: too many jobs wait.
            StoreError: the store failed or is closed. Whether the job was written is known only after opening it again.
        """
        if self._is_closed:
            raise _closed(self._path)
        if len(self._waiting) >= JOBS_MAX:
            raise StoreBusy(f"{len(self._waiting)} writes wait for the store {self._path}; try again in a moment")
        return cast("T", await self._add(job, rows))

    async def close(self) -> None:
        """Take nothing more, and write what waits."""
        if not self._is_closed:
            last = self._add(lambda _: None, 0)
            self._is_closed = True
            await asyncio.wait([last])
            await asyncio.to_thread(self._thread.shutdown)

    def _add(self, job: Job, rows: int) -> "asyncio.Future[object]":
        waiting = _Waiting(job, rows, self._loop.create_future())
        self._waiting.append(waiting)
        self._run_next()
        return waiting.answer

    def _run_next(self) -> None:
        """Run the next batch and give it to the thread; one that fails before is answered here."""
        if self._is_committing or not self._waiting:
            return
        batch = self._take()
        answers: Sequence[object] = [_stopped(self._path)] * len(batch)
        try:
            with named_faults(self._path):
                results = run_together(self._db, [one.job for one in batch])
            self._is_committing = True
            self._thread.submit(self._commit, batch, results)
        except StoreError as fault:
            answers = [fault] * len(batch)
        finally:
            if not self._is_committing:
                _answer(batch, answers)
                self._loop.call_soon(self._run_next)

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        rows = batch[0].rows
        while self._waiting and (rows := rows + self._waiting[0].rows) <= ROWS_MAX:
            batch.append(self._waiting.popleft())
        return batch

    def _commit(self, batch: list[_Waiting], results: Sequence[object]) -> None:
        """Make the batch durable, in the thread; whatever happens, every waiter is answered."""
        answers: Sequence[object] = [_stopped(self._path)] * len(batch)
        try:
            with named_faults(self._path):
                commit_together(self._db)
            answers = results
        except StoreError as fault:
            answers = [fault] * len(batch)
        finally:
            self._loop.call_soon_threadsafe(self._finish, batch, answers)

    def _finish(self, batch: list[_Waiting], answers: Sequence[object]) -> None:
        self._is_committing = False
        _answer(batch, answers)
        self._run_next()


def _stopped(path: str) -> StoreError:
    return StoreError(f"the store {path} stopped within a write by a fault of idsync; open it again")


def _answer(batch: Sequence[_Waiting], results: Sequence[object]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if waiting.answer.done():
            continue
        if isinstance(result, StoreError):
            waiting.answer.set_exception(result)
        else:
            waiting.answer.set_result(result)


def run_together(db: Db, jobs: Sequence[Job]) -> list[object]:
    """Run jobs in one transaction and leave it open; give what each returned, or the DataRefused that undid it."""
    db.begin()
    try:
        return [_run_one(db, job) for job in jobs]
    except BaseException:
        db.rollback()
        raise


def commit_together(db: Db) -> None:
    """Make the open transaction durable, or undo it."""
    crash.point("store.in_transaction")
    try:
        db.commit()
    except BaseException:
        db.rollback()
        raise
    crash.point("store.after_commit")


def _run_one(db: Db, job: Job) -> object:
    db.connection.execute("SAVEPOINT job")
    try:
        result = job(db)
    except (DataRefused, *DATA_FAULTS) as fault:
        db.connection.execute("ROLLBACK TO job; RELEASE job")
        return fault if isinstance(fault, DataRefused) else refusal(fault)
    db.connection.execute("RELEASE job")
    return result
