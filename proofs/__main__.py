"""`python -m proofs line`: run our claims, print a row for each figure, and end with 1 if one does not hold.

`--only 3` runs one claim, repeatable. FULL=1 runs the long forms, and keeps their figures in `proofs/RESULTS.md`.
"""

import argparse
import asyncio
import os
import sys
import time

from proofs.claims import SETS, Row, claims_of, draw, prove
from proofs.results import keep


def main() -> int:
    """Run the claims that were asked for; give the exit status."""
    parser = argparse.ArgumentParser(prog="proofs", description=__doc__)
    parser.add_argument("family", choices=sorted(SETS), help="which claims")
    parser.add_argument("--only", type=int, action="append", metavar="N", help="only this one; repeatable")
    chosen = parser.parse_args()
    full = os.environ.get("FULL", "") not in {"", "0"}
    wanted = [claim for claim in claims_of(chosen.family) if chosen.only is None or claim.number in chosen.only]
    if not wanted:
        parser.error(f"{chosen.family} has the claims 1 to {len(claims_of(chosen.family))}")
    rows: list[Row] = []
    for claim in wanted:
        began = time.monotonic()
        found = asyncio.run(prove(claim, full=full))
        took_s = time.monotonic() - began
        for row in found:
            print(draw(claim.number, row), flush=True)
        print(f"{claim.number}  took {took_s:.0f} s", file=sys.stderr, flush=True)
        if full:
            keep(claim, found, took_s)
        rows += found
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
