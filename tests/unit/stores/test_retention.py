"""Retention is bounded, and trimming stays cheap beside rows that must stay."""

import pytest

from idsync.errors import ConfigError
from idsync.model.plan import Plan, Wait
from idsync.stores.common.retention import HOUR_S, YEARS_10_S, Retention
from idsync.stores.sqlite import SqliteStore
from idsync.testing.store_suite.samples import AT, LATER, begin, row


def test_retention_outside_its_bounds_names_every_problem() -> None:
    """Too short would forget what must be known, too long is no retention."""
    with pytest.raises(ConfigError) as refused:
        Retention(inbox_s=HOUR_S - 1, attempts_s=YEARS_10_S + 1)
    assert [problem.split()[0] for problem in refused.value.problems] == ["retention.inbox_s", "retention.attempts_s"]
    assert Retention(inbox_s=HOUR_S, attempts_s=YEARS_10_S).inbox_s == HOUR_S


async def test_rows_that_must_stay_do_not_hide_those_behind_them(store: SqliteStore) -> None:
    """Each trim looks at a bounded number of rows and goes on where the last one stopped."""
    line = await begin(store)
    rows = tuple(row(f"e{number}") for number in range(30))
    waits = tuple(Wait(row=number, reason="missing_parent") for number in range(20))
    await line.commit(Plan(epoch=0, inbox=rows, waits=waits))
    deleted = [await store.trim(LATER, 5) for _ in range(7)]
    assert deleted == [0, 0, 0, 0, 5, 5, 0]


async def test_row_is_kept_to_the_millisecond(store: SqliteStore) -> None:
    """What came exactly the retention ago is not older than it."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, inbox=(row("e1", received_at=AT),)))
    kept_ms = Retention().inbox_s * 1000
    assert await store.trim(row("e1", received_at=type(AT)(AT + kept_ms)).received_at, 10) == 0
    assert await store.trim(row("e1", received_at=type(AT)(AT + kept_ms + 1)).received_at, 10) == 1
