"""The statements: each file is one verb that is used, and none walks a table that grows."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from idsync.stores import postgres
from idsync.stores.postgres import PostgresStore
from idsync.stores.postgres.db import read_texts
from idsync.stores.postgres.pool import connect
from idsync.testing.store_suite.samples import begin, row

VERBS = read_texts("sql")
RINGS = ("inbox", "attempt", "delivery", "batch")
GROWING = (
    *("inbox", "entity", "link", "email", "delivery", "batch", "progress", "attempt", "wait", "parked", "conflict"),
    "setting",
)
WALKS = {
    *("count_all", "count_parked", "conflicts", "trim_conflicts", "adopt_ticks"),
    *(f"{verb}_{table}" for verb in ("count", "needed", "newest", "keep") for table in RINGS),
}
"""Counts for operators walk a table or its index; the newest conflicts are a walk that ends at its limit; a slot that
is to be emptied is looked at once; a restored database is looked at whole."""


def test_every_statement_is_used_and_every_used_one_is_there() -> None:
    """A verb in the code is the name of a file, and a file nobody names is deleted."""
    code = "".join(Path(str(path)).read_text() for path in files(postgres).iterdir() if path.name.endswith(".py"))
    used = set(re.findall(r'\.(?:read|read_one|read_pairs|write|write_many|write_each)\(\s*"(\w+)"', code))
    for verb, tables in (
        ("count", RINGS),
        ("newest", ("inbox", "attempt")),
        ("needed", ("inbox", "delivery", "batch")),
        ("keep", ("inbox", "delivery", "batch")),
    ):
        assert f'f"{verb}_{{table}}"' in code
        used |= {f"{verb}_{table}" for table in tables}
    assert used == set(VERBS)


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_no_statement_walks_a_table_that_grows(
    store: PostgresStore, postgres_url: str, *, is_analyzed: bool
) -> None:
    """Its plan is made once, while tables may be empty, and must still be right when they hold ten million rows."""
    connection = await connect(postgres_url)
    if is_analyzed:
        await connection.execute("ANALYZE")
    walked = {}
    for verb in sorted(VERBS.keys() - WALKS):
        plan = await _plan_of(connection, verb)
        if found := [_name(node) for node in _nodes(plan) if _is_walk(node)]:
            walked[verb] = found
    await connection.close()
    assert walked == {}


@pytest.mark.parametrize(("verb", "arguments"), [("count_queued", ""), ("find_oldest", "('parked')")])
async def test_what_has_no_place_yet_is_looked_at_once_however_many_lanes_there_are(
    store: PostgresStore, postgres_url: str, verb: str, arguments: str
) -> None:
    """While the ticker is behind that may be a million rows, and every endpoint has a dozen lanes."""
    line = await begin(store)
    await line.accept(*(row(f"e{number}") for number in range(10)))
    connection = await connect(postgres_url)
    await connection.execute(f"PREPARE one AS {VERBS[verb]}")
    plan: str = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE one{arguments}")
    await connection.close()
    scans = [node for node in _nodes(msgspec.json.decode(plan)[0]["Plan"]) if "xid" in node.get("Index Cond", "")]
    assert scans
    assert {node["Actual Loops"] for node in scans} == {1}


async def _plan_of(connection: "asyncpg.Connection[asyncpg.Record]", verb: str) -> dict[str, Any]:
    """Plan a statement as the server does for any arguments."""
    await connection.execute(f"PREPARE one AS {VERBS[verb]}")
    count = max((int(number) for number in re.findall(r"\$(\d+)", VERBS[verb])), default=0)
    arguments = f"({', '.join(['NULL'] * count)})" if count else ""
    plan: str = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE one{arguments}")
    await connection.execute("DEALLOCATE one")
    found: dict[str, Any] = msgspec.json.decode(plan)[0]["Plan"]
    return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _is_walk(node: dict[str, Any]) -> bool:
    table = re.sub(r"_\d$", "", node.get("Relation Name", ""))
    return table in GROWING and "Scan" in node["Node Type"] and not node.keys() & {"Index Cond", "TID Cond"}


def _name(node: dict[str, Any]) -> str:
    return f"{node['Node Type']} of {node['Relation Name']}"
