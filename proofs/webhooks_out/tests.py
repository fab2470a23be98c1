"""Runs tests by their names, and counts those that passed."""

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from proofs.pair import ROOT

TIME_S_MAX: Final = 1_800
SAID_MAX: Final = 20_000
"""Characters of a bad run that are shown, from its end."""
SUMMARY: Final = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed|deselected)")
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py::\w+(?:\[[\w-]+\])?)`")
"""A test as a table of the documentation names it."""


class Told(NamedTuple):
    """What became of the tests that were asked for."""

    passed: int
    others: int
    """Failed, skipped, or not there."""


async def run_tests(wanted: Sequence[str], *options: str) -> Told:
    """Run files or tests; whatever does not pass counts against them, a run that ends badly as one, and says why."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "pytest",
            "--quiet",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            "--timeout=600",
            *("-n", "auto", "--dist", "worksteal"),
        ),
        *(*options, *wanted),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIME_S_MAX):
            said = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        sys.stderr.write(said[-SAID_MAX:])
    counts = {name: int(number) for number, name in SUMMARY.findall(said.strip().rpartition("\n")[2])}
    passed = counts.pop("passed", 0)
    return Told(passed, sum(counts.values()) or int(process.returncode != 0))


def tests_of(page: str) -> list[str]:
    """Every test that a page of the documentation names, each once, in order."""
    return list(dict.fromkeys(NAMED.findall((ROOT / "docs" / page).read_text())))
