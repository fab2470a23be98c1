"""`python -m bench`: measure, print a table, and end with 1 if a bound does not hold.

STORE names the store (default sqlite; or postgres), FULL=1 takes more and longer rounds, `--json` prints JSON instead.
On PostgreSQL it also draws docs/growth.svg.
"""

import argparse
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bench import FULL, SHORT, BenchError, draw, measure
from bench.plot import plot
from proofs.results import hardware

GROWTH: Final = Path(__file__).parents[1] / "docs" / "growth.svg"
TITLE: Final = "CPU time of one event and its delivery, PostgreSQL included, by stored events"


def main() -> int:
    """Run it; give the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    # A signal ends the run as an error does: the programs that were started are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    plan = SHORT if os.environ.get("FULL", "") in {"", "0"} else FULL
    try:
        report = measure(plan, store=os.environ.get("STORE") or "sqlite", tell=tell)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(msgspec.json.encode(report).decode() if chosen.json else draw(report))
    if report.points:
        GROWTH.write_text(plot(report.points, TITLE, f"{datetime.now(UTC):%Y-%m-%d} · {hardware()}"), encoding="utf-8")
    return 0 if report.holds else 1


def tell(what: str) -> None:
    """Say what is being measured."""
    print(f"measuring {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
