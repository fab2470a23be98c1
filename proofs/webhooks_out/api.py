"""Claim 5: the API answers as its document says, on both stores, and a key opens what its scopes open."""

import asyncio
import os
from typing import Final

from proofs.claims import Row, count
from proofs.webhooks_out.tests import run_tests

CONTRACT: Final = "tests/unit/api/test_contract.py"
TIMES, TIMES_FULL = "1", "4"
"""How many times as much is asked as in `make test`."""
SCOPES: Final = "tests/unit/api/test_openapi.py"


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Ask whatever the document allows and forbids; try every key at every operation."""
    os.environ["CONTRACT_TIMES"] = TIMES_FULL if full else TIMES
    asked, tried = await asyncio.gather(run_tests([CONTRACT]), run_tests([SCOPES]))
    return [
        Row(
            "no 5xx and no undocumented answer, on SQLite and PostgreSQL",
            f"{count(asked.passed, 'runs of schemathesis')} passed, {asked.others} did not",
            "all, at least one for each store",
            holds=asked.passed > 1 and not asked.others,
        ),
        Row(
            "every operation opens to the scopes that it names, and to no other",
            f"{count(tried.passed, 'tests')} passed, {tried.others} did not",
            "all",
            holds=tried.passed > 0 and not tried.others,
        ),
    ]
