"""Claim 1: one suite for every store: a SQLite file, SQLite in memory, PostgreSQL; the same tests, none skipped."""

import asyncio
import re
import sys
from typing import Final

from proofs.claims import Row
from proofs.pair import ROOT

FILES: Final = ("tests/conformance/test_sqlite_store.py", "tests/conformance/test_postgres_store.py")
STORES: Final = ("file", "memory", "postgres")
RESULT: Final = re.compile(
    r"^\[gw\d+\] \[ *\d+%\] (?P<verdict>[A-Z]+) "
    r"\S+::test_store_keeps_the_contract\[(?:(?P<store>file|memory)-)?(?P<check>\w+)\]",
    re.MULTILINE,
)
"""How a worker's verdict is told. The suite on PostgreSQL has a file of its own, and no name of a store before it."""


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # there is no longer form
    """Run the suite on each store, and compare what was run."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-v", "-n", "auto", "--dist", "worksteal", "--timeout=600", *FILES),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode(errors="replace")
    passed: dict[str, set[str]] = {store: set() for store in STORES}
    others = 0
    for found in RESULT.finditer(said):
        if found["verdict"] == "PASSED":
            passed[found["store"] or "postgres"].add(found["check"])
        else:
            others += 1
    is_same = len({frozenset(checks) for checks in passed.values()}) == 1
    figures = ", ".join(f"{store} {len(checks)}" for store, checks in passed.items())
    return [
        Row(
            "the conformance suite on every store",
            f"passed: {figures}; {others} failed or skipped",
            "the same tests on each, 0",
            holds=process.returncode == 0 and is_same and others == 0 and bool(passed["postgres"]),
        )
    ]
