"""The statements: each file is one verb that is used, and none walks a table that grows."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import apsw
import pytest

from idsync.stores import sqlite
from idsync.stores.sqlite.db import read_verbs
from idsync.stores.sqlite.file import connect, prepare

VERBS = read_verbs()
GROWING = ("inbox", "entity", "link", "email", "delivery", "attempt", "wait", "parked", "conflict", "reread", "setting")
WALKS = {"count_all", "count_parked", "conflicts"}
"""Counts for operators walk a table or its index; the newest conflicts are a walk that ends at its limit."""


@pytest.fixture(scope="module")
def connection() -> Iterator[apsw.Connection]:
    """An empty database with our schema."""
    opened = connect(":memory:")
    prepare(opened, ":memory:")
    yield opened
    opened.close()


def test_every_statement_is_used_and_every_used_one_is_there() -> None:
    """A verb in the code is the name of a file, and a file nobody names is deleted."""
    code = "".join(Path(str(path)).read_text() for path in files(sqlite).iterdir() if path.name.endswith(".py"))
    used = set(re.findall(r'\.(?:read|read_one|read_packed|write|write_many)\(\s*"(\w+)"', code))
    used |= {f"{verb}_{table}" for verb in ("scan", "trim") for table in ("inbox", "attempts", "conflicts")}
    assert used == set(VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - WALKS))
def test_statement_walks_no_table_that_grows(verb: str, connection: apsw.Connection) -> None:
    """SQLite finds every row by an index: what is quick with ten rows is quick with ten million."""
    steps = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {VERBS[verb]}", [None] * _count(verb))]
    names = re.findall(r"(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)(?:\s+AS\s+(\w+))?", VERBS[verb])
    growing = {alias or table for table, alias in names if table in GROWING}
    walked = [step for step in steps if (found := re.match(r"SCAN (\w+)", step)) and found[1] in growing]
    assert walked == []


def _count(verb: str) -> int:
    numbered = [int(number) for number in re.findall(r"\?(\d)", VERBS[verb])]
    body = re.sub(r"--[^\n]*", "", VERBS[verb])
    return max(numbered) if numbered else body.count("?")
