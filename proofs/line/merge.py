"""Claim 4: the properties of merge hold over many examples, and each safeguard that is switched off is missed."""

import asyncio
import os
import re
import sys

from idsync.testing.ablation import Safeguard
from proofs.claims import Row, count
from proofs.pair import ROOT

ABLATIONS = ("tests/properties/test_ablation.py", "tests/unit/pipeline/test_ablation.py")
PROPERTIES = 8
"""At least one process for each: none of the long ones begins when the others end."""
SHORT_MIN, FULL_MIN = 10_000, 50_000


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Run the property tests, then the same properties with one safeguard less."""
    (said, status), (ablated, ablation_status) = await asyncio.gather(
        _test("tests/properties", "-n", str(PROPERTIES), profile="full" if full else "all"),
        _test(*ABLATIONS, "-v", profile="default"),
    )
    examples = sum(int(found) for found in re.findall(r"(\d+) passing\b", said))
    at_least = FULL_MIN if full else SHORT_MIN
    caught = [one for one in Safeguard if re.search(rf"\b{one}\b.*PASSED", ablated)]
    return [
        Row(
            "merge is idempotent, deterministic and convergent, and no owner, group or tombstone is broken",
            f"{count(examples, 'examples')} without a counter-example" if status == 0 else said.strip()[-150:],
            f">= {at_least:,} examples",
            holds=status == 0 and examples >= at_least,
        ),
        Row(
            "each safeguard, switched off, makes at least one test fail",
            f"{len(caught)} of {len(Safeguard)}: {', '.join(caught)}",
            f"all {len(Safeguard)}",
            holds=ablation_status == 0 and len(caught) == len(Safeguard),
        ),
    ]


async def _test(*arguments: str, profile: str) -> tuple[str, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "--hypothesis-show-statistics",
        "--timeout=1800",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "HYPOTHESIS_PROFILE": profile},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode(errors="replace")
    return said, process.returncode or 0
