"""Claim 2: the bugs that others had are tests here."""

import re

from proofs.claims import Row, count
from proofs.pair import ROOT
from proofs.webhooks_out.tests import run_tests, tests_of

PAGE = "peers-bugs.md"
ITEMS = 27


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # there is no longer form
    """Run every test that the table names."""
    rows = re.findall(r"^\| (\d+) \|.*\|$", (ROOT / "docs" / PAGE).read_text(), re.MULTILINE)
    wanted = tests_of(PAGE)
    told = await run_tests(wanted)
    return [
        Row(
            "bugs of other systems are regression tests here",
            f"{count(len(set(rows)), 'bugs')}, {count(len(wanted), 'tests')}: "
            f"{count(told.passed, 'passed')}, {count(told.others, 'did not')}",
            f"{ITEMS} bugs, all tests pass, none skipped",
            holds=len(set(rows)) == ITEMS and told.passed >= len(wanted) and not told.others,
        )
    ]
