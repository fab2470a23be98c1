"""Claim 1: what others offer is here too, and each row of the comparison names a test that shows it."""

import re

from proofs.claims import Row, count
from proofs.pair import ROOT
from proofs.webhooks_out.tests import run_tests, tests_of

PAGE = "comparison.md"


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # there is no longer form
    """Run every test that the table names."""
    rows = re.findall(r"^\| (?!Feature|---).*$", (ROOT / "docs" / PAGE).read_text(), re.MULTILINE)
    bare = [row.split("|")[1].strip() for row in rows if "`tests/" not in row and "not here" not in row]
    wanted = tests_of(PAGE)
    told = await run_tests(wanted)
    return [
        Row(
            "every feature in the comparison is shown by a test",
            f"{count(len(rows), 'features')}, {count(len(bare), 'without a test')}: {', '.join(bare) or 'none'}",
            "0 without a test, unless it is said that we do not have it",
            holds=bool(rows) and not bare,
        ),
        Row(
            "the tests that the comparison names",
            f"{count(len(wanted), 'tests')}: {count(told.passed, 'passed')}, {count(told.others, 'did not')}",
            "all pass, none skipped",
            holds=told.passed >= len(wanted) and not told.others,
        ),
    ]
